"""Pictures of one lesion are found at another zoom, turned, mirrored, stretched; strangers are not joined."""

import dataclasses
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from lesionlab.data.images import read_whole
from lesionlab.data.known_matches import known_matches
from lesionlab.data.layouts.joined import read_data
from lesionlab.data.phantom.write import write_phantoms
from lesionlab.data.point_matches import MIN_POINTS, point_matches
from lesionlab.errors import UsageError
from lesionlab.lifecycle.prepare import inspect

pytest.importorskip("cv2", reason="OpenCV, the extra match, is not installed")

Alter = Callable[[Image.Image], Image.Image]


def turned(degrees: float) -> Alter:
    return lambda image: image.rotate(degrees, Image.Resampling.BICUBIC, fillcolor=(200, 150, 140))


def jpeg(image: Image.Image) -> Image.Image:
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=40)
    return Image.open(buffer)


ALTERED: dict[str, Alter] = {
    "the same": lambda image: image,
    "turned by 17 degrees": turned(17),
    "turned by 73 degrees": turned(73),
    "a quarter turn": lambda image: image.transpose(Image.Transpose.ROTATE_90),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "mirrored and turned by 34 degrees": lambda image: turned(34)(image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)),
    "stretched to a square": lambda image: image.resize((300, 300)),
    "the middle, enlarged": lambda image: image.crop((60, 45, 240, 180)).resize((300, 225)),
    "half the size, JPEG 40": lambda image: jpeg(image.resize((200, 150))),
    "darker and paler": lambda image: ImageEnhance.Contrast(ImageEnhance.Brightness(image).enhance(0.7)).enhance(0.8),
}


@pytest.fixture(scope="module")
def lesions(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Eight generated lesions of 300 x 225 pixels, each another one."""
    folder = tmp_path_factory.mktemp("lesions") / "drawn"
    write_phantoms(folder, lesions=14, seed=5, size_px=(225, 300))
    return [Path(path) for path in read_data(folder).table.drop_duplicates("lesion_id")["path"][:8]]


@pytest.mark.parametrize("name", ALTERED)
@pytest.mark.slow
def test_an_altered_copy_is_found_and_nothing_else(name: str, lesions: list[Path], tmp_path: Path) -> None:
    copies = []
    for number, path in enumerate(lesions[:4]):
        copies.append(tmp_path / f"{number}.png")
        ALTERED[name](Image.open(path)).save(copies[-1])
    ids = [f"image {number}" for number in range(12)]
    found = point_matches([str(path) for path in [*lesions, *copies]], ids)
    assert [(pair.image_id_a, pair.image_id_b) for pair in found] == [(ids[k], ids[8 + k]) for k in range(4)]
    assert all(pair.points >= MIN_POINTS for pair in found)
    assert all(pair.is_mirrored == name.startswith("mirrored") for pair in found)
    if name == "the middle, enlarged":
        assert [pair.scale for pair in found] == pytest.approx([1 / 0.6] * 4, rel=0.05)


def test_images_without_a_file_or_without_texture_join_nothing(lesions: list[Path], tmp_path: Path) -> None:
    Image.new("RGB", (300, 225), (200, 150, 140)).save(tmp_path / "plain.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    paths = ["", str(tmp_path / "plain.png"), str(tmp_path / "plain.png"), str(tmp_path / "broken.png"), ""]
    assert point_matches(paths, list("abcde")) == []
    found = point_matches([*paths, str(lesions[0]), str(lesions[0])], list("abcdefg"))
    assert [(pair.image_id_a, pair.image_id_b) for pair in found] == [("f", "g")]
    assert point_matches([], []) == []
    with pytest.raises(UsageError, match="2 images need as many image ids, not 1"):
        point_matches(["", ""], ["a"])


def test_the_same_images_give_the_same_pairs(lesions: list[Path]) -> None:
    paths = [str(path) for path in [*lesions, *lesions[::-1]]]
    ids = [f"image {number}" for number in range(len(paths))]
    assert point_matches(paths, ids) == point_matches(paths, ids)


def test_pairs_found_once_are_read_the_next_time(
    lesions: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under other names too; other contents, or an entry that is damaged, are looked at anew."""
    paths, contents = [str(lesions[0]), str(lesions[1]), str(lesions[0])], ["one", "two", "one"]
    found = known_matches(paths, ["a", "b", "c"], contents, tmp_path / "cache")
    assert [(pair.image_id_a, pair.image_id_b) for pair in found] == [("a", "c")]
    asked: list[list[str]] = []
    monkeypatch.setattr("lesionlab.data.known_matches.point_matches", lambda _, ids: asked.append(list(ids)) or [])
    again = known_matches(paths, ["x", "y", "z"], contents, tmp_path / "cache")
    assert not asked and again == [dataclasses.replace(found[0], image_id_a="x", image_id_b="z")]
    known_matches(["", *paths[1:]], ["a", "b", "c"], contents, tmp_path / "cache")
    (entry, other) = sorted((tmp_path / "cache").iterdir(), key=lambda file: -file.stat().st_size)
    entry.write_bytes(other.read_bytes().replace(b"[]", b"[[0,7,20,1.0,false]]"))
    known_matches(paths, ["d", "e", "f"], contents, tmp_path / "cache")
    assert asked == [["a", "b", "c"], ["d", "e", "f"]]


def test_what_a_check_has_found_serves_where_there_is_no_time_to_look(lesions: list[Path], tmp_path: Path) -> None:
    """`adapt` does not look for points itself; a copy that is turned by 17 degrees has another texture."""
    for dx, lesion in (("mel", lesions[0]), ("nv", lesions[1])):
        (tmp_path / "clinic" / dx).mkdir(parents=True)
        with Image.open(lesion) as image:
            image.save(tmp_path / "clinic" / dx / f"{dx}one.png")
            turned(17)(image).save(tmp_path / "clinic" / dx / f"{dx}other.png")
    collection = read_data(tmp_path / "clinic", None, None)
    groups = [inspect(collection, by_points=by_points).table["group"].nunique() for by_points in (False, True, False)]
    assert groups == [4, 2, 2]


def test_an_image_is_read_whole(tmp_path: Path) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 400, 3)).astype(np.uint8))
    image.save(tmp_path / "image.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert read_whole(tmp_path / "image.png", 256).shape == (256, 341, 3)
    assert read_whole(tmp_path / "turned.jpg", 256).shape == (341, 256, 3)
    assert read_whole(tmp_path / "image.png", 512).shape == (300, 400, 3)


FULL_SIZE = Path(__file__).resolve().parents[2] / "shared" / "ham10000" / "full_size"


@pytest.mark.skipif(not FULL_SIZE.exists(), reason="the published images are not there")
def test_real_pictures_stretched_to_a_square_are_joined(tmp_path: Path) -> None:
    """Eight images of 600 x 450 and the same as squares of 224 pixels: once none was joined."""
    for number, path in enumerate(sorted(FULL_SIZE.glob("*.jpg"))):
        for name, size in (("whole", (600, 450)), ("square", (224, 224))):
            folder = tmp_path / ("mel" if number % 2 else "nv")
            folder.mkdir(exist_ok=True)
            Image.open(path).resize(size).save(folder / f"{name}{path.stem[-1]}{number}.jpg", quality=90)
    table = inspect(read_data(tmp_path)).table
    assert len(table) == 16
    groups = table.groupby("group")["image_id"].agg(sorted).tolist()
    assert all([name[-2:] for name in group] == [group[0][-2:]] * 2 for group in groups) and len(groups) == 8
