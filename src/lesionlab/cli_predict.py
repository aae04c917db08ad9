"""`lesionlab predict`: images in, a table out: CSV in ISIC's columns, JSON lines, or bars on a terminal."""

import csv
import errno
import json
import os
import shutil
import sys
from argparse import Namespace
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from io import StringIO
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

import numpy as np

from lesionlab.cli_scale import engine
from lesionlab.data.images import SUFFIXES, ImageError
from lesionlab.diagnosis import DX, ISIC_COLUMNS, NAME_OF, NOT_A_DEVICE
from lesionlab.errors import UsageError
from lesionlab.files import locked
from lesionlab.predict import Model, Prediction, Unreadable, load_model
from lesionlab.shards import CSV_HEADER, csv_row
from lesionlab.sources import LeftOut, Source, find_images, is_read_from, unique_names

_BAR = 20
_NAME = 45  # the longest name of a diagnosis
_WIDE = 24 + 2 + _BAR + 7 + _NAME + 2 + 44  # columns of a terminal that take a line for an image with all names in full
_SAME = 1e-3  # between two runs of one model; another model differs by more

Sink = Callable[[Prediction], None]


def predict_command(options: Namespace) -> int:
    """Predict what the options name; exit code 0, or 1 where images could not be read."""
    _check_options(options)
    left_out = LeftOut()
    sources = unique_names(_sources(options.paths, left_out))
    code = _predict_into(sources, options)
    if left_out.n:
        _say(f"{left_out}. Read are {', '.join(SUFFIXES)}.")
    return code


def _predict_into(sources: Iterator[Source], options: Namespace) -> int:
    """Predict the sources, into what the options name."""
    model = load_model(options.model)
    first = list(islice(sources, 2))  # bad arguments show here, before --out is touched
    sources = chain(first, sources)
    if options.shards:
        from lesionlab.cli_shards import predict_shards

        return predict_shards(sources, model, options)
    done = _nothing_done()
    overlays: _Overlays | None = None
    with ExitStack() as stack:
        sinks: list[Sink] = []
        if options.explain:  # before the row, which says that the image is done
            overlays = _Overlays(options.explain, model)
            sinks.append(overlays.add)
        if options.out:
            table = stack.enter_context(_Table(options.out, resume=options.resume))
            done = table.done
            sources = _left(sources, done, model, options.out)
            sinks.append(table.add)
        if options.json:
            sinks.append(_print_json)
        elif not options.out:
            sinks.append(_bars(len(first)) if sys.stdout.isatty() else _print_csv())
        code = _predict(model, sources, sinks, options)
    if done.n_skipped:
        _say(f"{done.n_skipped:,} images skipped: {options.out} has rows of these names already.")
    if overlays and overlays.n_missing:
        _say(f"lesionlab: {overlays.n_missing:,} of {overlays.n:,} overlays could not be made.")
        return code or 1
    return code


def _check_options(options: Namespace) -> None:
    if options.resume and not (options.out or options.shards):
        raise UsageError("--resume goes on with the table that --out names: give --out FILE.csv.")
    options.engine = engine(options)
    if not options.shards:
        if options.engine == "ray":
            raise UsageError("--engine ray writes shards: give --shards DIR.")
        if options.shard_size or options.shard_format:
            raise UsageError("--shard-size and --shard-format are of shards: give --shards DIR.")
    elsewhere = [f"--{name}" for name in ("out", "json", "explain") if getattr(options, name)]
    if options.shards and elsewhere:
        raise UsageError(f"--shards writes nothing else: leave out {' and '.join(elsewhere)}.")
    if options.explain:
        _refuse_folder_of_images(options.explain, options.paths)


def _refuse_folder_of_images(folder: Path, paths: list[str]) -> None:
    """Keep overlays out of the folders that images are read from: they would be read as images the next time."""
    for path in paths:
        # Of a list, each picture is looked at when its overlay is written.
        if path != "-" and is_read_from(path, folder):
            raise UsageError(
                f"{folder} lies among the images to predict, which would have its overlays read as images the next time: "
                "choose another folder with --explain."
            )


