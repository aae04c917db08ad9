"""What `lesionlab predict` does: images in, a table out: CSV in ISIC's columns, JSON lines, or bars on a terminal."""

import errno
import json
import os
import shutil
import sys
from argparse import Namespace
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from typing import Any

from lesionlab._version import NOT_A_DEVICE
from lesionlab.cli.messages import say
from lesionlab.cli.predict_metadata import UnknownPatients, with_metadata
from lesionlab.data.image_formats import SUFFIXES
from lesionlab.data.images import ImageError
from lesionlab.errors import UsageError
from lesionlab.files import write_text
from lesionlab.inference.csv_table import Done, PredictedTable, not_done
from lesionlab.inference.image_sources import SkippedFiles, Source, find_images, is_read_from, unique_names
from lesionlab.inference.model import Model, load_model
from lesionlab.inference.predictions import Prediction, Unreadable
from lesionlab.inference.shard_files import csv_header, csv_line, csv_row
from lesionlab.taxonomy import Taxonomy

_BAR = 20
_NAME = 45  # the longest name of a diagnosis
_WIDE = 24 + 2 + _BAR + 7 + _NAME + 2 + 44  # columns of a terminal that take a line for an image with all names in full

Sink = Callable[[Prediction], None]


def predict_paths(options: Namespace) -> int:
    """Predict what the options name; exit code 0, or 1 where images could not be read."""
    if options.explain:
        _refuse_folder_of_images(options.explain, options.paths)
    left_out = SkippedFiles()
    sources = unique_names(sources_of(options.paths, left_out))
    code = _predict_into(sources, options)
    if left_out.n:
        say(f"{left_out}. Read are {', '.join(SUFFIXES)}.")
    return code


def _predict_into(sources: Iterator[Source], options: Namespace) -> int:
    """Predict the sources, into what the options name."""
    model = load_model(options.model)
    taxonomy = model.facts.taxonomy
    first = list(islice(sources, 2))  # bad arguments show here, before --out is touched
    sources = chain(first, sources)
    if options.metadata:
        sources = with_metadata(sources, model, options.metadata)
    if options.shards:
        from lesionlab.cli.predict_shards import predict_shards

        return predict_shards(sources, model, options)
    if options.by_lesion:
        return _predict_by_lesion(sources, model, options)
    done = Done()
    overlays: _Overlays | None = None
    with ExitStack() as stack:
        sinks: list[Sink] = []
        if options.explain:  # before the row, which says that the image is done
            overlays = _Overlays(options.explain, model)
            sinks.append(overlays.add)
        if options.out:
            table = stack.enter_context(PredictedTable(options.out, taxonomy.columns, resume=options.resume))
            done = table.done
            sources = not_done(sources, done, model, options.out)
            sinks.append(table.add)
        if options.json:
            sinks.append(_print_json)
        elif not options.out:
            sinks.append(_bars(len(first), taxonomy) if sys.stdout.isatty() else _print_csv(taxonomy))
        code = _predict(model, sources, sinks, options)
    if done.n_skipped:
        say(f"{done.n_skipped:,} images skipped: {options.out} has rows of these names already.")
    if overlays and overlays.n_missing:
        say(f"lesionlab: {overlays.n_missing:,} of {overlays.n:,} overlays could not be made.")
        return code or 1
    return code


def _predict_by_lesion(sources: Iterable[Source], model: Model, options: Namespace) -> int:
    """Predict the sources and write a row a lesion; see `lesionlab.evaluation.by_lesion`."""
    from lesionlab.inference.lesion_table import LesionTable, read_lesions, refuse_other_table

    header = ["lesion_id", *model.facts.taxonomy.columns]
    if options.out:
        refuse_other_table(options.out, header)
    table = LesionTable(read_lesions(options.by_lesion))
    code = _predict(model, sources, [table.add], options, "images predicted")
    if code == 130:  # half of the images of a lesion are no answer
        return code
    rows = table.rows()
    lines = [csv_line(header), *map(csv_line, rows)]
    if options.out:
        write_text(options.out, "".join(lines))
    else:
        sys.stdout.write("".join(lines))
    if alone := table.without_lesion:
        named = f"{len(alone):,} images ({', '.join(alone[:5])})"
        say(f"{named} have no lesion in {options.by_lesion}: each counts as a lesion of its own.")
    say(f"{len(rows):,} lesions" + (f" written to {options.out}." if options.out else "."))
    return code


