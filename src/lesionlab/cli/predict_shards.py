"""`lesionlab predict --shards` and `embed --shards`: an archive's rows in files of a thousand rows, by this machine or by Ray."""

from argparse import Namespace
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager

from lesionlab._version import NOT_A_DEVICE
from lesionlab.cli.messages import say
from lesionlab.cluster import connection
from lesionlab.inference import SHARD_FORMATS, ray_engine
from lesionlab.inference.feature_files import facts_of, features_writer
from lesionlab.inference.features import Embedder
from lesionlab.inference.image_sources import Source
from lesionlab.inference.model import Model
from lesionlab.inference.predictions import Unreadable
from lesionlab.inference.shards import SHARD_SIZE, UNREADABLE, Answer, Write, local_engine, write_shards
from lesionlab.progress import counter


def predict_shards(sources: Iterable[Source], model: Model, options: Namespace) -> int:
    """Write shards of predictions by the engine asked for; exit code 1 where images could not be read."""
    return _write(sources, model, options, options.shard_format or SHARD_FORMATS[0])


def embed_shards(sources: Iterable[Source], embedder: Embedder, options: Namespace) -> int:
    """Write shards of features, likewise."""
    format = options.shard_format or "parquet"
    return _write(sources, embedder, options, format, features_writer(format, facts_of(embedder)))


def _write(
    sources: Iterable[Source], model: Model | Embedder, options: Namespace, format: str, write: Write | None = None
) -> int:
    with ExitStack() as stack:
        if options.engine == "ray":
            engine = ray_engine.ray_engine(
                stack.enter_context(connection.cluster(options.address)), model, options.batch_size
            )
        else:
            engine = local_engine(model, options.batch_size)
        show = stack.enter_context(_shown("predicting" if isinstance(model, Model) else "embedding"))
        tally = write_shards(
            sources,
            model,
            engine,
            options.shards,
            format=format,
            write=write,
            shard_size=options.shard_size or SHARD_SIZE,
            batch_size=options.batch_size,
            report=show,
        )
    if tally.n_before:
        say(f"{tally.n_before:,} images were done before.")
    if tally.n_unreadable:
        say(f"lesionlab: {tally.n_unreadable:,} images could not be read: {options.shards / UNREADABLE}.")
    say(f"{tally.n_rows:,} rows in {options.shards}. {NOT_A_DEVICE}")
    return 1 if tally.n_unreadable else 0


@contextmanager
def _shown(what: str) -> Iterator[Callable[[Answer], None]]:
    """Name unreadable images as they come, under a bar of the images done."""
    with counter(what) as advance:

        def show(answer: Answer) -> None:
            for item in answer.results:
                if isinstance(item, Unreadable):
                    say(f"lesionlab: {item.source}: {item.reason}")
            advance(len(answer.results))

        yield show
