"""The page in the browser alone: the folder that is written, and its answers beside those of Python."""

import base64
import hashlib
import io
import json
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

import tiny_onnx
from browsing import give, hosting, opened, overflows, serious_faults
from builders import saved
from lesionlab.cli import main
from lesionlab.data.icc import conversion_of
from lesionlab.data.images import read_image
from lesionlab.data.layouts.recognise import read_collection
from lesionlab.data.patient import Patient
from lesionlab.data.phantom.write import write_phantoms
from lesionlab.errors import LesionlabError, UsageError
from lesionlab.evaluation.patient_terms import with_patients
from lesionlab.evaluation.prediction_sets import prediction_sets
from lesionlab.inference.model import load_model
from lesionlab.inference.predictions import Prediction
from lesionlab.model.export.ood_score import add_ood_score
from lesionlab.serve import onnxruntime_web, static_page
from lesionlab.serve.page_facts import describe_model
from lesionlab.taxonomy import DX
from pictures import cases
from test_images import CURVES, DISPLAY_P3, curve, icc_profile

pytestmark = pytest.mark.slow

NEAR = 1e-3
# How a picture is laid that is upright again when EXIF's orientations from 2 on are obeyed.
BACK = ("FLIP_LEFT_RIGHT", "ROTATE_180", "FLIP_TOP_BOTTOM", "TRANSPOSE", "ROTATE_90", "TRANSVERSE", "ROTATE_270")
PAINTED = """async () => {
    for (;;) {
        const canvas = document.querySelector("#detail canvas[role=img]");
        if (canvas.getContext("2d").getImageData(9, 9, 1, 1).data[3]) return canvas.toDataURL();
        await new Promise(requestAnimationFrame);
    }
}"""
PUBLISHED = (
    "index.html",
    "app.js",
    "view.js",
    "style.css",
    "engine-browser.js",
    "worker.js",
    "pixels.js",
    "upright.js",
    "bare.js",
    "containers.js",
    "colours.js",
    "colour-spaces.js",
    "icc.js",
    "facts.json",
)


@pytest.fixture(scope="module")
def runtime(cache: Path) -> None:
    """ONNX Runtime for browsers, in the cache: the only thing here that comes from a registry."""
    try:
        onnxruntime_web.read_runtime()
    except LesionlabError as error:
        pytest.skip(f"needs onnxruntime-web: {error}")


