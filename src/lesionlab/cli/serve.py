"""`lesionlab serve`: a page and an API on this machine; what is not given is taken from the environment."""

import argparse
from pathlib import Path
from typing import Any

from lesionlab._version import NOT_A_DEVICE
from lesionlab.cli.arguments import Commands, megabytes, port, positive
from lesionlab.serve.settings import Limits, environment


def add_serve(commands: Commands) -> None:
    """Add `serve` to the subcommands of `lesionlab`."""
    serve = commands.add_parser("serve", help="a page and an API on this machine; no image leaves it")

    def add(option: str, default: str | None, help: str, **more: Any) -> None:
        """Add an option whose default is its variable, LESIONLAB_MAX_FILES of --max-files, before the one given."""
        name = option.strip("-").replace("-", "_").upper()
        serve.add_argument(option, default=environment(name) or default, help=help, **more)

    files, megabytes_each, waiting = str(Limits.files), f"{Limits.file_bytes / 1e6:g}", str(Limits.waiting)
    add("--host", "127.0.0.1", "address (default: 127.0.0.1)")
    add("--port", "8000", "0 for any (default: 8000)", type=port)
    add("--model", None, "model file, .onnx, or run directory", metavar="FILE")
    add("--reference", None, "labelled folder: the nearest confirmed cases are shown", type=Path, metavar="DIR")
    add("--token", "", "what clients must send; needed beyond this machine (LESIONLAB_TOKEN)")
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
    add("--max-files", files, f"images in one request (default: {files})", type=positive, metavar="N")
    add("--max-file-mb", megabytes_each, f"of one image (default: {megabytes_each})", type=megabytes, metavar="MB")
    add("--waiting", waiting, f"images that may wait; beyond it 503 (default: {waiting})", type=positive, metavar="N")
    serve.set_defaults(command=_serve)


def _serve(options: argparse.Namespace) -> None:
    from lesionlab.serve.server import serve
    from lesionlab.serve.settings import make_settings

    settings = make_settings(
        host=options.host,
        port=options.port,
        token=options.token,
        allow_hosts=tuple(options.allow_host),
        insecure_no_token=options.insecure_no_token,
        model=options.model,
        reference=options.reference,
        limits=Limits(files=options.max_files, file_bytes=int(options.max_file_mb * 1e6), waiting=options.waiting),
    )
    serve(settings, tell=_tell_address)


def _tell_address(host: str, port: int) -> None:
    place = f"[{host}]" if ":" in host else host
    print(f"lesionlab serves on http://{place}:{port}\n{NOT_A_DEVICE}", flush=True)
