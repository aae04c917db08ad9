"""The cache of decoded images: decoded once, keyed by content, whole or absent whatever happens."""

import errno
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lesionlab.data import pixels as pixels_module
from lesionlab.data.building import STALE_SECONDS
from lesionlab.data.images import CROPS, read_image
from lesionlab.data.pixels import PixelCache, decode_images
from lesionlab.environment import default_cache_dir
from lesionlab.errors import LesionlabError, UsageError

COLUMNS = "image_id sha256 width height format mode error mean_r mean_g mean_b".split()
Images = list[tuple[str, str]]


@pytest.fixture
def images(tmp_path: Path) -> Images:
    """Forty readable pictures of 48 x 36."""
    folder = tmp_path / "images"
    folder.mkdir()
    rng = np.random.default_rng(0)
    found = []
    for number in range(40):
        path = folder / f"ISIC_{number:07d}.png"
        Image.fromarray(rng.integers(0, 256, (36, 48, 3), np.uint8)).save(path)
        found.append((path.stem, str(path)))
    return found


def decode(images: Images, cache_dir: Path, size: int = 24, crop: str = "centre", workers: int = 2) -> PixelCache:
    return decode_images(images, height=size, width=size, crop=crop, cache_dir=cache_dir, workers=workers)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One item for every image that is decoded."""
    counted: list[int] = []
    original = pixels_module.read_briefly

    def counting(*arguments: object) -> object:
        counted.append(1)
        return original(*arguments)

    monkeypatch.setattr(pixels_module, "read_briefly", counting)
    return counted


def entries(cache_dir: Path) -> list[str]:
    return sorted(path.name for path in cache_dir.iterdir() if not path.name.startswith("."))


def test_pixels_and_facts_are_those_of_each_image(images: Images, tmp_path: Path) -> None:
    cached = decode(images, tmp_path / "cache")
    assert isinstance(cached.pixels, np.memmap)
    assert not cached.pixels.flags.writeable
    assert cached.pixels.shape == (40, 24, 24, 3)
    assert cached.pixels.dtype == np.uint8
    assert list(cached.facts.columns) == COLUMNS
    assert cached.facts["image_id"].tolist() == [image_id for image_id, _ in images]
    for row, (_, path) in enumerate(images):
        assert np.array_equal(cached.pixels[row], read_image(Path(path), 24, 24, "centre"))
    means = cached.facts[["mean_r", "mean_g", "mean_b"]].to_numpy()
    assert np.allclose(means, cached.pixels.mean(axis=(1, 2)))
    assert (cached.facts[["width", "height"]].to_numpy() == [48, 36]).all()
    assert set(cached.facts["format"]) == {"PNG"} and set(cached.facts["mode"]) == {"RGB"}


def test_the_second_time_nothing_is_decoded(images: Images, tmp_path: Path, reads: list[int]) -> None:
    first = decode(images, tmp_path / "cache")
    assert len(reads) == 40
    second = decode(images, tmp_path / "cache")
    assert len(reads) == 40
    assert np.array_equal(first.pixels, second.pixels)
    pd.testing.assert_frame_equal(first.facts, second.facts)


def test_the_same_contents_elsewhere_are_not_decoded_again(images: Images, tmp_path: Path, reads: list[int]) -> None:
    decode(images, tmp_path / "cache")
    (tmp_path / "images").rename(tmp_path / "moved")
    moved = [(f"other_{number}", path.replace("/images/", "/moved/")) for number, (_, path) in enumerate(images)]
    assert decode(moved, tmp_path / "cache").facts["image_id"].tolist() == [image_id for image_id, _ in moved]
    assert len(reads) == 40


def test_size_crop_order_and_content_make_another_entry(images: Images, tmp_path: Path) -> None:
    cache_dir = tmp_path / "cache"
    for change in ({}, {"size": 20}, {"crop": "stretch"}):
        decode(images, cache_dir, **change)
    assert len(entries(cache_dir)) == 3
    swapped = decode(images[::-1], cache_dir)
    assert np.array_equal(swapped.pixels[0], read_image(Path(images[-1][1]), 24, 24, "centre"))
    Image.new("RGB", (48, 36), "red").save(images[3][1])
    assert decode(images, cache_dir).pixels[3].max(axis=(0, 1)).tolist() == [255, 0, 0]
    assert len(entries(cache_dir)) == 5


@pytest.mark.parametrize("crop", CROPS)
def test_one_thread_equals_several(images: Images, tmp_path: Path, crop: str) -> None:
    one, many = (decode(images, tmp_path / str(n), crop=crop, workers=n) for n in (1, 3))
    assert np.array_equal(one.pixels, many.pixels)
    pd.testing.assert_frame_equal(one.facts, many.facts)


def test_unreadable_images_keep_a_row_and_say_why(images: Images, tmp_path: Path, reads: list[int]) -> None:
    bad, empty, twin = tmp_path / "bad.jpg", tmp_path / "NA.jpg", tmp_path / "twin.png"
    bad.write_bytes(Path(images[0][1]).read_bytes()[:500])
    empty.touch()
    twin.write_bytes(Path(images[0][1]).read_bytes())
    asked = [
        ("NA", ""),
        ("001", str(bad)),
        *images[:2],
        ("", str(empty)),
        ("x", str(twin)),
        ("y", str(tmp_path / "no")),
    ]
    for _ in range(2):  # fresh, then from the cache
        cached = decode(asked, tmp_path / "cache")
        reasons = cached.facts["error"].tolist()
        assert cached.facts["image_id"].tolist() == [image_id for image_id, _ in asked]
        assert reasons[0] == "missing"
        assert "damaged or cut short" in reasons[1]
        assert "is empty (0 bytes)" in reasons[4]
        assert reasons[6] == "the file cannot be opened (No such file or directory)"
        assert [reasons[row] for row in (2, 3, 5)] == ["", "", ""]
        failed = [0, 1, 4, 6]
        assert not cached.pixels[failed].any()
        assert cached.facts.loc[failed, ["mean_r", "mean_g", "mean_b"]].isna().all(axis=None)
        assert cached.facts.loc[failed, "width"].tolist() == [0, 0, 0, 0]
        assert np.array_equal(cached.pixels[2], cached.pixels[5])
    assert len(reads) == 5


def test_a_missing_image_that_arrives_is_decoded(images: Images, tmp_path: Path) -> None:
    late = [*images[:2], ("late", str(tmp_path / "late.png"))]
    assert decode(late, tmp_path / "cache").facts["error"].iloc[2] != ""
    (tmp_path / "late.png").write_bytes(Path(images[5][1]).read_bytes())
    assert decode(late, tmp_path / "cache").facts["error"].iloc[2] == ""


@pytest.mark.parametrize("damage", ["cut pixels", "cut facts", "no facts", "no pixels", "other shape", "empty"])
def test_a_damaged_entry_is_built_anew(images: Images, tmp_path: Path, damage: str) -> None:
    cache_dir = tmp_path / "cache"
    whole = decode(images, cache_dir)
    expected = np.array(whole.pixels)
    entry = cache_dir / entries(cache_dir)[0]
    pixels, facts = entry / "pixels.npy", entry / "facts.csv"
    if damage == "cut pixels":
        os.truncate(pixels, 1000)
    elif damage == "cut facts":
        os.truncate(facts, 700)
    elif damage == "other shape":
        np.save(pixels, np.zeros((40, 23, 24, 3), np.uint8))
    elif damage == "empty":
        pixels.write_bytes(b"")
    else:
        (facts if damage == "no facts" else pixels).unlink()
    again = decode(images, cache_dir)
    assert np.array_equal(again.pixels, expected)
    pd.testing.assert_frame_equal(again.facts, whole.facts)


def test_wrong_requests(images: Images, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There are no images to decode"):
        decode([], tmp_path)
    with pytest.raises(UsageError, match="The crop 'left' is unknown"):
        decode(images, tmp_path, crop="left")
    with pytest.raises(UsageError, match="0 x 0 is not possible"):
        decode(images, tmp_path, size=0)


def test_a_folder_that_cannot_be_written_names_the_remedy(images: Images, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = r"decoded images, .*file/cache, cannot be written \(Not a directory\): .* variable LESIONLAB_CACHE"
    with pytest.raises(UsageError, match=message):
        decode(images, tmp_path / "file" / "cache")


def test_a_full_disk_passes_through_and_leaves_nothing(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        decode(images, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("change", [lambda path: path.write_bytes(b"other"), Path.unlink])
@pytest.mark.parametrize("is_hashed_before", [False, True])
def test_a_file_that_changes_or_goes_meanwhile_is_not_cached(
    images: Images,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], object],
    is_hashed_before: bool,
) -> None:
    cache_dir, path = tmp_path / "cache", Path(images[2][1])
    if is_hashed_before:  # since there is an entry as large as the one that is asked for
        decode(images[::-1], cache_dir)
    before, original = entries(cache_dir) if is_hashed_before else [], pixels_module.read_briefly
    as_read = path.read_bytes()

    def then_changed(data: bytes, *arguments: object) -> object:
        if data == as_read and path.exists():
            change(path)
        return original(data, *arguments)

    monkeypatch.setattr(pixels_module, "read_briefly", then_changed)
    with pytest.raises(LesionlabError, match=r"0000002.png changed or went while .* being read: run the command again"):
        decode(images, cache_dir)
    assert [entry.name for entry in cache_dir.iterdir()] == before


def test_files_are_read_once_unless_an_entry_may_be_theirs(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Path] = []
    original = pixels_module.read_file

    def counting(path: Path) -> bytes:
        opened.append(path)
        return original(path)

    monkeypatch.setattr(pixels_module, "read_file", counting)
    for size, times in ((24, 1), (25, 2), (24, 3)):
        decode(images, tmp_path / "cache", size=size)
        assert len(opened) == times * len(images)


SLOW = """
import sys, time
from pathlib import Path
from lesionlab.data import pixels
original = pixels.read_briefly
def slow(*arguments):
    time.sleep(0.02)
    return original(*arguments)
