"""`lesionlab predict --metadata`: age, sex and site put to the images, and what of them does not count, said."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from lesionlab.cli.messages import say
from lesionlab.inference.image_sources import Source
from lesionlab.inference.model import Model

_MOST_SAID = 5  # images that are named


def with_metadata(sources: Iterable[Source], model: Model, path: Path) -> Iterator[Source]:
    """Put what a table knows of the patients to the images, and say which of its columns are read.

    Raises:
        UsageError: the model takes none, or the table cannot be used; before the first image is given.

    """
    from lesionlab.data.patient_table import read_patient_table

    model.refuse_metadata()
    table = read_patient_table(path)
    say(f"{path}: {table.columns}.")
    return model.with_metadata(sources, table.patients)


def saying_what_is_unknown(sources: Iterable[Source], path: Path) -> Iterator[Source]:
    """Give images that are predicted; say which values of theirs are left out, and at the end of which nothing is known."""
    n_left_out, unknown = 0, []
    for source in sources:
        yield source
        left_out = source.patient.left_out
        for words in left_out[: max(0, _MOST_SAID - n_left_out)]:
            say(f"lesionlab: {source.where}: {words}.")
        n_left_out += len(left_out)
        if not source.patient.is_known:
            unknown.append(source.where)
    if n_left_out > _MOST_SAID:
        say(f"lesionlab: {n_left_out - _MOST_SAID:,} more values of {path} are left out.")
    if unknown:
        named = ", ".join(unknown[:_MOST_SAID]) + (", …" if len(unknown) > _MOST_SAID else "")
        images = "1 image is" if len(unknown) == 1 else f"{len(unknown):,} images are"
        say(f"{images} predicted from the picture alone: {path} has nothing that can be used of {named}.")
