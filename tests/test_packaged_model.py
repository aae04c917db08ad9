"""The model that comes with lesionlab: it is there, it answers, and the same picture gets the same answer."""

import csv
import io
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.cbook import get_sample_data
from PIL import Image, ImageDraw, ImageFilter
from sklearn.datasets import load_sample_images

from conftest import lesionlab
from lesionlab import load_model
from lesionlab._version import NOT_A_DEVICE
from lesionlab.data.layouts.recognise import read_collection
from lesionlab.inference.bundle import MODELS, packaged_models
from lesionlab.inference.model import Model
from lesionlab.taxonomy import read_taxonomy

pytestmark = pytest.mark.slow

HEADER = ("image", *read_taxonomy("milk10k").columns)
ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model()


@pytest.fixture(scope="module")
def trained_on(model: Model, ham10000: Path) -> tuple[pd.DataFrame, list[str]]:
    """Twelve images of each diagnosis that the model was trained on, and the diagnoses that it gives them."""
    table = read_collection(ham10000).table.groupby("dx").head(12)
    return table, [item.dx for item in model.predict(list(table["path"]))]


def test_it_fits_and_says_what_it_is(model: Model) -> None:
    file = packaged_models()[0]
    assert file.stat().st_size <= 16e6
    facts = model.facts
    assert facts.notice == NOT_A_DEVICE and "CC BY-NC 4.0" in facts.licence
    assert None not in (facts.thresholds.malignant, facts.thresholds.uncertainty) and facts.temperature > 0
    assert model.bundle.has_activation_maps
    assert f"train: {int(sum(facts.diagnosis_counts)):,} images" in facts.card  # what `adapt --unlabelled` starts from


def test_its_licence_is_in_the_package_and_in_its_metadata() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["license"] == "Apache-2.0 AND CC-BY-NC-4.0"
    (file,) = [ROOT / name for name in project["license-files"] if name != "LICENSE"]
    assert file.samefile(MODELS / "LICENSE.txt")
    text = file.read_text(encoding="utf-8")
    assert all(
        word in text for word in ("CC BY-NC 4.0", "Tschandl", "10.1038/sdata.2018.161", "MILK10k", "MobileNetV2")
    )
    assert all(model.name in text for model in packaged_models())


def test_its_8_bit_form_answers_alike(trained_on: tuple[pd.DataFrame, list[str]]) -> None:
    files = packaged_models()
    assert [file.stem for file in files] == ["bundled", "bundled-int8"] and sum(f.stat().st_size for f in files) <= 16e6
    small = load_model("bundled-int8")
    assert "8-bit integers" in small.facts.card and small.facts.ood.threshold > 0
    table, expected = trained_on
    assert np.equal([item.dx for item in small.predict(list(table["path"]))], expected).mean() > 0.9


def test_the_card_in_the_documentation_is_the_one_inside(model: Model) -> None:
    card = (ROOT / "docs" / "model-card.md").read_text(encoding="utf-8")
    assert card == model.facts.card
    assert NOT_A_DEVICE in card and "Calibration" in card and "By age, sex" in card
    assert "/work" not in card and "/home" not in card


def test_a_folder_as_a_new_user_would(ham10000: Path, tmp_path: Path) -> None:
    done = lesionlab("predict", ham10000 / "full_size", "--out", tmp_path / "p.csv")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "p.csv").open() as file:
        rows = list(csv.reader(file))
    assert tuple(rows[0]) == HEADER and len(rows) == 9
    assert all(abs(sum(map(float, row[1:])) - 1) < 1e-6 for row in rows[1:])


def test_it_knows_the_images_that_it_was_trained_on(trained_on: tuple[pd.DataFrame, list[str]]) -> None:
    """Not a figure of its worth: wrong preprocessing or class order would show here."""
    table, found = trained_on
    right = np.array(found) == table["dx"].to_numpy()
    assert len(right) == 84 and right.mean() > 0.7


