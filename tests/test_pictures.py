"""Same picture, same prediction: files that Python and a browser could read differently, in Python, the service and the page."""

import json
import logging
import random
import re
import struct
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from conftest import lesionlab_here
from lesionlab.data import jpeg
from lesionlab.data.image_formats import SUFFIXES
from lesionlab.data.images import ImageError, read_drafted, read_image
from lesionlab.inference.given_images import as_file
from lesionlab.inference.model import load_model
from pictures import SIZE, cases, dicom
from test_images import BOMBS, mutated, picture, saved
from test_serve import serving

CASES = cases()


@pytest.mark.parametrize("name", CASES)
def test_each_file_is_read_as_it_is_meant_or_refused(name: str) -> None:
    case = CASES[name]
    width, height = SIZE
    if isinstance(case.right, str):
        with pytest.raises(ImageError, match=re.escape(case.right)):
            read_image(case.data, height, width, "stretch")
        return
    found = read_image(case.data, height, width, "stretch").astype(int)
    difference = np.abs(found - np.asarray(case.right))
    assert difference.max() <= case.tolerance, (found[20, 10], found[20, 50], difference.mean())
    assert difference.mean() <= min(2, case.tolerance)


@pytest.mark.slow
def test_the_service_gives_the_prediction_of_python_or_its_refusal(tiny: Path) -> None:
    model = load_model(tiny)
    with serving("--model", tiny, "--max-files", len(CASES)) as (url, _):
        form = [("image", (name, case.data)) for name, case in CASES.items()]
        results = httpx.post(f"{url}/v1/predict", files=form, timeout=120).json()["results"]
    for case, result in zip(CASES.values(), results, strict=True):
        if isinstance(case.right, str):
            assert case.right in result["error"]["reason"]
        else:
            assert result["probabilities"] == pytest.approx(model.predict(case.data)[0].probabilities, abs=1e-6)


@pytest.mark.parametrize("name", [name for name in CASES if name.endswith((".png", ".jpg", ".webp", ".gif", ".avif"))])
@pytest.mark.parametrize("is_loaded", [False, True])
def test_an_image_of_pillow_is_what_its_file_is(name: str, is_loaded: bool) -> None:
    """Once it is loaded, Pillow has forgotten cICP, nclx, the place of a first frame and colour keys of its own.

    A WebP is loaded as soon as it is opened.
    """
    case = CASES[name]
    is_loaded |= name.endswith(".webp")
    forgotten = ("cicp", "trns", "off_screen", "p3.avif", "bt709.avif", "pq.avif", "held.avif")
    if isinstance(case.right, str) or (is_loaded and any(word in name for word in forgotten)):
        return
    image = Image.open(BytesIO(case.data))
    if is_loaded:
        image.load()
    assert np.array_equal(read_image(as_file(image), 24, 24, "centre"), read_image(case.data, 24, 24, "centre"))
    image.load()  # it can still be used


JPEGS = {
    **{f"quality {q}": {"quality": q} for q in (1, 50, 95, 100)},
    **{f"subsampling {kind}": {"subsampling": kind} for kind in ("4:4:4", "4:2:2", "4:2:0")},
    "progressive": {"progressive": True},
    "restarts": {"restart_marker_rows": 1},
    "RGB without YCbCr": {"keep_rgb": True},
}


