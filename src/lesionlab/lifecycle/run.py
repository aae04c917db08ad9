"""The main job: from a folder of images to a report, in the notebook's 14 steps.

In: a `Request`. Out: a run directory. Every step but the training is quick to do again, so a run that was interrupted
does them again and goes on with the training where it stood.
"""

import dataclasses
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from jinja2 import UndefinedError

from lesionlab import folders
from lesionlab._version import NOT_A_DEVICE
from lesionlab.data.layouts.joined import count_images
from lesionlab.data.split import split_file_digest
from lesionlab.environment import refuse_without_keras
from lesionlab.files import write_text
from lesionlab.lifecycle import prepare
from lesionlab.lifecycle.explore import explore_run
from lesionlab.lifecycle.values import Request, Run, Steps
from lesionlab.report.page import write_report
from lesionlab.runs import directory, start
from lesionlab.runs.directory import RunDirectory, damaged
from lesionlab.runs.identity import Head, Identity
from lesionlab.runs.stages import announce
from lesionlab.tracking.trackers import closing_trackers, start_all

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
    if not (request.out / directory.MANIFEST).exists():
        refuse_without_keras()  # before a folder is made
    if os.environ.get("KERAS_DISTRIBUTION_PROCESS_ID", "0") != "0":
        return _help_to_train(request)
    return carry_out(request, _fourteen_steps)


def carry_out(request: Request, steps: Callable[[Run, Head], None]) -> Path:
    """Have the steps of a run done in its directory, unless they are done, and return it.

    Args:
        request: `validated`.
        steps: what the run does; given what its manifest begins with.

    Raises:
        UsageError: the directory holds something else.

    """
    with folders.claimed(request.out, directory.MANIFEST):
        identity = identify(request)
        finished = start.find_finished(request.out, identity, again=request.again)
        if finished:
            what = _completed(finished)
            announce(f"This run was finished on {(finished.head.finished or '')[:16]}: {request.out / 'report.html'}")
            announce(f"{what} --again starts it anew.")
            return request.out
        head = start.new_head(identity, request.seed)
        start.write_manifest(request.out, head)
        write_text(request.out / directory.RECIPE, request.recipe.to_toml())
        trackers = start_all(request.track, request.out, again=request.again)
        with closing_trackers(trackers):
            steps(Run(request, trackers=trackers), head)
    return request.out


def _completed(run: RunDirectory) -> str:
    """Write a finished run's report where it is gone, from the run's other files; say what was done.

    Raises:
        LesionlabError: one of those is gone.

    """
    gone = [name for name in _KEPT if not (run.folder / name).exists()]
    if gone:
        raise damaged(run.folder, f"{', '.join(gone)} {'is' if len(gone) == 1 else 'are'} gone")
    if (run.folder / "report.html").exists():
        return "Nothing was done again;"
    try:
        rewrite_report(run)
    except UndefinedError as error:
        raise damaged(run.folder, "an older lesionlab made it, whose figures this one's report cannot show") from error
    return "The report was gone, and is written anew from the run's files; nothing else was done again;"


def rewrite_report(run: RunDirectory) -> Path:
    """Write a finished run's report anew, from what its directory holds."""
    return write_report(run.folder, run.manifest, run.metrics(), run.exploration(), run.history(), run.recipe)


def validated(request: Request) -> Request:
    """Make the recipe's paths absolute; reject a missing data folder, or an `out` inside it, before anything is written.

    Raises:
        UsageError: no folder of images, `out` lies in it, or the recipe names no taxonomy.

    """
    data = request.data and folders.as_data(request.data)
    request = dataclasses.replace(request, data=data, out=Path(request.out))
    _ = request.taxonomy  # that there is such a one
    if request.data:
        count_images(request.data)
        folders.refuse_among_images(request.out, request.data)
    return dataclasses.replace(request, recipe=request.recipe.with_full_paths())


def _help_to_train(request: Request) -> Path:
    """Do the steps up to the training beside the host that holds the run directory; what they write is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        own = dataclasses.replace(request, out=Path(folder))
        _thirteen_steps(Run(own, request.out / directory.CHECKPOINT))
    announce(f"\nTrained with the other hosts; the report will be in {request.out}, written by the first of them.")
    return request.out


def _thirteen_steps(run: Run) -> Steps:
    environment = prepare.record_libraries(run)  # 1
    from lesionlab.lifecycle.teach import open_teacher
    from lesionlab.lifecycle.train import fit  # with Keras, which step 1 imports
    from lesionlab.model.check import check_model

    check_model(run.request.recipe)  # before the data are read, which takes longer
    open_teacher(run.request.recipe, run.request.taxonomy)
    data = prepare.prepare(run)  # 2 to 4
    explored = explore_run(run, data)  # 5
    prepare.load(run, data)  # 6
    split = prepare.divide(run, data)  # 7 to 10
    return Steps(environment, data, explored, split, fit(run, data, split))  # 11 to 13


def _fourteen_steps(run: Run, head: Head) -> None:
    steps = _thirteen_steps(run)
    from lesionlab.lifecycle.evaluate import evaluate  # with Keras, which step 1 imports

    evaluate(run, head, steps)  # 14
    announce(f"\nReport: {run.request.out / 'report.html'}\n{NOT_A_DEVICE}")


def identify(request: Request) -> Identity:
    """Say what makes a run this one: the same goes on where it stopped, another is refused."""
    generated = f"generated: {prepare.DEMO_LESIONS} lesions"
    data = folders.as_written(folders.resolved(request.data)) if request.data else generated
    split = request.recipe.split
    return Identity(
        recipe=request.recipe.to_toml(),
        data=data,
        seed=request.seed,
        limit=request.limit,
        split_file=split_file_digest(Path(split.file)) if split.name == "file" else None,
        taxonomy=request.written_taxonomy,
    )
