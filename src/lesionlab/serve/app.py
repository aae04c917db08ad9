"""The API: what is asked at which address, and what comes back; described by `/openapi.json`.

Every answer says that this is research software, and every error is `{"error": {"code", "reason"}}`.
"""

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path

import anyio.to_thread
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException
from starlette.routing import Route

from lesionlab._version import NOT_A_DEVICE, __version__
from lesionlab.data.image_limits import MAX_PIXELS
from lesionlab.data.images import ImageError
from lesionlab.data.patient import read_patient
from lesionlab.errors import LesionlabError
from lesionlab.inference.model import Model, load_model
from lesionlab.inference.predictions import Prediction, Unreadable
from lesionlab.serve.engine import Busy, Engine
from lesionlab.serve.examples import add_examples, describe_examples
from lesionlab.serve.guard import App, Guard, error_body
from lesionlab.serve.metrics import Meter
from lesionlab.serve.page_facts import PAGE, describe_model
from lesionlab.serve.reference import Reference, read_reference
from lesionlab.serve.schema import ERRORS, UPLOAD, Answer, ErrorBody, Health
from lesionlab.serve.settings import Settings
from lesionlab.serve.uploads import PATIENT, BadUpload, read_form

MOST_NEIGHBOURS = 10


def make_app(settings: Settings) -> App:
    """Build the service: model loaded, routes set, guard in front.

    Raises:
        UsageError: the model or the reference folder cannot be used.

    """
    model = load_model(settings.model)
    reference = read_reference(settings.reference, model) if settings.reference else None
    engine, meter = Engine(model, settings.limits.waiting), Meter()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await anyio.to_thread.run_sync(engine.close)

    app = FastAPI(
        title="lesionlab",
        version=__version__,
        description=NOT_A_DEVICE,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses={status: ERRORS[status] for status in (400, 421)},
    )
    # The token stands here for the schema alone: who asks for it is the guard, before a body is read.
    token = [Depends(HTTPBearer(auto_error=False))] if settings.token else []
    api = APIRouter(dependencies=token, responses={401: ERRORS[401]})
    _add_errors(app)
    _add_probes(app, engine)
    _add_metrics(api, engine, meter)
    _add_model(api, model, settings, reference)
    _add_predict(api, engine, settings, reference, meter)
    if settings.examples:
        add_examples(api, settings.examples)
    app.include_router(api)
    _add_page(app)
    return Guard(app, settings, meter.count_request)


def _add_page(app: FastAPI) -> None:
    """Serve each file of the page at an address of its own: nothing else can be asked for."""
    for file in sorted(PAGE.iterdir()):
        app.router.routes.append(Route(f"/{file.name}", partial(_send, file)))
    app.router.routes.append(Route("/", partial(_send, PAGE / "index.html")))


async def _send(file: Path, _: Request) -> Response:
    return FileResponse(file)


def _add_probes(app: FastAPI, engine: Engine) -> None:
    @app.head("/healthz", include_in_schema=False)
    @app.get("/healthz")
    async def healthz() -> Health:
        """Say that the process is alive."""
        return Health(status="alive")

    @app.head("/readyz", include_in_schema=False)
    @app.get("/readyz", responses={503: ERRORS[503]})
    async def readyz() -> Health:
        """Say whether an image would be taken now."""
        engine.check(1)
        return Health(status="ready")


