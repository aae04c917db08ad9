"""`lesionlab check`, `explore`, `phantom` and `fetch`: the commands about folders of images."""

import argparse
import errno
from pathlib import Path

from lesionlab._version import NOT_A_DEVICE
from lesionlab.cli.arguments import Commands, positive, whole_number
from lesionlab.errors import UsageError


def add_data_commands(commands: Commands) -> None:
    """Add `check`, `explore`, `phantom` and `fetch` to the subcommands of `lesionlab`."""
    check = commands.add_parser("check", help="read a folder, say what is in it and what is wrong with it")
    check.add_argument("data", type=Path, metavar="DIR")
    check.set_defaults(command=_check)
    explore = commands.add_parser("explore", help="tables and figures of a folder")
    explore.add_argument("data", type=Path, metavar="DIR")
    explore.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for explore.html and figures")
    explore.set_defaults(command=_explore)
    phantom = commands.add_parser("phantom", help="draw generated lesions in HAM10000's layout")
    phantom.add_argument("folder", type=Path, metavar="DIR")
    phantom.add_argument("--lesions", type=positive, default=700, metavar="N", help="how many (default: 700)")
    phantom.add_argument("--seed", type=whole_number, default=0, metavar="N")
    phantom.set_defaults(command=_phantom)
    fetch = commands.add_parser("fetch", help="download a data set")
    fetch.add_argument("name", metavar="NAME", help="ham10000")
    fetch.add_argument("folder", type=Path, metavar="DIR")
    fetch.set_defaults(command=_fetch)


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
