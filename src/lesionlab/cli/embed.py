"""`lesionlab embed`: images in, the network's features of them out."""

import argparse
from collections.abc import Iterable
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from lesionlab.cli.arguments import Commands, add_engine, engine_of, positive
from lesionlab.cli.messages import say
from lesionlab.errors import LesionlabError, UsageError

if TYPE_CHECKING:
    from lesionlab.inference.features import Embedder, Embeddings
    from lesionlab.inference.image_sources import Source

FORMATS = ("parquet", "npz")


def add_embed(commands: Commands) -> None:
    """Add `embed` to the subcommands of `lesionlab`."""
    embed = commands.add_parser(
        "embed",
        help="write the network's features of images, a map of them, or their neighbours",
        description="Write what a network makes of images before it decides: features, a row of numbers per image, for "
        "clustering, search or a classifier of your own. Files that cannot be read are listed, and the exit code is then 1.",
    )
    embed.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="image, folder (searched through), pattern such as 'a/*.jpg', or list of paths (.txt, or .parquet with a column "
        "path)",
    )
    embed.add_argument(
        "--model",
        metavar="FILE",
        help="model file (.onnx), run directory, or the .toml file of an image encoder (default: the model that comes with "
        "lesionlab)",
    )
    embed.add_argument("--out", type=Path, metavar="FILE", help="file to write, .npz or .parquet")
    embed.add_argument("--map", type=Path, metavar="FILE.html", help="write a page with a map of the images")
    embed.add_argument(
        "--neighbours-of", type=Path, metavar="IMAGE", help="print the images nearest to this one, by cosine"
    )
    embed.add_argument(
        "--among",
        type=Path,
        metavar="FILE",
        help="print, for each image given, the nearest of those whose features FILE holds: an --out, or a folder of shards",
    )
    embed.add_argument("--neighbours", type=positive, default=10, metavar="K", help="how many of them (default: 10)")
    embed.add_argument("--batch-size", type=positive, default=4, metavar="N", help="images per batch (default: 4)")
    scale = embed.add_argument_group("large archives", "An interrupted command resumes: repeat it.")
    scale.add_argument("--shards", type=Path, metavar="DIR", help="write the features as many files into a folder")
    scale.add_argument("--shard-format", choices=FORMATS, help="format of these files (default: parquet)")
    scale.add_argument("--shard-size", type=positive, metavar="N", help="images per output file (default: 1000)")
    add_engine(scale, "where to compute: this machine or a Ray cluster (default: local)")
    embed.set_defaults(command=_embed)


def _embed(options: argparse.Namespace) -> int:
    _check_options(options)
    from lesionlab.cli.predict_images import sources_of
    from lesionlab.inference.features import load_embedder
    from lesionlab.inference.image_sources import SkippedFiles, unique_names

    embedder = load_embedder(options.model)
    query = _features_of(embedder, options.neighbours_of) if options.neighbours_of else None
    archive = _archive(embedder, options.among) if options.among else None
    left_out = SkippedFiles()
    sources = unique_names(sources_of(options.paths, left_out))
    sources = chain(list(islice(sources, 1)), sources)  # bad arguments show here, before anything is written
    if options.shards:
        from lesionlab.cli.predict_shards import embed_shards

        code = embed_shards(sources, embedder, options)
    else:
        code, made = _write(sources, embedder, options)
        if made:
            _show(made, query, options)
            if archive is not None:
                _print_nearest(made, archive, options.neighbours)
    if left_out.n:
        say(f"{left_out}.")
    return code


