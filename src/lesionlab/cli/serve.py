"""`lesionlab serve`: a page and an API on this machine; what is not given is taken from the environment."""

import argparse
from pathlib import Path
from typing import Any

from lesionlab._version import NOT_A_DEVICE
from lesionlab.cli.arguments import Commands, Group, megabytes, port, positive
from lesionlab.serve.limits import Limits, environment, limits_for


def add_serve(commands: Commands) -> None:
    """Add `serve` to the subcommands of `lesionlab`."""
    serve = commands.add_parser(
        "serve",
        help="serve a web page and an API on this machine",
        description="Serve a web page and an HTTP API that predict with a model on this machine. Images stay in memory: "
        "they are neither stored nor logged nor sent on. Environment variables set options too: LESIONLAB_PORT is --port.",
    )

    _add(serve, "--host", "127.0.0.1", "address to listen on (default: 127.0.0.1, this machine only)")
    _add(serve, "--port", "8000", "port to listen on; 0 for any that is free (default: 8000)", type=port)
    what = "model file (.onnx) or run directory (default: the model that comes with lesionlab)"
    _add(serve, "--model", None, what, metavar="FILE")
    what = "folder of labelled images; the page shows the most similar ones beside each prediction"
    _add(serve, "--reference", None, what, type=Path, metavar="DIR")
    _add_access_options(serve.add_argument_group("access"))
    _add_limits(serve.add_argument_group("limits"))
    serve.set_defaults(command=_serve)


def _add_access_options(group: Group) -> None:
    what = "secret that clients must send, at least 16 characters; required when other machines can connect"
    _add(group, "--token", "", what)
    group.add_argument("--insecure-no-token", action="store_true", help="let other machines connect without a token")
    group.add_argument(
        "--allow-host",
        action="append",
        metavar="NAME",
        default=environment("ALLOW_HOST").split(),
        help="host name that clients may use for this machine; may be repeated",
    )


def _add_limits(group: Group) -> None:
    files, size, waiting = str(Limits().files), f"{Limits().file_bytes / 1e6:g}", str(Limits().waiting)
    _add(group, "--max-files", files, f"images per request (default: {files})", type=positive, metavar="N")
    _add(group, "--max-file-mb", size, f"size of an image in MB (default: {size})", type=megabytes, metavar="MB")
    what = f"images that may wait in the queue; further requests get 503 (default: {waiting})"
    _add(group, "--waiting", waiting, what, type=positive, metavar="N")


def _add(to: argparse._ActionsContainer, option: str, default: str | None, help: str, **more: Any) -> None:
    """Add an option whose default is its variable, LESIONLAB_MAX_FILES of --max-files, before the one given."""
    name = option.strip("-").replace("-", "_").upper()
    to.add_argument(option, default=environment(name) or default, help=help, **more)


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
        limits=limits_for(int(options.max_file_mb * 1e6), Limits(files=options.max_files, waiting=options.waiting)),
    )
    serve(settings, tell=tell_address)


def tell_address(host: str, port: int) -> None:
    """Print where a service listens."""
    place = f"[{host}]" if ":" in host else host
    print(f"lesionlab serves on http://{place}:{port}\n{NOT_A_DEVICE}", flush=True)
