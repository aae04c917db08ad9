"""`lesionlab embed`: files of features, shards of them, a map, and the nearest images."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, expect

import tiny_onnx
from builders import photographs
from conftest import lesionlab, lesionlab_here
from lesionlab import embed
from lesionlab.errors import UsageError
from lesionlab.inference.feature_files import read_features
from lesionlab.inference.features import Embeddings
from lesionlab.inference.neighbours import neighbour_index
from lesionlab.report.feature_map import write_feature_map


def shown_on(page: Path) -> list[Any]:
    """The pictures of a map: name, x, y, JPEG, the nearest."""
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])  # type: ignore[index]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images, and one file that is none."""
    folder = tmp_path_factory.mktemp("pictures")
    photographs(folder, (f"p{number:02}.png" for number in range(12)), seed=4)
    (folder / "p05-broken.png").write_bytes(b"no image")
    return folder


@pytest.mark.parametrize("suffix", [".npz", ".parquet"])
def test_a_file_holds_what_the_network_makes_of_each_image(
    tiny: Path, pictures: Path, tmp_path: Path, suffix: str
) -> None:
    out = tmp_path / f"made{suffix}"
    done = lesionlab_here("embed", pictures, "--model", tiny, "--out", out)
    assert done.returncode == 1 and "p05-broken.png" in done.stderr and "12 images' features written" in done.stderr
    made, expected = read_features(out), embed(pictures, tiny)
    np.testing.assert_array_equal(made.features, expected.features)
    assert (made.image_id, made.path) == (expected.image_id, expected.path)
    assert (made.model, made.model_sha256) == ("tiny", expected.model_sha256)


def test_a_file_is_read_without_lesionlab(tiny: Path, pictures: Path, tmp_path: Path) -> None:
    lesionlab_here("embed", pictures / "p01.png", "--model", tiny, "--out", tmp_path / "one.npz")
    with np.load(tmp_path / "one.npz", allow_pickle=False) as held:
        assert held["features"].shape == (1, 3) and held["image_id"].tolist() == ["p01"]
        assert json.loads(str(held["facts"]))["model"] == "tiny"


@pytest.mark.parametrize("format", ["npz", "parquet"])
def test_shards_hold_the_same_and_go_on(tiny: Path, pictures: Path, tmp_path: Path, format: str) -> None:
    command = (
        "embed",
        pictures,
        "--model",
        tiny,
        "--shards",
        tmp_path / "out",
        "--shard-size",
        4,
        "--shard-format",
        format,
    )
    assert lesionlab_here(*command).returncode == 1
    files = sorted((tmp_path / "out").glob("part-*"))
    assert len(files) == 4
    files[1].unlink()
    again = lesionlab_here(*command)
    assert "9 images were done before" in again.stderr
    np.testing.assert_array_equal(read_features(tmp_path / "out").features, embed(pictures, tiny).features)
    other = lesionlab_here("predict", pictures, "--model", tiny, "--shards", tmp_path / "out", "--shard-size", 4)
    assert other.returncode == 2 and "holds another job" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Nothing is asked for: give --out"),
        (("--out", "made.csv"), "no file of features by its name: give --out FILE.npz"),
        (("--out", "none/made.npz"), "does not exist: make it"),
        (("--map", "map.png"), "give --map FILE.html"),
        (("--engine", "ray", "--out", "a.npz"), "--engine ray writes shards"),
        (("--shards", "s", "--out", "a.npz"), "leave out --out"),
    ],
)
def test_what_cannot_be_is_said(tiny: Path, pictures: Path, arguments: tuple[str, ...], message: str) -> None:
    done = lesionlab_here("embed", pictures, "--model", tiny, *arguments)
    assert done.returncode == 2 and message in done.stderr


def test_no_readable_image_leaves_no_file(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"none")
    done = lesionlab_here("embed", tmp_path / "a.png", "--model", tiny, "--out", tmp_path / "a.npz")
    assert done.returncode == 1 and "None of 1 images could be read" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png"]


@pytest.mark.parametrize("name", ["a.npz", "a.parquet"])
def test_files_of_other_things_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="There is no file of features"):
        read_features(tmp_path / name)
    (tmp_path / name).write_bytes(b"PK\x03\x04")
    with pytest.raises(UsageError, match="damaged, or no file of features"):
        read_features(tmp_path / name)
    np.savez(tmp_path / "b.npz", other=np.zeros(3))
    with pytest.raises(UsageError, match="is no file of features: give one that 'lesionlab embed' wrote"):
        read_features(tmp_path / "b.npz")


def test_the_map_holds_every_picture_and_its_nearest(tiny: Path, pictures: Path, tmp_path: Path) -> None:
    done = lesionlab_here(
        "embed", pictures, "--model", tiny, "--map", tmp_path / "map.html", "--neighbours-of", pictures / "p03.png"
    )
    assert done.returncode == 1, done.stderr
    page = (tmp_path / "map.html").read_text(encoding="utf-8")
    data = shown_on(tmp_path / "map.html")
    assert len(data) == 12 and all(item[3] for item in data)
    assert all(0 <= item[1] <= 1 and 0 <= item[2] <= 1 for item in data)
    assert "http" not in page.replace("http-equiv", "")
    made = embed(pictures, tiny)
    unit = made.features / np.linalg.norm(made.features, axis=1, keepdims=True)
    order = np.argsort(-(unit @ unit[3]), kind="stable")
    assert [number for number, _ in data[3][4]] == order[order != 3][:8].tolist()
    shown = done.stdout.splitlines()
    assert shown[1].endswith("p03.png") and shown[1].strip().startswith("1.000")
    assert [line.split()[-1] for line in shown[1:]] == [made.path[row] for row in order[:10]]


