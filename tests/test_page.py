"""The page of the service in a real browser: headless Chromium."""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, Route, expect

import tiny_onnx
from browsing import give, opened, overflows, serious_faults
from lesionlab.cli import main
from lesionlab.inference.model import load_model
from lesionlab.taxonomy import DX
from test_serve import TOKEN, serving


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
    expect(page.locator("#status")).to_have_text("1 image done", timeout=30_000)
    prediction = load_model(finished[0] / "model.onnx").predict(photos[0])[0]
    expect(page.locator("#detail th.top-one")).to_have_text(prediction.name)
    expect(page.locator("#detail")).to_contain_text("Cannot be ruled out")
    expect(page.locator(".neighbours img")).to_have_count(3)
    expect(page.get_by_role("note")).to_contain_text("not a medical device")
    picture, map_ = page.locator("#detail [role=img]").first, page.locator("#detail canvas.map")
    looks = []
    for share in ("0", "60", "100"):
        page.locator("#opacity").fill(share)
        expect(page.locator(".controls output")).to_have_text(f"{share} %")
        looks.append(page.locator(".frame").screenshot())
    assert len(set(looks)) == 3
    bare = np.asarray(Image.open(io.BytesIO(looks[0])).convert("RGB"), float)
    assert bare.std() > 5 and picture.evaluate("canvas => canvas.width") > 400
    before = map_.evaluate("canvas => canvas.toDataURL()")
    maps = set()
    for dx in prediction.probabilities:
        page.locator(".controls select").select_option(dx)
        maps.add(map_.evaluate("canvas => canvas.toDataURL()"))
    assert before in maps and len(maps) > 1  # a small network's maps of two diagnoses can look alike


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
    expect(page.locator("#status")).to_have_text("3 images done", timeout=30_000)
    entry = page.locator("#gallery li", has_text="could not be read")
    expect(entry).to_have_count(1)
    expect(entry.locator(".name")).to_have_text(bad.name)
    entry.locator("button").click()
    expect(page.locator("#detail")).to_contain_text("read are JPEG")
    assert page.locator("img[src='x']").count() == 0
    page.click("#clear")
    expect(page.locator("#results")).to_be_hidden()


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until it gets there, at most once for each control of the page."""
    controls = page.locator("button:visible, input:visible, select:visible, summary:visible, [tabindex]:visible")
    for _ in range(controls.count()):
        page.keyboard.press("Tab")
        if page.locator(selector).and_(page.locator(":focus")).count():
            return
    pytest.fail(f"Tab does not reach {selector}")


def test_keyboard_alone(page: Page, photos: list[Path]) -> None:
    give(page, photos[:3])
    page.locator("#gallery button").first.focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#detail-title")).to_have_text(photos[1].name)
    page.keyboard.press("ArrowDown")
    expect(page.locator("#gallery button[aria-current=true] .name")).to_have_text(photos[2].name)
    page.keyboard.press("Home")
    expect(page.locator("#detail-title")).to_have_text(photos[0].name)
    page.keyboard.press("Delete")
    expect(page.locator("#gallery button:focus .name")).to_have_text(photos[1].name)
    tab_to(page, "#detail button")
    tab_to(page, "#opacity")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".controls output")).to_have_text("59 %")
    tab_to(page, "#about summary")  # behind the last control the first one comes again
    page.keyboard.press("Enter")
    expect(page.locator("#about .card")).to_be_visible()


def test_a_picture_that_comes_late_leaves_the_focus_where_it_is(page: Page, photos: list[Path]) -> None:
    give(page, photos[:2])
    page.evaluate(
        """() => {
            const decode = window.createImageBitmap;
            const held = new Promise((done) => { window.let_go = done; });
            window.createImageBitmap = async (...given) => { await held; return decode(...given); };
        }"""
    )
    page.locator("#gallery button").last.click()
    tab_to(page, "#opacity")
    page.evaluate("document.getElementById('detail-title').dataset.early = true")
    page.evaluate("window.let_go()")
    expect(page.locator("#detail-title[data-early]")).to_have_count(0)
    expect(page.locator("#opacity")).to_be_focused()


@pytest.mark.parametrize(
    "options",
    [{}, {"color_scheme": "dark"}, {"viewport": {"width": 390, "height": 844}, "is_mobile": True}],
    ids=["desktop", "dark", "phone"],
)
def test_axe_finds_nothing_serious_and_nothing_overflows(
    browser: Browser, url: str, photos: list[Path], options: dict
) -> None:
    for page in opened(browser, url, bypass_csp=True, **options):
        give(page, [*photos[:4], Path(__file__)])
        page.locator("#about summary").click()
        assert not serious_faults(page)
        assert not overflows(page)
        page.locator("#gallery button").last.click()
        expect(page.locator("#detail .badge")).to_have_text("could not be read")
        page.evaluate("document.getElementById('token-dialog').showModal()")
        assert not serious_faults(page)


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


def test_a_token_refused_or_wrong_is_said_once(
    browser: Browser, finished: tuple[Path, str], photos: list[Path]
) -> None:
    """Escape ends the asking, a wrong token is asked for again, and two images at once raise one dialog."""
    with serving("--token", TOKEN, "--model", finished[0] / "model.onnx") as (url, _):
        context = browser.new_context()
        page = context.new_page()
        page.goto(url)
        page.locator("#token").wait_for()
        page.keyboard.press("Escape")
        expect(page.get_by_role("alert")).to_contain_text("needs a token, and none was given")
        page.get_by_role("button", name="Load again").click()
        page.fill("#token", "a wrong token of some length")
        page.keyboard.press("Enter")
        expect(page.locator("#token-wrong")).to_be_visible()
        page.fill("#token", TOKEN)
        page.keyboard.press("Enter")
        page.locator("body[data-ready]").wait_for()
        refuse = {"status": 401, "json": {"error": {"code": "no_token", "reason": "Send it."}}}
        page.route("**/v1/predict*", lambda route: route.fulfill(**refuse))
        page.set_input_files("#files", photos[:4])
        page.locator("#token").wait_for()
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator("#status")).to_have_text("4 images done")
        expect(page.locator("#gallery .badge")).to_have_text(["no prediction"] * 4)
        expect(page.locator("#token-dialog")).to_be_hidden()
        page.unroute("**/v1/predict*")
        page.get_by_role("button", name="Try again: 4").click()
        expect(page.locator("#gallery .badge.error")).to_have_count(0)
        context.close()


def test_a_busy_service_is_asked_again_and_then_reported(page: Page, photos: list[Path]) -> None:
    asked: list[str] = []

    def refuse(route: Route) -> None:
        asked.append(route.request.url)
        body = {"error": {"code": "busy", "reason": "Too many."}}
        route.fulfill(status=503, headers={"Retry-After": "0.05"}, json=body)

    page.route("**/v1/predict*", refuse)
    page.set_input_files("#files", photos[:1])
    expect(page.locator("#detail")).to_contain_text(
        "The service is busy: it turned this image away 6 times", timeout=15_000
    )
    assert len(asked) == 6
    page.unroute("**/v1/predict*")
    page.locator("#detail").get_by_role("button", name="Try again").click()
    expect(page.locator("#detail th.top-one")).to_be_visible()
    page.route("**/v1/predict*", lambda route: route.abort())
    page.set_input_files("#files", photos[1:2])
    expect(page.locator("#gallery li").nth(1)).to_contain_text("Is the service still running?")


def test_a_service_that_fails_at_the_start(browser: Browser, url: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.route("**/v1/model", lambda route: route.fulfill(status=500, body="oops"))
    page.goto(url)
    expect(page.get_by_role("alert")).to_contain_text("could not be loaded: the service answered 500")
    page.unroute("**/v1/model")
    page.get_by_role("button", name="Load again").click()
    page.locator("body[data-ready]").wait_for()
    context.close()


def test_a_missing_neighbour_picture_does_not_lose_the_answer(page: Page, photos: list[Path]) -> None:
    page.route("**/v1/reference/*", lambda route: route.abort())
    give(page, photos[:1])
    expect(page.locator("#detail th.top-one")).to_be_visible()
    expect(page.locator(".neighbours .absent")).to_have_text(["picture not available"] * 3)


def test_clear_while_images_are_under_way(page: Page, photos: list[Path]) -> None:
    held: list[Route] = []
    page.route("**/v1/predict*", lambda route: held.append(route))
    page.set_input_files("#files", photos[:5])
    expect(page.locator("#gallery li", has_text="under way")).to_have_count(2)
    page.click("#clear")
    expect(page.locator("#results")).to_be_hidden()
    page.unroute("**/v1/predict*")
    give(page, photos[5:8])
    expect(page.locator("#gallery .name")).to_have_text([photo.name for photo in photos[5:8]])
    page.locator("#detail").get_by_role("button", name="Remove").click()
    expect(page.locator("#detail-title")).to_have_text(photos[6].name)
    expect(page.locator("#status")).to_have_text("2 images done")


def test_the_report_says_what_it_lists(page: Page, photos: list[Path]) -> None:
    give(page, photos[:6])
    decisions = page.locator("#decision option").all_text_contents()[1:]
    page.select_option("#decision", decisions[0])
    shown = page.locator("#gallery li").count()
    with page.expect_download() as download:
        page.click("#report")
    report = download.value.path().read_text()
    some = f"{shown} of 6 images" if shown < 6 else "6 images"
    assert f"{some}, decision “{decisions[0]}”." in report and report.count("<article") == shown
    assert report.index("not a medical device") < report.index("<article")
    assert " id=" not in report and "Remove" not in report


def test_every_printed_sheet_says_what_this_is(page: Page, photos: list[Path]) -> None:
    give(page, photos[:3])
    page.evaluate("window.print = () => {}")
    page.click("#print")
    sheets = page.locator(".print-only .sheet")
    expect(sheets).to_have_count(3)
    page.emulate_media(media="print")
    expect(page.locator(".print-only .sheet-notice:visible")).to_have_count(3)
    for name in ("#detail", "#drop", "#csv", "#gallery"):
        expect(page.locator(name)).to_be_hidden()
    ids = page.locator("[id]").evaluate_all("nodes => nodes.map((node) => node.id)")
    assert len(ids) == len(set(ids))
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    expect(sheets).to_have_count(0)
    expect(page.locator("#detail h2")).to_be_visible()  # what the browser's own print command gives


def test_a_model_without_an_operating_point_says_so(browser: Browser, photos: list[Path], tmp_path: Path) -> None:
    with serving("--model", tiny_onnx.write(tmp_path / "m.onnx")) as (url, _):
        for page in opened(browser, url):
            give(page, photos[:1])
            expect(page.locator("#detail")).to_contain_text("This model comes without an operating point.")
            expect(page.locator("#detail")).to_contain_text("this model never decides “uncertain”")
            expect(page.locator("#detail .says-it")).to_contain_text("basal cell carcinoma or actinic keratosis")
            expect(page.locator(".scale .tick")).to_have_count(0)


def test_hundreds_of_images(page: Page, photos: list[Path]) -> None:
    """Entries are made once and only moved, whatever is answered, and no picture is kept at full size."""
    page.evaluate(
        """() => {
            window.made = 0;
            new MutationObserver((records) => { for (const record of records) window.made += record.addedNodes.length; })
                .observe(document.getElementById("gallery"), { childList: true });
        }"""
    )
    give(page, [photos[number % 20] for number in range(200)])
    assert page.evaluate("window.made") == 200
    widths = page.locator("canvas").evaluate_all("nodes => nodes.map((node) => node.width)")
    assert sum(width > 192 for width in widths) == 1
    page.click("#clear")  # Playwright says no to the question
    expect(page.locator("#status")).to_have_text("200 images done")
    page.once("dialog", lambda dialog: dialog.accept())
    page.click("#clear")
    expect(page.locator("#results")).to_be_hidden()


def test_a_dropped_folder_gives_its_images(page: Page) -> None:
    found = page.evaluate(
        """async () => {
            const { dropped } = await import("./intake.js");
            const file = (fullPath) => ({ isDirectory: false, fullPath,
                file: (done) => done(new File(["x"], fullPath.split("/").at(-1))) });
            const folder = (...entries) => ({ isDirectory: true, createReader: () => {
                const batches = [entries.slice(0, 1), entries.slice(1), []];
                return { readEntries: (done) => done(batches.shift()) };
            } });
            const entries = [folder(file("/d/a.JPG"), file("/d/notes.txt"),
                folder(file("/d/e/b.tiff"), file("/d/e/._b.png"))), file("/c.txt")];
            const items = entries.map((entry) => ({ webkitGetAsEntry: () => entry }));
            return (await dropped({ items, files: [] })).map((file) => [file.name, file.path]);
        }"""
    )
    assert found == [["a.JPG", "d/a.JPG"], ["b.tiff", "d/e/b.tiff"], ["c.txt", "c.txt"]]


def test_too_large_for_the_service_is_not_sent(page: Page, tmp_path: Path) -> None:
    large = tmp_path / "large.jpg"
    large.write_bytes(b"\xff\xd8\xff" + bytes(20_000_001))
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if "predict" in request.url else None)
    give(page, [large])
    expect(page.locator("#detail")).to_contain_text("20.1 MB is too large: at most 20 MB are read; save a smaller copy")
    assert not sent


def test_images_of_one_name_are_told_apart_in_the_table(
    browser: Browser, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `lesionlab predict --out` tells them apart, so that `lesionlab score` takes the table."""
    monkeypatch.chdir(tmp_path)
    paths = [Path(name) for name in ("a.jpg", "cases/one/a.jpg", "cases/two/a.jpg", "cases/two/b.c.jpg")]
    for path, photo in zip(paths, photos, strict=False):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo.read_bytes())
    Path("bad").mkdir()
    Path("bad/a.jpg").write_bytes(b"no image")
    model = tiny_onnx.write(tmp_path / "m.onnx")
    assert main(["predict", "a.jpg", "cases", "--model", str(model), "--out", "predict.csv"]) == 0
    with serving("--model", model) as (url, _):
        for page in opened(browser, url):
            page.set_input_files("#files", ["a.jpg"])
            page.set_input_files("#directory", "cases")
            page.set_input_files("#files", ["bad/a.jpg"])
            page.set_input_files("#files", ["cases/one/a.jpg"])
            expect(page.locator("#status")).to_have_text("6 images done", timeout=30_000)
            with page.expect_download() as download:
                page.click("#csv")
            table = download.value.path().read_text()
    names = [row[0] for row in csv.reader(io.StringIO(table))][1:]
    expected = [row[0] for row in csv.reader(io.StringIO(Path("predict.csv").read_text()))][1:]
    assert sorted(names[:-1]) == sorted(expected) == ["a", "b.c", "cases/one/a.jpg", "cases/two/a.jpg"]
    assert names[-1] == "a.jpg#2"
    Path("page.csv").write_text(table)
    Path("truth.csv").write_text(
        "image_id,dx\n" + "".join(f"{name},{dx}\n" for name, dx in zip(names, DX, strict=False))
    )
    assert main(["score", "page.csv", "truth.csv"]) == 0
