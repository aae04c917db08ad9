"""TensorBoard: a run directory's history and figures as event files in its folder `tensorboard`.

`tensorboard --logdir runs` then shows every run beside the others. TensorFlow is not needed.
"""

import shutil
from pathlib import Path

from lesionlab.errors import UsageError, why_missing
from lesionlab.tracking import tracker

FOLDER = "tensorboard"


def start_tensorboard(folder: Path, *, again: bool = False) -> tracker.Tracker:
    """Write events while the run trains, and once more, in full, when it is finished."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise UsageError(f"{why_missing('TensorBoard', 'tensorboardX', 'track')}.") from error
    place = folder / FOLDER
    if again:
        shutil.rmtree(place, ignore_errors=True)
    live: list[SummaryWriter] = []  # one, from the first epoch on

    def epoch(row: dict[str, float]) -> None:
        if not live:
            live.append(SummaryWriter(str(place), flush_secs=1))
        _add_epoch(live[0], row)

    def finish() -> str:
        run = tracker.open_directory(folder)
        history, figures = tracker.read_history(run), tracker.read_figures(run)
        for writer in live:
            writer.close()
        shutil.rmtree(place, ignore_errors=True)  # what was written while it trained is written again, whole
        with SummaryWriter(str(place)) as writer:
            for row in history:
                _add_epoch(writer, row)
            for name, value in figures.items():
                writer.add_scalar(name.replace(".", "/", 1), value, 0)
            choices = tracker.parameters(run)
            writer.add_text("recipe", "\n".join(f"    {name} = {value}" for name, value in choices.items()))
        return f"tensorboard --logdir {place}"

    def stop(is_users: bool) -> None:
        for writer in live:
            writer.close()

    return tracker.Tracker("tensorboard", epoch, finish, stop)


def _add_epoch(writer: object, row: dict[str, float]) -> None:
    for name, value in tracker.epoch_figures(row).items():
        writer.add_scalar(f"epoch/{name}", value, int(row["epoch"]))  # type: ignore[attr-defined]