def _predict(model: Model, sources: Iterable[Source], sinks: list[Sink], options: Namespace) -> int:
    n_read = n_unreadable = 0
    try:
        results = model.stream(sources, batch_size=options.batch_size, explain=bool(options.explain))
        for result in _with_progress(results, options):
            if isinstance(result, Unreadable):
                n_unreadable += 1
                _say(f"lesionlab: {result.source}: {result.reason}")
                continue
            n_read += 1
            for sink in sinks:
                sink(result)
        sys.stdout.flush()
    except KeyboardInterrupt:
        hint = f" {options.out} is valid as far as it goes; --resume goes on." if options.out else ""
        _say(f"lesionlab: Interrupted after {n_read:,} images.{hint}")
        return 130
    if n_unreadable:
        _say(f"lesionlab: {n_unreadable:,} of {n_read + n_unreadable:,} images could not be read.")
    if options.out:
        _say(f"{n_read:,} rows written to {options.out}. {NOT_A_DEVICE}")
    elif not options.json and sys.stdout.isatty():
        print(NOT_A_DEVICE)
    else:
        _say(NOT_A_DEVICE)
    return 1 if n_unreadable else 0


def _sources(paths: list[str], left_out: LeftOut) -> Iterator[Source]:
    listed = [_standard_input() if path == "-" else find_images([path], left_out) for path in paths]
    return map(Source.of_file, chain.from_iterable(listed))


def _standard_input() -> Iterator[Path]:
    lines = iter(sys.stdin.buffer)
    lines = chain([next(lines, b"").removeprefix(BOM_UTF8)], lines)  # a list from Windows may begin with it
    encoding = sys.getfilesystemencoding()  # a list holds names as the system does, whatever the terminal's encoding
    names = (line.decode(encoding, "surrogateescape") for line in map(bytes.strip, lines) if line)
    first = next(names, None)
    if first is None:
        raise UsageError("The list on standard input names no images.")
    return map(Path, chain([first], names))


def _with_progress(results: Iterator[Any], options: Namespace) -> Iterable[Any]:
    is_shown_elsewhere = sys.stdout.isatty() and (options.json or not options.out)
    if not sys.stderr.isatty() or is_shown_elsewhere:
        return results
    from lesionlab.progress import track

    return track(results, "predicting")


@dataclass
class _Done:
    """The rows of a table, by image: probabilities float32 (n, 7), to know its model by; and how many were met again."""

    row_of: dict[str, int]
    probabilities: np.ndarray
    n_skipped: int = 0


def _nothing_done() -> _Done:
    return _Done({}, np.zeros((0, len(DX)), np.float32))


class _Table:
    """A CSV file that is valid at any moment: a row is written whole, or taken back."""

    def __init__(self, path: Path, *, resume: bool) -> None:
        self.path, self.done = path, _nothing_done()
        try:
            _refuse_other_file(path)
            is_device = path.exists() and not path.is_file()
            self._file: IO[bytes] = open(path, "wb" if is_device else "ab", buffering=0)  # noqa: SIM115  closed on exit
        except OSError as error:
            raise UsageError(f"{path} cannot be written ({error.strerror}). Choose another file with --out.") from error
        try:
            self._end = 0 if is_device else self._whole_rows(resume)
        except UsageError:
            self._file.close()
            raise
        if not self._end:
            self._write(_csv_line(CSV_HEADER))

    def _whole_rows(self, resume: bool) -> int:
        """Hold the file, and cut it behind its last whole row, or to nothing; say where it ends then."""
        if not locked(self._file.fileno()):
            raise UsageError(f"Another command is writing {self.path}. Wait for it, or choose another file with --out.")
        end = 0
        if resume:
            self.done, end = _read_done(self.path), _whole_rows_end(self.path)
        self._file.truncate(end)
        return end

    def __enter__(self) -> "_Table":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, prediction: Prediction) -> None:
        """Append a row.

        Raises:
            OSError: the disk is full; the file then ends with the row before.

        """
        self._write(_csv_line(csv_row(prediction)))

    def _write(self, line: str) -> None:
        data = line.encode()
        try:
            written = self._file.write(data)
            if written != len(data):
                self._file.write(data[written:])  # a full disk takes a part first, and raises on the rest
        except OSError:
            with suppress(OSError):  # a pipe or device cannot be cut
                self._file.truncate(self._end)
            raise
        self._end += len(data)


