"""What may be known beside an image: the patient's age and sex, and the site of the lesion; in one way of writing.

Data sets call the sites differently (ISIC's `anatom_site_general`, HAM10000's `localization`, PAD-UFES-20's `region`); their
words are read as seven coarse sites. Words that stand for two of these (`acral`, `palms/soles`, `oral/genital`) are not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lesionlab.data.layouts.tables import UNKNOWN_WORDS, number
from lesionlab.errors import UsageError

SEXES = {"female": ("f", "woman"), "male": ("m", "man")}
SITES = {
    "head and neck": (
        "head/neck",
        "head neck",
        "head neck face",
        "head",
        "neck",
        "face",
        "scalp",
        "ear",
        "nose",
        "lip",
    ),
    "trunk": ("torso", "anterior torso", "posterior torso", "lateral torso", "back", "chest", "abdomen", "buttocks"),
    "upper extremity": ("upper extremities", "upper limbs", "upper limb", "arm", "forearm"),
    "lower extremity": ("lower extremities", "lower limbs", "lower limb", "leg", "thigh"),
    "hand": ("hands",),
    "foot": ("feet",),
    "genital": ("genital areas",),
}
OLDEST_YEARS = 120
_WANTED = {
    "age": f"a number of years above 0, up to {OLDEST_YEARS}; in HAM10000 a 0 stands for an unknown age",
    "sex": " or ".join(SEXES),
    "site": f"one of {', '.join(SITES)}",
}
_MOST_SHOWN = 40  # letters of a value that is left out


@dataclass(frozen=True)
class Patient:
    """What is known of the patient of an image; None where it is not.

    Attributes:
        age: in years, above 0 and up to 120.
        sex: `female` or `male`.
        site: of the lesion, of `SITES`.
        left_out: what was given beside that and could not be read, in words.

    Raises:
        UsageError: a value is none of these, nor a way of writing one, nor one of `UNKNOWN_WORDS`.

    """

    age: float | None = None
    sex: str | None = None
    site: str | None = None
    left_out: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        """Write what is known in one way."""
        for name in _WANTED:
            given = getattr(self, name)
            value = _read(name, given)
            if value is None and not _is_unknown(given):
                raise UsageError(f"{_shown(name, given)} of a patient cannot be read: give {_WANTED[name]}, or None.")
            object.__setattr__(self, name, value)

    @property
    def is_known(self) -> bool:
        """Whether anything is."""
        return self != Patient()

    def as_dict(self) -> dict[str, float | str | None]:
        """Give what JSON can hold."""
        return {"age": self.age, "sex": self.sex, "site": self.site}


def read_patient(age: object = None, sex: object = None, site: object = None) -> Patient:
    """Read what is known of a patient, as tables and people write it; what cannot be read stands in `left_out`.

    Args:
        age: in years, a number or its text.
        sex: `male`, `female`, or their first letters.
        site: a word of `SITES`; capitals, blanks, hyphens and `_` do not count.

    """
    given = {"age": age, "sex": sex, "site": site}
    values = {name: _read(name, value) for name, value in given.items()}
    left_out = (
        f"{_shown(name, value)} is left out: give {_WANTED[name]}"
        for name, value in given.items()
        if values[name] is None and not _is_unknown(value)
    )
    return Patient(**values, left_out=tuple(left_out))  # type: ignore[arg-type]


def _read(name: str, given: object) -> float | str | None:
    return _age(given) if name == "age" else _word(given, SEXES if name == "sex" else SITES)


def _age(given: object) -> float | None:
    try:
        age = number(str(given).strip())
    except ValueError:
        return None
    return age if 0 < age <= OLDEST_YEARS else None


def _word(given: object, words: Mapping[str, Sequence[str]]) -> str | None:
    text = _plain(given)
    return next((name for name, others in words.items() if text == name or text in others), None)


def _is_unknown(given: object) -> bool:
    return _plain(given) in UNKNOWN_WORDS


def _plain(given: object) -> str:
    text = "" if given is None else str(given)
    return " ".join(text.lower().replace("_", " ").replace("-", " ").split())


def _shown(name: str, given: object) -> str:
    return f"{name} {str(given)[:_MOST_SHOWN]!r}"
