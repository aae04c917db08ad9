"""The page in the browser alone beside `lesionlab predict`: differences of the answers, time, memory. Needs Chromium.

    python benchmarks/page.py [--model FILE] [--lesions 8] [--rounds 7] [--photographs 60]

The folder is written as `lesionlab export --format web` writes it, served by Python's own file server and opened in headless
Chromium. All images are generated. Difference: the largest in any probability of a file; of all files of a kind. Time: of the
processor, 24 lesions with maps, one after the other, the two by turns; both compute on one thread. Memory: resident, of the
process that the page is in, while photographs of 4032 x 3024 pixels are given to it as a user would.
"""

import argparse
import statistics
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageCms
from playwright.sync_api import Browser, Page, sync_playwright

from lesionlab.data.phantom.write import write_phantoms
from lesionlab.inference.model import Model, load_model
from lesionlab.serve.static_page import export_web

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from browsing import CHROMIUM, hosting  # noqa: E402  the tests' own browser and file server

TIMED = 24
PHOTOGRAPH_PX = (4032, 3024)
DISPLAY_P3 = {b"rXYZ": (0.5151, 0.2412, -0.0011), b"gXYZ": (0.2920, 0.6922, 0.0419), b"bXYZ": (0.1571, 0.0666, 0.7841)}
ENGINE = """async () => {
    const engine = await import("./engine-browser.js");
    await engine.start(() => {});
    const input = Object.assign(document.createElement("input"), { type: "file", multiple: true, id: "asked" });
    input.ask = async () => {
        const answers = [];
        for (const file of input.files) answers.push(await engine.predict(file));
        return answers;
    };
    document.body.append(input);
}"""
Save = Callable[[Image.Image, Path], None]


def main() -> None:
    """Print the table of differences, the ratio of the times, and the memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--lesions", type=int, default=8, help="of which files of each kind are made")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--photographs", type=int, default=60)
    options = parser.parse_args()
    model = load_model(options.model)
    with tempfile.TemporaryDirectory() as name, opened_browser() as browser:
        folder = Path(name)
        lesions = sorted(write_phantoms(folder / "lesions", lesions=24).rglob("*.jpg"))
        export_web(options.model, folder / "page")
        with hosting(folder / "page") as url:
            print(
                f"Chromium {browser.version}, model {model.facts.name}, {model.facts.height} x {model.facts.width} px"
            )
            with opened(browser, url) as page:
                memory(browser, page, photographs(lesions, folder / "photographs", options.photographs))
            with opened(browser, url) as page:
                page.evaluate(ENGINE)
                times(browser, model, page, lesions[:TIMED], options.rounds)
                differences(model, page, lesions[: options.lesions], folder)


def differences(model: Model, page: Page, lesions: list[Path], folder: Path) -> None:
    """Print the table."""
    print("| images | files | largest difference | median |\n| --- | --- | --- | --- |")
    for kind, saves in kinds().items():
        paths: list[Path] = []
        for lesion in lesions:
            image = Image.open(lesion).convert("RGB")
            for suffix, save in saves:
                paths.append(folder / f"{len(paths)}.{suffix}")
                save(image, paths[-1])
        answers = asked(page, paths)
        found = np.array([list(answer["result"]["probabilities"].values()) for answer in answers])
        largest = np.abs(found - model.predict(paths).probabilities).max(axis=1)
        print(f"| {kind} | {len(paths)} | {largest.max():.0e} | {np.median(largest):.0e} |")


def kinds() -> dict[str, list[tuple[str, Save]]]:
    """The rows of the table: suffix and way to save of the files that are made of one lesion."""
    p3 = display_p3()
    turned = [saving(exif=exif(orientation)) for orientation in range(2, 9)]
    return {
        "JPEG; grey, progressive": [("jpg", save) for save in (saving(), saving("L"), saving(progressive=True))],
        "PNG, WebP, GIF, BMP; palette": [(s, saving()) for s in ("png", "webp", "gif", "bmp")] + [("png", saving("P"))],
        "PNG, WebP with transparency": [("png", clear), ("webp", clear)],
        "photographs, JPEG 4:4:4, 4:2:2, 4:2:0": [("jpg", large(subsampling=n)) for n in range(3)],
        "JPEG, PNG, WebP turned by EXIF": [(suffix, save) for suffix in ("jpg", "png", "webp") for save in turned],
        "Display P3: JPEG, PNG, WebP": [(s, saving(icc_profile=p3)) for s in ("jpg", "png", "webp")],
        "Display P3: photographs": [("jpg", large(icc_profile=p3))],
        "Display P3: PNG with transparency": [("png", partial(clear, icc_profile=p3))],
        "CMYK JPEG": [("jpg", saving("CMYK", quality=95))],
    }


def saving(mode: str = "RGB", **options: Any) -> Save:
    """Save in a mode."""
    return lambda image, path: image.convert(mode).save(path, **options)


def large(**options: Any) -> Save:
    """Save as a photograph."""
    return lambda image, path: image.resize(PHOTOGRAPH_PX, Image.Resampling.BICUBIC).save(path, quality=90, **options)


def clear(image: Image.Image, path: Path, **options: Any) -> None:
    """Save with transparency that grows from top to bottom."""
    layer = image.copy()
    layer.putalpha(Image.linear_gradient("L").resize(image.size))
    layer.save(path, **options)


def exif(orientation: int) -> Image.Exif:
    """An EXIF block that says how a picture was held."""
    block = Image.Exif()
    block[ExifTags.Base.Orientation] = orientation
    return block


def display_p3() -> bytes:
    """A profile of Display P3: Little CMS's own of sRGB with other primaries and another name."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    (count,) = struct.unpack_from(">I", data, 128)
    for at in range(132, 132 + 12 * count, 12):
        tag, offset = struct.unpack_from(">4sI", data, at)
        if tag in DISPLAY_P3:
            struct.pack_into(">3i", data, offset + 8, *(round(65536 * value) for value in DISPLAY_P3[tag]))
    return bytes(data).replace("sRGB".encode("utf-16-be"), "wide".encode("utf-16-be"))


