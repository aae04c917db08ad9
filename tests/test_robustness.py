"""Corruptions, turned and covered images: what is done to them, and what is said of the answers."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from lesionlab.cli import main
from lesionlab.evaluation.corruptions import CORRUPTIONS, corrupt, disc
from lesionlab.evaluation.robustness import (
    COVERED,
    LabelledImages,
    Predict,
    changes,
    chosen_images,
    covered,
    robustness,
)
from lesionlab.inference.model import Model, load_model
from lesionlab.taxonomy import DX, HAM10000


@pytest.fixture(scope="module")
def lesion() -> np.ndarray:
    """A brown spot on skin with some grain: uint8 (96, 96, 3)."""
    y, x = np.mgrid[-1:1:96j, -1:1:96j]
    spot = np.exp(-(((x / 0.5) ** 2 + (y / 0.4) ** 2) ** 2))[..., None]
    grain = np.random.default_rng(0).normal(0, 5, (96, 96, 1))
    return np.clip([205, 160, 140] - spot * [110, 100, 90] + grain, 0, 255).astype(np.uint8)


def test_there_are_fifteen_corruptions() -> None:
    assert len(CORRUPTIONS) == 15


@pytest.mark.parametrize("name", [*CORRUPTIONS, "scale bar"])
def test_a_corruption_is_drawn_from_its_seed_and_grows(lesion: np.ndarray, name: str) -> None:
    before = lesion.copy()
    pictures = [corrupt(lesion, name, severity, 7) for severity in range(1, 6)]
    assert all(picture.shape == lesion.shape and picture.dtype == np.uint8 for picture in pictures)
    assert (lesion == before).all()
    assert (corrupt(lesion, name, 3, 7) == pictures[2]).all()
    change = [np.abs(picture.astype(int) - lesion).mean() for picture in pictures]
    assert change[0] > 0 and change[4] > 1.1 * change[0]
    if name in ("noise", "motion blur", "hair", "ruler", "ink", "gel bubbles"):
        assert any((corrupt(lesion, name, 3, seed) != pictures[2]).any() for seed in (8, 9, 10))


def test_any_size_and_shape_is_corrupted(lesion: np.ndarray) -> None:
    wide = lesion[:40]
    for name in CORRUPTIONS:
        assert corrupt(wide, name, 5, 0).shape == wide.shape


def test_an_unknown_corruption_is_named(lesion: np.ndarray) -> None:
    with pytest.raises(ValueError, match="'rain' at severity 1: known are defocus blur"):
        corrupt(lesion, "rain", 1, 0)
    with pytest.raises(ValueError, match="'hair' at severity 6"):
        corrupt(lesion, "hair", 6, 0)


def test_noise_has_imagenet_cs_deviation() -> None:
    grey = np.full((224, 224, 3), 128, np.uint8)
    assert corrupt(grey, "noise", 1, 0).std() == pytest.approx(255 * 0.08, rel=0.02)


def test_symmetries_are_the_seven_of_a_square() -> None:
    image = np.arange(16 * 16 * 3, dtype=np.uint8).reshape(16, 16, 3)
    seen = {change.apply(image, 0).tobytes() for change in changes() if change.kind == "symmetry"}
    assert len(seen | {image.tobytes()}) == 8
    assert {change.name for change in changes(is_square=False) if change.kind == "symmetry"} == {
        "mirrored", "turned 180", "turned 180, mirrored",
    }  # fmt: skip


def test_what_is_covered(lesion: np.ndarray) -> None:
    for share in (0.1, 0.5, 0.7):
        for is_centre in (True, False):
            hidden = (covered(lesion, share, is_centre) != lesion).any(axis=2)
            assert hidden.mean() == pytest.approx(share, abs=0.06)  # some pixels have the cover's colour already
            assert hidden[44:52, 44:52].any() == is_centre


@pytest.mark.parametrize("shape", [(400, 400, 3), (300, 500, 3)])
def test_a_disc_beyond_the_edges_is_cut_by_them(shape: tuple[int, ...]) -> None:
    """A circle in a square of side 1, in closed form: four segments of the largest disc lie outside."""
    for share in COVERED:
        radius = np.sqrt(share / np.pi)
        outside = 4 * (radius**2 * np.arccos(0.5 / radius) - np.sqrt(radius**2 - 0.25) / 2) if radius > 0.5 else 0
        assert disc(shape, share).mean() == pytest.approx(share - outside, abs=2e-3)
    assert share - outside == pytest.approx(0.864, abs=5e-4)


def test_rare_diagnoses_are_all_taken() -> None:
    labels = np.repeat(np.arange(7), [100, 500, 10, 5, 60, 3, 8])
    lesions = np.arange(len(labels)) // 2  # two images of each
    taken = chosen_images(labels, lesions, 60, seed=1)
    assert len(np.unique(lesions[taken])) == len(taken) == 60
    counts = np.bincount(labels[taken], minlength=7)
    assert counts[[2, 3, 5, 6]].sum() >= 13 - 2 and counts[1] <= 17  # an odd number of images shares a lesion
    assert (chosen_images(labels, lesions, 60, seed=1) == taken).all()


def test_one_image_of_a_lesion_is_taken_however_few_lesions_there_are() -> None:
    labels, lesions = np.arange(40) // 4 % 7, np.arange(40) // 4
    for most in (None, 10, 300):
        assert (lesions[chosen_images(labels, lesions, most, seed=1)] == np.arange(10)).all()
        assert (chosen_images(labels[::4], lesions[::4], most, seed=1) == np.arange(10)).all()


def predict_with(model: Model) -> Predict:
    return lambda pixels: (model.bundle.run(["probabilities"], pixels)["probabilities"], None)


def test_images_of_one_lesion_do_not_narrow_the_intervals(finished: tuple[Path, str], lesion: np.ndarray) -> None:
    """Every image four times over, as of one lesion, says what one says."""
    model = load_model(finished[0] / "model.onnx")
    side = model.facts.height
    images = [corrupt(lesion, "colour cast", 5, n)[n : side + n, n : side + n] for n in range(20)]
    labels, lesions = np.repeat([0, 1, 4], [5, 12, 3]), np.arange(20)

    def repeated(times: int) -> LabelledImages:
        names = [f"image-{n // times}" for n in range(20 * times)]
        return LabelledImages(
            names, labels.repeat(times), lesions.repeat(times), HAM10000, lambda n: images[n // times]
        )

    once, fourfold = (robustness(predict_with(model), repeated(times), seed=0, most=300) for times in (1, 4))
    assert fourfold.images_in_all == 80 and fourfold.images == 20
    assert fourfold.mean == once.mean


def test_figures_agree_with_the_models_answers(finished: tuple[Path, str], lesion: np.ndarray) -> None:
    """Shares are weighted back to the part's mix, and a row is what the model says of the changed images."""
    model = load_model(finished[0] / "model.onnx")
    side = model.facts.height
    images = [corrupt(lesion, "colour cast", 5, n)[n : side + n, n : side + n] for n in range(40)]
    labels = np.repeat([0, 1, 4], [10, 24, 6])
    names = [f"image-{n}" for n in range(40)]
    given = LabelledImages(names, labels, np.arange(40), HAM10000, lambda n: images[n])
    found = robustness(predict_with(model), given, seed=0, most=18)
    taken = chosen_images(labels, np.arange(40), 18, seed=0)
    assert found.images == 18 and found.counts == dict(zip(DX, (6, 6, 0, 0, 6, 0, 0), strict=True))
    before = model.predict(np.stack(images)).probabilities.argmax(axis=1)
    turned = model.predict(np.stack([np.rot90(image) for image in images])).probabilities.argmax(axis=1)
    weights = np.array([10, 24, 0, 0, 6])[labels[taken]] / 6 / 40
    assert found.symmetries[1].changed == pytest.approx(weights @ (turned != before)[taken])
    recalls = [(before[taken][labels[taken] == index] == index).mean() for index in (0, 1, 4)]
    assert found.clean.balanced_accuracy == pytest.approx(np.mean(recalls))
    assert found.clean.changed == 0 and found.clean.rise == 0
    rises = [severity.rise for row in found.corruptions for severity in row.severities]
    assert found.mean.rise == pytest.approx(np.mean(rises))
    low, high = found.mean.changed_interval
    assert low - 1e-9 <= found.mean.changed <= high + 1e-9


