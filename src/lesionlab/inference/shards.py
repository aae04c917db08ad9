"""Predictions or features of an archive, a file of a thousand rows after the other: streamed, resumed, the same by any engine.

In: sources (lazily), an engine that answers shards, a folder. Out: `part-000000.parquet` (or `.csv`, in ISIC's columns) and
so on, each written whole by this process alone, in the order of the images; `_shards.jsonl`, a line for each file that is
done; `_job.json`, what the job is. A shard is counted once its line is written: killed before that, it is done again and
its file replaced, so that no row is lost or comes twice.

A shard holds whole batches, and answers of ONNX Runtime were measured to depend neither on the batch nor on its size, so
every engine gives the same bits on processors of the same kind.
"""

import csv
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lesionlab.cluster.threads import in_batches
from lesionlab.data.images import ImageError, read_file
from lesionlab.errors import UsageError
from lesionlab.files import replacing
from lesionlab.folders import claimed
from lesionlab.inference.batches import BATCH_SIZE
from lesionlab.inference.features import Embedded, Embedder
from lesionlab.inference.image_sources import Source
from lesionlab.inference.model import Model
from lesionlab.inference.predictions import Prediction, Unreadable
from lesionlab.inference.shard_files import csv_writer, parquet_writer
from lesionlab.inference.shard_log import JOB, LOG, Job, Line, begin, read_log, write_line

SHARD_SIZE = 1000  # images: some 10 s of one core, and 10,000 files for an archive of 10 million
UNREADABLE = "_unreadable.csv"


@dataclass(frozen=True)
class Shard:
    """Images that are answered and written together; `number` counts from 0 in the order of the images."""

    number: int
    sources: tuple[Source, ...]

    @property
    def digest(self) -> str:
        """SHA-256 of names, full paths and what is known of the patients, by which a shard is known again."""
        lines = "\n".join(map(_line_of, self.sources))
        return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True)
class Answer:
    """What an engine makes of a shard, in the order of its images; `node` is where."""

    shard: Shard
    results: tuple[Prediction | Embedded | Unreadable, ...]
    node: str = "this machine"


Write = Callable[[Sequence[Any], Path], None]
Engine = Callable[[Iterator[Shard]], Iterator[Answer]]


@dataclass
class JobProgress:
    """How a job stands: images with a row, those without, and those that an earlier process had done."""

    n_rows: int = 0
    n_unreadable: int = 0
    n_before: int = 0
    _last: int = field(default=-1, repr=False)


