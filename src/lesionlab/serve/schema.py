"""What the API takes and answers, as `/openapi.json` describes it."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from lesionlab.data.patient import OLDEST_YEARS, SEXES, SITES
from lesionlab.serve.uploads import FIELD

UPLOAD = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": [FIELD],
                "properties": {
                    FIELD: {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}},
                    "age": {
                        "type": "string",
                        "description": f"Years, up to {OLDEST_YEARS}; of the patient whom all images are of.",
                    },
                    "sex": {"type": "string", "description": ", ".join(SEXES)},
                    "site": {"type": "string", "description": ", ".join(SITES)},
                },
                "additionalProperties": False,
            },
            "encoding": {FIELD: {"contentType": "image/jpeg, image/png, image/bmp, image/gif, image/tiff, image/webp"}},
        }
    },
}


class Error(BaseModel):
    """What was wrong with a request, or with an image."""

    code: str
    reason: str = Field(description="What was wrong, and what to do.")


class ErrorBody(BaseModel):
    """The body of an answer that is none."""

    error: Error


class Maps(BaseModel):
    """Class activation maps."""

    height: int
    width: int
    classes: list[str]
    values: list[list[float]] = Field(description="Of each class the map, row by row.")


class Patient(BaseModel):
    """What was known of the patient, and is in the probabilities."""

    age: float | None
    sex: str | None
    site: str | None


class Neighbour(BaseModel):
    """A case of the reference folder."""

    image: str
    dx: str
    name: str
    similarity: float = Field(description="Cosine of the features, -1 to 1.")
    url: str


class Result(BaseModel):
    """Of one image: what `lesionlab predict --json` prints, or `image` and `error` alone."""

    image: str
    error: Error | None = None
    dx: str | None = Field(None, description="Code of the likeliest diagnosis.")
    name: str | None = None
    probabilities: dict[str, float] | None = Field(None, description="By code; they sum to 1.")
    malignant_probability: float | None = None
    uncertainty: float | None = Field(None, description="0 (sure) to 1.")
    decision: Literal["malignant", "benign", "uncertain", "not dermatoscopic"] | None = None
    prediction_set: list[str] | None = Field(None, description="What cannot be ruled out, the likeliest first.")
    ood_score: float | None = None
    is_dermatoscopic: bool | None = None
    metadata: Patient | None = Field(None, description="Where age, sex or site are in the probabilities.")
    left_out: list[str] | None = Field(
        None, description="What of age, sex and site could not be read, and is not used."
    )
    activation_maps: Maps | None = Field(None, description="With explain=true.")
    neighbours: list[Neighbour] | None = Field(None, description="With neighbours, where there is a reference folder.")


class Answer(BaseModel):
    """A result for each image, in their order."""

    notice: str
    model: dict[str, str]
    results: list[Result]


class Health(BaseModel):
    """Of the process."""

    status: str


ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": description}
    for status, description in (
        (400, "The request or its form is broken."),
        (401, "The token is missing or wrong."),
        (403, "A page of another origin asks."),
        (408, "The body did not arrive in time."),
        (413, "The body, an image or the number of images is too large."),
        (415, "The body is not multipart/form-data, is encoded, or holds no image of a format that is read."),
        (421, "The Host header names another host."),
        (422, "A parameter is wrong, or no image can be read."),
        (500, "The model fails."),
        (503, "Too many images are waiting; see Retry-After."),
    )
}
