"""`lesionlab fetch`, `check`, `explore` and `phantom`: the commands about folders of images."""

import argparse
import errno
from pathlib import Path

from lesionlab._version import NOT_A_DEVICE
from lesionlab.cli.arguments import Commands, positive, whole_number
from lesionlab.errors import UsageError

_DATA = "folder of images with their diagnoses: a table, or a subfolder per diagnosis"


def add_data_commands(commands: Commands) -> None:
    """Add `fetch`, `check`, `explore` and `phantom` to the subcommands of `lesionlab`."""
    fetch = commands.add_parser(
        "fetch",
        help="download a data set (HAM10000)",
        description="Download a data set and verify every file. The same command resumes an interrupted download.",
    )
    fetch.add_argument("name", metavar="NAME", help="name of the data set: ham10000 (licensed CC BY-NC 4.0)")
    fetch.add_argument("folder", type=Path, metavar="DIR", help="folder to download into")
    fetch.set_defaults(command=_fetch)
    check = commands.add_parser(
        "check",
        help="read a folder of images: what is in it, what is wrong with it",
        description="Read a folder of images and their diagnoses, and print how many there are, what is wrong with "
        "them (missing, unreadable, identical or near-duplicate images, unknown values) and what a run would do about it.",
    )
    check.add_argument("data", type=Path, metavar="DIR", help=_DATA)
    check.set_defaults(command=_check)
    explore = commands.add_parser(
        "explore",
        help="tables and figures of a folder's images and metadata",
        description="Write tables and figures of the images and metadata in a folder: diagnoses by age, sex, site and "
        "source, images per lesion, sample images, mean image and colour per diagnosis, missing values.",
    )
    explore.add_argument("data", type=Path, metavar="DIR", help=_DATA)
    explore.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="folder for explore.html, tables and figures"
    )
    explore.set_defaults(command=_explore)
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
    from lesionlab.lifecycle.check import check

    print_checked(options.data, check(options.data))


def _explore(options: argparse.Namespace) -> None:
    from lesionlab.lifecycle.check import explore_folder

    print(f"{explore_folder(options.data, options.out)} written. {NOT_A_DEVICE}")


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
