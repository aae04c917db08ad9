"""`lesionlab predict --shards` on this machine: the local table cut in files, gone on with, and mixed with nothing."""

import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import tiny_onnx
from builders import photographs
from lesionlab.cli import main
from lesionlab.errors import UsageError
from lesionlab.inference.image_sources import Source, find_images, unique_names
from lesionlab.inference.model import load_model
from lesionlab.inference.shard_log import JOB, LOG, read_log
from lesionlab.inference.shards import local_engine, write_shards


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty images and one file that is none."""
    folder = tmp_path_factory.mktemp("photos")
    photographs(folder, (f"p{number:02}.png" for number in range(30)), seed=2)
    (folder / "p15-broken.png").write_bytes(b"not an image")
    return folder


def joined(folder: Path) -> str:
    """The CSV shards of a folder as one table."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.glob("part-*.csv"))]
    return texts[0].splitlines(keepends=True)[0] + "".join(text.split("\n", 1)[1] for text in texts)


def test_csv_shards_are_the_table_cut_in_pieces(tiny: Path, photos: Path, tmp_path: Path, capsys) -> None:
    assert main(["predict", str(photos), "--model", str(tiny), "--out", str(tmp_path / "whole.csv")]) == 1
    out = tmp_path / "shards"
    command = ["predict", str(photos), "--model", str(tiny), "--shards", str(out), "--shard-format", "csv"]
    assert main([*command, "--shard-size", "14"]) == 1  # brought up to 16: four whole batches
    assert joined(out) == (tmp_path / "whole.csv").read_text(encoding="utf-8")
    assert len(list(out.glob("part-*"))) == 2
    assert "1 images could not be read" in capsys.readouterr().err
    assert "p15-broken," in (out / "_unreadable.csv").read_text(encoding="utf-8")


def test_an_image_that_was_mended_is_read_the_next_time(tiny: Path, photos: Path, tmp_path: Path, capsys) -> None:
    own = tmp_path / "own"
    shutil.copytree(photos, own)
    out = tmp_path / "shards"
    command = ["predict", str(own), "--model", str(tiny), "--shards", str(out), "--shard-format", "csv"]
    assert main(command) == 1 and "1 images could not be read" in capsys.readouterr().err
    assert main(command) == 1 and "31 images were done before" in capsys.readouterr().err
    shutil.copy2(own / "p03.png", own / "p15-broken.png")  # with its own time, which is an older one
    assert main(command) == 0 and "done before" not in capsys.readouterr().err
    assert joined(out).count("p15-broken,") == 1
    assert (out / "_unreadable.csv").read_text(encoding="utf-8").splitlines() == ["image,path,reason,node"]


def test_parquet_shards_hold_the_very_numbers(tiny: Path, photos: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: pip install 'lesionlab[scale]'")
    main(["predict", str(photos), "--model", str(tiny), "--shards", str(tmp_path / "out"), "--shard-size", "8"])
    table = parquet.read_table(sorted((tmp_path / "out").glob("part-*.parquet")))
    expected = load_model(tiny).predict(photos)
    assert table["image"].to_pylist() == [item.image for item in expected]
    assert table["path"].to_pylist() == [item.source for item in expected]
    np.testing.assert_array_equal(np.column_stack([table[i] for i in range(2, 9)]), expected.probabilities)
    assert table["decision"].to_pylist() == [item.decision for item in expected]


def test_lists_of_paths_stand_for_their_files(photos: Path, tmp_path: Path) -> None:
    paths = [str(photos / f"p{number:02}.png") for number in (3, 1, 2)]
    (tmp_path / "list.txt").write_text("\n".join(paths) + "\n\n", encoding="utf-8")
    assert [str(path) for path in find_images([tmp_path / "list.txt"])] == paths
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'lesionlab[scale]'")
    from pyarrow import parquet

    parquet.write_table(pa.table({"id": [1, 2, 3], "path": paths}), tmp_path / "list.parquet")
    assert [str(path) for path in find_images([tmp_path / "list.parquet"])] == paths
    for number, path in enumerate(paths):  # in parts, as Spark writes it
        (tmp_path / "parts.parquet").mkdir(exist_ok=True)
        parquet.write_table(pa.table({"path": [path]}), tmp_path / "parts.parquet" / f"part-{number}.parquet")
    (tmp_path / "parts.parquet" / "_SUCCESS").touch()
    for given in ("parts.parquet", "parts.parquet/", "parts.parquet/*.parquet", "p*.parquet", "p*/**/*.parquet"):
        assert [str(path) for path in find_images([f"{tmp_path}/{given}"])] == paths
    parquet.write_table(pa.table({"file": paths}), tmp_path / "other.parquet")
    with pytest.raises(UsageError, match="has no column 'path'; it has file"):
        find_images([tmp_path / "other.parquet"])
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UsageError, match="damaged.parquet cannot be read"):
        find_images([tmp_path / "damaged.parquet"])


