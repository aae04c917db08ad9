"""Near-duplicates: altered copies are found, lesions of like outline are not joined."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy import ndimage

from lesionlab.data import duplicate_candidates
from lesionlab.data.duplicate_candidates import NEIGHBOURS, candidates
from lesionlab.data.duplicates import MIN_CORRELATION, NearDuplicate, near_duplicates
from lesionlab.data.images import read_image
from lesionlab.errors import UsageError

SIZE = 160
KNOWN_PAIRS = [  # of HAM10000: photographs of one lesion under two lesion ids
    ("ISIC_0029152", "ISIC_0033173"),
    ("ISIC_0033421", "ISIC_0033481"),
    ("ISIC_0034228", "ISIC_0034248"),
]


def lesion(seed: int) -> Image.Image:
    """A dark oval with a network on mottled skin: outline and colours of all are alike, the texture is its own."""
    rng = np.random.default_rng(seed)

    def mottle(sigma: float) -> np.ndarray:
        field = ndimage.gaussian_filter(rng.normal(size=(SIZE, SIZE)), sigma)
        return field / field.std()

    rows, columns = np.mgrid[0:SIZE, 0:SIZE] - SIZE / 2
    inside = 1 / (1 + np.exp((np.hypot(rows, columns * 0.8) - 36 + 3 * mottle(6)) / 3))
    light = 190 - 90 * inside + 5 * mottle(2.5) + 4 * mottle(8) + 12 * inside * mottle(2)
    return Image.fromarray(np.clip(light[..., None] * [1.1, 0.85, 0.8], 0, 255).astype(np.uint8))


def stack(images: list[Image.Image], size: tuple[int, int] = (128, 128)) -> np.ndarray:
    buffers = [BytesIO() for _ in images]
    for image, buffer in zip(images, buffers, strict=True):
        image.save(buffer, "PNG")
    return np.stack([read_image(buffer.getvalue(), *size, "centre") for buffer in buffers])


def resaved(image: Image.Image, quality: int) -> Image.Image:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def cropped(image: Image.Image, left: int, upper: int, side: int) -> Image.Image:
    return image.crop((left, upper, left + side, upper + side))


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "the same": lambda image: image,
    "JPEG 60": lambda image: resaved(image, 60),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "upside down, JPEG 80": lambda image: resaved(image.transpose(Image.Transpose.FLIP_TOP_BOTTOM), 80),
    "a quarter turn": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "transverse": lambda image: image.transpose(Image.Transpose.TRANSVERSE),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.15),
    "darker": lambda image: ImageEnhance.Brightness(image).enhance(0.7),
    "paler": lambda image: ImageEnhance.Contrast(image).enhance(0.7),
    "grey": lambda image: image.convert("L").convert("RGB"),
    "cropped": lambda image: cropped(image, 8, 8, SIZE - 16),
    "cropped at a corner": lambda image: cropped(image, 0, 0, SIZE - 12),
    "half the size": lambda image: image.resize((SIZE // 2, SIZE // 2)),
    "turned by 5 degrees": lambda image: cropped(image.rotate(5, Image.Resampling.BICUBIC), 8, 8, SIZE - 16),
}


@pytest.mark.parametrize("name", COPIES)
def test_altered_copies_are_found_and_nothing_else(name: str) -> None:
    originals = [lesion(seed) for seed in range(12)]
    copies = [COPIES[name](image) for image in originals[:6]]
    ids = [f"ISIC_{number}" for number in range(18)]
    found = near_duplicates(stack(originals + copies), ids)
    assert [(pair.image_id_a, pair.image_id_b) for pair in found] == [(ids[k], ids[12 + k]) for k in range(6)]
    for pair in found:
        assert MIN_CORRELATION <= pair.correlation <= 1 + 1e-6
        assert 0 <= pair.distance <= 144
    if name == "the same":
        assert {pair.distance for pair in found} == {0}


def test_three_of_a_kind_make_three_pairs_in_order() -> None:
    images = [lesion(1), lesion(2), lesion(1), lesion(3), lesion(1)]
    found = near_duplicates(stack(images), list("abcde"))
    assert [(pair.image_id_a, pair.image_id_b) for pair in found] == [("a", "c"), ("a", "e"), ("c", "e")]


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Make 20 images many, of which 4 cells are searched; comparing all with all is then an error."""

    def compare_all(prints: np.ndarray) -> np.ndarray:
        raise AssertionError(f"{len(prints)} prints are compared with each other")

    def make_many() -> None:
        monkeypatch.setattr(duplicate_candidates, "MOST_EXACT", 20)
        monkeypatch.setattr(duplicate_candidates, "PROBES", 4)
        monkeypatch.setattr(duplicate_candidates, "_nearest_of_all", compare_all)

    return make_many