def photographs(lesions: list[Path], folder: Path, n: int) -> list[Path]:
    """Write n JPEGs of a phone's size, with a grain that makes them as large in bytes as a phone's."""
    folder.mkdir()
    width, height = PHOTOGRAPH_PX
    grain = np.random.default_rng(0).normal(0, 4, (height, width, 1)).astype(np.int16)
    paths = []
    for number in range(n):
        image = (
            Image.open(lesions[number % len(lesions)]).convert("RGB").resize(PHOTOGRAPH_PX, Image.Resampling.BICUBIC)
        )
        pixels = np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8)
        paths.append(folder / f"{number}.jpg")
        Image.fromarray(pixels).save(paths[-1], quality=90)
    return paths


def times(browser: Browser, model: Model, page: Page, lesions: list[Path], rounds: int) -> None:
    """Print how many times as long the page takes an image as Python."""
    ratios = []
    for _ in range(rounds):
        start = time.process_time()
        for path in lesions:
            model.predict(path, explain=True)
        python = time.process_time() - start
        start = sum(process["cpuTime"] for process in renderers(browser))
        asked(page, lesions)
        ours = sum(process["cpuTime"] for process in renderers(browser)) - start
        ratios.append(ours / python)
        print(
            f"an image: {1000 * ours / len(lesions):.0f} ms in the page, {1000 * python / len(lesions):.0f} in Python"
        )
    print(f"the page takes {statistics.median(ratios):.1f} times as long ({min(ratios):.1f} to {max(ratios):.1f})")


def memory(browser: Browser, page: Page, paths: list[Path]) -> None:
    """Print the resident memory of the page's process before, at most and after."""
    pid = max(renderers(browser), key=lambda process: process["cpuTime"])["id"]
    before, seen, is_done = resident_mb(pid), [], threading.Event()

    def watch() -> None:
        while not is_done.wait(0.05):
            seen.append(resident_mb(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    page.set_input_files("#files", paths)
    page.get_by_text(f"{len(paths)} images done").wait_for(timeout=600_000)
    is_done.set()
    watcher.join()
    time.sleep(10)
    print(
        f"memory, {len(paths)} photographs: {before} MB before, {max(seen)} at most, {resident_mb(pid)} ten seconds later"
    )


def renderers(browser: Browser) -> list[dict[str, Any]]:
    """The processes that run pages: id, and seconds of the processor so far."""
    found = browser.new_browser_cdp_session().send("SystemInfo.getProcessInfo")["processInfo"]
    return [process for process in found if process["type"] == "renderer"]


def resident_mb(pid: int) -> int:
    """Resident memory of a process (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))) * 1024 // 1_000_000


def asked(page: Page, paths: list[Path]) -> list[dict[str, Any]]:
    """What the page's engine answers."""
    page.set_input_files("#asked", paths)
    return page.locator("#asked").evaluate("input => input.ask()")


@contextmanager
def opened_browser(*arguments: str) -> Iterator[Browser]:
    """Headless Chromium."""
    if CHROMIUM is None:
        raise SystemExit("needs Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *arguments])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, url: str) -> Iterator[Page]:
    """The page, its model loaded."""
    page = browser.new_page()
    page.goto(url)
    page.locator("body[data-ready]").wait_for(timeout=60_000)
    yield page
    page.close()


if __name__ == "__main__":
    main()
