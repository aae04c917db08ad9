"""`lesionlab probe`: a linear head on a model's features, evaluated as a run."""

import argparse
from pathlib import Path

from lesionlab.cli.arguments import Commands, add_data, add_reading, positive, reading_of, whole_number


def add_probe(commands: Commands) -> None:
    """Add `probe` to the subcommands of `lesionlab`."""
    probe = commands.add_parser(
        "probe",
        help="fit a linear head to your images: the fastest honest baseline",
        description="Read, clean and split a folder of images as 'run' does, fit a linear head to the features of a model, "
        "which stays as it is, and evaluate it on lesions kept apart: a run directory with a report and model.onnx. Needs "
        "neither Keras nor TensorFlow. A full training must beat it.",
    )
    add_data(probe)
    probe.add_argument(
        "--model",
        metavar="FILE",
        help="model file (.onnx) or run directory (default: the model that comes with lesionlab)",
    )
    probe.add_argument("--out", type=Path, metavar="DIR", help="run directory (default: runs/DATA-probe)")
    probe.add_argument(
        "--split",
        metavar="NAME|FILE",
        help="how to split, as with 'run': lesion (default), source:CLINIC, official, or a .csv file",
    )
    add_reading(probe)
    probe.add_argument("--limit", type=positive, metavar="N", help="use about N images, for a quick try")
    probe.add_argument("--seed", type=whole_number, default=0, metavar="N", help="random seed (default: 0)")
    probe.add_argument("--again", action="store_true", help="start over, and replace what the run directory holds")
    probe.set_defaults(command=_probe)


def _probe(options: argparse.Namespace) -> None:
    from lesionlab.cli.run import split_choice
    from lesionlab.lifecycle.probe import ProbeRequest, probe
    from lesionlab.recipe import Recipe

    reading_of(options)  # that there is such a taxonomy, and such kinds
    names = "-".join(folder.resolve().name for folder in options.data)
    changes = split_choice(options.split) if options.split else {}
    probe(
        ProbeRequest(
            data=tuple(options.data),
            out=options.out or Path("runs") / f"{names}-probe",
            model=options.model,
            split=Recipe().with_changes("split", **changes).split,
            taxonomy=options.taxonomy or "",
            image_types=options.image_type or "",
            seed=options.seed,
            limit=options.limit,
            again=options.again,
        )
    )
