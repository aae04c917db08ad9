"""The ISIC challenges that predictions are scored by: what their tables hold, and which figure ranked the entrants.

Sources: the challenges' pages at challenge.isic-archive.com (2016 task 3, 2017 part 3, 2018 task 3, 2019, MILK10k), whose figures
are those of the official scorer isic-challenge-scoring 5.6.0; Kaggle's pages of SIIM-ISIC 2020 (area under the ROC curve) and
of ISIC 2024 (its notebook "ISIC pAUC-aboveTPR").
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lesionlab.data.layouts.metadata import ALIASES
from lesionlab.data.layouts.tables import tidy
from lesionlab.taxonomy import HAM10000, Taxonomy

IMAGE_COLUMNS = ("image_id", *(alias for alias, column in ALIASES.items() if column == "image_id"), "image_name")
_AK_FOR_AKIEC = tuple("AK" if column == "AKIEC" else column for column in HAM10000.columns)


@dataclass(frozen=True)
class Challenge:
    """What is scored, and by what.

    Attributes:
        name: as `--challenge` takes it.
        columns: of its tables, in the order of the scores: diagnoses, or marks that are each true or false.
        metric: the key of the figure that ranks.
        key: what a row is of, `image` or `lesion`.
        has_one_answer: whether every row of the truth marks exactly one of the columns.
        may_lack: columns that a table may be without; they count as 0.
        other_names: what else a column is called, tidied as `lesionlab.data.layouts.tables.tidy` does.
        from_diagnoses: codes of HAM10000 whose probabilities, summed, answer for the only column; none: no table of
            diagnoses can.

    """

    name: str
    columns: tuple[str, ...]
    metric: str
    key: str = "image"
    has_one_answer: bool = True
    may_lack: tuple[str, ...] = ()
    other_names: Mapping[str, str] = field(default_factory=dict)
    from_diagnoses: tuple[str, ...] = ()

    @property
    def key_column(self) -> str:
        """The column that names the rows of a table of predictions."""
        return "lesion_id" if self.key == "lesion" else "image"

    @property
    def takes_dx(self) -> bool:
        """Whether diagnoses tell its truth: a table with `image_id` and `dx` will do."""
        return self.has_one_answer or bool(self.from_diagnoses)

    @property
    def header(self) -> tuple[str, ...]:
        """The columns of a table of predictions."""
        return (self.key_column, *self.columns)

    @property
    def key_columns(self) -> tuple[str, ...]:
        """What the column of keys may be called, tidied; of several the first counts."""
        return ("lesion_id",) if self.key == "lesion" else IMAGE_COLUMNS

    def column_of(self, written: str) -> str | None:
        """Give the column that a name, code or diagnosis stands for; None where it is none of them."""
        text = tidy(written)
        own = {tidy(column): column for column in self.columns} | dict(self.other_names)
        if text in own:
            return own[text]
        dx = HAM10000.find(written)
        return own.get(tidy(HAM10000.columns[HAM10000.index_of[dx]])) if dx else None


def of_taxonomy(taxonomy: Taxonomy) -> Challenge:
    """Give what tables of a taxonomy's predictions hold; of HAM10000's that is ISIC 2018's."""
    if taxonomy.columns == HAM10000.columns:
        return DIAGNOSES
    ways = {tidy(way): d.column for d in taxonomy.diagnoses for way in (*d.synonyms, d.name, d.dx)}
    return Challenge(taxonomy.name, taxonomy.columns, "balanced_accuracy", other_names=ways)


def _of_marks(name: str, metric: str, *columns: str, **more: object) -> Challenge:
    return Challenge(name, columns, metric, has_one_answer=False, **more)  # type: ignore[arg-type]


_MARKED = {"malignant": "target", "melanoma": "target", "benign_malignant": "target", "mel": "target"}
_ALL = (
    _of_marks(
        "isic2016",
        "average_precision",
        "malignant",
        other_names={"target": "malignant", "melanoma": "malignant", "benign_malignant": "malignant"},
        from_diagnoses=("mel",),
    ),
    _of_marks("isic2017", "macro_auc", "melanoma", "seborrheic_keratosis", other_names={"mel": "melanoma"}),
    Challenge("isic2018", HAM10000.columns, "balanced_accuracy"),
    Challenge(
        "isic2019",
        (*_AK_FOR_AKIEC, "SCC", "UNK"),
        "balanced_accuracy",
        may_lack=("SCC", "UNK"),
        other_names={"akiec": "AK", "squamous_cell_carcinoma": "SCC", "unknown": "UNK", "none_of_the_others": "UNK"},
    ),
    _of_marks("isic2020", "auc", "target", other_names=_MARKED, from_diagnoses=("mel",)),
    _of_marks("isic2024", "pauc_80", "target", other_names=_MARKED, from_diagnoses=HAM10000.malignant),
    Challenge(
        "milk10k",
        ("AKIEC", "BCC", "BEN_OTH", "BKL", "DF", "INF", "MAL_OTH", "MEL", "NV", "SCCKA", "VASC"),
        "macro_f1",
        key="lesion",
    ),
)
CHALLENGES = {challenge.name: challenge for challenge in _ALL}
DEFAULT = "isic2018"
DIAGNOSES = CHALLENGES[DEFAULT]
