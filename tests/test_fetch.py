"""Downloading from a server on this machine that can break off, lie and serve hostile archives."""

import hashlib
import io
import json
import stat
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

from builders import saved
from lesionlab.data import fetch as fetching
from lesionlab.data import unpack as unpacking
from lesionlab.data.fetch import DATASETS, Dataset, fetch
from lesionlab.data.layouts.recognise import read_collection
from lesionlab.errors import LesionlabError, UsageError

METADATA = b"lesion_id,image_id,dx,dx_type,age,sex,localization,dataset\n" + b"".join(
    b"L%d,ISIC_%d,nv,histo,40.0,male,back,rosendahl\n" % (number, number) for number in range(4)
)


def picture(number: int) -> bytes:
    return saved(Image.new("RGB", (40, 30), (number, 90, 120)))


def zipped(files: dict[str, bytes], *, compression: int = zipfile.ZIP_STORED) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", compression) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


class Server:
    """A Dataverse with HAM10000's three files; what it does wrong is set by the test."""

    def __init__(self) -> None:
        self.files = {
            3172585: ("HAM10000_images_part_1.zip", zipped({f"ISIC_{n}.jpg": picture(n) for n in (0, 1)})),
            3172584: (
                "HAM10000_images_part_2.zip",
                zipped({"__MACOSX/._a": b"", "ISIC_2.jpg": picture(2), "ISIC_3.jpg": picture(3)}),
            ),
            4338392: ("HAM10000_metadata.tab", METADATA),
            4338393: ("HAM10000_segmentations_lesion_tschandl.zip", b""),
        }
        self.break_after: list[int] = []  # bytes after which a download is cut, download by download
        self.ignores_range = False
        self.wrong_range = False
        self.too_long = False
        self.listing: bytes | None = None
        self.md5: str | None = None
        self.status = 200
        self.requests: list[tuple[str, str | None]] = []

    def list_files(self) -> bytes:
        files = []
        for number, (name, content) in self.files.items():
            entry = {"id": number, "filename": name, "filesize": len(content)}
            entry["md5"] = self.md5 or hashlib.md5(content).hexdigest()
            if name.endswith(".tab"):  # of a converted table the listing gives a size and a checksum that do not hold
                entry |= {"filesize": 7, "md5": "0" * 32, "originalFileFormat": "text/csv"}
            files.append({"dataFile": entry})
        return json.dumps({"status": "OK", "data": {"latestVersion": {"files": files}}}).encode()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.requests.append((self.path, wanted))
            if state.status != 200:
                self.send_error(state.status)
                return
            if self.path.startswith("/api/datasets/:persistentId/?persistentId=doi:10.7910/DVN/DBW86T"):
                self.answer(200, state.listing if state.listing is not None else state.list_files())
                return
            number = int(self.path.removeprefix("/api/access/datafile/").partition("?")[0])
            content = state.files[number][1] + (b"more" if state.too_long else b"")
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and not state.ignores_range else 0
            self.answer(206 if start else 200, content, start)

        def answer(self, status: int, content: bytes, start: int = 0) -> None:
            self.send_response(status)
            if status == 206:
                first = 0 if state.wrong_range else start
                self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            is_file = self.path.startswith("/api/access")
            end = start + state.break_after.pop(0) if is_file and state.break_after else len(content)
            self.wfile.write(content[start:end])

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setenv("LESIONLAB_DATAVERSE", f"http://127.0.0.1:{httpd.server_port}/")
        real = DATASETS["ham10000"]
        tables = {"HAM10000_metadata.csv": hashlib.sha256(METADATA).hexdigest()}
        monkeypatch.setitem(DATASETS, "ham10000", Dataset(real.doi, real.archives, tables, real.licence))
        try:
            yield state
        finally:
            httpd.shutdown()
            thread.join()


def check_fetched(folder: Path) -> None:
    collection = read_collection(folder)
    assert collection.layout == "Kaggle" and collection.findings == ()
    assert list(collection.table["image_id"]) == ["ISIC_0", "ISIC_1", "ISIC_2", "ISIC_3"]
    assert all(collection.table["path"] != "")
    assert {path.name for path in folder.iterdir()} == {
        "HAM10000_images_part_1", "HAM10000_images_part_2", "HAM10000_metadata.csv",
    }  # fmt: skip


