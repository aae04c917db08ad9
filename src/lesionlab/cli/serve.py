"""`lesionlab serve`: a page and an API on this machine; what is not given is taken from the environment."""

import argparse
from pathlib import Path
from typing import Any

from lesionlab._version import NOT_A_DEVICE
from lesionlab.cli.arguments import Commands, megabytes, port, positive
from lesionlab.serve.settings import Limits, environment


def add_serve(commands: Commands) -> None:
    """Add `serve` to the subcommands of `lesionlab`."""
    serve = commands.add_parser(
        "serve",
        help="serve a web page and an API on this machine",
        description="Serve a web page and an HTTP API that predict with a model on this machine. Images stay in memory: "
        "they are neither stored nor logged nor sent on. Environment variables set options too: LESIONLAB_PORT is --port.",
    )

    def add(option: str, default: str | None, help: str, **more: Any) -> None:
        """Add an option whose default is its variable, LESIONLAB_MAX_FILES of --max-files, before the one given."""
        name = option.strip("-").replace("-", "_").upper()
        serve.add_argument(option, default=environment(name) or default, help=help, **more)

    files, megabytes_each, waiting = str(Limits.files), f"{Limits.file_bytes / 1e6:g}", str(Limits.waiting)
    add("--host", "127.0.0.1", "address to listen on (default: 127.0.0.1, this machine only)")
    add("--port", "8000", "port to listen on; 0 for any that is free (default: 8000)", type=port)
    add(
        "--model",
        None,
        "model file (.onnx) or run directory (default: the model that comes with lesionlab)",
        metavar="FILE",
    )
    add(
        "--reference",
        None,
        "folder of labelled images; the page shows the most similar ones beside each prediction",
        type=Path,
        metavar="DIR",
    )
    add(
        "--token", "", "secret that clients must send, at least 16 characters; required when other machines can connect"
    )
    serve.add_argument("--insecure-no-token", action="store_true", help="let other machines connect without a token")
    serve.add_argument(
        "--allow-host",
        action="append",
        metavar="NAME",
        default=environment("ALLOW_HOST").split(),
        help="host name that clients may use for this machine; may be repeated",
    )
    add("--max-files", files, f"images per request (default: {files})", type=positive, metavar="N")
    add(
        "--max-file-mb",
        megabytes_each,
        f"size of an image in MB (default: {megabytes_each})",
        type=megabytes,
        metavar="MB",
    )
    add(
        "--waiting",
        waiting,
        f"images that may wait in the queue; further requests get 503 (default: {waiting})",
        type=positive,
        metavar="N",
    )
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