def _add_metrics(api: APIRouter, engine: Engine, meter: Meter) -> None:
    @api.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Give counters and times, for Prometheus."""
        return meter.page(engine.waiting)


def _add_model(api: APIRouter, model: Model, settings: Settings, reference: Reference | None) -> None:
    limits = settings.limits
    described = describe_model(model) | {
        "reference": reference is not None,
        "limits": {"file_bytes": limits.file_bytes, "pixels": MAX_PIXELS, "files": limits.files},
        "examples": describe_examples(settings.examples),
    }

    @api.get("/v1/model")
    async def about() -> dict[str, object]:
        """Give the facts of the model that answers, its card among them."""
        return described

    @api.get("/v1/reference/{number}", response_class=Response, responses={404: {"model": ErrorBody}, 422: ERRORS[422]})
    async def reference_image(number: int) -> Response:
        """Give an image of the reference folder, as JPEG without metadata."""
        if reference is None or not 0 <= number < len(reference.table):
            raise HTTPException(404, "There is no such image in the reference folder.")
        try:
            return Response(await anyio.to_thread.run_sync(reference.picture, number), media_type="image/jpeg")
        except ImageError as error:
            reason = f"This image of the reference folder cannot be read any more: {error.reason}."
            raise HTTPException(404, reason) from error


def _add_predict(api: APIRouter, engine: Engine, settings: Settings, reference: Reference | None, meter: Meter) -> None:
    facts = engine.model.facts
    head = {"notice": NOT_A_DEVICE, "model": {"name": facts.name, "version": facts.lesionlab}}

    @api.post(
        "/v1/predict",
        response_model=Answer,
        responses={status: ERRORS[status] for status in (403, 408, 413, 415, 422, 500, 503)},
        openapi_extra={"requestBody": UPLOAD},
    )
    async def predict(
        request: Request, explain: bool = False, neighbours: int = Query(0, ge=0, le=MOST_NEIGHBOURS)
    ) -> Response:
        """Predict one image or several; they are kept in memory until they are answered, and nowhere else."""
        form = read_form(request.headers.get("content-type", ""), await request.body(), settings.limits)
        if explain and not engine.model.bundle.has_activation_maps:
            raise BadUpload(422, "no_maps", f"The model {facts.name} has no activation maps. Ask without explain.")
        if neighbours and reference is None:
            raise BadUpload(422, "no_reference", "There are no cases to compare with. Ask without neighbours.")
        if in_address := [name for name in PATIENT if name in request.query_params]:
            reason = f"Send {' and '.join(in_address)} as a field of the form, not in the address, which servers log."
            raise BadUpload(422, "bad_parameter", reason)
        if form.patient and facts.patient is None:
            raise BadUpload(422, "no_metadata", f"The model {facts.name} takes no age, sex and site. Ask without them.")
        started = time.perf_counter()
        patient = read_patient(**form.patient)
        answers = await engine.predict(form.uploads, explain=explain, features=neighbours > 0, patient=patient)
        meter.count_images(answers, time.perf_counter() - started)
        unreadable = [answer for answer in answers if isinstance(answer, Unreadable)]
        if len(unreadable) == len(answers):
            status = {"not_an_image": 415, "too_large": 413}.get(unreadable[0].code, 422)
            return JSONResponse(error_body(unreadable[0].code, unreadable[0].reason), status)
        return JSONResponse(head | {"results": [_result(answer, reference, neighbours) for answer in answers]})


def _result(answer: Prediction | Unreadable, reference: Reference | None, neighbours: int) -> dict[str, object]:
    if isinstance(answer, Unreadable):
        return {"image": answer.image, **error_body(answer.code, answer.reason)}
    result = {key: value for key, value in answer.as_dict().items() if key != "path"}
    if answer.activation_maps is not None:
        height, width, _ = answer.activation_maps.shape
        values = answer.activation_maps.reshape(-1, len(answer.probabilities)).T.astype(float).round(5)
        result["activation_maps"] = {
            "height": height,
            "width": width,
            "classes": list(answer.probabilities),
            "values": values.tolist(),
        }
    if reference is not None and answer.features is not None:
        result["neighbours"] = [asdict(near) for near in reference.nearest(answer.features, neighbours)]
    return result


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(BadUpload)
    async def bad_upload(_: Request, error: BadUpload) -> Response:
        return JSONResponse(error_body(error.code, error.reason), error.status)

    @app.exception_handler(Busy)
    async def busy(_: Request, error: Busy) -> Response:
        reason = "Too many images are waiting. Come again."
        return JSONResponse(error_body("busy", reason), 503, {"Retry-After": str(error.seconds)})

    @app.exception_handler(LesionlabError)
    async def failed(_: Request, error: LesionlabError) -> Response:
        logging.getLogger(__name__).error("%s", error)
        return JSONResponse(error_body("failed", str(error)), 500)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        return JSONResponse(error_body("bad_parameter", f"{where}: {first['msg']}"), 422)

    @app.exception_handler(HTTPException)
    async def plain(_: Request, error: HTTPException) -> Response:
        reasons = {404: "not_found", 405: "wrong_method"}
        return JSONResponse(
            error_body(reasons.get(error.status_code, "refused"), str(error.detail)), error.status_code, error.headers
        )