def test_what_is_fetched_can_be_read(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "ham"
    said = fetch("ham10000", folder)
    assert said.startswith(f"3 files of ham10000 in {folder}, 3 of them downloaded now; all verified.")
    assert "CC BY-NC 4.0" in said
    check_fetched(folder)
    assert server.requests[-1] == ("/api/access/datafile/4338392?format=original", None)


def test_what_is_there_is_not_downloaded_again(server: Server, tmp_path: Path) -> None:
    fetch("ham10000", tmp_path)
    server.requests.clear()
    assert "0 of them downloaded now" in fetch("ham10000", tmp_path)
    assert len(server.requests) == 1, "the listing alone"
    (tmp_path / "HAM10000_metadata.csv").write_text("changed")
    assert "1 of them downloaded now" in fetch("ham10000", tmp_path)
    check_fetched(tmp_path)


def test_a_download_that_breaks_off_goes_on(server: Server, tmp_path: Path) -> None:
    server.break_after = [100, 50]
    fetch("ham10000", tmp_path)
    assert [wanted for path, wanted in server.requests if "3172585" in path] == [None, "bytes=100-", "bytes=150-"]
    check_fetched(tmp_path)


def test_a_download_that_was_given_up_goes_on_with_the_next_call(server: Server, tmp_path: Path) -> None:
    server.break_after = [100, 1, 1, 1]
    with pytest.raises(LesionlabError, match=r"broke off after 103 of \d+ bytes, which are kept. Run the same command"):
        fetch("ham10000", tmp_path)
    assert (tmp_path / "HAM10000_images_part_1.zip.part").stat().st_size == 103
    server.requests.clear()
    fetch("ham10000", tmp_path)
    assert server.requests[1][1] == "bytes=103-"
    check_fetched(tmp_path)


def test_a_whole_part_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "HAM10000_images_part_1.zip.part").write_bytes(server.files[3172585][1])
    fetch("ham10000", tmp_path)
    assert not [path for path, _ in server.requests if "3172585" in path]
    check_fetched(tmp_path)


def test_a_server_without_ranges(server: Server, tmp_path: Path) -> None:
    server.break_after, server.ignores_range = [100], True
    fetch("ham10000", tmp_path)
    check_fetched(tmp_path)


def test_a_server_that_gives_another_range(server: Server, tmp_path: Path) -> None:
    server.break_after, server.wrong_range = [100], True
    with pytest.raises(LesionlabError, match="gave another part of the file than was asked for"):
        fetch("ham10000", tmp_path)


def test_a_part_that_is_longer_than_the_file_is_begun_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / "HAM10000_images_part_1.zip.part").write_bytes(b"x" * 100_000)
    fetch("ham10000", tmp_path)
    check_fetched(tmp_path)


