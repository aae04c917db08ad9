"""The page of the service in a real browser: headless Chromium."""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from browsing import give, opened, overflows, serious_faults
from lesionlab.data.layouts import read_collection
from lesionlab.diagnosis import DX
from lesionlab.predict import load_model
from test_serve import TOKEN, serving


@pytest.fixture(scope="module")
def photos(phantoms: Path) -> list[Path]:
    return [Path(path) for path in read_collection(phantoms).table["path"][:20]]


@pytest.fixture(scope="module")
def url(finished: tuple[Path, str], phantoms: Path) -> Iterator[str]:
    with serving("--model", finished[0] / "model.onnx", "--reference", phantoms) as (address, _):
        yield address


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    yield from opened(browser, url)


def drop(page: Page, path: Path) -> None:
    data = page.evaluate_handle(
        """([name, bytes]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], name, { type: "image/jpeg" }));
            return data;
        }""",
        [path.name, list(path.read_bytes())],
    )
    page.dispatch_event("#drop", "drop", {"dataTransfer": data})


def test_drop_read_and_move_the_slider(page: Page, photos: list[Path], finished: tuple[Path, str]) -> None:
    drop(page, photos[0])
    expect(page.locator("#status")).to_have_text("1 image answered", timeout=30_000)
    prediction = load_model(finished[0] / "model.onnx").predict(photos[0])[0]
    expect(page.locator("#detail th.top-one")).to_have_text(prediction.name)
    expect(page.locator("#detail")).to_contain_text("Cannot be ruled out")
    expect(page.locator(".neighbours img")).to_have_count(3)
    expect(page.get_by_role("note")).to_contain_text("not a medical device")
    canvas = page.locator("#detail canvas")
    before = canvas.evaluate("canvas => canvas.toDataURL()")
    slider = page.locator("#opacity")
    slider.fill("0")
    bare = canvas.evaluate("canvas => canvas.toDataURL()")
    slider.fill("100")
    strongest = canvas.evaluate("canvas => canvas.toDataURL()")
    assert len({before, bare, strongest}) == 3
    page.locator(".controls select").select_option("mel")
    assert canvas.evaluate("canvas => canvas.toDataURL()") != strongest


def test_twenty_images_sorted_filtered_and_saved(page: Page, photos: list[Path], finished: tuple[Path, str]) -> None:
    give(page, photos)
    expected = load_model(finished[0] / "model.onnx").predict(photos)
    entries = page.locator("#gallery li .name")
    expect(entries).to_have_count(20)
    page.select_option("#sort", "malignant")
    by_malignant = sorted(range(20), key=lambda n: -expected[n].malignant_probability)
    assert entries.all_text_contents() == [photos[n].name for n in by_malignant]
    page.select_option("#diagnosis", expected[0].dx)
    expect(entries).to_have_count(sum(item.dx == expected[0].dx for item in expected))
    page.select_option("#diagnosis", "")
    with page.expect_download() as download:
        page.click("#csv")
    rows = list(csv.reader(io.StringIO(download.value.path().read_text())))
    assert rows[0] == ["image", *(dx.upper() for dx in DX)] and len(rows) == 21
    for row, item in zip(rows[1:], expected, strict=True):
        assert row[0] == item.image and [float(value) for value in row[1:]] == pytest.approx(
            list(item.probabilities.values()), abs=1e-6
        )
    with page.expect_download() as download:
        page.click("#report")
    report = download.value.path().read_text()
    assert report.count("<article") == 20 and report.count("<img") >= 20 and "not a medical device" in report
    assert not re.findall(r"<script|(?:src|href)=[\"'](?!data:)|url\((?!data:)", report)


def test_a_bad_file_is_named_and_the_others_go_on(page: Page, photos: list[Path], tmp_path: Path) -> None:
    bad = tmp_path / "<img src=x onerror=alert(1)>.jpg"
    bad.write_bytes(b"no image")
    page.set_input_files("#files", [photos[0], bad, photos[1]])
    expect(page.locator("#status")).to_have_text("3 images answered", timeout=30_000)
    entry = page.locator("#gallery li", has_text="could not be read")
    expect(entry).to_have_count(1)
    expect(entry.locator(".name")).to_have_text(bad.name)
    entry.locator("button").click()
    expect(page.locator("#detail")).to_contain_text("read are JPEG")
    assert page.locator("img[src='x']").count() == 0
    page.click("#clear")
    expect(page.locator("#results")).to_be_hidden()


def test_keyboard_alone(page: Page, photos: list[Path]) -> None:
    give(page, photos[:3])
    page.locator("#gallery button").first.focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#detail-title")).to_have_text(photos[1].name)
    page.keyboard.press("ArrowDown")
    expect(page.locator("#gallery button[aria-current=true] .name")).to_have_text(photos[2].name)


@pytest.mark.parametrize(
    "options",
    [{}, {"color_scheme": "dark"}, {"viewport": {"width": 390, "height": 844}, "is_mobile": True}],
    ids=["desktop", "dark", "phone"],
)
def test_axe_finds_nothing_serious_and_nothing_overflows(
    browser: Browser, url: str, photos: list[Path], options: dict
) -> None:
    for page in opened(browser, url, bypass_csp=True, **options):
        give(page, photos[:4])
        assert not serious_faults(page)
        assert not overflows(page)


def test_the_token_is_asked_for_once(browser: Browser, finished: tuple[Path, str], photos: list[Path]) -> None:
    with serving("--token", TOKEN, "--model", finished[0] / "model.onnx") as (url, _):
        context = browser.new_context()
        page = context.new_page()
        page.goto(url)
        page.fill("#token", TOKEN)
        page.get_by_role("button", name="Continue").click()
        page.locator("body[data-ready]").wait_for()
        give(page, photos[:2])
        assert page.evaluate("Object.keys(localStorage).length + Object.keys(sessionStorage).length") == 0
        context.close()
