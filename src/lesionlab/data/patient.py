"""What may be known beside an image: the patient's age and sex, and the site of the lesion; in one way of writing.

Data sets call the sites differently (ISIC's `anatom_site_general`, HAM10000's `localization`, PAD-UFES-20's `region`); the words
of all are read as seven coarse sites.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lesionlab.data.layouts.tables import UNKNOWN_WORDS, number

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
    "genital": ("oral/genital", "genital areas"),
}
OLDEST = 120  # years


@dataclass(frozen=True)
class Patient:
    """What is known: `age` in years, 0 to 120; `sex`, of `SEXES`; `site` of the lesion, of `SITES`; None where it is not."""

    age: float | None = None
    sex: str | None = None
    site: str | None = None

    @property
    def is_known(self) -> bool:
        """Whether anything is."""
        return self != Patient()

    def as_dict(self) -> dict[str, float | str | None]:
        """Give what JSON can hold."""
        return {"age": self.age, "sex": self.sex, "site": self.site}


def read_patient(age: object = None, sex: object = None, site: object = None) -> tuple[Patient, tuple[str, ...]]:
    """Read what is known of a patient, as tables and people write it.

    Args:
        age: in years, a number or its text.
        sex: `male`, `female`, or their first letters.
        site: a word of `SITES`; capitals, blanks, hyphens and `_` do not count.

    Returns:
        The patient, and in words what was given and is left out: an age that is no number of 0 to 120, another sex, a site
        that is none of the seven. An empty value, None, NaN and words such as `unknown` are left out without a word.

    """
    found = Patient(_age(age), _word(sex, SEXES), _word(site, SITES))
    wanted = {
        "age": (age, found.age, f"a number of years, 0 to {OLDEST}"),
        "sex": (sex, found.sex, " or ".join(SEXES)),
        "site": (site, found.site, f"one of {', '.join(SITES)}"),
    }
    left_out = (
        f"{name} {str(given)[:40]!r} is left out: give {words}"
        for name, (given, read, words) in wanted.items()
        if read is None and _plain(given) not in UNKNOWN_WORDS
    )
    return found, tuple(left_out)


def _age(given: object) -> float | None:
    try:
        age = number(str(given).strip())
    except ValueError:
        return None
    return age if 0 <= age <= OLDEST else None


def _word(given: object, words: Mapping[str, Sequence[str]]) -> str | None:
    text = _plain(given)
    return next((name for name, others in words.items() if text == name or text in others), None)


def _plain(given: object) -> str:
    text = "" if given is None else str(given)
    return " ".join(text.lower().replace("_", " ").replace("-", " ").split())