def _refuse_folder_of_images(folder: Path, paths: list[str]) -> None:
    """Keep overlays out of the folders that images are read from: they would be read as images the next time."""
    for path in paths:
        # Of a list, each picture is looked at when its overlay is written.
        if path != "-" and is_read_from(path, folder):
            raise UsageError(
                f"{folder} lies among the images to predict, which would have its overlays read as images the next time: "
                "choose another folder with --explain."
            )


def _predict(model: Model, sources: Iterable[Source], sinks: list[Sink], options: Namespace, written: str = "") -> int:
    n_read = n_unreadable = 0
    unknown = UnknownPatients(options.metadata) if options.metadata else None
    sinks = [unknown.add, *sinks] if unknown else sinks
    try:
        results = model.stream(sources, batch_size=options.batch_size, explain=bool(options.explain))
        for result in _with_progress(results, options):
            if isinstance(result, Unreadable):
                n_unreadable += 1
                say(f"lesionlab: {result.source}: {result.reason}")
                continue
            n_read += 1
            for sink in sinks:
                sink(result)
        sys.stdout.flush()
        if unknown:
            unknown.end()
    except KeyboardInterrupt:
        goes_on = options.out and not options.by_lesion
        hint = f" {options.out} is valid as far as it goes; --resume goes on." if goes_on else ""
        say(f"lesionlab: Interrupted after {n_read:,} images.{hint}")
        return 130
    if n_unreadable:
        say(f"lesionlab: {n_unreadable:,} of {n_read + n_unreadable:,} images could not be read.")
    if options.out or written:
        outcome = written or f"rows written to {options.out}"
        say(f"{n_read:,} {outcome}. {NOT_A_DEVICE}")
    elif not options.json and sys.stdout.isatty():
        print(NOT_A_DEVICE)
    else:
        say(NOT_A_DEVICE)
    return 1 if n_unreadable else 0


def sources_of(paths: list[str], left_out: SkippedFiles) -> Iterator[Source]:
    """Find the images that paths stand for; `-` stands for a list on standard input."""
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
        from lesionlab.inference.overlay import write_overlay

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
        say(f"lesionlab: no overlay of {prediction.source}: {reason}")


def _print_csv(taxonomy: Taxonomy) -> Sink:
    sys.stdout.write(csv_line(csv_header(taxonomy.columns)))
    return lambda prediction: print(csv_line(csv_row(prediction)), end="")


def _print_json(prediction: Prediction) -> None:
    print(json.dumps(prediction.as_dict(), ensure_ascii=True))


def _bars(n_images: int, taxonomy: Taxonomy) -> Sink:
    full, empty = ("█", "░") if "utf" in (sys.stdout.encoding or "").lower() else ("#", ".")

    def bar(share: float, length: int = _BAR) -> str:
        filled = round(share * length)
        return full * filled + empty * (length - filled)

    def print_all(prediction: Prediction) -> None:
        print(f"{prediction.source}\n")
        for dx, share in sorted(prediction.probabilities.items(), key=lambda item: -item[1]):
            print(f"  {taxonomy.name_of[dx]:{_NAME}} {bar(share)} {share:6.1%}")
        print(f"\n  {_in_words(prediction)}")
        if prediction.is_dermatoscopic is False:
            print("  no prediction here can be relied on")
        elif len(prediction.prediction_set) > 1:
            print(f"  cannot be ruled out: {', '.join(taxonomy.name_of[dx] for dx in prediction.prediction_set)}")
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