def test_the_nearest_are_found_among_features_that_were_written(tiny: Path, pictures: Path, tmp_path: Path) -> None:
    lesionlab_here("embed", pictures, "--model", tiny, "--out", tmp_path / "all.npz")
    asked = [pictures / "p03.png", pictures / "p07.png"]
    done = lesionlab_here("embed", *asked, "--model", tiny, "--among", tmp_path / "all.npz", "--neighbours", 2)
    assert done.returncode == 0, done.stderr
    for image in asked:
        first = done.stdout.split(f"nearest to {image}:\ncosine  image\n")[1].splitlines()[0]
        assert first.split() == ["1.000", str(image)]
    other = tiny_onnx.write(tmp_path / "other.onnx", scale=4.0)
    done = lesionlab_here("embed", asked[0], "--model", other, "--among", tmp_path / "all.npz")
    assert done.returncode == 2 and "all.npz holds features of another model (tiny, " in done.stderr
    assert "Embed both with the same --model" in done.stderr


def test_neighbours_are_exact_with_a_shadow_and_without() -> None:
    random = np.random.default_rng(0)
    low = random.normal(size=(20_000, 12)) @ random.normal(size=(12, 160)) + 0.05 * random.normal(size=(20_000, 160))
    for rows in (low.astype(np.float32), random.normal(size=(20_000, 160)).astype(np.float32), low[:50]):
        index = neighbour_index(rows)
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        for row in (0, 7, 49):
            places, cosines = index.nearest(rows[row], 10)
            expected = np.sort(unit @ unit[row])[::-1][:10]
            np.testing.assert_allclose(cosines, expected, atol=1e-5)
            assert places[0] == row and len(set(places)) == 10
    assert neighbour_index(low.astype(np.float32))._candidates(unit_of(low[3]), 10).size < 4000  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="does not fit rows"):
        neighbour_index(low[:9]).nearest(np.ones(3), 1)


def unit_of(row: np.ndarray) -> np.ndarray:
    return (row / np.linalg.norm(row)).astype(np.float32)


def test_an_archive_is_not_replaced_by_what_is_asked_of_it(tiny: Path, pictures: Path, tmp_path: Path) -> None:
    archive = tmp_path / "all.npz"
    lesionlab_here("embed", pictures, "--model", tiny, "--out", archive)
    before = archive.read_bytes()
    done = lesionlab_here("embed", pictures / "p03.png", "--model", tiny, "--among", archive, "--out", archive)
    assert done.returncode == 2 and "would be replaced: choose another --out" in done.stderr
    assert archive.read_bytes() == before


def test_copies_of_one_picture_lie_in_the_middle_of_the_map(tiny: Path, tmp_path: Path) -> None:
    """Features without any spread once ended the process within scikit-learn."""
    photographs(tmp_path / "copies", ["a.png"], seed=4)
    for name in "bcdef":
        shutil.copy(tmp_path / "copies" / "a.png", tmp_path / "copies" / f"{name}.png")
    done = lesionlab("embed", tmp_path / "copies", "--model", tiny, "--map", tmp_path / "map.html")
    assert done.returncode == 0, done.stderr
    assert {tuple(item[1:3]) for item in shown_on(tmp_path / "map.html")} == {(0.5, 0.5)}


def test_umap_places_the_pictures_where_it_is_installed(tiny: Path, pictures: Path, tmp_path: Path) -> None:
    pytest.importorskip("numba", reason="UMAP is not installed: pip install 'lesionlab[map]'")
    done = lesionlab("embed", pictures, "--model", tiny, "--map", tmp_path / "map.html")
    assert f"Map of 12 images, by UMAP: {tmp_path / 'map.html'}" in done.stderr
    shown = shown_on(tmp_path / "map.html")
    assert len({tuple(item[1:3]) for item in shown}) == 12 and all(0 <= item[1] <= 1 for item in shown)


def test_umap_loads_no_tensorflow(tiny: Path, pictures: Path, tmp_path: Path) -> None:
    """It does where TensorFlow is installed, for a network that no map needs."""
    (tmp_path / "umap.py").write_text(
        "class UMAP:\n"
        "    def __init__(self, **_): pass\n"
        "    def fit_transform(self, rows): return rows[:, :2]\n"
        "try:\n    import tensorflow\nexcept ImportError: pass\nelse: raise SystemExit('TensorFlow was loaded')\n",
        encoding="utf-8",
    )
    places = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
    done = lesionlab("embed", pictures, "--model", tiny, "--map", tmp_path / "map.html", env=env)
    assert "Map of 12 images, by UMAP" in done.stderr, done.stderr


def test_the_picture_that_is_chosen_lies_on_top(browser: Browser, tmp_path: Path) -> None:
    names, colours = ("red", "green", "blue"), ((255, 0, 0), (0, 255, 0), (0, 0, 255))
    for name, colour in zip(names, colours, strict=True):
        Image.new("RGB", (80, 80), colour).save(tmp_path / f"{name}.png")
    paths = tuple(str(tmp_path / f"{name}.png") for name in names)
    write_feature_map(tmp_path / "map.html", Embeddings(names, paths, np.ones((3, 4), np.float32), "m", "0"))
    page = browser.new_page()
    page.goto((tmp_path / "map.html").as_uri())
    for name, colour in zip(names, colours, strict=True):
        page.fill("#find", name)
        page.press("#find", "Enter")
        expect(page.locator("#chosen span")).to_have_text(name)
        page.wait_for_function("images.every((image) => image.complete)")
        page.evaluate("draw()")
        middle = page.evaluate("[...context.getImageData(600, 600, 1, 1).data.slice(0, 3)]")
        assert np.abs(np.subtract(middle, colour)).max() < 30
    expect(page.locator("#near li").first).to_contain_text("1.000")
    page.close()
