"""TensorBoard: a run directory's history and figures as event files in its folder `tensorboard`.

`tensorboard --logdir runs` then shows every run beside the others. TensorFlow is not needed.
"""

import json
import shutil
from pathlib import Path

from lesionlab import tracking
from lesionlab.errors import UsageError

FOLDER = "tensorboard"


def start_tensorboard(folder: Path) -> tracking.Tracker:
    """Write event files anew while the run trains, and once more, in full, when it is finished."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise UsageError(f"TensorBoard's writer is not installed ({error}): pip install 'lesionlab[track]'.") from error
    place = folder / FOLDER

    def epoch(row: dict[str, float]) -> None:
        with SummaryWriter(str(place)) as writer:
            _add_epoch(writer, row)

    def finish() -> str:
        shutil.rmtree(place, ignore_errors=True)  # what was written while it trained is written again, whole
        recipe, manifest = tracking.read_choices(folder)
        metrics = tracking.figures(json.loads((folder / "metrics.json").read_text(encoding="utf-8")))
        with SummaryWriter(str(place)) as writer:
            for row in tracking.read_history(folder):
                _add_epoch(writer, row)
            for name, value in metrics.items():
                writer.add_scalar(name.replace(".", "/", 1), value, 0)
            choices = tracking.parameters(recipe, manifest)
            writer.add_text("recipe", "\n".join(f"    {name} = {value}" for name, value in choices.items()))
        return f"tensorboard --logdir {place}"

    return tracking.Tracker("tensorboard", epoch, finish)


def _add_epoch(writer: object, row: dict[str, float]) -> None:
    for name, value in tracking.epoch_figures(row).items():
        writer.add_scalar(f"epoch/{name}", value, int(row["epoch"]))  # type: ignore[attr-defined]
