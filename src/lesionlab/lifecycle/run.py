"""The main job: from a folder of images to a report, in the notebook's 14 steps.

In: a `Request`. Out: a run directory. Every step but the training is quick to do again, so a run that was interrupted
does them again and goes on with the training where it stood.
"""

import dataclasses
import os
import tempfile
from pathlib import Path
from typing import Any

from jinja2 import UndefinedError

from lesionlab import folders, tracking
from lesionlab._version import NOT_A_DEVICE
from lesionlab.data.layouts.recognise import index_images
from lesionlab.data.split import split_file_digest
from lesionlab.files import write_json, write_text
from lesionlab.lifecycle import evaluate, prepare
from lesionlab.lifecycle.values import CleanData, Request, Run, SplitData, Trained
from lesionlab.report.page import write_report
from lesionlab.runs import directory
from lesionlab.runs.artifacts import damaged
from lesionlab.runs.stages import announce

_KEPT = (
    "metrics.json", "predictions.csv", "splits.csv", "history.csv", "exploration.json", "recipe.toml", "card.md", "figures",
)  # fmt: skip


def run(request: Request) -> Path:
    """Take a classifier through its whole life and return the run directory.

    Raises:
        UsageError: data, recipe or directory cannot be used as asked; says what to change.
        LesionlabError: a step failed.
        OSError: the disk is full or cannot be written.
    """
    request = validated(request)
    if os.environ.get("KERAS_DISTRIBUTION_PROCESS_ID", "0") != "0":
        return _help_to_train(request)
    with folders.claimed(request.out, directory.MANIFEST):
        identity = identify(request)
        finished = directory.begin(request.out, identity, again=request.again)
        if finished:
            what = _completed(request.out)
            announce(f"This run was finished on {finished['finished'][:16]}: {request.out / 'report.html'}")
            announce(f"{what} --again starts it anew.")
            return request.out
        manifest = directory.new_manifest(identity, request.seed)
        write_json(request.out / directory.MANIFEST, manifest)
        write_text(request.out / "recipe.toml", request.recipe.to_toml())
        trackers = tracking.start_all(request.track, request.out, again=request.again)
        with tracking.closing_trackers(trackers):
            _fourteen_steps(Run(request, manifest, trackers=trackers))
    return request.out


def _completed(out: Path) -> str:
    """Write a finished run's report where it is gone, from the run's other files; say what was done.

    Raises:
        LesionlabError: one of those is gone.

    """
    gone = [name for name in _KEPT if not (out / name).exists()]
    if gone:
        raise damaged(out, f"{', '.join(gone)} {'is' if len(gone) == 1 else 'are'} gone")
    if (out / "report.html").exists():
        return "Nothing was done again;"
    try:
        write_report(out)
    except UndefinedError as error:
        raise damaged(out, "an older lesionlab made it, whose figures this one's report cannot show") from error
    return "The report was gone, and is written anew from the run's files; nothing else was done again;"


def validated(request: Request) -> Request:
    """Name the recipe's files in full; refuse data that are not there and results among them, before anything is written.

    Raises:
        UsageError: no folder of images, or `out` lies in it.

    """
    data = request.data and Path(request.data)  # a string does as well
    request = dataclasses.replace(request, data=data, out=Path(request.out))
    if request.data:
        index_images(request.data)
        folders.refuse_among_images(request.out, request.data)
    return dataclasses.replace(request, recipe=request.recipe.with_full_paths())


def _help_to_train(request: Request) -> Path:
    """Do the steps up to the training beside the host that holds the run directory; what they write is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        own = dataclasses.replace(request, out=Path(folder))
        _thirteen_steps(Run(own, {}, request.out / directory.CHECKPOINT))
    announce(f"\nTrained with the other hosts; the report will be in {request.out}, written by the first of them.")
    return request.out


def _thirteen_steps(run: Run) -> tuple[CleanData, SplitData, Trained]:
    prepare.record_libraries(run)  # 1
    from lesionlab.lifecycle.train import fit
    from lesionlab.model.architectures import check_model  # with Keras, which step 1 imports

    check_model(run.request.recipe)  # before the data are read, which takes longer
    prepared = prepare.prepare(run)  # 2 to 4
    prepare.explore(run, prepared)  # 5
    prepare.load(run, prepared)  # 6
    divided = prepare.divide(run, prepared)  # 7 to 10
    return prepared, divided, fit(run, prepared, divided)  # 11 to 13


def _fourteen_steps(run: Run) -> None:
    prepared, divided, trained = _thirteen_steps(run)
    evaluate.evaluate(run, prepared, divided, trained)  # 14
    announce(f"\nReport: {run.request.out / 'report.html'}\n{NOT_A_DEVICE}")


def identify(request: Request) -> dict[str, Any]:
    """Say what makes a run this one: the same goes on where it stopped, another is refused."""
    data = str(request.data.resolve()) if request.data else f"generated: {prepare.DEMO_LESIONS} lesions"
    identity = {"recipe": request.recipe.to_toml(), "data": data, "seed": request.seed, "limit": request.limit}
    if request.recipe.split.name == "file":
        identity["split file"] = split_file_digest(Path(request.recipe.split.file))
    return identity