def none_of_skin() -> list[np.ndarray]:
    """What a person may give it by mistake: a page of text, blank and black frames, photographs."""
    page = Image.new("RGB", (800, 1000), "white")
    ImageDraw.Draw(page).multiline_text(
        (60, 60), "\n".join(["patient, left arm, seen again in three months"] * 60), "black"
    )
    blank = [np.full((300, 400, 3), grey, np.uint8) for grey in (0, 128, 255)]
    photographs = [
        *load_sample_images().images,
        np.asarray(Image.open(get_sample_data("grace_hopper.jpg", asfileobj=False))),
    ]
    return [np.asarray(page), *blank, *photographs]


@pytest.mark.parametrize("name", ["bundled", "bundled-int8"])
def test_it_rejects_what_is_none_and_no_slightly_worse_picture(name: str, ham10000: Path) -> None:
    found = load_model(name)
    assert [item.is_dermatoscopic for item in found.predict(none_of_skin())] == [False] * 7
    paths = read_collection(ham10000).table["path"][:3000:60]
    pictures = [Image.open(path) for path in paths]
    blurred = [np.asarray(picture.filter(ImageFilter.GaussianBlur(1))) for picture in pictures]
    for given in (list(paths), blurred):
        assert np.mean([item.is_dermatoscopic for item in found.predict(given)]) >= 0.95


def copies(image: Image.Image) -> dict[str, bytes]:
    """The same picture in other files."""
    made: dict[str, bytes] = {}

    def save(name: str, copy: Image.Image, format: str, **options: object) -> None:
        file = io.BytesIO()
        copy.save(file, format, **options)
        made[name] = file.getvalue()

    save("png", image, "PNG")
    save("bmp", image, "BMP")
    save("webp", image, "WEBP", lossless=True)
    save("tiff", image, "TIFF")
    save("rgba", image.convert("RGBA"), "PNG")
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # orientation: the Transpose that it undoes
    for orientation, turn in turns.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        save(f"exif {orientation}", image.transpose(Image.Transpose(turn)), "PNG", exif=exif)
    return made


def test_the_same_picture_gets_the_same_answer(model: Model, ham10000: Path) -> None:
    files = sorted((ham10000 / "full_size").glob("*.jpg"))
    for file in files:
        with Image.open(file) as image:
            given = copies(image.convert("RGB"))
        (expected,) = model.predict(file).probabilities
        found = model.predict(list(given.values())).probabilities
        worst = dict(zip(given, np.abs(found - expected).max(axis=1), strict=True))
        assert max(worst.values()) < 1e-3, (file.name, worst)
        assert (found.argmax(axis=1) == expected.argmax()).all()


def test_mirrored_pictures_get_nearly_the_same_answer(model: Model, ham10000: Path) -> None:
    """Nearly: one network that looks once has learnt to pass mirroring over, which no symmetry of its own ensures."""
    largest = []
    for file in sorted((ham10000 / "full_size").glob("*.jpg")):
        with Image.open(file) as image:
            mirrored = [image.convert("RGB").transpose(Image.Transpose(turn)) for turn in (0, 1, 3)]
        (expected,) = model.predict(file).probabilities
        largest.append(np.abs(model.predict(mirrored).probabilities - expected).max())
    assert np.median(largest) < 0.03 and max(largest) < 0.5


def test_the_readmes_three_lines(model: Model, ham10000: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(import lesionlab\n.*?)```", readme, flags=re.DOTALL)
    image = next((ham10000 / "full_size").glob("*.jpg"))
    exec(compile(code.replace("photo.jpg", str(image)), "README.md", "exec"), {})


def test_nothing_is_reported_to_the_makers_of_onnx_runtime(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")}
    code = "import lesionlab; lesionlab.load_model()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment | {"TMPDIR": str(tmp_path), "HOME": str(tmp_path)}
    )
    assert done.returncode == 0
    assert not list(tmp_path.rglob("*"))  # its telemetry leaves a session file here
