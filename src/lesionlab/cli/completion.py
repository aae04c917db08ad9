"""`lesionlab completion`: a shell's script that completes commands, options and files; it does not call lesionlab."""

import argparse
from pathlib import Path

from lesionlab.cli.arguments import Commands

_SHELLS = ("bash", "zsh", "fish")
_EPILOG = """\
to have it in every new shell, write it into a file that the shell reads:
  bash   ~/.local/share/bash-completion/completions/lesionlab
  zsh    ~/.zfunc/_lesionlab (with fpath+=~/.zfunc in .zshrc, before compinit)
  fish   ~/.config/fish/completions/lesionlab.fish
for example:
  lesionlab completion fish > ~/.config/fish/completions/lesionlab.fish
"""
_FOLDERS = ("DIR", "RUN")
_PATHS = ("FILE", "NAME|FILE", "PATH", "MODEL", "RECIPE")  # names of arguments that are text, and may be paths


def add_completion(commands: Commands) -> None:
    """Add `completion` to the subcommands of `lesionlab`."""
    completion = commands.add_parser(
        "completion",
        help="print a script that completes commands and options in a shell",
        description="Print a script with which a shell completes commands, options and files.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    completion.add_argument(
        "shell", choices=_SHELLS, metavar="SHELL", help=f"{', '.join(_SHELLS[:-1])} or {_SHELLS[-1]}"
    )
    completion.set_defaults(command=_completion)


def _completion(options: argparse.Namespace) -> None:
    import shtab

    from lesionlab.cli import make_parser

    parser = make_parser()
    _mark_files(parser)
    print(shtab.complete(parser, shell=options.shell))


def _mark_files(parser: argparse.ArgumentParser) -> None:
    """Say of each argument that is a path whether files or folders complete it."""
    import shtab

    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in dict.fromkeys(action.choices.values()):
                _mark_files(command)
            continue
        if action.type is Path or str(action.metavar).startswith(_PATHS):
            action.complete = shtab.DIRECTORY if action.metavar in _FOLDERS else shtab.FILE  # type: ignore[attr-defined]