def _refuse_other_file(path: Path) -> None:
    """Leave alone what is no table of predictions, nor the beginning of its first line as a killed process leaves it."""
    if not path.is_file():
        return
    header = _csv_line(CSV_HEADER).encode().rstrip()
    with path.open("rb") as file:
        line = file.readline(len(BOM_UTF8) + len(header) + 2).removeprefix(BOM_UTF8)  # a line end may be two bytes
        first_row = file.readline(1024)
    is_ours = line.rstrip(b"\r\n") == header if line.endswith(b"\n") else header.startswith(line)
    if not is_ours:
        raise _no_table(path)
    if _is_one_hot(first_row):
        raise UsageError(
            f"{path} has ISIC's columns, but its first row holds a 1 and six 0: it is a truth, not predictions, and is left "
            "as it is. Choose another file with --out."
        )


def _is_one_hot(row: bytes) -> bool:
    """Whether the row of a table in ISIC's columns says what an image is; no network is that certain."""
    try:
        return sorted(map(float, row.split(b",")[1:])) == [0.0] * (len(DX) - 1) + [1.0]
    except ValueError:
        return False


def _no_table(path: Path) -> UsageError:
    columns = ",".join(CSV_HEADER)
    return UsageError(
        f"{path} is no table of predictions with the columns {columns}, and is left as it is. "
        "Choose another file with --out."
    )


def _read_done(path: Path) -> _Done:
    with path.open("rb") as file:
        lines = file.read(_whole_rows_end(path)).removeprefix(BOM_UTF8).decode("utf-8", "replace").splitlines()
    try:
        rows = [
            row for row in csv.reader(lines) if row
        ]  # an editor or a spreadsheet leaves empty lines, and the mark above
        if rows and (tuple(rows[0]) != CSV_HEADER or any(len(row) != len(CSV_HEADER) for row in rows)):
            raise _no_table(path)
        row_of = {row[0]: number for number, row in enumerate(rows[1:])}
        probabilities = np.array([row[1:] for row in rows[1:]], np.float32).reshape(-1, len(DX))
    except (csv.Error, ValueError) as error:
        raise _no_table(path) from error
    is_right = np.abs(probabilities.sum(axis=1) - 1) < _SAME
    if not is_right.all():
        name = rows[1 + int(is_right.argmin())][0]
        raise UsageError(
            f"{path}: the row of {name} holds no probabilities that sum to 1. Take the row out, and --resume predicts it anew."
        )
    return _Done(row_of, probabilities)


