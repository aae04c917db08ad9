"""The seven diagnoses of HAM10000: everything that knows "7", their order or their names imports this.

The order is that of the ISIC 2018 Task 3 tables (`image,MEL,NV,BCC,AKIEC,BKL,DF,VASC`). It is the order of every
probability vector, confusion matrix and CSV that lesionlab writes.

Source: Tschandl, Rosendahl, Kittler, Sci. Data 5, 180161 (2018), doi:10.1038/sdata.2018.161.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Diagnosis:
    """One diagnosis: `dx` is HAM10000's code, `isic` the column name in ISIC's tables."""

    dx: str
    isic: str
    name: str
    is_malignant: bool


DIAGNOSES = (
    Diagnosis("mel", "MEL", "melanoma", True),
    Diagnosis("nv", "NV", "melanocytic nevus", False),
    Diagnosis("bcc", "BCC", "basal cell carcinoma", True),
    Diagnosis("akiec", "AKIEC", "actinic keratosis / intraepithelial carcinoma", True),
    Diagnosis("bkl", "BKL", "benign keratosis", False),
    Diagnosis("df", "DF", "dermatofibroma", False),
    Diagnosis("vasc", "VASC", "vascular lesion", False),
)
DX = tuple(d.dx for d in DIAGNOSES)
ISIC_COLUMNS = tuple(d.isic for d in DIAGNOSES)
NAME_OF = {d.dx: d.name for d in DIAGNOSES}
INDEX_OF = {dx: index for index, dx in enumerate(DX)}
MALIGNANT = tuple(d.dx for d in DIAGNOSES if d.is_malignant)
IS_MALIGNANT = tuple(d.is_malignant for d in DIAGNOSES)  # in DX order

NOT_A_DEVICE = "Research software, not a medical device: it must not be used to diagnose or to decide on treatment."
