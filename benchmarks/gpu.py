"""What a GPU makes of every recipe: images/s on JAX and PyTorch, share of its matrix peak, time to a balanced accuracy.

    python benchmarks/gpu.py [--recipe mobile] [--side jax] [--json gpu.json]
    python benchmarks/gpu.py --recipe mobile --until 0.65 --data ../shared/ham10000 --weights FILE.weights.h5
    python benchmarks/gpu.py --images 64 --steps 4 --px 32 --batch 8 --peak-size 512   # proves the script, on a CPU

Sides are Keras on `jax`, Keras on `torch`, and `by-hand` (`gpu_by_hand.py`: a loop with `torch.compile`; MobileNet only).
Each recipe and side has a process of its own, one after the other. In it (`gpu_measure.py`):

- matrix peak: the best of five rounds of products of two square matrices, in the precision of the training;
- step: the training step that `lesionlab.model.train.train` made, called on batches that lie on the device;
- train: `train` itself over random images from a memory-mapped file, the median of its epochs after the first. What it
  takes longer than its steps is the input's share: reading, copying to the device, waiting for the host;
- outside fit: the share of such an epoch that validation (64 images here) and checkpoint take;
- GFLOP: on JAX what XLA counts of the step, augmentation and optimizer included; elsewhere the layers' products, three times
  (forward, and twice backward), once where they are frozen.

Images have the recipe's full size from the start. `--until` trains on the training lesions of `--data` as the recipe says.
"""

import argparse
import datetime
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from gpu_measure import SIDES, chosen_recipe
from lesionlab.data.layouts.recognise import index_images
from lesionlab.errors import UsageError
from lesionlab.recipe import recipe_names

INSTALL = {
    "jax": "JAX is not installed here: pip install 'lesionlab[gpu]'",
    "torch": "PyTorch is not installed here: pip install 'lesionlab[torch]'",
}
COLUMNS = (
    "recipe", "side", "precision", "batch", "px", "images on device", "step, images/s", "train, images/s", "input's share",
    "outside fit", "GFLOP/image", "counted by", "TFLOP/s", "peak TFLOP/s", "share of peak", "time to",
)  # fmt: skip
SHARES = ("input's share", "outside fit", "share of peak")
INPUT_BAR = 0.03


def main() -> int:
    """Measure every recipe on every side; print the table, and how the bars were met."""
    options = _parse()
    sides = options.side or [side for side, package in SIDES.items() if importlib.util.find_spec(package)]
    missing = [name for name in INSTALL if not importlib.util.find_spec(name)]
    wanted = {SIDES[side] for side in sides} or set(INSTALL)
    if lacking := [f"{INSTALL[name]}, or leave it out with --side." for name in missing if name in wanted]:
        print(*lacking, sep="\n", file=sys.stderr)
        return 2
    rows: list[dict[str, Any]] = []
    failed: list[str] = []
    for name in options.recipe or recipe_names():
        recipe = chosen_recipe(name, options)
        for side in sides:
            if side == "by-hand" and recipe.model.architecture != "MobileNet":
                continue
            print(f"{name} on {side} ...", file=sys.stderr, flush=True)
            row = _measure(name, side, options)
            if row:
                rows.append(row)
            else:
                failed.append(f"{name} on {side}")
    _report(rows)
    for what in failed:
        print(f"FAILED: {what}. Its last lines on standard error say why.")
    if options.json:
        found = {"date": str(datetime.date.today()), "options": vars(options), "rows": rows, "failed": failed}
        options.json.write_text(json.dumps(found, indent=1, default=str) + "\n", encoding="utf-8")
    return 1 if failed else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", action="append", help="name or file; may be repeated (default: every recipe)")
    parser.add_argument("--side", action="append", choices=SIDES, help="may be repeated (default: all installed)")
    parser.add_argument("--precision", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--images", type=int, default=4096, help="random training images")
    parser.add_argument("--epochs", type=int, default=4, help="of the whole training; the first is not counted")
    parser.add_argument("--steps", type=int, default=200, help="of the step alone, three times")
    parser.add_argument("--batch", type=int, help="images a batch (default: the recipe's)")
    parser.add_argument("--px", type=int, help="longer side of the images (default: the recipe's)")
    parser.add_argument(
        "--resident", choices=("auto", "yes", "no"), default="auto", help="training images on the device"
    )
    parser.add_argument("--peak-size", type=int, default=8192, help="side of the square matrices")
    parser.add_argument(
        "--until", type=float, help="balanced accuracy of the validation part to train to; needs --data"
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument("--weights", help="that --until starts from (default: the recipe's)")
    parser.add_argument("--json", type=Path, help="write all figures here, too")
    options = parser.parse_args()
    if options.until and not options.data:
        parser.error("--until needs --data DIR, a folder of images with their diagnoses")
    if options.epochs < 2 or min(options.images, options.steps) < 1:
        parser.error("--epochs must be at least 2, --images and --steps at least 1")
    try:
        if options.data:
            index_images(options.data)
        for name in options.recipe or ():
            chosen_recipe(name, options)
    except UsageError as error:
        parser.error(str(error))
    return options


def _measure(name: str, side: str, options: argparse.Namespace) -> dict[str, Any] | None:
    """Measure one recipe on one side in a process of its own; None where that failed."""
    job = json.dumps(vars(options) | {"recipe": name, "side": side}, default=str)
    command = [sys.executable, str(Path(__file__).with_name("gpu_measure.py")), job]
    environment = os.environ | {"KERAS_BACKEND": SIDES[side]}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None


def _report(rows: list[dict[str, Any]]) -> None:
    """Print a Markdown table, fit for docs/performance.md, what it was measured on, and the bars."""
    print(f"{datetime.date.today()}")
    for device, versions in sorted({(row["device"], row["versions"]) for row in rows}):
        print(f"{device}: {versions}")
    if any(not row["is_gpu"] for row in rows):
        print("NO GPU: these figures prove that the script runs, and say nothing of a GPU.")
    columns = [column for column in COLUMNS if any(column in row for row in rows)]
    print("\n| " + " | ".join(columns) + " |\n" + "| --- " * len(columns) + "|")
    for row in rows:
        print("| " + " | ".join(_cell(column, row.get(column)) for column in columns) + " |")
    print()
    steps = {(row["recipe"], row["side"]): row["step, images/s"] for row in rows}
    for row in rows:
        recipe, side, share = row["recipe"], row["side"], row.get("input's share")
        if share is not None:
            verdict = (
                _met(share < INPUT_BAR)
                if share > -INPUT_BAR
                else "UNCLEAR: the step alone was slower, is the machine busy?"
            )
            print(f"{recipe} on {side}: input {share:.1%} of the time, bar under {INPUT_BAR:.0%}: {verdict}")
        if side == "jax" and (recipe, "by-hand") in steps:
            ratio = steps[recipe, side] / steps[recipe, "by-hand"]
            print(f"{recipe}: JAX / torch.compile by hand {ratio:.2f}, bar at least 1: {_met(ratio >= 1)}")


def _cell(column: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.1%}" if column in SHARES else f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
    return "" if value is None else str(value)


def _met(is_met: bool) -> str:
    return "met" if is_met else "MISSED"


if __name__ == "__main__":
    sys.exit(main())