def _whole_rows_end(path: Path) -> int:
    """Where the last whole line ends, in bytes: a killed process may have left a piece of one."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - 4096)
            file.seek(start)
            at = file.read(end - start).rfind(b"\n")
            if at >= 0:
                return start + at + 1
            end = start
    return 0


def _left(sources: Iterable[Source], done: _Done, model: Model, path: Path) -> Iterator[Source]:
    """Give the sources that the table has no row of; the first it has is predicted again, to know model and image by.

    Raises:
        UsageError: the table's rows are another model's, or of other images.

    """
    is_known = False
    for source in sources:
        if source.image not in done.row_of:
            yield source
            continue
        done.n_skipped += 1
        if is_known:
            continue
        (result,) = model.stream([source])
        if isinstance(result, Prediction):
            is_known = True
            before = done.probabilities[done.row_of[source.image]]
            now = np.array(list(result.probabilities.values()))
            differences = np.abs(before - now)
            if not (differences <= _SAME).all():
                worst = int(differences.argmax())
                raise UsageError(
                    f"{path} was written by another model, or of other images: {source.image} has "
                    f"{ISIC_COLUMNS[worst]} {before[worst]:.4f} there and {now[worst]:.4f} now. "
                    "Choose another file with --out, or leave out --resume."
                )


class _Overlays:
    """A folder of overlays; one that cannot be made is said and counted, and the others go on."""

    def __init__(self, folder: Path, model: Model) -> None:
        self._folder, self._model, self.n, self.n_missing = folder, model, 0, 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if not os.access(folder, os.W_OK):
                raise PermissionError(13, "Permission denied")
        except OSError as error:
            raise UsageError(
                f"{folder} cannot be written ({error.strerror}). Choose another with --explain."
            ) from error

    def add(self, prediction: Prediction) -> None:
        """Write the overlay of a prediction.

        Raises:
            OSError: the disk is full.

        """
        from lesionlab.overlay import write_overlay

        self.n += 1
        try:
            write_overlay(prediction, self._model, self._folder)
        except ImageError as error:  # the file is read a second time, larger, and may have changed
            self._miss(prediction, error.reason)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            self._miss(prediction, f"it cannot be written ({error.strerror or error})")

    def _miss(self, prediction: Prediction, reason: str) -> None:
        self.n_missing += 1
        _say(f"lesionlab: no overlay of {prediction.source}: {reason}")


def _csv_line(row: Iterable[str]) -> str:
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerow(row)
    return text.getvalue()


def _print_csv() -> Sink:
    sys.stdout.write(_csv_line(CSV_HEADER))
    return lambda prediction: print(_csv_line(csv_row(prediction)), end="")


def _print_json(prediction: Prediction) -> None:
    print(json.dumps(prediction.as_dict(), ensure_ascii=True))


def _bars(n_images: int) -> Sink:
    full, empty = ("█", "░") if "utf" in (sys.stdout.encoding or "").lower() else ("#", ".")

    def bar(share: float, length: int = _BAR) -> str:
        filled = round(share * length)
        return full * filled + empty * (length - filled)

    def print_all(prediction: Prediction) -> None:
        print(f"{prediction.source}\n")
        for dx, share in sorted(prediction.probabilities.items(), key=lambda item: -item[1]):
            print(f"  {NAME_OF[dx]:{_NAME}} {bar(share)} {share:6.1%}")
        print(f"\n  {_in_words(prediction)}")
        if prediction.is_dermatoscopic is False:
            print("  no answer here is to be trusted")
        elif len(prediction.prediction_set) > 1:
            print(f"  cannot be ruled out: {', '.join(NAME_OF[dx] for dx in prediction.prediction_set)}")
        print()

    columns = shutil.get_terminal_size().columns
    is_wide = columns >= _WIDE
    image_width, length, name_width = (24, _BAR, _NAME) if is_wide else (max(12, min(24, columns - 68)), 8, 5)

    def print_line(prediction: Prediction) -> None:
        name, share = prediction.name if is_wide else prediction.dx, prediction.probabilities[prediction.dx]
        name = "-" if prediction.is_dermatoscopic is False else name
        image = f"{prediction.image:{image_width}.{image_width}}"
        print(f"{image}  {bar(share, length)} {share:4.0%}  {name:{name_width}}  {_in_words(prediction)}")

    return print_all if n_images == 1 else print_line


def _in_words(prediction: Prediction) -> str:
    if prediction.is_dermatoscopic is False:
        return f"does not look dermatoscopic (score {prediction.ood_score:.1f})"
    malignant, uncertainty = prediction.malignant_probability, prediction.uncertainty
    return f"{prediction.decision} (malignant {malignant:.0%}, uncertainty {uncertainty:.2f})"


def _say(text: str) -> None:
    print(text.encode("utf-8", "backslashreplace").decode(), file=sys.stderr)
