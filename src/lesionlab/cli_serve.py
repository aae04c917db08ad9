"""The command `serve`. Parsing only; what is not given is taken from the environment."""

import argparse
from pathlib import Path

from lesionlab.cli_numbers import megabytes, port, positive
from lesionlab.serve.settings import Limits, environment


def add_serve(commands: argparse._SubParsersAction) -> None:
    """Add `serve` to the subcommands of `lesionlab`."""
    defaults = Limits()
    serve = commands.add_parser("serve", help="a page and an API on this machine; no image leaves it")
    serve.add_argument("--host", default=environment("HOST", "127.0.0.1"), help="address (default: 127.0.0.1)")
    serve.add_argument("--port", type=port, default=environment("PORT", "8000"), help="0 for any (default: 8000)")
    serve.add_argument(
        "--model", metavar="FILE", default=environment("MODEL") or None, help="model file, .onnx, or run directory"
    )
    serve.add_argument(
        "--reference",
        type=Path,
        metavar="DIR",
        default=Path(folder) if (folder := environment("REFERENCE")) else None,
        help="labelled folder: the nearest confirmed cases are shown",
    )
    serve.add_argument(
        "--token",
        default=environment("TOKEN"),
        help="what clients must send; needed beyond this machine (LESIONLAB_TOKEN)",
    )
    serve.add_argument(
        "--insecure-no-token", action="store_true", help="serve other machines without a token all the same"
    )
    serve.add_argument(
        "--allow-host",
        action="append",
        metavar="NAME",
        default=environment("ALLOW_HOST").split(),
        help="a name that clients may use for this machine; again for more",
    )
    serve.add_argument(
        "--max-files",
        type=positive,
        default=environment("MAX_FILES", str(defaults.files)),
        metavar="N",
        help=f"images in one request (default: {defaults.files})",
    )
    serve.add_argument(
        "--max-file-mb",
        type=megabytes,
        default=environment("MAX_FILE_MB", f"{defaults.file_bytes / 1e6:g}"),
        metavar="MB",
        help=f"of one image (default: {defaults.file_bytes / 1e6:g})",
    )
    serve.add_argument(
        "--waiting",
        type=positive,
        default=environment("WAITING", str(defaults.waiting)),
        metavar="N",
        help=f"images that may wait; beyond it 503 (default: {defaults.waiting})",
    )
    serve.set_defaults(command=_serve)


def _serve(options: argparse.Namespace) -> None:
    from lesionlab.serve.server import serve_command

    serve_command(options)