def _check_options(options: argparse.Namespace) -> None:
    options.engine = engine_of(options)
    apart = ("out", "map", "neighbours_of", "among")
    if options.shards:
        given = [f"--{name.replace('_', '-')}" for name in apart if getattr(options, name)]
        if given:
            raise UsageError(f"--shards writes nothing else: leave out {' and '.join(given)}.")
        return
    if not any(getattr(options, name) for name in apart):
        raise UsageError(
            "Nothing is asked for: give --out FILE.npz, --map FILE.html, --neighbours-of IMAGE, --among FILE or --shards DIR."
        )
    if options.among and options.out and options.out.exists() and options.out.samefile(options.among):
        raise UsageError(f"{options.out} is the archive to search in, and would be replaced: choose another --out.")
    if options.engine == "ray":
        raise UsageError("--engine ray writes shards: give --shards DIR.")
    if options.shard_size or options.shard_format:
        raise UsageError("--shard-size and --shard-format are of shards: give --shards DIR.")
    if options.map and options.map.suffix not in (".html", ".htm"):
        raise UsageError(f"{options.map} is no page by its name: give --map FILE.html.")
    if options.map and not options.map.absolute().parent.is_dir():
        raise UsageError(f"The folder {options.map.parent} does not exist: make it, or choose another --map.")


def _write(
    sources: "Iterable[Source]", embedder: "Embedder", options: argparse.Namespace
) -> "tuple[int, Embeddings | None]":
    """Embed the sources into `--out`; what is shown of them is kept in memory, what is only written is not."""
    from lesionlab.inference.feature_files import facts_of, new_feature_file
    from lesionlab.inference.features import Embedded, Unreadable, collected
    from lesionlab.progress import track

    kept: list[Embedded | Unreadable] = []
    n_read = n_unreadable = 0
    with ExitStack() as stack:
        add = stack.enter_context(new_feature_file(options.out, facts_of(embedder))) if options.out else None
        for item in track(embedder.stream(sources, batch_size=options.batch_size), "embedding"):
            if options.map or options.neighbours_of or options.among:
                kept.append(item)
            if isinstance(item, Unreadable):
                n_unreadable += 1
                say(f"lesionlab: {item.source}: {item.reason}")
                continue
            n_read += 1
            if add:
                add(item)
        if not n_read:
            raise LesionlabError(
                f"None of {n_unreadable:,} images could be read: nothing is written. Give images, or a folder of some."
            )
    if n_unreadable:
        say(f"lesionlab: {n_unreadable:,} of {n_read + n_unreadable:,} images could not be read.")
    if options.out:
        say(f"{n_read:,} images' features written to {options.out}.")
    return (1 if n_unreadable else 0), (collected(embedder, kept) if kept else None)


def _show(made: "Embeddings", query: "Embeddings | None", options: argparse.Namespace) -> None:
    if options.map:
        from lesionlab.report.feature_map import write_feature_map

        method = write_feature_map(options.map, made)
        say(f"Map of {len(made):,} images, by {method}: {options.map}")
    if query is not None:
        _print_nearest(query, made, options.neighbours)


def _print_nearest(queries: "Embeddings", among: "Embeddings", k: int) -> None:
    """Print the images of `among` that are nearest to each query."""
    from lesionlab.inference.neighbours import neighbour_index

    index = neighbour_index(among.features)
    for name, features in zip(queries.path, queries.features, strict=True):
        places, cosines = index.nearest(features, k)
        if len(queries) > 1:
            print(f"nearest to {name}:")
        print("cosine  image")
        for place, cosine in zip(places, cosines, strict=True):
            print(f"{cosine:6.3f}  {among.path[place]}")


def _archive(embedder: "Embedder", file: Path) -> "Embeddings":
    """Read the features to search in.

    Raises:
        UsageError: they cannot be read, or are of another model.

    """
    from lesionlab.inference.feature_files import FeatureFacts, facts_of, read_features, refuse_other_model

    found = read_features(file)
    refuse_other_model(facts_of(embedder), FeatureFacts(found.model, found.model_sha256), "the model", str(file))
    return found


def _features_of(embedder: "Embedder", image: Path) -> "Embeddings":
    from lesionlab.inference.features import embeddings_of

    return embeddings_of(embedder, [image])
