"""What the tests of the page share: a page that must raise no error and ask nobody else, and axe."""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, expect

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def opened(browser: Browser, url: str, **options: Any) -> Iterator[Page]:
    """A page that may ask its own server alone, and must raise nothing."""
    context = browser.new_context(**options)
    page = context.new_page()
    faults: list[str] = []
    asked: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if is_fault(message) else None)
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    page.locator("body[data-ready]").wait_for(timeout=60_000)
    yield page
    context.close()
    assert not faults, faults
    assert all(address.startswith((url, "blob:", "data:")) for address in asked), asked


def is_fault(message: ConsoleMessage) -> bool:
    """Errors in the console, except the one that Chromium writes for every answer 4xx."""
    return message.type == "error" and not message.text.startswith("Failed to load resource")


def give(page: Page, photos: list[Path]) -> None:
    page.set_input_files("#files", photos)
    count = len(photos)
    expect(page.locator("#status")).to_have_text(f"{count} {'image' if count == 1 else 'images'} done", timeout=60_000)


def serious_faults(page: Page) -> str:
    """What axe finds serious or critical, as JSON; empty where it finds nothing. The page's policy must be bypassed."""
    import axe_playwright_python

    page.evaluate((Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text())
    found = page.evaluate("axe.run()")["violations"]
    serious = [fault for fault in found if fault["impact"] in ("serious", "critical")]
    return json.dumps(serious)[:3000] if serious else ""


def overflows(page: Page) -> bool:
    return page.evaluate("document.documentElement.scrollWidth > window.innerWidth + 1")


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def hosting(folder: Path) -> Iterator[str]:
    """A plain file server on a free port, as `python -m http.server`: no headers of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
