"""How a model's predictions change when its held-out images do, as tables: see docs/scorecard-images.md.

Of the test part of the first folder; the other folders are named only for the split to be read. `lesionlab evaluate
--robustness` takes the same figures for one folder.

    python benchmarks/robustness.py MODEL.onnx --data FOLDER [--data FOLDER ...] --split splits.csv [--lesions 160]
"""

import argparse

from held_out import add_model_arguments, images_of_split
from lesionlab.evaluation.metrics_file import Robustness, RobustnessRow
from lesionlab.inference.model import load_model
from lesionlab.lifecycle.given_predictions import measure_robustness


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_model_arguments(parser)
    parser.add_argument("--lesions", type=int, default=160)
    options = parser.parse_args()
    model = load_model(options.model)
    table = images_of_split(options.data, options.split, model.facts.taxonomy)
    test = table[(table["part"] == "test") & (table["folder"] == 0)].reset_index(drop=True)
    found = measure_robustness(model, test, options.lesions, 0)
    print_overall(found)
    print_corruptions(found)
    print_rows("change", [*found.marks, *found.symmetries])
    print_rows("covered", found.covered)


def print_overall(found: Robustness) -> None:
    """Print what the row of the scorecard says."""
    clean, mean = found.clean, found.mean
    counts = ", ".join(f"{dx} {n}" for dx, n in found.counts.items() if n)
    print(f"{found.images} of {found.images_in_all} lesions: {counts}")
    print(
        f"as they are: balanced accuracy {clean.balanced_accuracy:.3f}, malignant from {found.threshold:.3f}: sensitivity "
        f"{clean.sensitivity:.3f}, specificity {clean.specificity:.3f}; {clean.rejected:.1%} rejected"
    )
    rise, changed = (
        f"({interval[0]:.3f} to {interval[1]:.3f})" if interval else "(no interval)"
        for interval in (mean.rise_interval, mean.changed_interval)
    )
    print(
        f"mean of the corruptions: balanced error rises by {mean.rise:.3f} {rise}, relative accuracy {mean.relative:.2f}, "
        f"{mean.changed:.3f} {changed} of the predictions change, {mean.rejected:.1%} rejected"
    )
    print(f"{found.consistent:.1%} of the images keep one prediction, mirrored and turned")


def print_corruptions(found: Robustness) -> None:
    """Print balanced accuracy by severity, and means over the five."""
    print(
        "\n| corruption | 1 | 2 | 3 | 4 | 5 | rise | changed | specificity falls by | rejected |\n"
        + "| --- " * 10
        + "|"
    )
    for row in found.corruptions:
        each = " | ".join(f"{one.balanced_accuracy:.2f}" for one in row.severities)
        more = f"{row.rise:+.3f} | {row.changed:.0%} | {row.specificity_drop:+.3f} | {row.rejected:.0%}"
        print(f"| {row.name} | {each} | {more} |")


def print_rows(what: str, rows: list[RobustnessRow]) -> None:
    """Print a row for each change."""
    print(
        f"\n| {what} | level | balanced accuracy | predictions changed | sensitivity | specificity | specificity falls by |\n"
        + "| --- " * 7
        + "|"
    )
    for row in rows:
        shares = f"{row.balanced_accuracy:.3f} | {row.changed:.1%} | {row.sensitivity:.3f} | {row.specificity:.3f}"
        print(f"| {row.name} | {row.level:g} | {shares} | {row.specificity_drop:+.3f} |")


if __name__ == "__main__":
    main()