@pytest.fixture(scope="module")
def static(runtime: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("web") / "page"
    assert main(["export", "--format", "web", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def url(static: Path) -> Iterator[str]:
    with hosting(static) as address:
        yield address


@pytest.fixture
def page(browser: Browser, url: str) -> Iterator[Page]:
    yield from opened(browser, url)


@pytest.fixture(scope="module")
def modules(browser: Browser, url: str) -> Iterator[Page]:
    """A page for tests of its modules' functions, which leave the page itself as it is: to open one takes seconds."""
    yield from opened(browser, url)


@pytest.fixture(scope="module")
def lesions(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("lesions") / "full"
    write_phantoms(folder, lesions=7, seed=5)  # 600 x 450
    return [Path(path) for path in read_collection(folder).table["path"][:6]]


def variants(source: Path, folder: Path) -> list[Path]:
    """One lesion as files of several kinds."""
    image = Image.open(source).convert("RGB")
    ramp = np.linspace(0, 255, 450 * 600).reshape(450, 600).astype(np.uint8)
    clear = image.copy()
    clear.putalpha(Image.fromarray(ramp))
    exif = Image.Exif()
    exif[0x0112] = 6
    mirrored = Image.Exif()
    mirrored[0x0112] = 7
    large = image.resize((1600, 1200), Image.Resampling.BICUBIC).transpose(Image.Transpose.ROTATE_90)
    kinds: dict[str, Callable[[Path], None]] = {
        "plain.png": image.save,
        "as-wide-as-the-model.png": image.crop((100, 0, 324, 450)).save,
        "narrower-than-the-model.png": image.crop((100, 0, 292, 450)).save,
        "camera.jpg": partial(large.save, exif=exif, quality=90),
        "clear.png": clear.save,
        "clear.webp": clear.save,
        "inks.jpg": partial(image.convert("CMYK").save, quality=95),
        "grey.jpg": partial(image.convert("L").save, quality=95),
        "palette.png": image.convert("P").save,
        "progressive.jpg": partial(image.save, progressive=True, quality=90),
        "photo.webp": partial(image.save, quality=90),
        "turned.webp": partial(large.save, exif=exif, quality=90),
        "mirrored.webp": partial(image.save, exif=mirrored, quality=90),
        "wide.jpg": partial(large.save, icc_profile=icc_profile(DISPLAY_P3), quality=90),
        "wide.png": partial(image.save, icc_profile=icc_profile(DISPLAY_P3)),
        "drawing.bmp": image.save,
        "pixels.gif": image.save,
    }
    for name, save in kinds.items():
        save(folder / name)
    return [folder / name for name in kinds]


def answers(page: Page, paths: list[Path]) -> list[dict]:
    """What the static page's engine says of files, as it hands it to the page."""
    page.evaluate(
        """async () => {
            const engine = await import("./engine-browser.js");
            document.querySelector("#asked")?.remove();
            const input = document.createElement("input");
            document.body.append(Object.assign(input, { type: "file", multiple: true, id: "asked" }));
            input.ask = async () => {
                const all = [];
                for (const file of input.files) all.push(await engine.predict(file));
                return all;
            };
        }"""
    )
    page.set_input_files("#asked", paths)
    return page.locator("#asked").evaluate("input => input.ask()")


def assert_same(result: dict, expected: Prediction) -> None:
    """Every key of an answer beside Python's."""
    wanted = expected.as_dict()
    assert result["image"] == Path(wanted.pop("path")).name
    assert [*result["probabilities"]] == list(expected.probabilities)
    assert list(result["probabilities"].values()) == pytest.approx(list(wanted.pop("probabilities").values()), abs=NEAR)
    for key in ("malignant_probability", "uncertainty", "ood_score"):
        value = wanted.pop(key)
        assert result[key] == (value if value is None else pytest.approx(value, abs=NEAR))
    assert tuple(result["prediction_set"]) == wanted.pop("prediction_set")
    maps = expected.activation_maps
    assert maps is not None
    values = np.array(result["activation_maps"]["values"]).T.reshape(maps.shape)
    assert np.abs(values - maps).max() < 0.01 * np.abs(maps).max()
    del wanted["image"]
    assert wanted.items() <= result.items()


def test_answers_are_those_of_python(modules: Page, lesions: list[Path], tmp_path: Path) -> None:
    paths = lesions + variants(lesions[0], tmp_path)
    model = load_model()
    for path, found in zip(paths, answers(modules, paths), strict=True):
        assert "error" not in found, (path.name, found)
        assert_same(found["result"], model.predict(path, explain=True)[0])


def test_pictures_get_the_prediction_of_python_or_its_refusal(modules: Page, tmp_path: Path) -> None:
    """Every file of `tests/pictures.py`; where the page alone refuses, it says what a browser cannot read."""
    known = cases()
    for name, case in known.items():
        (tmp_path / name).write_bytes(case.data)
    model = load_model()
    wrong = {}
    for (name, case), found in zip(known.items(), answers(modules, [tmp_path / name for name in known]), strict=True):
        refused = found.get("error", {}).get("reason")
        words = case.page or (case.right if isinstance(case.right, str) else "")
        if words:
            if not re.search(case.page or re.escape(words), refused or ""):
                wrong[name] = refused or "answered"
        elif refused:
            wrong[name] = refused
        else:
            wanted = model.predict(tmp_path / name)[0].probabilities
            distance = max(abs(found["result"]["probabilities"][dx] - share) for dx, share in wanted.items())
            if distance > NEAR:
                wrong[name] = f"{distance:.4f}"
    assert not wrong


def test_a_run_whose_model_has_other_facts(
    browser: Browser, runtime: None, phantoms: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Another size, thresholds and sets, and a line against what is no dermatoscopic image."""
    paths = [Path(path) for path in read_collection(phantoms).table["path"]]
    sets = {"coverage": 0.9, "thresholds": [0.9, 0.9, 0.9, 0.999, 0.9, 0.999, 0.95], "images": [40] * 7}
    facts = tiny_onnx.facts(thresholds={"malignant": 0.985, "uncertainty": 0.1}, conformal=sets)
    file = tiny_onnx.write(tmp_path / "model.onnx", facts)
    pixels = np.stack([read_image(path, tiny_onnx.HEIGHT, tiny_onnx.WIDTH, "centre") for path in paths])
    assert add_ood_score(file, pixels, np.arange(60), np.arange(60, 120))
    assert main(["export", str(tmp_path), "--format", "web"]) == 0
    assert str(tmp_path / "web") in capsys.readouterr().out
    noise = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 256, (64, 96, 3), dtype=np.uint8)).save(noise)
    asked = [*paths[:12], noise]
    with hosting(tmp_path) as address:
        for page in opened(browser, f"{address}/web/"):  # any folder of a host does
            found = answers(page, asked)
    model = load_model(file)
    for path, answer in zip(asked, found, strict=True):
        assert_same(answer["result"], model.predict(path, explain=True)[0])
    assert len({answer["result"]["decision"] for answer in found}) == 4
    assert len({len(answer["result"]["prediction_set"]) for answer in found}) >= 2


def test_a_threshold_of_one_takes_a_diagnosis_into_every_set(modules: Page) -> None:
    """Of rows whose probabilities sum to a little more than 1 too; the sets are those of Python."""
    rows = np.random.default_rng(11).dirichlet(np.full(7, 0.3), 2000)
    rows[:, 5] = 0
    rows = (rows / rows.sum(axis=1, keepdims=True)).astype(np.float32)
    thresholds = [0.5, 0.9, 0.7, 1.0, 0.2, 1.0, 1.0]
    found = modules.evaluate(
        """async ([rows, classes, thresholds]) => {
            const { answer } = await import("./answer.js");
            const facts = { classes, class_names: classes, malignant: ["mel"], thresholds: {}, conformal: { thresholds } };
            return rows.map((row) => answer("image", { probabilities: Float32Array.from(row) }, facts).prediction_set);
        }""",
        [rows.tolist(), list(DX), thresholds],
    )
    probabilities = rows.astype(np.float64)
    sets = prediction_sets(probabilities / probabilities.sum(axis=1, keepdims=True), thresholds)
    assert sets[:, [3, 5, 6]].all() and not sets.all()
    for names, is_in in zip(found, sets, strict=True):
        assert set(names) == {dx for dx, taken in zip(DX, is_in, strict=True) if taken}


def test_age_sex_and_site_move_an_answer_as_in_python(modules: Page) -> None:
    model = load_model().facts
    assert model.patient
    random = np.random.default_rng(12)
    rows = random.dirichlet(np.full(len(model.taxonomy), 0.3), 60).astype(np.float32)
    ages = [None, 0.5, 10.0, 33.0, 70.0, 85.0, 120.0]
    known = [
        Patient(age, sex, site) for age in ages for sex, site in [(None, None), ("female", "hand"), ("male", None)]
    ]
    patients = [known[number % len(known)] for number in range(60)]
    found = modules.evaluate(
        """async ([rows, patients]) => {
            const { answer } = await import("./answer.js");
            const facts = await (await fetch("facts.json")).json();
            const say = (row, patient) => answer("image", { probabilities: Float32Array.from(row) }, facts, patient);
            return rows.map((row, at) => say(row, patients[at]));
        }""",
        [rows.tolist(), [patient.as_dict() for patient in patients]],
    )
    alone = rows.astype(np.float64)
    expected = with_patients(alone / alone.sum(axis=1, keepdims=True), patients, model.patient)
    values = np.array([list(answer["probabilities"].values()) for answer in found])
    assert np.abs(values - expected).max() < 1e-6 and np.abs(values - alone).max() > 0.1
    assert [answer.get("metadata") for answer in found] == [one.as_dict() if one.is_known else None for one in patients]


def test_what_is_known_of_the_patient_counts_in_the_browser(page: Page, lesions: list[Path]) -> None:
    give(page, lesions[:1])
    page.fill("#patient-age", "75")
    page.select_option("#patient-site", "hand")
    expect(page.locator("#detail")).to_contain_text("take into account: age 75, hand.")
    best = load_model().predict(lesions[0], metadata=Patient(75, None, "hand"))[0]
    expect(page.locator("#detail th.top-one")).to_have_text(best.name)


# (height, width) of an image, then of the model
SCALINGS = [
    ((450, 600), (192, 192), "centre"),
    ((451, 333), (64, 96), "centre"),
    ((40, 50), (128, 128), "centre"),
    ((224, 224), (224, 224), "centre"),
    ((225, 225), (224, 224), "centre"),
    ((300, 224), (300, 224), "stretch"),
    ((97, 901), (224, 224), "centre"),
    ((426, 325), (224, 224), "centre"),
    ((300, 77), (77, 77), "stretch"),  # from here on Pillow 13 by itself would scale down before across
    ((450, 192), (224, 224), "centre"),
    ((427, 325), (224, 224), "centre"),
    ((700, 71), (65, 97), "centre"),
    ((225, 224), (224, 224), "centre"),
    ((225, 223), (224, 224), "stretch"),
]


@pytest.mark.parametrize(("size", "to_size", "crop"), SCALINGS)
def test_scaling_is_pythons_to_the_bit(
    modules: Page, size: tuple[int, int], to_size: tuple[int, int], crop: str
) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (*size, 3), dtype=np.uint8)
    found = modules.evaluate(
        """async ([data, [height, width], [toHeight, toWidth], crop]) => {
            const { box, resize } = await import("./pixels.js");
            const rgb = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
            const rows = (first, count) => Uint8ClampedArray.from({ length: 4 * width * count }, (_, at) =>
                at % 4 === 3 ? 255 : rgb[3 * (first * width + (at >> 2)) + at % 4]);
            const scaled = resize(rows, [width, height], [toWidth, toHeight], box(width, height, toWidth, toHeight, crop));
            return Array.from(scaled, (value) => String.fromCharCode(value)).join("");
        }""",
        [base64.b64encode(pixels.tobytes()).decode(), size, to_size, crop],
    )
    expected = read_image(saved(Image.fromarray(pixels)), *to_size, crop)
    assert np.array_equal(np.frombuffer(found.encode("latin-1"), np.uint8).reshape(expected.shape), expected)


def turned_webps(source: Path, folder: Path) -> list[Path]:
    """One picture in the eight orientations of EXIF: as it lies differs, upright it is the same."""
    upright = Image.open(source).convert("RGB")
    back = [None, *(Image.Transpose[name] for name in BACK)]
    paths = []
    for orientation, transpose in enumerate(back, start=1):
        exif = Image.Exif()
        exif[0x0112] = orientation
        paths.append(folder / f"{orientation}.webp")
        lying = upright if transpose is None else upright.transpose(transpose)
        lying.save(paths[-1], lossless=True, exif=exif)
    return paths


def test_a_turned_webp_gives_the_pixels_of_python(modules: Page, lesions: list[Path], tmp_path: Path) -> None:
    """In one orientation after the other."""
    paths = turned_webps(lesions[0], tmp_path)
    expected = read_image(paths[0], 224, 224, "centre")
    for path, found in zip(paths, pixels_in(modules, paths), strict=True):
        assert np.array_equal(read_image(path, 224, 224, "centre"), expected)
        assert np.array_equal(found, expected), path.name


def pixels_in(page: Page, paths: list[Path]) -> list[np.ndarray]:
    """What the page reads of each file for a model of 224 px."""
    page.evaluate(
        """() => {
            document.querySelector("#asked")?.remove();
            document.body.append(Object.assign(document.createElement("input"), { type: "file", multiple: true, id: "asked" }));
        }"""
    )
    page.set_input_files("#asked", paths)
    found = page.locator("#asked").evaluate(
        """async (input) => {
            const { readHeader } = await import("./header.js");
            const { readPixels } = await import("./pixels.js");
            const all = [];
            for (const file of input.files) {
                const bytes = new Uint8Array(await file.arrayBuffer());
                const pixels = await readPixels(bytes, readHeader(bytes, {}), { height: 224, width: 224, crop: "centre" });
                if (pixels.length !== 224 * 224 * 3) throw new Error(`${file.name}: ${pixels.length} values`);
                all.push(Array.from(pixels, (value) => String.fromCharCode(value)).join(""));
            }
            return all;
        }"""
    )
    return [np.frombuffer(pixels.encode("latin-1"), np.uint8).reshape(224, 224, 3) for pixels in found]


def odd_profiles() -> dict[str, bytes]:
    """Profiles that are not as they should be, in what a conversion does not need."""
    whole = icc_profile(DISPLAY_P3)
    second = 132 + 12  # the entry of wtpt
    outside = whole[: second + 4] + (10**6).to_bytes(4) + whole[second + 8 :]
    overhanging = whole[:140] + (2**31).to_bytes(4) + whole[144:]
    crowded = whole[:128] + (300).to_bytes(4) + whole[132:] + bytes(2000)
    return {"outside": outside, "overhanging": overhanging, "crowded": crowded}


def test_colours_of_a_profile_are_pythons_to_the_bit(modules: Page, lesions: list[Path], tmp_path: Path) -> None:
    image = Image.open(lesions[0]).convert("RGB")
    paths = []
    for name, tag in CURVES.items():
        paths.append(tmp_path / f"{name}.png")
        image.save(paths[-1], icc_profile=icc_profile(DISPLAY_P3, tag))
    image.save(tmp_path / "wide.jpg", icc_profile=icc_profile(DISPLAY_P3), quality=95)
    image.convert("L").save(tmp_path / "grey.jpg", icc_profile=icc_profile(DISPLAY_P3), quality=95)
    image.save(tmp_path / "wide.webp", icc_profile=icc_profile(DISPLAY_P3), lossless=True)
    paths += [tmp_path / name for name in ("wide.jpg", "grey.jpg", "wide.webp")]
    for name, profile in odd_profiles().items():
        paths.append(tmp_path / f"{name}.png")
        image.save(paths[-1], icc_profile=profile)
    without = read_image(lesions[0], 224, 224, "centre")
    for path, found in zip(paths, pixels_in(modules, paths), strict=True):
        expected = read_image(path, 224, 224, "centre")
        assert np.array_equal(found, expected), path.name
        assert not np.array_equal(expected, without), path.name


def test_profiles_without_a_conversion_have_none_here_either(modules: Page) -> None:
    whole = icc_profile(DISPLAY_P3)
    profiles = [icc_profile(DISPLAY_P3, curve(1, 2.2, 0, 0.1)), icc_profile(DISPLAY_P3, curve(2, 2.2, 0, 0.1, 0))]
    profiles += [whole[:128] + (300).to_bytes(4) + whole[132:], whole[:200]]
    assert all(conversion_of(profile) is None for profile in profiles)
    found = modules.evaluate(
        """async (profiles) => {
            const { conversionOf } = await import("./icc.js");
            return profiles.map((profile) => conversionOf(Uint8Array.from(atob(profile), (c) => c.charCodeAt(0))) === null);
        }""",
        [base64.b64encode(profile).decode() for profile in profiles],
    )
    assert found == [True] * len(profiles)


def test_a_turned_webp_is_shown_upright(page: Page, lesions: list[Path], tmp_path: Path) -> None:
    """On the gallery's thumbnail, in the detail and in the report."""
    paths = turned_webps(lesions[0], tmp_path)
    give(page, paths)
    thumbs = page.locator("#gallery canvas").evaluate_all("nodes => nodes.map((node) => node.toDataURL())")
    assert_look_alike(thumbs)
    looks = []
    for entry in page.locator("#gallery button").all():
        entry.click()
        expect(page.locator("#detail")).to_contain_text("WEBP of 600 × 450 pixels")
        looks.append(page.evaluate(PAINTED))
    assert_look_alike(looks)
    with page.expect_download() as download:
        page.click("#report")
    pictures = re.findall(r'src="(data:image/jpeg[^"]+)"', download.value.path().read_text())
    assert len(pictures) == 8
    assert_look_alike(pictures)


def assert_look_alike(addresses: list[str]) -> None:
    """data: addresses of one picture, reduced by the browser in several orientations."""
    first, *others = (
        np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))).convert("RGB"), float)
        for address in addresses
    )
    assert first.std() > 5
    for other in others:
        assert np.abs(other - first).mean() < 1


def png_of(width: int, height: int) -> bytes:
    """A PNG of this size that ends behind its head."""
    head = b"IHDR" + width.to_bytes(4) + height.to_bytes(4) + b"\x08\x02\0\0\0"
    data = b"IDAT" + zlib.compress(b"")
    chunks = [len(chunk[4:]).to_bytes(4) + chunk + zlib.crc32(chunk).to_bytes(4) for chunk in (head, data)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_bad_files_get_the_reasons_of_python(modules: Page, lesions: list[Path], tmp_path: Path) -> None:
    whole = lesions[0].read_bytes()
    tiny, tall, scans = io.BytesIO(), io.BytesIO(), io.BytesIO()
    Image.new("L", (3000, 3000)).save(scans, "JPEG", progressive=True)
    Image.new("RGB", (15, 40)).save(tiny, "PNG")
    Image.new("L", (20, 400)).save(tall, "JPEG")
    bad = {
        "empty.jpg": b"",
        "text.jpg": b"no image at all",
        "page.png": b"<!DOCTYPE html><p>",
        "paper.jpg": b"%PDF-1.7 ...",
        "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        "drawing.eps": b"\xc5\xd0\xd3\xc6\x1e\0\0\0 ...",
        "bomb.png": png_of(9_000, 8_000),
        "tiny.png": tiny.getvalue(),
        "tall.jpg": tall.getvalue(),
        "scans.jpg": scans.getvalue() + b"\xff\xda" * 300,
    }
    cut = {"cut.jpg": whole[: len(whole) // 2], "cut.png": png_of(60, 40)}
    for name, data in (bad | cut).items():
        (tmp_path / name).write_bytes(data)
    large = tmp_path / "large.jpg"
    large.write_bytes(whole + bytes(20_000_001))
    unread = load_model().predict(list(bad.values())).unreadable
    found = answers(modules, [tmp_path / name for name in (*bad, *cut)] + [large])
    for answer, expected in zip(found, unread, strict=False):
        assert answer["error"]["reason"] == expected.reason
    codes = [answer["error"]["code"] for answer in found]
    assert codes == ["unreadable"] + ["not_an_image"] * 5 + ["too_large"] + ["unreadable"] * 5 + ["too_large"]
    assert all("damaged or cut short" in answer["error"]["reason"] for answer in found[10:12])


def test_twenty_images_read_and_saved_with_nothing_sent(page: Page, lesions: list[Path], tmp_path: Path) -> None:
    paths = []
    for number in range(20):
        paths.append(tmp_path / f"{number}.jpg")
        paths[-1].write_bytes(lesions[number % len(lesions)].read_bytes())
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method) if request.method != "GET" else None)
    page.context.set_offline(True)  # it has all that it needs
    give(page, paths)
    assert page.locator("#gallery li").count() == 20
    with page.expect_download() as download:
        page.click("#csv")
    rows = download.value.path().read_text().splitlines()
    expected = load_model().predict(paths)
    assert len(rows) == 21 and rows[0] == "image,AKIEC,BCC,BEN_OTH,BKL,DF,INF,MAL_OTH,MEL,NV,SCCKA,VASC"
    for row, item in zip(rows[1:], expected, strict=True):
        name, *shares = row.split(",")
        assert name == item.image and list(map(float, shares)) == pytest.approx(
            list(item.probabilities.values()), abs=NEAR
        )
    with page.expect_download() as download:
        page.click("#report")
    report = download.value.path().read_text()
    assert report.count("<article") == 20 and not re.findall(r"<script|(?:src|href)=[\"'](?!data:)", report)
    assert not sent
    assert page.evaluate("!self.crossOriginIsolated")


@pytest.mark.parametrize(
    "options",
    [{"color_scheme": "dark"}, {"viewport": {"width": 390, "height": 844}, "is_mobile": True}],
    ids=["dark", "phone"],
)
def test_axe_and_the_keyboard(browser: Browser, url: str, lesions: list[Path], options: dict) -> None:
    for page in opened(browser, url, bypass_csp=True, **options):
        give(page, lesions[:3])
        assert not serious_faults(page)
        assert not overflows(page)
        page.locator("#gallery button").first.focus()
        page.keyboard.press("ArrowDown")
        assert page.locator("#detail-title").inner_text() == lesions[1].name


def test_a_browser_that_alters_pixels_is_noticed(modules: Page) -> None:
    noticed = modules.evaluate(
        """async () => {
            const { readsBackExactly } = await import("./pixels.js");
            const context = OffscreenCanvasRenderingContext2D.prototype;
            const honest = readsBackExactly();
            const { getImageData } = context;
            context.getImageData = function (...place) {
                const found = getImageData.apply(this, place);
                found.data[400] ^= 1;
                return found;
            };
            const altered = readsBackExactly();
            context.getImageData = getImageData;
            return [honest, altered];
        }"""
    )
    assert noticed == [True, False]


def test_a_folder_that_is_not_whole_says_so(browser: Browser, static: Path, tmp_path: Path) -> None:
    for file in static.iterdir():
        if file.name != "model.onnx":
            (tmp_path / file.name).symlink_to(file)
    context = browser.new_context()
    page = context.new_page()
    with hosting(tmp_path) as address:
        page.goto(address)
        page.get_by_text("model.onnx could not be fetched (the server answered 404)").wait_for(timeout=30_000)
        (tmp_path / "model.onnx").write_bytes(b"short")
        page.reload()
        page.get_by_text("upload the folder again").wait_for(timeout=30_000)
    context.close()


def test_the_folder(static: Path) -> None:
    names = {file.name for file in static.iterdir()}
    assert names >= {*PUBLISHED, "model.onnx", *onnxruntime_web.FILES.values()} and "engine-server.js" not in names
    facts = json.loads((static / "facts.json").read_text())
    described = json.loads(json.dumps(describe_model(load_model())))
    assert described.items() <= facts.items()
    assert (static / "model.onnx").read_bytes() == load_model().bundle.data
    index = (static / "index.html").read_text()
    assert '<meta name="lesionlab-engine" content="browser">' in index
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', index)
    assert policy and "'wasm-unsafe-eval'" in policy[1] and "'unsafe-eval'" not in policy[1]
    assert "connect-src 'self'" in policy[1] and "frame-ancestors" not in policy[1]
    licences = (static / "licences.txt").read_text(encoding="utf-8")
    assert "Microsoft" in licences and "Tschandl" in licences and "10.1038/sdata.2018.161" in licences


def tarball() -> bytes:
    """A tarball as npm lays it out, of files that are no runtime."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name in [*onnxruntime_web.FILES, "package/package.json", "../outside"]:
            member = tarfile.TarInfo(name)
            member.size = len(name)
            archive.addfile(member, io.BytesIO(name.encode()))
    return file.getvalue()


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A registry's folder and its tarball, which then counts as the published one; the cache is empty."""
    data = tarball()
    monkeypatch.setattr(onnxruntime_web, "SHA512", base64.b64encode(hashlib.sha512(data).digest()).decode())
    monkeypatch.setenv("LESIONLAB_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "registry" / "onnxruntime-web" / "-" / onnxruntime_web.ARCHIVE
    file.parent.mkdir(parents=True)
    file.write_bytes(data)
    return file


def test_the_runtime_is_downloaded_once(published: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with hosting(tmp_path / "registry") as address:
        monkeypatch.setenv("npm_config_registry", f"{address}/")
        files = onnxruntime_web.read_runtime()
    assert files == {to: name.encode() for name, to in onnxruntime_web.FILES.items()}
    assert onnxruntime_web.read_runtime() == files  # the registry is gone: out of the cache
    kept = tmp_path / "cache" / "runtime" / onnxruntime_web.ARCHIVE
    kept.write_bytes(b"damaged")
    with pytest.raises(LesionlabError, match="cannot be downloaded .*--runtime"):
        onnxruntime_web.read_runtime()


def test_a_wrong_or_absent_runtime_is_refused(published: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    out = tmp_path / "page"
    published.write_bytes(published.read_bytes() + b"!")
    with hosting(tmp_path / "registry") as address:
        monkeypatch.setenv("npm_config_registry", address)
        with pytest.raises(LesionlabError, match="not what npm publishes.*--runtime"):
            static_page.export_web(None, out)
        published.unlink()
        with pytest.raises(LesionlabError, match="404.*--runtime"):
            static_page.export_web(None, out)
    with pytest.raises(UsageError, match="not onnxruntime-web 1.30.0"):
        static_page.export_web(None, out, runtime=Path(__file__))
    with pytest.raises(UsageError, match="cannot be read"):
        static_page.export_web(None, out, runtime=tmp_path / "absent.tgz")
    monkeypatch.setenv("npm_config_registry", "file:///etc")
    with pytest.raises(UsageError, match="no web address"):
        static_page.export_web(None, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["registry"]


def test_a_file_for_machines_that_are_offline(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:1")
    out = tmp_path / "the page"
    command = ["export", "--format", "web", str(out), "--runtime", str(published)]
    assert main(command) == 0
    assert f"--directory '{out}'\n" in capsys.readouterr().out  # to be pasted into a shell
    (out / "stale.js").write_text("")
    assert main(command) == 0  # an earlier export is replaced, whole
    assert not (out / "stale.js").exists()
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("")
    assert main([*command[:3], "--out", str(foreign), "--runtime", str(published)]) == 2
    assert "not empty" in capsys.readouterr().err
    assert [path.name for path in foreign.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "web"], "--out DIR"),
        (["bundled", "--format", "web"], "--out DIR"),
        (["--format", "onnx"], "takes a run"),
        (["RUN", "--format", "onnx", "--runtime", "x.tgz"], "takes a run"),
        (["absent.onnx", "--format", "web", "--out", "x"], "no model file"),
        (["--format", "web", "--out", "absent/x"], "does not exist"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["export", *arguments]) == 2
    assert message in capsys.readouterr().err
