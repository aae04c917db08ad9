"""`lesionlab compare-data`: whether the pictures of two folders come from one place."""

import argparse
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lesionlab._version import NOT_A_DEVICE
from lesionlab.cli.arguments import Commands, whole_number
from lesionlab.errors import UsageError

if TYPE_CHECKING:
    from lesionlab.evaluation.drift import FigureShift


def add_compare_data(commands: Commands) -> None:
    """Add `compare-data` to the subcommands of `lesionlab`."""
    compare = commands.add_parser(
        "compare-data",
        help="test whether the pictures of two folders come from one place",
        description="Test whether the images of folders A and B come from one distribution: by the network's features (energy "
        "distance, permutation test over lesions), the mix of predictions, and how the images look. For a clinic's "
        "month against the one before, or against the images that a model was evaluated on.",
    )
    compare.add_argument("first", type=Path, metavar="A", help="folder of images to compare with, labelled or not")
    compare.add_argument("second", type=Path, metavar="B", help="folder of images that may differ")
    compare.add_argument(
        "--model",
        metavar="FILE",
        help="model file (.onnx), run directory, or the .toml file of an image encoder (default: the model that comes with "
        "lesionlab)",
    )
    compare.add_argument("--out", type=Path, metavar="FILE.html", help="write a page with plots")
    compare.add_argument(
        "--seed", type=whole_number, default=0, metavar="N", help="random seed of permutations and draws (default: 0)"
    )
    compare.set_defaults(command=_compare_data)


def _compare_data(options: argparse.Namespace) -> None:
    if options.out and (options.out.suffix not in (".html", ".htm") or not options.out.absolute().parent.is_dir()):
        raise UsageError(f"{options.out} is no page in a folder that exists: give --out FILE.html.")
    from lesionlab.lifecycle.compare_data import compare_data

    found = compare_data(options.first, options.second, options.model, seed=options.seed)
    verdict, names = found.verdict(), (found.first.name, found.second.name)
    if options.out:
        from lesionlab.report.drift_page import write_drift_page

        values = (found.first.quality, found.second.quality)
        shown = (names, verdict, found.shift, found.mix, found.quality, values, found.first.made.model)
        write_drift_page(options.out, *shown, notes=found.notes, diagnoses=found.diagnoses)
    for text in (verdict, *found.notes):
        print(textwrap.fill(text, 80, break_long_words=False, break_on_hyphens=False) + "\n")
    _print_changes(found.mix, 100, "% predicted as")
    _print_changes(found.quality, 1, "mean of")
    if options.out:
        print(f"Page: {options.out}")
    print(NOT_A_DEVICE)


def _print_changes(changes: "Sequence[FigureShift]", factor: float, what: str) -> None:
    if not changes:
        return
    print(f"{what:18}{'A':>9}{'B':>9}   difference, 95 % interval")
    for change in changes:
        first, second, more = (factor * value for value in (change.first, change.second, change.second - change.first))
        low, high = (factor * bound for bound in change.interval)
        print(f"{change.name:18}{first:z9.1f}{second:z9.1f}   {more:+z.1f} ({low:+z.1f} to {high:+z.1f})")
    print()
