"""Execute the notebooks, or take the outputs out of them again, as git holds them.

Each has a kernel of its own. Those of one lane work in one folder, one after the other, so that the second finds what the
first has trained; the lanes run beside each other.

    python notebooks/execute.py OUT      # OUT/lifecycle.ipynb and the others, with outputs; what they make, in OUT/made
    python notebooks/execute.py --strip
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

HERE = Path(__file__).parent
LANES = (("lifecycle", "trust"), ("seed",))  # trust takes the run of lifecycle
NAMES = tuple(name for lane in LANES for name in lane)
MADE = "made"
SECONDS = 600  # for a cell, on a busy machine


def execute(out: Path) -> Path:
    """Execute all notebooks into a folder; return the folder in which the first lane has worked.

    Raises:
        ExceptionGroup: of CellExecutionError; a cell fails, and its notebook is written as far as it came.

    """
    asyncio.run(_in_lanes(out))
    return out / MADE


async def _in_lanes(out: Path) -> None:
    lanes = (
        _one_after_another(lane, out, out / (MADE + "-2" * number))
        for number, lane in enumerate(LANES)
    )
    # A lane goes on to its end though another fails: nbclient does not take being cancelled.
    ends = await asyncio.gather(*lanes, return_exceptions=True)
    if failed := [end for end in ends if isinstance(end, Exception)]:
        raise ExceptionGroup("Notebooks have failed", failed)


async def _one_after_another(names: tuple[str, ...], out: Path, work: Path) -> None:
    work.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "LESIONLAB_CACHE": str((out / "cache").resolve()),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
    for name in names:
        notebook = nbformat.read(HERE / f"{name}.ipynb", as_version=4)
        client = NotebookClient(
            notebook, timeout=SECONDS, resources={"metadata": {"path": str(work)}}
        )
        try:
            await client.async_execute(env=environment)
        finally:
            nbformat.write(notebook, out / f"{name}.ipynb")


def strip(path: Path) -> None:
    """Take outputs and counts out of a notebook, in place."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    path.write_text(nbformat.writes(notebook).rstrip() + "\n", encoding="utf-8")


def main() -> int:
    """Do what is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "out", type=Path, nargs="?", help="folder for the executed notebooks"
    )
    parser.add_argument(
        "--strip",
        action="store_true",
        help="take the outputs out of the notebooks beside this file",
    )
    options = parser.parse_args()
    if options.strip == bool(options.out):
        parser.error("give a folder, or --strip")
    if options.strip:
        for name in NAMES:
            strip(HERE / f"{name}.ipynb")
        return 0
    try:
        execute(options.out)
    except ExceptionGroup as failed:
        cells, others = failed.split(CellExecutionError)
        if others or not cells:
            raise
        print(*cells.exceptions, sep="\n", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