def write_shards(
    sources: Iterable[Source],
    model: Model | Embedder,
    engine: Engine,
    folder: Path,
    *,
    format: str = "parquet",
    write: Write | None = None,
    shard_size: int = SHARD_SIZE,
    batch_size: int = BATCH_SIZE,
    report: Callable[[Answer], None] = lambda answer: None,
) -> JobProgress:
    """Predict every source and write the shards that `folder` does not hold yet.

    Args:
        sources: images with unique names, in the order that shall be kept; read only as far as the engine asks.
        model: whose answers they are; another model's folder is refused.
        engine: `local_engine(…)` or `lesionlab.inference.ray_engine.ray_engine(…)`.
        folder: made where it is absent; otherwise one that holds a job of the same kind, which goes on.
        format: the suffix of the files; of predictions one of `lesionlab.inference.SHARD_FORMATS`.
        write: writes a file of what was made of images; by default predictions, as `format` has them.
        shard_size: images a shard; brought up to whole batches.
        batch_size: images that go through the network together.
        report: called with each answer after its file is written.

    Raises:
        UsageError: the folder holds something else, another job's shards, or shards of other images.
        LesionlabError: the engine fails; what was written stays, and the same call goes on with it.

    """
    columns = model.facts.taxonomy.columns if isinstance(model, Model) else ()
    write_rows: Write = write or {"parquet": parquet_writer, "csv": csv_writer}[format](columns)
    kind = format if isinstance(model, Model) else f"features in {format}"
    shard_size = -(-shard_size // batch_size) * batch_size
    with ExitStack() as stack:
        stack.enter_context(claimed(folder, JOB, "shards", "--shards"))
        done = begin(folder, Job(model.name, model.sha256, kind, shard_size))
        log = stack.enter_context((folder / LOG).open("a", encoding="utf-8"))
        tally = JobProgress()
        or_metadata = ", or was made with other --metadata" if isinstance(model, Model) else ""
        for answer in engine(_left(_divided(sources, shard_size), done, tally, folder, or_metadata)):
            name = f"part-{answer.shard.number:06d}.{format}"
            with replacing(folder / name) as temporary:
                write_rows([item for item in answer.results if not isinstance(item, Unreadable)], temporary)
            line = _line(answer, folder / name)
            write_line(log, line)
            _count(tally, line)
            report(answer)
    _check_nothing_beyond(done, tally, folder)
    _write_unreadable(folder)
    return tally


def local_engine(model: Model | Embedder, batch_size: int) -> Engine:
    """Answer shards one after the other on the cores of this machine."""

    def answer(shards: Iterator[Shard]) -> Iterator[Answer]:
        for shard in shards:
            yield Answer(shard, tuple(model.stream(shard.sources, batch_size=batch_size)))

    return answer


def _divided(sources: Iterable[Source], size: int) -> Iterator[Shard]:
    return (Shard(number, tuple(chosen)) for number, chosen in enumerate(in_batches(sources, size)))


def opens_now(code: str, path: Path) -> bool:
    """Say whether a file that could not be opened, as its `ImageError` had it, can be read now, on this machine."""
    if code != "missing":
        return False
    try:
        return bool(read_file(path))
    except ImageError:
        return False


def _has_changed(path: Path, shard: Path) -> bool:
    """Whether a file was written, or put in its place, after the shard that says it cannot be read."""
    try:
        file = path.stat()
    except (OSError, ValueError):  # a path with a NUL, out of a list
        return False
    return max(file.st_mtime_ns, file.st_ctime_ns) > shard.stat().st_mtime_ns


def _left(
    shards: Iterator[Shard], done: dict[int, Line], tally: JobProgress, folder: Path, or_metadata: str
) -> Iterator[Shard]:
    """Yield unfinished shards, and finished ones with a then-missing file that now opens, or an unreadable one that has changed.

    Finished ones list the same images.
    """
    for shard in shards:
        tally._last = shard.number
        line = done.get(shard.number)
        if line is None:
            yield shard
        elif line.sources == shard.digest:
            given = {source.image: source.given for source in shard.sources}
            if not given.keys() >= {image for image, *_ in line.unreadable}:
                raise UsageError(f"{folder} holds a damaged {LOG} ({line.file}). Choose another with --shards.")
            part = folder / line.file
            if any(
                opens_now(code, given[i]) or _has_changed(Path(given[i]), part) for i, _, _, code in line.unreadable
            ):
                yield shard
                continue
            tally.n_before += line.rows + len(line.unreadable)
            _count(tally, line)
        else:
            raise UsageError(
                f"{folder / line.file} holds other images than these now do{or_metadata} (first: "
                f"{shard.sources[0].where}): the list "
                "has changed. Choose another folder with --shards, or give the same images in the same order."
            )


def _check_nothing_beyond(done: dict[int, Line], tally: JobProgress, folder: Path) -> None:
    beyond = sorted(number for number in done if number > tally._last)
    if beyond:
        raise UsageError(
            f"{folder} holds {len(beyond)} more shards than these images make, from {done[beyond[0]].file} on: the list "
            "has become shorter. Choose another folder with --shards."
        )


def _line_of(source: Source) -> str:
    line = f"{source.image}\t{os.path.abspath(source.given)}"
    return f"{line}\t{source.patient.as_dict()}" if source.patient.is_known else line


def _line(answer: Answer, path: Path) -> Line:
    unreadable = [
        (item.image, item.source, item.reason, item.code) for item in answer.results if isinstance(item, Unreadable)
    ]
    return Line(
        shard=answer.shard.number,
        file=path.name,
        bytes=path.stat().st_size,
        sources=answer.shard.digest,
        rows=len(answer.results) - len(unreadable),
        node=answer.node,
        unreadable=unreadable,
    )


def _count(tally: JobProgress, line: Line) -> None:
    tally.n_rows += line.rows
    tally.n_unreadable += len(line.unreadable)


def _write_unreadable(folder: Path) -> None:
    rows = [
        [image, path, reason, line.node]
        for line in sorted(read_log(folder), key=lambda line: line.shard)
        for image, path, reason, _ in line.unreadable
    ]
    with replacing(folder / UNREADABLE) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("image", "path", "reason", "node"))
        writer.writerows(rows)
