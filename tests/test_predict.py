"""Prediction as its user has it: from Python in three lines, and `lesionlab predict` on the command line."""

import csv
import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import tiny_onnx
from builders import photographs
from conftest import lesionlab_here
from lesionlab._version import NOT_A_DEVICE
from lesionlab.cli import main
from lesionlab.data.image_formats import SUFFIXES
from lesionlab.data.images import ImageError
from lesionlab.errors import LesionlabError, UsageError
from lesionlab.inference import overlay
from lesionlab.inference.facts import Thresholds
from lesionlab.inference.image_sources import find_images, printable
from lesionlab.inference.model import Model, load_model
from lesionlab.inference.overlay import relevance
from lesionlab.inference.predictions import Prediction, Unreadable, decide
from lesionlab.taxonomy import DX, HAM10000

HEADER = ["image", *HAM10000.columns]


@pytest.fixture(scope="session")
def model(tiny: Path) -> Model:
    return load_model(tiny)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Nine images of random colours in two folders, one of them twice by name, and one that is no image."""
    folder = tmp_path / "photos"
    names = ("a1.png", "a2.JPG", "b/a1.png", "b/b1.tif", "b/b2.bmp", "z1.webp", "z2.gif", "z3.jpeg", "z4.png")
    photographs(folder, names, seed=11)
    (folder / "broken.jpg").write_bytes(b"not an image")
    (folder / "notes.txt").write_text("no image either")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


def image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels.astype(np.uint8))


def rows(text: str) -> list[list[str]]:
    header, *rest = csv.reader(io.StringIO(text))
    assert header == HEADER
    return rest


def run(*arguments: object, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "lesionlab", "predict", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


def test_three_lines(photos: Path, tiny: Path) -> None:
    import lesionlab

    model = lesionlab.load_model(tiny)
    (prediction,) = model.predict(photos / "a1.png")
    assert prediction.image == "a1" and prediction.source == str(photos / "a1.png")
    assert tuple(prediction.probabilities) == DX and sum(prediction.probabilities.values()) == pytest.approx(
        1, abs=1e-12
    )
    assert prediction.dx == max(prediction.probabilities, key=prediction.probabilities.__getitem__)
    assert prediction.name == HAM10000.name_of[prediction.dx]
    assert prediction.malignant_probability == pytest.approx(
        sum(prediction.probabilities[dx] for dx in HAM10000.malignant)
    )
    assert 0 <= prediction.uncertainty <= 1 and prediction.decision in ("malignant", "benign")


def test_a_folder_in_order_with_the_unreadable_apart(model: Model, photos: Path) -> None:
    found = model.predict(photos)
    assert [item.image for item in found] == ["a1", "a2", "z1", "z2", "z3", "z4", "a1", "b1", "b2"]
    assert len(found) == 9 and found[0].image == "a1" and found.probabilities.shape == (9, 7)
    (bad,) = found.unreadable
    assert bad.image == "broken" and "no image" in bad.reason


def test_all_kinds_of_input_give_the_same_answer(model: Model, photos: Path) -> None:
    path = photos / "a1.png"
    pixels = np.asarray(Image.open(path))
    data = path.read_bytes()
    kinds = [path, str(path), data, Image.open(path), Image.open(path).convert("RGBA"), pixels]
    kinds += [bytearray(data), memoryview(data)]
    answers = model.predict(kinds)
    assert np.abs(answers.probabilities - answers.probabilities[0]).max() < 1e-6
    names = [item.image for item in answers]
    assert names == ["a1", "a1", "image-3", "a1", "image-5", "image-6", "image-7", "image-8"]
    assert model.predict(np.stack([pixels, pixels])).probabilities.shape == (2, 7)
    assert len(model.predict(str(photos / "z*"))) == 4
    for kind in kinds:
        assert np.abs(model.predict(kind).probabilities - answers.probabilities[0]).max() < 1e-6


def test_a_photograph_lying_on_its_side(model: Model) -> None:
    upright = image(np.random.default_rng(1).integers(0, 255, (48, 64, 3)))
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = upright.transpose(Image.Transpose.ROTATE_90)
    file = io.BytesIO()
    lying.save(file, "PNG", exif=exif)
    given = Image.open(io.BytesIO(file.getvalue()))
    found = model.predict([upright, file.getvalue(), given]).probabilities
    assert np.abs(found - found[0]).max() < 1e-6


def test_grey_values_of_pictures_are_those_of_their_files(model: Model, tmp_path: Path) -> None:
    grey = np.random.default_rng(2).integers(0, 2**16, (48, 64)).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    swapped = Image.frombytes("I;16B", (64, 48), grey.astype(">u2").tobytes())
    answers = model.predict([tmp_path / "grey.png", Image.fromarray(grey), swapped]).probabilities
    assert np.abs(answers - answers[0]).max() == 0
    for mode, kind in (("I", np.int32), ("F", np.float32)):
        with pytest.raises(ImageError, match="image-1: its grey values have 32 bits"):
            model.predict(Image.fromarray(grey.astype(kind), mode))


@pytest.mark.parametrize("mode", ["LA", "La", "PA", "RGBa"])
def test_what_is_transparent_is_laid_over_white(mode: str, model: Model) -> None:
    clear = Image.new("RGBA", (64, 48), (10, 10, 10, 0))
    if mode == "PA":
        given = Image.new("P", (64, 48), 3).convert("PA")
        given.putalpha(0)
    else:
        given = clear.convert("LA" if "L" in mode else "RGBA").convert(mode)
    white = Image.new("RGB", (64, 48), "white")
    answers = model.predict([given, white]).probabilities
    assert np.abs(answers[0] - answers[1]).max() < 1e-6


def test_one_unreadable_image_raises(model: Model, photos: Path) -> None:
    with pytest.raises(ImageError, match="broken.jpg: the file is no image"):
        model.predict(photos / "broken.jpg")
    with pytest.raises(ImageError, match="nowhere.jpg: the file cannot be opened"):
        model.predict(photos / "nowhere.jpg")


@pytest.mark.parametrize(
    ("given_images", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), r"pixels must be uint8 \(height, width, 3\), RGB; got float32"),
        ([np.zeros((20, 20), np.uint8)], r"image-1: pixels must be uint8"),
        (np.zeros((20, 30), np.uint8), r"RGB; got uint8 \(20, 30\)"),
        (io.BytesIO(b"a\nb"), r"an open file is no image: give its path, or its bytes"),
        ([io.BytesIO(b"a\nb")], r"image-1: an open file is no image"),
        (7, "int is no image: give a path, bytes, a PIL image"),
        ([None], "image-1: NoneType is no image"),
    ],
)
def test_what_is_no_image(model: Model, given_images: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        model.predict(given_images)
    with pytest.raises(UsageError, match="batch_size must be at least 1, not 0"):
        model.predict([], batch_size=0)
    with pytest.raises(UsageError, match="batch_size must be a whole number of at least 1, not 2.5"):
        model.predict([], batch_size=2.5)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="workers must be a whole number of at least 1, not -1"):
        model.stream([], workers=-1)
    with pytest.raises(UsageError, match="5 is no model: give the path of a .onnx file"):
        load_model(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [str, Path])
def test_addresses_and_home_folders(kind: type, model: Model, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="addresses are not read: download the file first"):
        model.predict(kind("https://example.org/x.jpg"))
    monkeypatch.setenv("HOME", str(photos))
    monkeypatch.setenv("USERPROFILE", str(photos))
    assert len(model.predict(kind("~/a1.png"))) == 1 and len(model.predict([kind("~/z*")])) == 4


def test_folders_without_images_and_patterns_without_files(model: Model, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"holds no images. Read are files that end in {', '.join(SUFFIXES)}"):
        model.predict(tmp_path)
    with pytest.raises(UsageError, match="No file matches"):
        model.predict(tmp_path / "*.png")
    assert model.predict([]).items == ()
    assert model.predict([]).probabilities.shape == (0, 7)


@settings(max_examples=25)
@given(
    batch_size=st.integers(1, 9),
    workers=st.integers(1, 4),
    shades=st.lists(st.one_of(st.none(), st.integers(0, 255)), max_size=25),
)
def test_order_in_is_order_out(model: Model, batch_size: int, workers: int, shades: list[int | None]) -> None:
    given_images = [b"bad" if shade is None else np.full((30, 40, 3), shade, np.uint8) for shade in shades]
    results = list(model.stream(given_images, batch_size=batch_size, workers=workers))
    assert [None if isinstance(item, Unreadable) else 0 for item in results] == [s if s is None else 0 for s in shades]
    alone = {
        shade: model.predict(np.full((30, 40, 3), shade, np.uint8)).probabilities[0] for shade in set(shades) - {None}
    }
    for shade, item in zip(shades, results, strict=True):
        if shade is not None:
            assert np.abs(np.array(list(item.probabilities.values())) - alone[shade]).max() < 1e-6


def test_an_endless_list_is_read_only_as_far_as_needed(model: Model) -> None:
    n_taken = 0

    def endless():
        nonlocal n_taken
        while True:
            n_taken += 1
            yield np.zeros((30, 40, 3), np.uint8)

    results = model.stream(endless(), batch_size=4, workers=2)
    for _ in range(40):
        next(results)
    results.close()
    assert n_taken <= 40 + 4 * 6


def test_decisions() -> None:
    assert decide(0.6, 0.2, Thresholds()) == "malignant" and decide(0.4, 1.0, Thresholds()) == "benign"
    assert decide(0.2, 0.2, Thresholds(malignant=0.1)) == "malignant"
    assert decide(0.6, 0.2, Thresholds(malignant=0.7)) == "benign"
    assert decide(0.7, 0.2, Thresholds(malignant=0.7)) == "malignant" and decide(0.5, 0.0, Thresholds()) == "malignant"
    assert decide(0.9, 0.7, Thresholds(uncertainty=0.7)) == "malignant"
    assert decide(0.9, 0.8, Thresholds(uncertainty=0.7)) == "uncertain"


def test_activation_maps(model: Model, tmp_path: Path) -> None:
    (prediction,) = model.predict(np.full((48, 64, 3), 90, np.uint8), explain=True)
    assert prediction.activation_maps is not None and prediction.activation_maps.shape == (3, 4, 7)
    values = relevance(prediction.activation_maps, DX.index(prediction.dx))
    assert values.shape == (3, 4) and values.min() >= 0 and values.max() <= 1
    without = load_model(tiny_onnx.write(tmp_path / "m.onnx", maps=False))
    with pytest.raises(UsageError, match="'tiny' has no activation maps: it does not end in a global average"):
        without.predict([], explain=True)


def test_a_model_that_gives_no_probabilities(tmp_path: Path) -> None:
    with pytest.raises(LesionlabError, match="'tiny' is damaged: its outputs are not probabilities"):
        load_model(tiny_onnx.write(tmp_path / "m.onnx", scale=float("nan"))).predict(np.zeros((30, 40, 3), np.uint8))


def test_only_what_is_needed_is_imported(photos: Path, tiny: Path, tmp_path: Path) -> None:
    heavy = ("keras", "tensorflow", "pandas", "matplotlib", "sklearn", "scipy", "rich", "jax", "torch", "h5py")
    code = (
        "import sys\nfrom lesionlab.cli import main\n"
        f"assert main(['predict', {str(photos / 'b')!r}, '--model', {str(tiny)!r}, '--out', {str(tmp_path / 'p.csv')!r}]) == 0\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_table(photos: Path, tiny: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "p.csv"
    assert main(["predict", str(photos), "--model", str(tiny), "--out", str(out)]) == 1
    shown = capsys.readouterr()
    assert "broken.jpg: the file is no image" in shown.err and "1 of 10 images could not be read" in shown.err
    assert f"9 rows written to {out}. {NOT_A_DEVICE}" in shown.err and shown.out == ""
    table = rows(out.read_text())
    second = str(photos / "b" / "a1.png")
    assert [row[0] for row in table] == ["a1", "a2", "z1", "z2", "z3", "z4", second, "b1", "b2"]
    for row in table:
        assert abs(sum(map(float, row[1:])) - 1) < 1e-6 and all("." in cell or "e" in cell for cell in row[1:])
    assert main(["predict", str(photos), "--model", str(tiny)]) == 1
    assert rows(capsys.readouterr().out) == table


def test_files_left_out_for_their_suffix_are_counted(photos: Path, tiny: Path, tmp_path: Path, capsys) -> None:
    for name in ("b/lesion.jp2", "b/LESION.RAW", "b/scan", "b/table.csv", "b/.hidden"):
        (photos / name).write_bytes(b"")
    for where in (["--out", str(tmp_path / "p.csv")], ["--shards", str(tmp_path / "shards"), "--shard-format", "csv"]):
        assert main(["predict", str(photos / "b"), "--model", str(tiny), *where]) == 0
        assert "\n3 files left out for their suffix: .jp2, .raw, none. Read are .jpg," in capsys.readouterr().err


def test_json_lines(photos: Path, tiny: Path, capsys) -> None:
    assert main(["predict", str(photos / "b"), str(photos / "z4.png"), "--model", str(tiny), "--json"]) == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [item["image"] for item in objects] == ["a1", "b1", "b2", "z4"]
    keys = {
        "image",
        "path",
        "dx",
        "name",
        "probabilities",
        "malignant_probability",
        "uncertainty",
        "decision",
        "prediction_set",
        "ood_score",
        "is_dermatoscopic",
    }
    assert set(objects[0]) == keys and tuple(objects[0]["probabilities"]) == DX


@pytest.mark.parametrize("how", [[], ["--json"], ["--json", "--out", "p.csv"], ["--out", "p.csv"]])
def test_the_notice_is_said_once(how: list[str], photos: Path, tiny: Path, tmp_path: Path) -> None:
    done = run(photos / "b", "--model", tiny, *how, cwd=tmp_path)
    assert done.returncode == 0 and done.stderr.count(NOT_A_DEVICE) == 1 and NOT_A_DEVICE not in done.stdout


def test_lists_and_patterns(photos: Path, tiny: Path) -> None:
    names = f"{photos / 'z4.png'}\n\n{photos / 'a1.png'}\n"
    listed = run("-", "--model", tiny, input=names)
    assert (listed.returncode, [row[0] for row in rows(listed.stdout)]) == (0, ["z4", "a1"])
    matched = lesionlab_here("predict", str(photos / "**" / "b*.[bt]*"), "--model", tiny)
    assert [row[0] for row in rows(matched.stdout)] == ["b1", "b2"]
    twice = lesionlab_here("predict", photos / "a1.png", photos / "a1.png", photos / "a1.png", "--model", tiny)
    assert [row[0] for row in rows(twice.stdout)] == ["a1", str(photos / "a1.png"), f"{photos / 'a1.png'}#2"]


@pytest.mark.parametrize("encoding", ["utf-8:strict", "cp1252", "ascii"])
def test_lists_and_tables_are_utf_8_whatever_the_locale(
    encoding: str, photos: Path, tiny: Path, tmp_path: Path
) -> None:
    names = ["日本 語.png", "a\u202fb.png", *(["caf\udce9.png"] if sys.platform == "linux" else [])]
    for name in names:
        shutil.copy(photos / "z4.png", photos / name)
    given_list = b"\xef\xbb\xbf" + b"\r\n".join(os.fsencode(photos / name) for name in names)
    environment = os.environ | {"PYTHONUTF8": "0", "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "lesionlab", "predict", "-", "--model", str(tiny)]
    done = subprocess.run(command, input=given_list, capture_output=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    expected = ["日本 語", "a\u202fb", r"caf\udce9"][: len(names)]
    assert [row[0] for row in rows(done.stdout.decode())] == expected


@pytest.mark.parametrize("pattern", ["**", "**/*", "**/*.*", "*"])
def test_a_pattern_gives_each_file_once(pattern: str, photos: Path, tmp_path: Path) -> None:
    for path in (photos / "broken.jpg", photos / "notes.txt"):
        path.unlink()
    found = list(find_images([photos / pattern]))
    assert sorted(map(str, found)) == sorted(map(str, find_images([photos])))
    assert len(list(find_images([photos / pattern] * 2))) == 2 * len(found)  # as often as they are asked for


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege")
@pytest.mark.parametrize("pattern", ["**", "**/*", "**/**", "*"])
def test_a_pattern_gives_each_file_once_by_links_too(pattern: str, photos: Path) -> None:
    (photos / "notes.txt").unlink()
    before = {path.resolve() for path in find_images([photos])}
    (photos / "c").symlink_to(photos / "b")
    (photos / "again").symlink_to(photos)
    found = [path.resolve() for path in find_images([photos / pattern])]
    assert len(found) == len(before) and set(found) == before
    (photos / "b" / "b3.bmp").symlink_to(photos / "b" / "b2.bmp")  # a file by another name is another image
    assert len(list(find_images([photos / pattern]))) == len(before) + 1


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege")
def test_folders_by_links_are_read_once(photos: Path, tiny: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "all").mkdir()
    for name, target in (("a", photos), ("b", photos / "b"), ("loop", tmp_path / "all")):
        (tmp_path / "all" / name).symlink_to(target)
    found = list(find_images([tmp_path / "all"]))
    assert sorted(path.resolve() for path in found) == sorted(path.resolve() for path in find_images([photos]))
    assert found[0] == tmp_path / "all" / "a" / "a1.png"
    (photos / "itself").symlink_to("itself")  # leads nowhere, and is no image by its name
    assert len(list(find_images([tmp_path / "all"]))) == len(found)
    for overlays in ("all/a/why", "photos/why", "photos/b/why"):
        command = ["predict", str(tmp_path / "all"), "--model", str(tiny), "--explain", str(tmp_path / overlays)]
        assert main(command) == 2 and not (tmp_path / overlays).exists()
        assert "lies among the images to predict" in capsys.readouterr().err


def test_brackets_of_a_folder_are_its_own(photos: Path, tiny: Path, tmp_path: Path, capsys) -> None:
    folder = photos.rename(tmp_path / "ph [2024]")
    assert main(["predict", f"{folder}/z*.[pj]*", "--model", str(tiny)]) == 0
    assert [row[0] for row in rows(capsys.readouterr().out)] == ["z3", "z4"]
    assert main(["predict", str(folder / "gone.png"), "--model", str(tiny)]) == 1
    assert "gone.png: the file cannot be opened" in capsys.readouterr().err
    assert main(["predict", str(tmp_path / "ph [[]2024]" / "a1.*"), "--model", str(tiny)]) == 0


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_an_empty_list_on_standard_input(text: str, tiny: Path, tmp_path: Path) -> None:
    done = run("-", "--model", tiny, "--out", tmp_path / "p.csv", input=text)
    assert (done.returncode, done.stderr) == (2, "lesionlab: The list on standard input names no images.\n")
    assert not (tmp_path / "p.csv").exists()


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
@pytest.mark.parametrize(("path", "closed", "code"), [("a1.png", ">&-", 0), ("a1.png", "2>&-", 0), ("-", "<&-", 2)])
def test_closed_streams(path: str, closed: str, code: int, photos: Path, tiny: Path) -> None:
    command = f"'{sys.executable}' -m lesionlab predict {path} --model '{tiny}' {closed}"
    done = subprocess.run(command, shell=True, cwd=photos, capture_output=True, text=True, timeout=60)
    assert done.returncode == code and "Traceback" not in done.stderr, done.stderr


def test_on_a_terminal(photos: Path, tiny: Path, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert main(["predict", str(photos / "a1.png"), "--model", str(tiny)]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in HAM10000.name_of.values()) and "█" in shown and NOT_A_DEVICE in shown
    assert main(["predict", str(photos / "b"), "--model", str(tiny)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4 and lines[0].startswith("a1 ") and "uncertainty" in lines[0]


@pytest.mark.parametrize(("columns", "is_named"), [(80, False), (200, True)])
def test_a_line_an_image_fits_the_terminal(
    columns: int, is_named: bool, photos: Path, tiny: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main(["predict", str(photos), "--model", str(tiny)]) == 1
    *lines, said = capsys.readouterr().out.splitlines()
    assert said == NOT_A_DEVICE and len(lines) == 9
    for line in lines:
        assert len(line) <= columns
        assert any(f"%  {name} " in line for name in (HAM10000.name_of.values() if is_named else DX))


def test_overlays(photos: Path, tiny: Path, tmp_path: Path) -> None:
    done = lesionlab_here(
        "predict", photos / "b", "--model", tiny, "--explain", tmp_path / "why", "--out", tmp_path / "p.csv"
    )
    assert done.returncode == 0
    pages = sorted((tmp_path / "why").iterdir())
    assert [page.name for page in pages] == ["a1.png", "b1.png", "b2.png"]
    with Image.open(pages[0]) as page:
        assert page.format == "PNG" and page.width > 2 * 448 and page.height > 448
    no_maps = tiny_onnx.write(tmp_path / "m.onnx", maps=False)
    refused = lesionlab_here("predict", photos / "b", "--model", no_maps, "--explain", tmp_path / "why")
    assert refused.returncode == 2 and "has no activation maps" in refused.stderr


@pytest.mark.parametrize("given_path", ["{photos}", "{photos}/a1.png", "{photos}/*.png", "{tmp}/list.txt"])
def test_overlays_never_replace_an_image(given_path: str, photos: Path, tiny: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "list.txt").write_text(f"{photos / 'a1.png'}\n")
    before = {path: path.read_bytes() for path in photos.rglob("*") if path.is_file()}
    command = ["predict", given_path.format(photos=photos, tmp=tmp_path), "--model", str(tiny), "--explain"]
    assert main([*command, str(photos)]) == 2
    assert "another folder with --explain" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in photos.rglob("*") if path.is_file()} == before
    if Path(command[1]).is_dir():  # what lies below is read as well
        assert main([*command, str(photos / "why")]) == 2
        assert "have its overlays read as images" in capsys.readouterr().err and not (photos / "why").exists()
    for _ in range(2):  # older overlays are replaced
        assert main([*command, str(tmp_path / "why")]) in (0, 1)


@pytest.mark.parametrize(
    ("pattern", "folder", "is_refused"),
    [
        ("photos/**/*", "photos/x", True),
        ("photos/**", "photos/x/y", True),
        ("**/*.png", "why", True),
        ("photos/*", "photos/x/y", True),
        ("photos/b*/*", "photos/b", True),
        ("photos/b*/*", "photos/why", False),
        ("photos/*.png", "photos/why", False),
        ("photos/*", "why", False),
    ],
)
def test_overlays_where_a_pattern_looks(
    pattern: str, folder: str, is_refused: bool, photos: Path, tiny: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        code = main(["predict", pattern, "--model", str(tiny), "--explain", folder])
        said = capsys.readouterr().err
        assert ("have its overlays read as images" in said) == is_refused == (code == 2), said


def test_overlays_of_names_that_are_odd_or_too_long(photos: Path, tiny: Path, tmp_path: Path) -> None:
    long = "é" * 110 + "n" * 30  # 250 bytes
    names = ["a\u202fb", long, *(["caf\udce9"] if sys.platform == "linux" else [])]
    for name in names:
        (photos / "b" / f"{name}.png").write_bytes((photos / "z4.png").read_bytes())
    deep = photos / "b" / ("d" * 120) / ("e" * 120)
    deep.mkdir(parents=True)
    (deep / "b1.tif").write_bytes((photos / "z4.png").read_bytes())
    for _ in range(2):  # by the same names again
        done = lesionlab_here(
            "predict", photos / "b", "--model", tiny, "--explain", tmp_path / "why", "--out", tmp_path / "p.csv"
        )
        assert done.returncode == 0, done.stderr
        pages = [path.name for path in (tmp_path / "why").iterdir()]
        assert len(pages) == len(rows((tmp_path / "p.csv").read_text("utf-8"))) == len(names) + 4
        assert max(len(name.encode()) for name in pages) <= 204


@pytest.mark.parametrize(
    ("number", "code", "n_rows"), [(errno.EIO, 1, 3), (errno.ENAMETOOLONG, 1, 3), (errno.ENOSPC, 1, 0)]
)
def test_an_overlay_that_cannot_be_written(
    number: int, code: int, n_rows: int, photos: Path, tiny: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    write = overlay.write_overlay

    def fail_once(prediction: Prediction, *others) -> None:
        if prediction.image == "a1":
            raise OSError(number, os.strerror(number))
        write(prediction, *others)

    monkeypatch.setattr(overlay, "write_overlay", fail_once)
    command = ["predict", str(photos / "b"), "--model", str(tiny), "--out", str(tmp_path / "p.csv")]
    command += ["--explain", str(tmp_path / "why")]
    assert main(command) == code
    assert len(rows((tmp_path / "p.csv").read_text())) == n_rows
    said = capsys.readouterr().err
    if number == errno.ENOSPC:
        assert "The disk is full" in said and "The same command with --resume goes on where it stopped." in said
        monkeypatch.setattr(overlay, "write_overlay", write)
        assert main([*command, "--resume"]) == 0
        assert len(rows((tmp_path / "p.csv").read_text())) == len(list((tmp_path / "why").glob("*.png"))) == 3
    else:
        assert f"no overlay of {photos / 'b' / 'a1.png'}: it cannot be written ({os.strerror(number)})" in said
        assert "1 of 3 overlays could not be made." in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{photos}", "--out", "{tmp}/no/p.csv"], "p.csv cannot be written (No such file or directory)"),
        (["{photos}", "--out", "{tmp}"], "cannot be written (Is a directory)"),
        (["{photos}", "--explain", "{tmp}/file"], "cannot be written (File exists)"),
        (["{tmp}/empty"], "holds no images. Read are files that end in .jpg"),
        (["{photos}/*.xyz"], "No file matches"),
        (["{photos}", "--resume"], "--resume goes on with the table that --out names"),
        (["{photos}", "--model", "{tmp}/no.onnx"], "There is no model file"),
    ],
)
def test_mistakes_are_one_sentence_and_exit_2(
    arguments, message, photos: Path, tiny: Path, tmp_path: Path, capsys
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    filled = [text.format(photos=photos, tmp=tmp_path) for text in arguments]
    assert main(["predict", *(filled if "--model" in filled else [*filled, "--model", str(tiny)])]) == 2
    shown = capsys.readouterr()
    assert message in shown.err and shown.err.startswith("lesionlab: ") and "Traceback" not in shown.err


def test_a_mistake_leaves_an_older_table_alone(photos: Path, tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("precious")
    (tmp_path / "empty").mkdir()
    assert (
        main(["predict", str(photos), str(tmp_path / "empty"), "--model", str(tiny), "--out", str(tmp_path / "p.csv")])
        == 2
    )
    assert (tmp_path / "p.csv").read_text() == "precious"


@pytest.mark.parametrize("resume", [[], ["--resume"]])
@pytest.mark.parametrize("name", ["photo.png", "mine.csv", "line.csv"])
def test_a_file_that_is_no_table_of_predictions_is_left_alone(
    name: str, resume: list[str], photos: Path, tiny: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / name
    image(np.zeros((30, 40, 3))).save(tmp_path / "photo.png")
    (tmp_path / "mine.csv").write_text("image,note\na1,keep\n")
    (tmp_path / "line.csv").write_text("no line end")
    before = out.read_bytes()
    assert main(["predict", str(photos), "--model", str(tiny), "--out", str(out), *resume]) == 2
    assert f"{out} is no table of predictions" in capsys.readouterr().err and out.read_bytes() == before


@pytest.mark.parametrize("old", ["", "image,MEL", f"{','.join(HEADER)}\r\nold,0.9,0.1,0,0,0,0,0\r\n"])
def test_an_older_table_of_predictions_is_replaced(old: str, photos: Path, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.csv"
    out.write_bytes(old.encode())
    assert main(["predict", str(photos / "a1.png"), "--model", str(tiny), "--out", str(out)]) == 0
    assert [row[0] for row in rows(out.read_text())] == ["a1"]


@pytest.mark.parametrize("resume", [[], ["--resume"]])
def test_a_truth_in_the_same_columns_is_left_alone(
    resume: list[str], photos: Path, tiny: Path, tmp_path: Path, capsys
) -> None:
    truth = tmp_path / "ISIC2018_Task3_Test_GroundTruth.csv"
    truth.write_text(f"{','.join(HEADER)}\nISIC_0034524,0.0,1.0,0.0,0.0,0.0,0.0,0.0\n")
    before = truth.read_bytes()
    assert main(["predict", str(photos), "--model", str(tiny), "--out", str(truth), *resume]) == 2
    assert "it is a truth, not predictions" in capsys.readouterr().err and truth.read_bytes() == before


@pytest.mark.parametrize("cut", [0, 3, 40, 400, 10**6])
def test_resume(cut: int, photos: Path, tiny: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "p.csv"
    command = ["predict", str(photos), "--model", str(tiny), "--out", str(out)]
    assert main(command) == 1
    whole = out.read_bytes()
    out.write_bytes(whole[:cut])  # as a killed process may have left it
    assert main([*command, "--resume"]) == 1
    assert out.read_bytes() == whole
    out.unlink()
    assert main([*command, "--resume"]) == 1
    assert out.read_bytes() == whole


def test_resume_goes_on_with_a_table_that_a_spreadsheet_has_saved(photos: Path, tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.csv"
    command = ["predict", str(photos / "b"), "--model", str(tiny), "--out", str(out), "--resume"]
    assert main(command) == 0
    whole = rows(out.read_text())
    lines = out.read_bytes().splitlines()
    out.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join([*lines[:2], b"", b""]))
    assert main(command) == 0
    assert [row for row in rows(out.read_text("utf-8-sig")) if row] == whole


def test_resume_refuses_another_table_or_model(photos: Path, tiny: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "p.csv"
    other = tiny_onnx.write(tmp_path / "other.onnx", scale=-8.0)
    assert main(["predict", str(photos), "--model", str(other), "--out", str(out)]) == 1
    before = out.read_bytes()
    assert main(["predict", str(photos), "--model", str(tiny), "--out", str(out), "--resume"]) == 2
    assert "was written by another model, of other images or with other --metadata: a1 has " in capsys.readouterr().err
    assert out.read_bytes() == before
    out.write_text("a,b\n1,2\n")
    assert main(["predict", str(photos), "--model", str(tiny), "--out", str(out), "--resume"]) == 2
    assert "is no table of predictions with the columns image,MEL" in capsys.readouterr().err
    assert out.read_text() == "a,b\n1,2\n"


@pytest.mark.parametrize("columns", ["AKIEC,BCC,BEN_OTH,BKL,DF,INF,MAL_OTH,MEL,NV,SCCKA,VASC", "MEL,NV"])
def test_a_table_of_a_model_of_other_diagnoses_is_left_alone(
    columns: str, photos: Path, tiny: Path, tmp_path: Path, capsys
) -> None:
    """As after an update of lesionlab whose model knows others."""
    out, text = tmp_path / "p.csv", f"image,{columns}\na1,{','.join(['0'] * columns.count(','))},1\n"
    out.write_text(text)
    for resume in ([], ["--resume"]):
        assert main(["predict", str(photos), "--model", str(tiny), "--out", str(out), *resume]) == 2
        said = capsys.readouterr().err
        assert f"it has the columns image,{columns}, and the model image,MEL,NV,BCC" in said and "--model" in said
    assert out.read_text() == text


def test_resume_tells_images_of_the_same_name_apart(photos: Path, tiny: Path, tmp_path: Path, capsys) -> None:
    out, other = tmp_path / "p.csv", tmp_path / "other"
    other.mkdir()
    image(np.random.default_rng(3).integers(0, 256, (60, 80, 3)) // [1, 9, 9]).save(other / "z4.png")
    command = ["predict", "--model", str(tiny), "--out", str(out), "--resume"]
    assert main([*command, str(photos)]) == 1
    before = out.read_bytes()
    assert main([*command, str(other)]) == 2
    assert "with other --metadata: z4 has " in capsys.readouterr().err and out.read_bytes() == before
    assert main([*command, str(photos / "z*")]) == 0
    assert f"4 images skipped: {out} has rows of these names already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("much,0,0,0,0,0,0", "is no table of predictions"),
        (",0,0,0,0,0,0", "is no table of predictions"),
        ("", "is no table of predictions"),
        (f"{'1' * 200_000},0,0,0,0,0,0", "is no table of predictions"),
        ("0.9,0.1,0,0,0,0,0", "was written by another model"),
        ("0.9,0.1,0,0,0,0,0\nb1,nan,0,0,0,0,0,0", "the row of b1 holds no probabilities"),
    ],
)
def test_resume_refuses_a_table_without_numbers(
    cells: str, message: str, photos: Path, tiny: Path, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "p.csv"
    out.write_text(f"image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\na1,{cells}\n")
    before = out.read_bytes()
    assert main(["predict", str(photos), "--model", str(tiny), "--out", str(out), "--resume"]) == 2
    shown = capsys.readouterr().err
    assert message in shown and "Traceback" not in shown and out.read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_in_the_middle(how: signal.Signals, photos: Path, tiny: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "p.csv"
    command = [sys.executable, "-m", "lesionlab", "predict", "-", "--model", str(tiny), "--out", str(out)]
    process = subprocess.Popen(
        [*command, "--batch-size", "1"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    process.stdin.write("".join(f"{photos / 'a1.png'}\n" for _ in range(200)))
    process.stdin.flush()
    for _ in range(200):
        if out.exists() and out.stat().st_size > 1000:
            break
        time.sleep(0.05)
    assert main(["predict", str(photos), "--model", str(tiny), "--out", str(out)]) == 2
    assert f"Another command is writing {out}" in capsys.readouterr().err
    process.send_signal(how)
    time.sleep(0.02)
    process.send_signal(how)  # an impatient one breaks nothing
    _, said = process.communicate(timeout=30)
    assert len(rows(out.read_text())) > 5
    if how == signal.SIGINT:
        assert process.returncode == 130 and "--resume goes on" in said and "Traceback" not in said


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk(photos: Path, tiny: Path) -> None:
    done = run(photos, "--model", tiny, "--out", "/dev/full")
    assert done.returncode in (1, 2) and "Traceback" not in done.stderr and done.stderr.startswith("lesionlab: ")


def test_names_that_a_terminal_would_obey(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "evil\x1b[31m\nname.png").write_bytes(b"bad")
    image(np.zeros((30, 40, 3))).save(tmp_path / "a,b\x07.png")
    done = lesionlab_here("predict", tmp_path, "--model", tiny)
    assert done.returncode == 1 and "\x1b" not in done.stderr + done.stdout
    assert r"evil\x1b[31m\nname.png: the file is no image" in done.stderr
    assert rows(done.stdout)[0][0] == r"a,b\x07"
    assert printable("naïve Ä") == "naïve Ä" and printable("\udcff") == r"\udcff"


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="needs a folder that may not be read")
def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    image(np.zeros((30, 40, 3))).save(tmp_path / "a.png")
    (tmp_path / "closed").mkdir(mode=0)
    assert [path.name for path in find_images([tmp_path])] == ["a.png", "closed"]


def test_real_images_in_their_published_size(ham10000: Path, model: Model) -> None:
    found = model.predict(ham10000 / "full_size")
    assert len(found) == 8 and not found.unreadable
    assert np.abs(found.probabilities.sum(axis=1) - 1).max() < 1e-12
