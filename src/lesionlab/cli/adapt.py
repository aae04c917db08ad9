"""`lesionlab adapt`: a model for one's own clinic."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lesionlab._version import NOT_A_DEVICE
from lesionlab.cli.arguments import Commands, add_data, add_reading, reading_of, whole_number
from lesionlab.errors import UsageError

if TYPE_CHECKING:
    from lesionlab.lifecycle.adapt import Adapted


def add_adapt(commands: Commands) -> None:
    """Add `adapt` to the subcommands of `lesionlab`."""
    adapt = commands.add_parser(
        "adapt",
        help="adapt a model to a clinic's labelled images: a new model file",
        description="Adapt a model to the labelled images of a clinic, in its own diagnoses, and write a new model file. Chosen "
        "by cross-validation over lesions: the model as it is, recalibrated, corrected for the clinic's mix of diagnoses, or "
        "with a head that starts from the old one. Without labels (--unlabelled alone) the mix of diagnoses is corrected for. "
        "Needs the extra 'adapt', and neither Keras nor TensorFlow.",
    )
    adapt.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="model file (.onnx) or run directory (default: the model that comes with lesionlab)",
    )
    add_data(adapt, required=False)
    adapt.add_argument("--out", type=Path, required=True, metavar="FILE.onnx", help="the new model file")
    adapt.add_argument("--report", type=Path, metavar="FILE.html", help="write a report: what changed, by how much")
    adapt.add_argument(
        "--unlabelled",
        type=Path,
        nargs="+",
        default=[],
        metavar="PATH",
        help="images without diagnoses: to rank, or, without --data, to estimate the mix of diagnoses from",
    )
    adapt.add_argument(
        "--rank",
        type=Path,
        metavar="FILE.csv",
        help="which unlabelled images to label next, with a contact sheet (.png)",
    )
    adapt.add_argument(
        "--suspects", type=Path, metavar="FILE.csv", help="labels that may be wrong, with a contact sheet (.png)"
    )
    adapt.add_argument(
        "--seed", type=whole_number, default=0, metavar="N", help="random seed of the folds (default: 0)"
    )
    add_reading(adapt)
    adapt.set_defaults(command=_adapt)


def _adapt(options: argparse.Namespace) -> None:
    from lesionlab.lifecycle.adapted_words import adapted_in_words, mix_in_words

    _check(options)
    if options.data is None:
        from lesionlab.lifecycle.adapt_mix import adapt_mix, write_mix

        corrected = adapt_mix(options.model, options.unlabelled)
        difference = write_mix(corrected, options.out)
        print(*mix_in_words(corrected), sep="\n")
    else:
        from lesionlab.lifecycle.adapt import adapt, write_model

        taxonomy, image_types = reading_of(options)
        adapted = adapt(options.model, options.data, taxonomy=taxonomy, image_types=image_types, seed=options.seed)
        difference = write_model(adapted, options.out)
        print(*adapted_in_words(adapted), sep="\n")
        if options.report or options.suspects or options.rank:
            _write_further(options, adapted)
    print(f"{options.out} written. Largest difference from its head on real images: {difference:.0e} in probability.")
    print(f"Use it: lesionlab predict IMAGE --model {options.out}\n{NOT_A_DEVICE}")


def _write_further(options: argparse.Namespace, adapted: "Adapted") -> None:
    """Write the report and the tables that were asked for."""
    from lesionlab.lifecycle.adapted_report import write_report
    from lesionlab.lifecycle.adapted_words import unlabelled_in_words
    from lesionlab.lifecycle.clinic_images import see_unlabelled
    from lesionlab.lifecycle.rank_images import sheet_of, write_ranking, write_suspects

    if options.report:
        write_report(adapted, options.report, options.out)
        print(f"Report: {options.report}")
    if options.suspects:
        found = write_suspects(adapted, options.suspects)
        print(f"{len(found):,} labels to look at again: {options.suspects}")
    if options.rank:
        unlabelled = see_unlabelled(adapted.old, options.unlabelled)
        write_ranking(adapted, unlabelled, options.rank)
        print(f"{unlabelled_in_words(unlabelled)}, the first to label first: {options.rank}, {sheet_of(options.rank)}")


def _check(options: argparse.Namespace) -> None:
    """Refuse what does not go together, before any image is read."""
    if options.data is None and not options.unlabelled:
        raise UsageError("Give labelled images by --data DIR, or images without labels by --unlabelled PATH.")
    needs_labels = ("report", "rank", "suspects", "taxonomy", "image_type")
    if options.data is None and any(getattr(options, name) for name in needs_labels):
        raise UsageError(
            "--report, --rank, --suspects, --taxonomy and --image-type need labelled images: give them by --data DIR. Without "
            "labels the mix of diagnoses alone is corrected for."
        )
    if options.rank and not options.unlabelled:
        raise UsageError("--rank ranks images without labels: give them by --unlabelled PATH.")
    if options.data and options.unlabelled and not options.rank:
        raise UsageError(
            "Beside --data, images without labels are ranked and not learnt from: name the table by --rank FILE.csv, or leave "
            "out --unlabelled."
        )
    _refuse_absent(options.unlabelled)
    for path, suffix in (
        (options.out, ".onnx"),
        (options.report, ".html"),
        (options.rank, ".csv"),
        (options.suspects, ".csv"),
    ):
        if path is None:
            continue
        if path.suffix.lower() != suffix:
            raise UsageError(f"{path} does not end in {suffix}: change its name.")
        if not path.parent.is_dir():
            raise UsageError(f"The folder {path.parent} does not exist. Choose another place for {path.name}.")
        if path.is_dir():
            raise UsageError(f"{path} is a folder. Choose another name.")
    _refuse_own_model(options)
    _refuse_pictures(options)


def _refuse_absent(paths: Sequence[Path]) -> None:
    """Refuse a file that is not there, a folder without images and a pattern that nothing matches."""
    from lesionlab.inference.image_sources import find_images

    for path in paths:
        if next(find_images([path])) == path and not path.exists():
            raise UsageError(f"--unlabelled {path} does not exist.")


def _refuse_pictures(options: argparse.Namespace) -> None:
    """Refuse tables whose contact sheets would replace a picture, or be taken for one."""
    tables = [table for table in (options.rank, options.suspects) if table]
    if not tables:
        return
    from lesionlab.folders import lies_in
    from lesionlab.lifecycle.rank_images import sheet_of

    if len(tables) == 2 and tables[0].resolve() == tables[1].resolve():
        raise UsageError(f"--rank and --suspects both name {tables[0]}: give each a table of its own.")
    given = [Path(path) for path in (*(options.data or ()), *(options.unlabelled or ()))]
    folders = tuple(path for path in given if path.is_dir())
    for table in tables:
        if lies_in(table, folders):
            raise UsageError(
                f"{table} lies among the images, and its contact sheet would be taken for one. Choose another place."
            )
        if (sheet := sheet_of(table)).exists() and not table.exists():
            raise UsageError(f"The contact sheet of {table} would replace {sheet}. Choose another name for the table.")


def _refuse_own_model(options: argparse.Namespace) -> None:
    from lesionlab.runs.directory import MANIFEST

    if options.model and Path(options.model).exists() and options.out.exists() and options.out.samefile(options.model):
        raise UsageError(f"{options.out} is the model that is adapted: choose another name for the new file.")
    if options.out.name in ("model.onnx", "final.onnx") and (options.out.parent / MANIFEST).exists():
        raise UsageError(f"{options.out} is a run's own model. Choose another file with --out.")