def test_a_wrong_checksum(server: Server, tmp_path: Path) -> None:
    server.md5 = "f" * 32
    with pytest.raises(LesionlabError, match=r"did not arrive as published \(MD5 [0-9a-f]{32}, expected f{32}\)"):
        fetch("ham10000", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_table(server: Server, tmp_path: Path) -> None:
    server.files[4338392] = ("HAM10000_metadata.tab", METADATA + b"L9,ISIC_9,nv\n")
    with pytest.raises(LesionlabError, match=r"format=original did not arrive as published \(SHA256 "):
        fetch("ham10000", tmp_path)
    assert not (tmp_path / "HAM10000_metadata.csv").exists()


def test_more_than_is_published(server: Server, tmp_path: Path) -> None:
    server.too_long = True
    with pytest.raises(LesionlabError, match="sends more than the .* bytes that are published"):
        fetch("ham10000", tmp_path)


@pytest.mark.parametrize(
    ("listing", "message"),
    [
        (b"<html>", r"gave no listing of files \(JSONDecodeError"),
        (b"", r"gave no listing of files \(JSONDecodeError"),
        (b'{"data": {}}', r"gave no listing of files \(KeyError: 'latestVersion'\)"),
        (b'{"data": {"latestVersion": {"files": []}}}', "lists no file 'HAM10000_images_part_1.zip'"),
        (b"[]", r"gave no listing of files \(TypeError"),
    ],
)
def test_a_listing_that_is_none(server: Server, tmp_path: Path, listing: bytes, message: str) -> None:
    server.listing = listing
    with pytest.raises(LesionlabError, match=message + ".*or by hand: open https://doi.org/10.7910/DVN/DBW86T"):
        fetch("ham10000", tmp_path)


def test_a_listing_without_end(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "MAX_LISTING_BYTES", 100)
    with pytest.raises(LesionlabError, match="gave no listing of files: more than 100 bytes came"):
        fetch("ham10000", tmp_path)


def test_a_listing_that_names_another_place(server: Server, tmp_path: Path) -> None:
    listing = json.loads(server.list_files())
    for entry in listing["data"]["latestVersion"]["files"]:
        file = entry["dataFile"]
        file |= {"originalFileName": file["filename"].replace(".tab", ".csv"), "filename": "../../victim.txt"}
    server.listing = json.dumps(listing).encode()
    folder = tmp_path / "a" / "b"
    fetch("ham10000", folder)
    check_fetched(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_server_that_refuses(server: Server, tmp_path: Path) -> None:
    server.status = 403
    with pytest.raises(LesionlabError, match=r"DBW86T answered 403 \(Forbidden\).*or by hand: open https://doi.org/"):
        fetch("ham10000", tmp_path)


def test_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    pattern = (
        r"http://127.0.0.1:9/api/datasets/.*cannot be reached \(.*refused.*\)\. .* download HAM10000_images_part_1.zip, "
        rf"HAM10000_images_part_2.zip, HAM10000_metadata.csv .* unpack the archives into {tmp_path}, then run"
    )
    with pytest.raises(LesionlabError, match=pattern):
        fetch("ham10000", tmp_path, server="http://127.0.0.1:9", timeout_s=5)


def test_wrong_requests(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no data set 'isic' to download: give one of ham10000"):
        fetch("isic", tmp_path)
    with pytest.raises(UsageError, match="The server 'file:///etc' is no web address"):
        fetch("ham10000", tmp_path, server="file:///etc")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file cannot be used as a folder"):
        fetch("ham10000", tmp_path / "file")


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching.os, "access", lambda path, mode: False)
    with pytest.raises(UsageError, match="cannot be written: name another folder"):
        fetch("ham10000", tmp_path)


def test_too_little_room(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda path: SimpleNamespace(free=10))
    with pytest.raises(LesionlabError, match="has 0.0 GB free, and the download needs .* make room"):
        fetch("ham10000", tmp_path)


# Archives


def unpack(tmp_path: Path, content: bytes) -> Path:
    (tmp_path / "images.zip").write_bytes(content)
    unpacking.unpack(tmp_path / "images.zip", tmp_path / "images", "md5")
    return tmp_path / "images"


def link() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        entry = zipfile.ZipInfo("ISIC_1.jpg")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    return data.getvalue()


def encrypted() -> bytes:
    data = bytearray(zipped({"a.jpg": b"x"}))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    return bytes(data)


HOSTILE = {
    "upwards": zipped({"ISIC_1.jpg": b"1", "../outside.jpg": b"x"}),
    "upwards, deeper": zipped({"a/../../outside.jpg": b"x"}),
    "absolute": zipped({"/tmp/outside.jpg": b"x"}),
    "backslash": zipped({"..\\outside.jpg": b"x"}),
    "drive": zipped({"C:outside.jpg": b"x"}),
    "link": link(),
    "encrypted": encrypted(),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_archives_write_nothing(tmp_path: Path, kind: str) -> None:
    with pytest.raises(LesionlabError, match="written outside, is a link or is encrypted: nothing was unpacked"):
        unpack(tmp_path, HOSTILE[kind])
    assert [path.name for path in tmp_path.iterdir()] == ["images.zip"]
    assert not (tmp_path.parent / "outside.jpg").exists()


def test_bombs_are_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = zipped({"a.jpg": bytes(30_000_000)}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(LesionlabError, match="would swell to 30,000,000 bytes in 1 files"):
        unpack(tmp_path, bomb)
    monkeypatch.setattr(unpacking, "MAX_FILES", 1)
    with pytest.raises(LesionlabError, match="in 2 files: nothing was unpacked"):
        unpack(tmp_path, zipped({"a.jpg": b"", "b.jpg": b""}))
    monkeypatch.setattr(unpacking.shutil, "disk_usage", lambda path: SimpleNamespace(free=0))
    with pytest.raises(LesionlabError, match=r"needs 0.0 GB to unpack, and 0.0 GB are free"):
        unpack(tmp_path, zipped({"a.jpg": b"x"}))


def test_damaged_archives(tmp_path: Path) -> None:
    whole = zipped({"a.jpg": picture(1) * 50})
    with pytest.raises(LesionlabError, match="is a damaged archive"):
        unpack(tmp_path, whole[:-30])
    with pytest.raises(LesionlabError, match=r"is a damaged archive \(Bad CRC-32"):
        unpack(tmp_path, whole.replace(b"IDAT", b"IDOT"))
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = io.BytesIO()
        with zipfile.ZipFile(twice, "w") as archive:
            archive.writestr("a.jpg", b"1")
            archive.writestr("a.jpg", b"2")
    with pytest.raises(LesionlabError, match="is a damaged archive .*File exists"):
        unpack(tmp_path, twice.getvalue())
    assert [path.name for path in tmp_path.iterdir()] == ["images.zip"]


def test_a_folder_of_ones_own_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "mine.jpg").write_bytes(b"mine")
    with pytest.raises(UsageError, match="images is there already and was not unpacked by lesionlab"):
        unpack(tmp_path, zipped({"a.jpg": b"x"}))
    assert (tmp_path / "images" / "mine.jpg").read_bytes() == b"mine"


def test_subfolders_and_hidden_files(tmp_path: Path) -> None:
    content = zipped(
        {"part/": b"", "part/a.jpg": b"1", "__MACOSX/part/._a.jpg": b"2", ".DS_Store": b"3", "b.jpg": b"4"}
    )
    folder = unpack(tmp_path, content)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files == {"part/a.jpg", "b.jpg", ".unpacked"}
    assert unpacking.is_unpacked(folder, "md5") and not unpacking.is_unpacked(folder, "another")
    unpacking.unpack(tmp_path / "images.zip", folder, "another")
    assert unpacking.is_unpacked(folder, "another"), "an older version is replaced"
