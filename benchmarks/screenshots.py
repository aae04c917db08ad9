"""The pictures of docs/page.md: twelve generated lesions on the static page, one opened with its map. Needs Chromium.

With a run, the picture of README.md instead: of its report the head and the first figures of step 14.

    python benchmarks/screenshots.py [--run RUN] [--out docs]
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, expect

from lesionlab.data.phantom.write import write_phantoms
from lesionlab.serve.static_page import export_web
from page import hosting, opened_browser

OPENED = 2  # of the twelve
REPORT: dict[str, Any] = {"viewport": {"width": 1020, "height": 1265}}
ONLY_THE_FIGURES = """() => {
    document.querySelector("header nav").remove();
    const wanted = '[aria-label^="Confusion matrix"], [aria-label^="ROC curve of each"]';
    for (const part of document.querySelectorAll("main > *")) if (!part.querySelector(wanted)) part.remove();
}"""
SCREEN: dict[str, Any] = {"viewport": {"width": 1280, "height": 1010}}
PHONE = SCREEN | {
    "viewport": {"width": 390, "height": 1150},
    "device_scale_factor": 4 / 3,
    "is_mobile": True,
    "has_touch": True,
}
LOOKS = {"page": SCREEN, "page-dark": SCREEN | {"color_scheme": "dark"}, "page-phone": PHONE}
# Without a head a touch screen is no coarse pointer.
FINGER = "--blink-settings=primaryPointerType=2,availablePointerTypes=2"


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a run directory: take its report")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    options = parser.parse_args()
    if options.run:
        with opened_browser() as browser:
            page = browser.new_context(**REPORT).new_page()
            page.goto((options.run / "report.html").resolve().as_uri())
            page.evaluate(ONLY_THE_FIGURES)
            page.screenshot(path=options.out / "report.png")
        return
    with tempfile.TemporaryDirectory() as name:
        lesions = sorted(write_phantoms(Path(name) / "lesions", lesions=24).rglob("*.jpg"))[:12]
        export_web(None, Path(name) / "page")
        with hosting(Path(name) / "page") as url:
            for look, context in LOOKS.items():
                with opened_browser(*[FINGER] * (look == "page-phone")) as browser:
                    page = browser.new_context(**context).new_page()
                    page.goto(url)
                    show(page, lesions)
                    page.screenshot(path=options.out / f"{look}.png")


def show(page: Page, lesions: list[Path]) -> None:
    """Have the lesions answered and open one."""
    page.set_input_files("#files", lesions)
    expect(page.locator("#status")).to_have_text("12 images done", timeout=60_000)
    page.locator("#gallery button").nth(OPENED).click()
    page.wait_for_timeout(1500)
    page.evaluate("scrollTo(0, 0)")


if __name__ == "__main__":
    main()