pixels.read_briefly = slow
images = [(path.stem, str(path)) for path in sorted(Path(sys.argv[1]).iterdir())]
print("ready", flush=True)
cached = pixels.decode_images(images, height=24, width=24, crop="centre", cache_dir=Path(sys.argv[2]), workers=2)
print(int(cached.pixels.sum()), flush=True)
"""


def start(images: Images, cache_dir: Path) -> subprocess.Popen[str]:
    folder = Path(images[0][1]).parent
    process = subprocess.Popen([sys.executable, "-c", SLOW, folder, cache_dir], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


@pytest.mark.slow
def test_killed_at_any_moment_the_next_call_is_right(images: Images, tmp_path: Path) -> None:
    cache_dir = tmp_path / "cache"
    expected = np.array(decode(images, tmp_path / "other").pixels)
    for delay in (0.05, 0.2, 0.35, 0.5):
        process = start(images, cache_dir)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    cached = decode(images, cache_dir)
    assert np.array_equal(cached.pixels, expected)
    assert [path.name for path in cache_dir.iterdir()] == entries(cache_dir), "temporaries of the dead are left"


def test_two_processes_at_once_both_succeed(images: Images, tmp_path: Path) -> None:
    cache_dir = tmp_path / "cache"
    processes = [start(images, cache_dir) for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        sums = set(pool.map(lambda process: int(process.communicate()[0]), processes))
    assert sums == {int(decode(images, cache_dir).pixels.sum())}
    assert len(list(cache_dir.iterdir())) == 1


def test_temporaries_of_the_living_stay(images: Images, tmp_path: Path) -> None:
    cache_dir = tmp_path / "cache"
    host = socket.gethostname().replace("-", "_")[:64]
    alive, elsewhere, old, dead, odd = (
        cache_dir / f".building-{name}-x"
        for name in (f"{host}-{os.getpid()}", "far-1", "far-2", f"{host}-99999999", host)
    )
    for folder in (alive, elsewhere, old, dead, odd):
        folder.mkdir(parents=True)
    long_ago = time.time() - STALE_SECONDS - 10
    os.utime(old, (long_ago, long_ago))
    decode(images, cache_dir)
    assert [folder.exists() for folder in (alive, elsewhere, old, dead, odd)] == [True, True, False, False, True]


def test_a_cache_that_is_read_only_serves_what_it_has(
    images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode(images, tmp_path / "cache")

    def refused(*arguments: object, **options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(tempfile, "mkdtemp", refused)
    assert decode(images, tmp_path / "cache").pixels.shape == (40, 24, 24, 3)
    with pytest.raises(UsageError, match=r"cannot be written \(Permission denied\)"):
        decode(images, tmp_path / "cache", size=25)


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LESIONLAB_CACHE", "/a/b")
    assert default_cache_dir() == Path("/a/b")
    monkeypatch.delenv("LESIONLAB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert default_cache_dir() == Path("/xdg/lesionlab")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache_dir() == Path.home() / ".cache" / "lesionlab"