def test_many_images_have_the_pairs_of_few(many: Callable[[], None]) -> None:
    originals = [lesion(seed) for seed in range(40)]
    copies = [alter(image) for alter, image in zip(COPIES.values(), originals, strict=False)]
    pixels = stack(originals + copies)
    ids = [f"ISIC_{number}" for number in range(len(pixels))]
    exact = near_duplicates(pixels, ids)
    assert [(pair.image_id_a, pair.image_id_b) for pair in exact] == [(ids[k], ids[40 + k]) for k in range(len(COPIES))]
    many()
    assert near_duplicates(pixels, ids) == exact
    with pytest.raises(AssertionError, match="12 prints"):
        near_duplicates(pixels[:12], ids[:12])


def test_many_prints_have_the_neighbours_of_few(many: Callable[[], None]) -> None:
    """Every planted pair, in any turn, and no image beside itself."""
    rng = np.random.default_rng(0)
    prints = rng.normal(size=(1500, 12, 12))
    for number in range(500):
        near = prints[number] + rng.normal(scale=0.4, size=(12, 12))
        prints[1000 + number] = duplicate_candidates.turned(near, number % 8)
    prints = (prints / np.linalg.norm(prints, axis=(1, 2), keepdims=True)).astype(np.float32)
    exact = candidates(prints)
    planted = {(number, 1000 + number) for number in range(500)}
    assert planted <= {(a, b) for a, b, _ in exact.tolist()}
    many()
    found = candidates(prints)
    assert len(planted & {(a, b) for a, b, _ in found.tolist()}) >= 0.99 * len(planted)
    assert (found[:, 0] < found[:, 1]).all()
    assert len(found) <= NEIGHBOURS * len(prints)
    turns = {(a, b): turn for a, b, turn in exact.tolist()}
    assert all(turns.get((a, b), turn) == turn for a, b, turn in found.tolist())


def test_memory_map_is_read_and_let_go(tmp_path: Path) -> None:
    pixels = stack([lesion(1), lesion(2), lesion(1)])
    np.save(tmp_path / "pixels.npy", pixels)
    mapped = np.load(tmp_path / "pixels.npy", mmap_mode="r")
    assert near_duplicates(mapped, list("abc")) == near_duplicates(pixels, list("abc"))
    assert (mapped == pixels).all()


def test_plain_and_failed_images_are_left_out() -> None:
    plain = [Image.new("RGB", (SIZE, SIZE), colour) for colour in ("black", "black", "white", (200, 150, 140))]
    pixels = stack([*plain, lesion(1), lesion(1)])
    assert [pair.image_id_a for pair in near_duplicates(pixels, list("abcdef"))] == ["e"]
    skip = np.array([False] * 5 + [True])
    assert near_duplicates(pixels, list("abcdef"), skip) == []


def test_oblong_and_few_images() -> None:
    pixels = stack([lesion(1).resize((240, 160)), lesion(2), lesion(1).resize((240, 160))], (96, 144))
    assert near_duplicates(pixels, list("abc")) == [NearDuplicate("a", "c", 0, pytest.approx(1))]
    assert near_duplicates(pixels[:1], ["a"]) == []
    assert near_duplicates(pixels[:0], []) == []
    assert len(near_duplicates(pixels[[0, 2]], ["a", "c"])) == 1


def test_pixels_without_texture_are_refused() -> None:
    with pytest.raises(UsageError, match="cannot be told at 48 x 32 pixels: decode at 64 or more, best at 128"):
        near_duplicates(np.zeros((2, 32, 48, 3), np.uint8), ["a", "b"])


def test_lengths_that_differ_are_refused() -> None:
    pixels = np.zeros((3, 32, 32, 3), np.uint8)
    with pytest.raises(UsageError, match="3 images need 3 image ids, not 2"):
        near_duplicates(pixels, ["a", "b"])
    with pytest.raises(UsageError, match="3 images need 3 flags to skip, not 4"):
        near_duplicates(pixels, ["a", "b", "c"], np.zeros(4, bool))


def test_known_pairs_of_ham10000(ham10000: Path) -> None:
    """Second photographs under another lesion id, among 60 others."""
    folder = ham10000 / "HAM10000_images"
    ids = sorted(
        {path.stem for path in sorted(folder.glob("*.jpg"))[::170]} | {name for pair in KNOWN_PAIRS for name in pair}
    )
    pixels = np.stack([read_image(folder / f"{name}.jpg", 128, 128, "centre") for name in ids])
    assert [(pair.image_id_a, pair.image_id_b) for pair in near_duplicates(pixels, ids)] == KNOWN_PAIRS
