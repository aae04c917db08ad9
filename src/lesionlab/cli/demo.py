"""`lesionlab demo`: the page of `serve` in a browser, with generated lesions to click; for who has no pictures at hand."""

import argparse
import os
import signal
import sys
import tempfile
import threading
import webbrowser
from contextlib import suppress
from pathlib import Path

from lesionlab.cli.arguments import Commands, port, positive
from lesionlab.cli.serve import tell_address


def add_demo(commands: Commands) -> None:
    """Add `demo` to the subcommands of `lesionlab`."""
    demo = commands.add_parser(
        "demo",
        help="open the page with generated lesions to click",
        description="Open the page of 'lesionlab serve' in a browser, with generated lesions to click and the model that comes "
        "with lesionlab. The lesions are drawn by rules, and of no patient: what the model says of them shows how the page "
        "works, and nothing about skin. Where there is no browser, the address is printed. Ctrl-C ends it; nothing is kept.",
    )
    demo.add_argument("--port", type=port, default=0, metavar="N", help="port to listen on (default: any that is free)")
    demo.add_argument("--lesions", type=positive, default=14, metavar="N", help="number of lesions (default: 14)")
    demo.add_argument("--no-browser", action="store_true", help="print the address, and open no browser")
    demo.set_defaults(command=_demo)


def _demo(options: argparse.Namespace) -> None:
    from lesionlab.serve.server import refuse_without_extra, serve
    from lesionlab.serve.settings import make_settings

    refuse_without_extra()
    from lesionlab.serve.drawn_examples import draw_examples

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that the folder is taken away then as well
    with tempfile.TemporaryDirectory(prefix="lesionlab-demo-") as folder, suppress(KeyboardInterrupt):
        examples = draw_examples(Path(folder) / "lesions", lesions=options.lesions)

        def tell(host: str, port: int) -> None:
            tell_address(host, port)
            print(
                f"{len(examples)} generated lesions, of no patient, lie there to be clicked. Ctrl-C ends it.",
                flush=True,
            )
            if not options.no_browser and _has_display():
                threading.Thread(target=webbrowser.open, args=(f"http://{host}:{port}",), daemon=True).start()

        serve(make_settings(host="127.0.0.1", port=options.port, examples=examples), tell=tell)


def _has_display() -> bool:
    """Whether a browser would open beside the terminal; one of text would take the terminal itself."""
    is_desktop = sys.platform in ("darwin", "win32")
    return is_desktop or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))
