"""Put the whole of every `--help` into docs/commands.md, between its markers: `python docs/make_commands.py`."""

import argparse
import os
import re
from pathlib import Path

from lesionlab.cli import make_parser

PAGE = Path(__file__).parent / "commands.md"
_BLOCK = re.compile(r"(?<=<!-- help: )(\w+) -->\n.*?<!-- end -->", re.DOTALL)


def with_help(text: str) -> str:
    """Replace each block `<!-- help: COMMAND -->` … `<!-- end -->` by what `lesionlab COMMAND --help` prints at 80 columns."""
    os.environ["COLUMNS"] = "80"
    parser = make_parser()
    commands = next(action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    parsers = {"lesionlab": parser, **commands}
    return _BLOCK.sub(
        lambda found: f"{found[1]} -->\n```text\n{parsers[found[1]].format_help()}```\n<!-- end -->", text
    )


if __name__ == "__main__":
    PAGE.write_text(with_help(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
