"""Several finished runs made one: `lesionlab ensemble RUN RUN --out DIR`.

In: runs on the same images with the same split. Out: a run directory as of any run, of a network whose logits are the mean
of theirs; calibration, decision rule and thresholds are chosen anew, on the validation part that they have in common.

A member's prediction is the mean over flipped copies of the image. In the ensemble the copies are shared out: each member sees
as many fewer as there are members, so that up to four together take no longer than the first alone. Weights are rounded to
8 bits, so that the file of four members is no larger than that of one.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from lesionlab import folders
from lesionlab._version import NOT_A_DEVICE
from lesionlab.errors import UsageError
from lesionlab.files import write_text
from lesionlab.lifecycle import prepare
from lesionlab.lifecycle.explore import explore_run
from lesionlab.lifecycle.values import CleanData, Request, Run, SplitData, Steps
from lesionlab.runs import directory, start
from lesionlab.runs.directory import RunDirectory
from lesionlab.runs.identity import Head, Identity
from lesionlab.runs.stages import announce


def ensemble(
    members: Sequence[Path], out: Path, *, name: str = "ensemble", calibration: str | None = None, again: bool = False
) -> Path:
    """Join finished runs into a run of its own and return its directory.

    Args:
        members: run directories, two or more; seed and split are those of the first.
        out: the new run directory.
        name: of the ensemble, as a recipe's.
        calibration: `none`, `temperature` or `vector`; None: as the first run's.
        again: do it again where `out` holds this very ensemble.

    Raises:
        UsageError: fewer than two, one run twice, a run that is not finished, runs that differ in images, split, size or crop, or
            `out` is one of them.
        LesionlabError: a step failed.

    """
    runs = _fitting(members)
    if out.resolve() in [member.resolve() for member in members]:
        raise UsageError(f"{out} is one of the runs to join. Choose another folder with --out.")
    recipe = dataclasses.replace(runs[0].recipe, name=name, summary=_summary(members))
    if calibration:
        recipe = recipe.with_changes("decision", calibration=calibration)
    first = runs[0]
    folders.refuse_among_images(out, first.data_folder)
    request = Request(recipe, first.data_folder, out, first.head.seed, first.head.request.limit)
    identity = Identity(
        recipe=recipe.to_toml(),
        members=tuple(str(member.resolve()) for member in members),
        finished=tuple(run.head.finished or "" for run in runs),
        limit=request.limit,
    )
    with folders.claimed(out, directory.MANIFEST):
        if start.find_finished(out, identity, again=again):
            announce(
                f"This ensemble is finished: {out / 'report.html'}\nNothing was done again; --again starts it anew."
            )
            return out
        head = start.new_head(identity, request.seed)
        start.write_manifest(out, head)
        write_text(out / directory.RECIPE, recipe.to_toml())
        _fourteen_steps(Run(request), head, runs)
    return out


def _fourteen_steps(run: Run, head: Head, members: Sequence[RunDirectory]) -> None:
    environment = prepare.record_libraries(run)  # 1
    from lesionlab.lifecycle.evaluate import evaluate  # with Keras, which step 1 imports
    from lesionlab.lifecycle.join_networks import join_runs

    data = prepare.prepare(run)  # 2 to 4
    explored = explore_run(run, data)  # 5
    prepare.load(run, data)  # 6
    split = prepare.divide(run, data)  # 7 to 10
    _check_data(data, split, members[0])
    steps = Steps(environment, data, explored, split, join_runs(run, data, split, members))  # 11 to 13
    evaluate(run, head, steps)  # 14
    announce(f"\nReport: {run.request.out / 'report.html'}\n{NOT_A_DEVICE}")


def _summary(members: Sequence[Path]) -> str:
    return f"The runs {', '.join(member.resolve().name for member in members)} joined; the choices below are those of the first."


def _fitting(members: Sequence[Path]) -> list[RunDirectory]:
    """Open runs that can be joined."""
    if len(members) < 2:
        raise UsageError("An ensemble needs two runs or more.")
    real = [member.resolve() for member in members]
    twice = [member for place, member in enumerate(members) if real[place] in real[:place]]
    if twice:
        raise UsageError(f"{twice[0]} is given twice. An ensemble needs two different runs or more.")
    runs = [directory.open_run(member) for member in members]
    for run in runs:
        if run.members:
            inner = " ".join(map(str, run.members))
            raise UsageError(f"{run.folder} is an ensemble. Give the runs that it was made of: {inner}.")
    for run in runs[1:]:
        _refuse_misfit(run, runs[0])
    return runs


def _refuse_misfit(run: RunDirectory, first: RunDirectory) -> None:
    """Refuse a run that reads other images than the first, reads them otherwise, or trains on other parts of them."""
    if run.manifest.data.fingerprint != first.manifest.data.fingerprint:
        raise UsageError(
            f"{run.folder} has other images than {first.folder}. Only runs on the same images can be joined."
        )
    if run.taxonomy.dx != first.taxonomy.dx:
        raise UsageError(
            f"{run.folder} has other diagnoses ({', '.join(run.taxonomy.dx)}) than {first.folder} "
            f"({', '.join(first.taxonomy.dx)}). Only runs with the same can be joined."
        )
    if run.recipe.image != first.recipe.image:
        raise UsageError(f"{run.folder} has another image size, crop or normalisation than {first.folder}.")
    if not _parts(run).equals(_parts(first)):
        raise UsageError(
            f"{run.folder} has another split than {first.folder}: its training images may be the other's test images. "
            f"Train it with --split {first.folder / 'splits.csv'}."
        )


def _check_data(data: CleanData, split: SplitData, first: RunDirectory) -> None:
    if data.facts.fingerprint != first.manifest.data.fingerprint:
        raise UsageError(
            f"The images of {first.folder} have changed since. Restore them, or repeat the runs with --again."
        )
    now = split.table.set_index("image_id")["part"].sort_index()
    if not now.equals(_parts(first)):
        raise UsageError(
            f"The images of {first.folder} are now split in another way: they or its recipe.toml have changed."
        )


def _parts(run: RunDirectory) -> pd.Series:
    return run.splits().set_index("image_id")["part"].sort_index()