def test_evaluate_reports_it(finished: tuple[Path, str], phantoms: Path, tmp_path: Path, capsys) -> None:
    arguments = ["evaluate", "--data", str(phantoms), "--out", str(tmp_path / "e")]
    for option in (["--robustness"], ["--robustness-lesions", "20"]):  # either asks for it
        assert main([*arguments, *option, str(finished[0] / "predictions.csv")]) == 2
        assert "needs a model" in capsys.readouterr().err
    assert main([*arguments, str(finished[0] / "model.onnx"), "--robustness-lesions", "20"]) == 0
    metrics = json.loads((tmp_path / "e" / "metrics.json").read_text())["robustness"]
    assert metrics["images"] == 20 and len(metrics["corruptions"]) == 15 and len(metrics["covered"]) == 10
    page = (tmp_path / "e" / "report.html").read_text(encoding="utf-8")
    assert f'data-key="robustness.mean.rise">{metrics["mean"]["rise"]:.3f}</data>' in page
    for name in CORRUPTIONS:
        assert f'<th scope="row">{name}</th>' in page
    assert re.search(r"disc of 90.%: it covers 86.%, and what lies around it, given as 10.%, is 14.%", page)
    for name in ("robustness.svg", "covered.svg", "corruptions.jpg"):
        assert (tmp_path / "e" / "figures" / name).stat().st_size > 3000