@pytest.mark.parametrize("options", JPEGS.values(), ids=JPEGS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("size", [(224, 224), (301, 227), (64, 48)])
def test_jpegs_have_pillows_pixels_to_the_bit(
    options: dict, mode: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = saved(picture(*size).convert(mode), "JPEG", exif=b"", **options)
    found = [read_image(data, height, 224, "centre") for height in (224, 100)]
    drafted = read_drafted(data, 224, 224, "centre")
    assert jpeg.pixels_of(data, "RGB") is not None
    monkeypatch.setattr(jpeg, "pixels_of", lambda *_: None)
    assert all(
        np.array_equal(pixels, read_image(data, height, 224, "centre"))
        for pixels, height in zip(found, (224, 100), strict=True)
    )
    slow = read_drafted(data, 224, 224, "centre")
    assert np.array_equal(drafted[0], slow[0]) and drafted[1] == slow[1]


@pytest.mark.parametrize(
    ("name", "package", "extra"), [("rgb.dcm", "pydicom", "dicom"), ("p3.heic", "pillow_heif", "heif")]
)
def test_a_decoder_that_is_not_installed_is_named_with_its_extra(
    name: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImageError, match=rf"which is not installed: pip install 'lesionlab\[{extra}\]'") as caught:
        read_image(CASES[name].data, 8, 8, "centre")
    assert caught.value.code == "not_an_image"


def test_what_pydicom_checks_elsewhere_is_left_as_it_was() -> None:
    """Its setting is the process's: a notebook that reads DICOM itself keeps its own, also after threads have read."""
    from pydicom.config import RAISE, WARN, settings

    good, damaged = dicom(np.zeros((64, 64, 3), np.uint8)), dicom(np.zeros((64, 64, 3), np.uint8))[:-200]
    before = settings.reading_validation_mode
    try:
        for mode in (RAISE, WARN):
            settings.reading_validation_mode = mode
            with ThreadPoolExecutor(4) as pool:
                for data in [damaged, *[good] * 5] * 8:
                    pool.submit(lambda data=data: read_image(data, 32, 32, "centre"))
            assert settings.reading_validation_mode == mode
    finally:
        settings.reading_validation_mode = before


def test_dicom_that_is_not_read_says_why() -> None:
    right = np.asarray(picture(*SIZE))
    deflated = dicom(right).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")
    other = dicom(np.asarray(picture(96, 64)), "YBR_FULL_422", "JPEG", Rows=48, Columns=64)
    refused = {
        dicom(right, BitsStored=7, HighBit=6): "values of other than 8 bits",
        dicom(right, PhotometricInterpretation="PALETTE COLOR"): "colours of a kind that is not read",
        dicom(right, PhotometricInterpretation="MONOCHROME2"): "do not fit together",
        dicom(right, NumberOfFrames=None, Rows=8): "64 x 8 pixels are too few",
        other: "the picture in it has another size than it says",
        dicom(right)[:3000]: "is damaged or cut short",
        deflated.replace(
            b"UI\x14\0", b"UI\x16\0", 9
        ): "coded as Deflated Explicit VR Little Endian|does not say|damaged",
    }
    for data, reason in refused.items():
        with pytest.raises(ImageError, match=reason):
            read_image(data, 24, 24, "centre")


def test_overlays_are_refused() -> None:
    import pydicom

    dataset = pydicom.dcmread(BytesIO(CASES["rgb.dcm"].data))
    dataset.add_new(0x60020010, "US", SIZE[1])
    file = BytesIO()
    dataset.save_as(file)
    with pytest.raises(ImageError, match="draws overlays over its picture"):
        read_image(file.getvalue(), 24, 24, "centre")


def test_no_warning_repeats_what_stands_in_a_damaged_file(recwarn: pytest.WarningsRecorder) -> None:
    uid = b"1.2.840.10008.5.1.4.1.1.77.1.7"
    with pytest.raises(ImageError, match="is of an unknown class|is damaged"):
        read_image(CASES["rgb.dcm"].data.replace(uid, b"1.2.Doe^Jane".ljust(len(uid), b"!")), 8, 8, "centre")
    assert not [str(one.message) for one in recwarn]


def test_nothing_of_a_patient_is_logged_shown_or_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    caplog.set_level(logging.DEBUG)
    right, given = np.asarray(picture(*SIZE)), tmp_path / "given"
    given.mkdir()
    for number, pixels in enumerate((right, right[::-1])):
        (given / f"{number}.dcm").write_bytes(dicom(pixels))
    (given / "bad.dcm").write_bytes(dicom(right)[:1500])
    rng = random.Random(5)
    shown = []
    for _ in range(150):
        try:
            read_image(mutated(dicom(right), rng), 24, 24, "centre")
        except ImageError as error:
            shown += [str(error), repr(error.__cause__), repr(error.__context__)]
    out = tmp_path / "out.csv"
    done = lesionlab_here("predict", "--json", given / "0.dcm", given / "bad.dcm")
    shown += [done.stdout, done.stderr]
    done = lesionlab_here("predict", given, "--out", out, "--explain", tmp_path / "maps")
    shown += [done.stdout, done.stderr, out.read_text(), caplog.text, *(str(warning.message) for warning in recwarn)]
    files = [path.read_bytes() for path in (tmp_path / "maps").iterdir()]
    for secret in ("Doe", "Jane", "SECRET", "19700101"):
        assert not any(secret in text for text in shown)
        assert not any(secret.encode() in data for data in files)
    assert len(out.read_text().splitlines()) == 3


def test_folders_of_every_suffix_are_predicted_and_checked(tmp_path: Path) -> None:
    """A DICOM file beside one JPEG; what was passed over before, as `.jfif`."""
    image = picture(150, 112)
    kinds = {".dcm": dicom(np.asarray(image)), ".png": saved(image, "PNG")}
    kinds |= {suffix: saved(image, "JPEG", quality=q) for q, suffix in enumerate((".jfif", ".jpe", ".jif", ".JPG"), 90)}
    kinds |= {".avif": saved(image, "AVIF", quality=100, subsampling="4:4:4"), ".heic": CASES["held.heic"].data}
    assert {suffix.lower() for suffix in kinds} <= set(SUFFIXES)
    rows = []
    for number, (suffix, data) in enumerate(kinds.items()):
        (tmp_path / f"ISIC_{number:07d}{suffix}").write_bytes(data)
        rows.append({"image_id": f"ISIC_{number:07d}", "lesion_id": f"L{number}", "dx": "nv" if number % 2 else "mel"})
    pd.DataFrame(rows).to_csv(tmp_path / "HAM10000_metadata.csv", index=False)
    done = lesionlab_here("predict", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    assert len([json.loads(line) for line in done.stdout.splitlines()]) == len(kinds)
    checked = lesionlab_here("check", tmp_path)
    assert "has no image" not in checked.stdout + checked.stderr
    assert f"{len(kinds)} images kept" in " ".join(checked.stdout.split())


@pytest.mark.parametrize(
    "name", ["p3.avif", "held.heic", "rgb.dcm", "jpeg_ybr_422.dcm", "jpeg2000.dcm", "called_srgb.png"]
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_mutated_files_of_newer_formats_give_pixels_or_a_named_error(name: str) -> None:
    rng = random.Random(name)
    for _ in range(60):
        start = time.perf_counter()
        try:
            assert read_image(mutated(CASES[name].data, rng), 64, 64, "centre").shape == (64, 64, 3)
        except ImageError as error:
            assert error.reason
        assert time.perf_counter() - start < 2


def test_bombs_of_newer_formats_are_refused_at_once(tmp_path: Path) -> None:
    """At most 1 s and 200 MB more memory; what a decoder needs to be imported is taken first."""
    import subprocess

    def sized(data: bytes, side: int) -> bytes:
        at = data.index(b"ispe") + 8
        return data[:at] + struct.pack(">II", side, side) + data[at + 8 :]

    right = np.asarray(picture(*SIZE))
    large = saved(Image.new("L", (12_000, 12_000)), "JPEG")
    import pydicom
    from pydicom.encaps import encapsulate

    hidden = pydicom.dcmread(BytesIO(dicom(right, "YBR_FULL_422", "JPEG")))
    hidden.PixelData = encapsulate([large])
    file = BytesIO()
    hidden.save_as(file)
    bombs = {
        "0 first.dcm": dicom(right),
        "0 first.heic": CASES["p3.heic"].data,
        "0 first.avif": CASES["p3.avif"].data,
        "large.avif": sized(CASES["p3.avif"].data, 16_000),
        "large.heic": sized(CASES["p3.heic"].data, 16_000),
        "large.dcm": dicom(right, Rows=65_000, Columns=65_000),
        "frames.dcm": dicom(right, NumberOfFrames=2**31 - 1),
        "hidden.dcm": file.getvalue(),
    }
    for name, data in bombs.items():
        (tmp_path / name).write_bytes(data)
    result = subprocess.run([sys.executable, "-c", BOMBS, tmp_path], capture_output=True, text=True, check=True)
    lines = [line.split("|") for line in result.stdout.splitlines()]
    assert len(lines) == len(bombs)
    for name, kilobytes, seconds, reason in lines:
        assert name.startswith("0") == (reason == "read"), (name, reason)
        if not name.startswith("0"):
            assert int(kilobytes) < 200_000 and float(seconds) < 1, name
