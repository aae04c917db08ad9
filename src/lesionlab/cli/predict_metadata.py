"""`lesionlab predict --metadata`: age, sex and site put to the images, and what of them does not count, said."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from lesionlab.cli.messages import say
from lesionlab.inference.image_sources import Source
from lesionlab.inference.model import Model
from lesionlab.inference.predictions import Prediction

_MOST_SAID = 5  # images, or values, that are named


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


class UnknownPatients:
    """Says which values of predicted images are left out, and at the end of which images nothing is known."""

    def __init__(self, path: Path) -> None:
        self._path, self._n, self._n_left_out, self._n_unknown, self._named = path, 0, 0, 0, list[str]()

    def add(self, prediction: Prediction) -> None:
        """Count a prediction."""
        self._n += 1
        for words in prediction.patient.left_out:
            self._n_left_out += 1
            if self._n_left_out <= _MOST_SAID:
                say(f"lesionlab: {prediction.source}: {words}.")
        if not prediction.patient.is_known:
            self._n_unknown += 1
            self._named = [*self._named, prediction.source][:_MOST_SAID]

    def end(self) -> None:
        """Say what came of all."""
        if self._n_left_out > _MOST_SAID:
            say(f"lesionlab: {self._n_left_out - _MOST_SAID:,} more values of {self._path} are left out.")
        if not self._n_unknown:
            return
        named = ", ".join(self._named) + (", …" if self._n_unknown > _MOST_SAID else "")
        images = "1 image is" if self._n_unknown == 1 else f"{self._n_unknown:,} images are"
        say(
            f"{images} predicted from the picture alone: {self._path} has no row for {named}, or nothing in it that can be "
            "read. Rows are found by the name of the file, without its suffix."
        )
        if self._n_unknown == self._n:
            say(
                f"lesionlab: No image has a row in {self._path} that can be used: all predictions are of the picture alone."
            )
