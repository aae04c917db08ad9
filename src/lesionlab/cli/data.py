"""`lesionlab fetch`, `check`, `explore` and `phantom`: the commands about folders of images."""

import argparse
import errno
from pathlib import Path

from lesionlab._version import NOT_A_DEVICE
from lesionlab.cli.arguments import Commands, add_reading, positive, reading_of, whole_number
from lesionlab.errors import UsageError

_DATA = "folder of images with their diagnoses: a table, or a subfolder per diagnosis"


def add_fetch(commands: Commands) -> None:
    """Add `fetch` to the subcommands of `lesionlab`."""
    fetch = commands.add_parser(
        "fetch",
        help="download a data set (HAM10000)",
        description="Download a data set and verify every file. The same command resumes an interrupted download.",
    )
    fetch.add_argument("name", metavar="NAME", help="name of the data set: ham10000 (licensed CC BY-NC 4.0)")
    fetch.add_argument("folder", type=Path, metavar="DIR", help="folder to download into")
    fetch.set_defaults(command=_fetch)


def add_check(commands: Commands) -> None:
    """Add `check` to the subcommands of `lesionlab`."""
    check = commands.add_parser(
        "check",
        help="read a folder of images: what is in it, what is wrong with it",
        description="Read a folder of images and their diagnoses, and print how many there are, what is wrong with "
        "them (missing, unreadable, identical or near-duplicate images, unknown values) and what a run would do about it.",
    )
    check.add_argument(
        "data", type=Path, nargs="+", metavar="DIR", help=f"{_DATA}; of several folders, also what they have in common"
    )
    add_reading(check)
    check.add_argument(
        "--pairs", type=Path, metavar="FILE", help="write all pairs of images of one lesion into a .csv file"
    )
    check.add_argument(
        "--write-taxonomy",
        type=Path,
        metavar="FILE.toml",
        help="draft a taxonomy from the folder's own diagnoses; you then say which are malignant",
    )
    check.set_defaults(command=_check)


def add_explore(commands: Commands) -> None:
    """Add `explore` to the subcommands of `lesionlab`."""
    explore = commands.add_parser(
        "explore",
        help="write tables and figures of a folder's images and metadata",
        description="Write tables and figures of the images and metadata in a folder: diagnoses by age, sex, site and "
        "source, images per lesion, sample images, mean image and colour per diagnosis, missing values.",
    )
    explore.add_argument("data", type=Path, metavar="DIR", help=_DATA)
    add_reading(explore)
    explore.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for explore.html, tables and figures"
    )
    explore.set_defaults(command=_explore)


def add_phantom(commands: Commands) -> None:
    """Add `phantom` to the subcommands of `lesionlab`."""
    phantom = commands.add_parser(
        "phantom",
        help="write generated lesions, to try lesionlab without data",
        description="Write images of generated lesions and their metadata, in HAM10000's layout. They are drawn by rules, "
        "and of no patient: accuracy on them shows that a run works, and nothing about skin.",
    )
    phantom.add_argument("folder", type=Path, metavar="DIR", help="folder to write, new or empty")
    phantom.add_argument("--lesions", type=positive, default=700, metavar="N", help="number of lesions (default: 700)")
    phantom.add_argument("--seed", type=whole_number, default=0, metavar="N", help="random seed (default: 0)")
    phantom.set_defaults(command=_phantom)


def _check(options: argparse.Namespace) -> None:
    from lesionlab.cli.checked import print_checked
    from lesionlab.lifecycle.check import check, write_pairs

    if options.write_taxonomy:
        if len(options.data) > 1:
            raise UsageError("--write-taxonomy drafts from one folder: give one DIR.")
        _write_draft(options.data[0], options.write_taxonomy)
        return
    checked = check(tuple(options.data), *reading_of(options))
    if options.pairs:
        write_pairs(checked, options.pairs)
    print_checked(checked)


def _write_draft(folder: Path, file: Path) -> None:
    from lesionlab.data.layouts.draft import draft_taxonomy
    from lesionlab.files import write_text

    if file.suffix != ".toml":
        raise UsageError(f"--write-taxonomy {file}: the name of a taxonomy's file ends in .toml.")
    if file.exists():
        raise UsageError(f"{file} is there already: give another name, or take it away.")
    text = draft_taxonomy(folder)
    try:
        write_text(file, text)
    except OSError as error:
        raise UsageError(f"{file} cannot be written ({error.strerror}). Name another file.") from error
    print(
        f"{file} written: {text.count('[[diagnosis]]')} diagnoses. Say of each whether it is malignant, then: lesionlab check "
        f"{folder} --taxonomy {file}"
    )


def _explore(options: argparse.Namespace) -> None:
    from lesionlab.lifecycle.check import explore_folder

    print(f"{explore_folder(options.data, options.out, *reading_of(options))} written. {NOT_A_DEVICE}")


def _phantom(options: argparse.Namespace) -> None:
    from lesionlab.data.phantom.write import write_phantoms

    try:
        write_phantoms(options.folder, lesions=options.lesions, seed=options.seed)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise UsageError(f"{options.folder} cannot be written ({error.strerror}). Name another folder.") from error
    print(f"{options.lesions} generated lesions, of no patient, in {options.folder}")


def _fetch(options: argparse.Namespace) -> None:
    from lesionlab.data.fetch import fetch

    print(fetch(options.name, options.folder))