def test_rows_without_a_path_are_listed_and_the_folder_is_a_data_set(
    tiny: Path, photos: Path, tmp_path: Path, capsys
) -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed: pip install 'lesionlab[scale]'")
    from pyarrow import parquet

    paths = [str(photos / "p03.png"), None, "", str(photos / "p01.png")]
    parquet.write_table(pa.table({"path": paths}), tmp_path / "list.parquet")
    asked = ["predict", str(tmp_path / "list.parquet"), "--model", str(tiny), "--shards", str(tmp_path / "out")]
    assert main(asked) == 1
    assert "list.parquet, row 2: no path" in (tmp_path / "out" / "_unreadable.csv").read_text(encoding="utf-8")
    assert "row 3: no path" in (tmp_path / "out" / "_unreadable.csv").read_text(encoding="utf-8")
    assert pd.read_parquet(tmp_path / "out")["image"].tolist() == ["p03", "p01"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "names no images"), (b"\xff\xd8\xff\xe0", "is not UTF-8 text"), (None, "No such file")],
)
def test_a_list_that_is_none_is_refused(content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        find_images([tmp_path / "list.txt"])


def test_a_parquet_of_other_things_than_text_is_refused(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow", reason="PyArrow is not installed: pip install 'lesionlab[scale]'")
    from pyarrow import parquet

    numbers = pa.array([1, 2])
    for paths, kind in ((numbers, "int64"), (pa.array([b"a.jpg"]), "binary"), (numbers.dictionary_encode(), "int64")):
        parquet.write_table(pa.table({"path": paths}), tmp_path / "list.parquet")
        with pytest.raises(UsageError, match=f"its column 'path' holds {kind}.*, not text"):
            list(find_images([tmp_path / "list.parquet"]))
    parquet.write_table(pa.table({"path": pa.array(["a.jpg"]).dictionary_encode()}), tmp_path / "list.parquet")
    assert [source.image for source in map(Source.of_file, find_images([tmp_path / "list.parquet"]))] == ["a"]


def test_a_killed_job_goes_on_and_does_nothing_twice(tiny: Path, photos: Path, tmp_path: Path) -> None:
    paths = chain.from_iterable(repeat(sorted(photos.glob("p??.png")), 60))
    (tmp_path / "many.txt").write_text("\n".join(map(str, paths)), encoding="utf-8")
    out, common = tmp_path / "out", ["predict", str(tmp_path / "many.txt"), "--model", str(tiny)]
    command = [*common, "--shards", str(out), "--shard-format", "csv", "--shard-size", "64"]
    process = subprocess.Popen([sys.executable, "-m", "lesionlab", *command], stderr=subprocess.DEVNULL)
    while len(list(out.glob("part-*"))) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    with (out / LOG).open("a", encoding="utf-8") as log:
        log.write('{"shard": 9')  # what a kill in the middle of a write would leave
    before = {path: path.stat().st_mtime_ns for path in out.glob("part-*")}
    done = [out / line.file for line in read_log(out)]
    assert 0 < len(done) < 29
    assert main(command) == 0
    assert all((path.stat().st_mtime_ns == before[path]) for path in done)
    assert main([*common, "--out", str(tmp_path / "whole.csv")]) == 0
    assert joined(out) == (tmp_path / "whole.csv").read_text(encoding="utf-8")
    assert sorted(line.shard for line in read_log(out)) == list(range(29))


def test_other_work_in_the_folder_is_refused(tiny: Path, photos: Path, tmp_path: Path) -> None:
    model, out = load_model(tiny), tmp_path / "out"
    sources = list(unique_names(map(Source.of_file, find_images([photos]))))

    def write(items: list[Source], **options) -> None:
        used = options.pop("model", model)
        options = {"format": "csv", "shard_size": 8} | options
        write_shards(items, used, local_engine(used, 8), out, **options)

    write(sources)
    with pytest.raises(UsageError, match="shard_size 8 there, 16 now"):
        write(sources, shard_size=16)
    with pytest.raises(UsageError, match="part-000000.csv holds other images"):
        write(sources[1:])
    with pytest.raises(UsageError, match="3 more shards than these images make, from part-000001.csv"):
        write(sources[:8])
    other = load_model(tiny_onnx.write(tmp_path / "other.onnx", scale=9.0))
    with pytest.raises(UsageError, match="holds another job: model_sha256"):
        write(sources, model=other)
    job, log = (out / JOB).read_text(encoding="utf-8"), (out / LOG).read_text(encoding="utf-8")
    stranger = log.replace('"unreadable": []', '"unreadable": [["who", "x", "r", "missing"]]')
    for damaged in ("no json\n", '{"shard": 0}\n', "[]\n", log.replace('"rows": 8', '"rows": "8"'), stranger):
        (out / LOG).write_text(damaged, encoding="utf-8")
        with pytest.raises(UsageError, match="holds a damaged"):
            write(sources)
    (out / LOG).write_text(log, encoding="utf-8")
    for damaged in ("[1, 2]", "7", "null", "{"):
        (out / JOB).write_text(damaged, encoding="utf-8")
        with pytest.raises(UsageError, match="holds a damaged"):
            write(sources)
    (out / JOB).write_text(job, encoding="utf-8")
    write(sources)
    with pytest.raises(UsageError, match="is not empty and holds no shards"):
        write_shards(sources, model, local_engine(model, 8), photos)
    assert not (photos / ".lock").exists()


def test_the_same_names_in_another_folder_are_other_images(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, out = load_model(tiny), tmp_path / "out"
    for number, place in enumerate(("a", "b")):
        (tmp_path / place / "img").mkdir(parents=True)
        Image.new("RGB", (40, 30), (90 * number, 40, 40)).save(tmp_path / place / "img" / "1.png")
        monkeypatch.chdir(tmp_path / place)
        sources = list(unique_names(map(Source.of_file, find_images([Path("img")]))))
        if number == 0:
            write_shards(sources, model, local_engine(model, 8), out, format="csv", shard_size=8)
    with pytest.raises(UsageError, match="part-000000.csv holds other images"):
        write_shards(sources, model, local_engine(model, 8), out, format="csv", shard_size=8)
    sources = list(unique_names(map(Source.of_file, find_images([tmp_path / "a" / "img"]))))  # the same by another path
    write_shards(sources, model, local_engine(model, 8), out, format="csv", shard_size=8)


def test_a_shard_whose_file_is_gone_or_cut_is_done_again(tiny: Path, photos: Path, tmp_path: Path) -> None:
    command = ["predict", str(photos), "--model", str(tiny), "--shards", str(tmp_path / "out"), "--shard-size", "8"]
    command += ["--shard-format", "csv"]
    main(command)
    whole = joined(tmp_path / "out")
    (tmp_path / "out" / "part-000001.csv").unlink()
    (tmp_path / "out" / "part-000002.csv").write_bytes(b"")
    main(command)
    assert joined(tmp_path / "out") == whole
    unreadable = (tmp_path / "out" / "_unreadable.csv").read_text(encoding="utf-8").splitlines()
    assert len(unreadable) == 2  # its header, and one file


def test_a_file_that_was_away_for_a_while_gets_its_row(tiny: Path, photos: Path, tmp_path: Path) -> None:
    paths = [str(photos / f"p{number:02}.png") for number in range(12)]
    late = tmp_path / "late.png"
    (tmp_path / "list.txt").write_text("\n".join([*paths[:9], str(late), *paths[9:], "gone.png"]), encoding="utf-8")
    common = ["predict", str(tmp_path / "list.txt"), "--model", str(tiny)]
    out = tmp_path / "out"
    command = [*common, "--shards", str(out), "--shard-size", "4", "--shard-format", "csv"]
    assert main(command) == 1
    before = {path.name: path.stat().st_mtime_ns for path in out.glob("part-*")}
    (out / ".lesionlab-part-000001-xyz.csv").write_text("of a killed command")
    late.write_bytes((photos / "p20.png").read_bytes())
    assert main(command) == 1
    assert main([*common, "--out", str(tmp_path / "whole.csv")]) == 1
    assert joined(out) == (tmp_path / "whole.csv").read_text(encoding="utf-8")
    again = [name for name, time in before.items() if (out / name).stat().st_mtime_ns != time]
    assert again == ["part-000002.csv"] and not list(out.glob(".lesionlab-*"))
    unreadable = (out / "_unreadable.csv").read_text(encoding="utf-8").splitlines()
    assert len(unreadable) == 2 and unreadable[1].startswith("gone,")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--engine", "ray"], "give --shards DIR"),
        (["--address", "head:6379"], "give --shards DIR"),
        (["--shard-size", "8"], "give --shards DIR"),
        (["--shard-format", "csv"], "give --shards DIR"),
        (["--shards", "out", "--json", "--out", "x.csv"], "leave out --out and --json"),
    ],
)
def test_options_that_do_not_go_together(options: list[str], message: str, tiny: Path, photos: Path, capsys) -> None:
    assert main(["predict", str(photos), "--model", str(tiny), *options]) == 2
    assert message in capsys.readouterr().err


def test_answers_depend_neither_on_the_batch_nor_on_its_size() -> None:
    """What makes every engine and every resumed job give the same bits."""
    model = load_model()
    shape = (23, model.facts.height, model.facts.width, 3)
    images = list(np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8))
    alone = model.predict(images, batch_size=1).probabilities
    for batch_size in (2, 7, 8, 23):
        np.testing.assert_array_equal(model.predict(images, batch_size=batch_size).probabilities, alone)
    np.testing.assert_array_equal(model.predict(images[::-1]).probabilities[::-1], alone)
