"""The main job: from a folder of images to a report, in the notebook's 14 steps.

In: a `Request`. Out: a run directory. Every step but the training is quick to do again, so a run that was interrupted
does them again and goes on with the training where it stood.
"""

import shlex
import sys
from pathlib import Path
from typing import Any

from lesionlab import __version__, evaluation, rundir, steps
from lesionlab.data.layouts import index_images
from lesionlab.diagnosis import NOT_A_DEVICE
from lesionlab.files import write_json, write_text
from lesionlab.steps import Request, Run

__all__ = ["Request", "run"]


def run(request: Request) -> Path:
    """Take a classifier through its whole life and return the run directory.

    Raises:
        UsageError: data, recipe or directory cannot be used as asked; says what to change.
        LesionlabError: a step failed.
        OSError: the disk is full or cannot be written.
    """
    if request.data:
        index_images(request.data)  # a folder that is not there is said before a run directory is made
    with rundir.claimed(request.out):
        identity = _identity(request)
        finished = rundir.begin(request.out, identity, again=request.again)
        if finished:
            print(f"This run was finished on {finished['finished'][:16]}: {request.out / 'report.html'}")
            print("Nothing was done again; --again starts it anew.")
            return request.out
        manifest = {
            "lesionlab": __version__,
            "command": shlex.join(["lesionlab", *sys.argv[1:]]),
            "request": identity,
            "seed": request.seed,
            "started": evaluation.now(),
            "finished": None,
        }
        write_json(request.out / rundir.MANIFEST, manifest)
        write_text(request.out / "recipe.toml", request.recipe.to_toml())
        _fourteen_steps(Run(request, manifest))
    return request.out


def _fourteen_steps(run: Run) -> None:
    steps.record_libraries(run)  # 1
    prepared = steps.prepare(run)  # 2 to 4
    steps.explore(run, prepared)  # 5
    steps.load(run, prepared)  # 6
    divided = steps.divide(run, prepared)  # 7 to 10
    trained = steps.fit(run, prepared, divided)  # 11 to 13
    evaluation.evaluate(run, prepared, divided, trained)  # 14
    print(f"\nReport: {run.request.out / 'report.html'}\n{NOT_A_DEVICE}")


def _identity(request: Request) -> dict[str, Any]:
    data = str(request.data.resolve()) if request.data else f"generated: {steps.DEMO_LESIONS} lesions"
    return {"recipe": request.recipe.to_toml(), "data": data, "seed": request.seed, "limit": request.limit}
