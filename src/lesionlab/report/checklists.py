"""What three reporting guidelines ask, and where a report answers it; what it cannot know is the user's to write.

Items are paraphrased and numbered as in the guidelines: CLEAR Derm (Daneshjou et al., JAMA Dermatol. 158, 2022,
doi:10.1001/jamadermatol.2021.4915), TRIPOD+AI (Collins et al., BMJ 385, 2024, doi:10.1136/bmj-2023-078378), CLAIM (Mongan,
Moy, Kahn, Radiol. Artif. Intell. 2, 2020, doi:10.1148/ryai.2020200029).
"""

from dataclasses import dataclass

HERE, PARTLY, RUN, YOURS = "here", "here in part", "in the run's report and card", "yours to write"


@dataclass(frozen=True)
class Place:
    """A section of a report: its name, and its anchor in a run's report and in an evaluation's; "" where it has none."""

    name: str
    run: str
    evaluation: str


_PLACES = {
    "head": Place("head of the report", "top", "top"),
    "environment": Place("environment", "step-1", ""),
    "data": Place("images and labels", "step-3", "data"),
    "cleaning": Place("cleaning", "step-4", "data"),
    "exploration": Place("exploration", "step-5", ""),
    "pixels": Place("load and resize, normalisation", "step-6", ""),
    "split": Place("split", "step-7", "data"),
    "network": Place("model", "step-11", ""),
    "training": Place("optimizer, training", "step-13", ""),
    "figures": Place("figures with intervals", "figures", "figures"),
    "histology": Place("histology-confirmed lesions", "histology", "histology"),
    "groups": Place("subgroups", "groups", "groups"),
    "calibration": Place("calibration", "calibration", "calibration"),
    "operating": Place("operating points", "operating", "operating"),
    "abstention": Place("abstention", "abstention", "abstention"),
    "errors": Place("errors", "errors", "errors"),
    "understanding": Place("where it looks", "understanding", "understanding"),
    "code": Place("licence, repository and CITATION.cff of lesionlab", "top", "top"),
}

# Notes that depend on what the report is of: `_notes`.
_EXTERNAL, _DISJOINT, _PREDICTORS = "external", "disjoint", "predictors"

# number, what is asked, place ("" is the user's), what remains for the user
_Row = tuple[str, str, str, str]
_CLEAR_DERM: tuple[_Row, ...] = (
    ("1", "kind of images", "head", "dermatoscopic; say so of your own data"),
    ("2", "artefacts in the images", "", "hair, rulers, ink, gel: lesionlab evaluate --robustness"),
    ("3", "how images were taken", "", "dermatoscopes, cameras, operators"),
    ("4", "preprocessing", "pixels", ""),
    ("5", "synthetic images, if any", "head", "generated lesions are marked in red"),
    ("6", "public images, with reference", "data", "cite the data set"),
    ("7", "patients: age, sex, site, ancestry", "exploration", "ancestry: lesionlab reads none"),
    ("8", "skin colour and how it was found", "groups", "estimated from pixels, not labelled"),
    ("9", "biases of the metadata", "exploration", "confirmation and source depend on the diagnosis"),
    ("10", "how the parts were made", "split", ""),
    ("11", "size of each part", "split", "why this size is enough"),
    ("12", "external test set", "", _EXTERNAL),
    ("13", "several makers of devices", "", "sources by name, where the data have them: groups"),
    ("14", "diagnoses in each part", "split", ""),
    ("15", "images from elsewhere (out of distribution)", "", "see docs/scorecard.md, row 16"),
    ("16", "who labelled, and how", "exploration", "confirmation by source; the people are the data set's"),
    ("17", "accepted names of diagnoses", "data", ""),
    ("18", "histology of malignant lesions", "histology", ""),
    ("19", "how the algorithm was made", "training", ""),
    ("20", "a way for others to test it", "head", "publish model.onnx; lesionlab evaluate"),
    ("21", "measures of performance", "figures", ""),
    ("22", "comparison with other methods and people", "", "lesionlab compare; readers' studies"),
    ("23", "bias between groups", "groups", "skin tone is an estimate"),
    ("24", "intended use, conditions in and out of it", "head", "the card says what it is not for"),
    ("25", "effect on clinicians and patients", "", ""),
)
_TRIPOD_AI: tuple[_Row, ...] = (
    ("1", "title names the model, the population, the outcome", "head", "population"),
    ("2", "structured abstract", "", ""),
    ("3a", "medical context and other models", "", ""),
    ("3b", "target population, users, place in care", "", ""),
    ("3c", "known inequalities between groups", "", ""),
    ("4", "objectives: development, evaluation or both", "head", ""),
    ("5a", "sources of the data and why", "data", "why"),
    ("5b", "dates of the data", "", ""),
    ("6a", "centres and setting", "groups", "sources are named; the setting is yours"),
    ("6b", "who was eligible", "cleaning", "what was set aside, with reasons; eligibility of patients"),
    ("6c", "treatments", "", "not applicable to a diagnosis"),
    ("7", "preparation and quality of the data", "cleaning", ""),
    ("8a", "the outcome and how it was found", "exploration", "how the diagnosis was confirmed"),
    ("8b", "who judged the outcome", "", ""),
    ("8c", "blinding to the predictors", "", ""),
    ("9a", "choice of predictors", "pixels", _PREDICTORS),
    ("9b", "definition of predictors", "pixels", ""),
    ("9c", "who judged the predictors", "", "not applicable: pixels"),
    ("10", "sample size and its reason", "split", "the reason"),
    ("11", "missing data", "cleaning", ""),
    ("12a", "how the data were used: parts", "split", ""),
    ("12b", "how predictors were handled", "pixels", ""),
    ("12c", "kind of model, how it was built and validated", "training", ""),
    ("12d", "heterogeneity between clusters", "groups", "lesionlab run --split source:CLINIC"),
    ("12e", "measures of performance", "figures", ""),
    ("12f", "model updating after evaluation", "calibration", "recalibration is measured, not put into the model"),
    ("12g", "how predictions are computed in evaluation", "head", "the command stands in manifest.json"),
    ("13", "imbalance of the classes and what it does", "calibration", "the decision rule, and what it costs"),
    ("14", "fairness", "groups", "skin tone is an estimate; why these groups"),
    ("15", "output of the model and thresholds", "operating", ""),
    ("16", "differences between training and evaluation data", "split", "none by design within one data set"),
    ("17", "ethical approval", "", ""),
    ("18a", "funding", "", ""),
    ("18b", "conflicts of interest", "", ""),
    ("18c", "protocol", "", ""),
    ("18d", "registration", "", ""),
    ("18e", "access to data", "data", "a fingerprint of the data; access is the data set's"),
    ("18f", "access to code", "code", ""),
    ("19", "patients and public involved", "", ""),
    ("20a", "flow of participants", "cleaning", ""),
    ("20b", "characteristics of participants", "exploration", ""),
    ("20c", "development and evaluation data compared", "split", ""),
    ("21", "participants and events in each analysis", "figures", ""),
    ("22", "the full model, so that others can predict", "network", "publish model.onnx"),
    ("23a", "performance with intervals, and in groups", "figures", ""),
    ("23b", "heterogeneity of performance", "groups", ""),
    ("24", "results of updating", "calibration", ""),
    ("25", "interpretation, fairness included", "", ""),
    ("26", "limitations", "", "the card names those of the data"),
    ("27a", "handling of poor input in use", "abstention", "unreadable images are rejected by name"),
    ("27b", "what users must do and know", "", ""),
    ("27c", "next steps of research", "", ""),
)
_CLAIM: tuple[_Row, ...] = (
    ("1", "title or abstract names the method", "head", ""),
    ("2", "structured summary", "", ""),
    ("3", "background and intended role", "", ""),
    ("4", "objectives and hypotheses", "", ""),
    ("5", "prospective or retrospective", "", "pictures of public collections: retrospective"),
    ("6", "goal of the study", "", ""),
    ("7", "sources of the data", "data", ""),
    ("8", "who was eligible", "cleaning", "patients and dates"),
    ("9", "preprocessing", "pixels", ""),
    ("10", "choice of parts of the images", "pixels", "crop rule; no segmentation"),
    ("11", "definitions of data elements", "data", ""),
    ("12", "de-identification", "", "the data set's; image metadata are dropped on reading"),
    ("13", "missing data", "cleaning", ""),
    ("14", "reference standard", "exploration", "kind of confirmation"),
    ("15", "why this reference standard", "", ""),
    ("16", "who annotated", "", ""),
    ("17", "annotation tools", "", ""),
    ("18", "agreement between annotators", "", "suspect labels are ranked in the report"),
    ("19", "intended sample size", "", ""),
    ("20", "how data were assigned to parts", "split", ""),
    ("21", "level at which parts are disjoint", "split", _DISJOINT),
    ("22", "the model, layers and outputs", "network", "recipe.toml and model.keras hold all"),
    ("23", "software and versions", "environment", ""),
    ("24", "initial parameters", "network", ""),
    ("25", "training, augmentation, hyperparameters", "training", "the whole recipe stands in the report"),
    ("26", "how the final model was chosen", "training", "say what else was tried"),
    ("27", "ensembles", "network", "views of one network, or the runs that an ensemble joins"),
    ("28", "measures of performance", "figures", ""),
    ("29", "significance and uncertainty", "figures", ""),
    ("30", "robustness and sensitivity", "", "lesionlab evaluate --robustness"),
    ("31", "explainability", "understanding", ""),
    ("32", "external data", "", _EXTERNAL),
    ("33", "flow of cases", "cleaning", ""),
    ("34", "demography of each part", "exploration", "of all parts together"),
    ("35", "performance on all parts", "figures", ""),
    ("36", "accuracy with its precision", "figures", ""),
    ("37", "analysis of failures", "errors", ""),
    ("38", "limitations", "", ""),
    ("39", "meaning for practice", "", "none: not a medical device"),
    ("40", "registration", "", ""),
    ("41", "protocol", "", ""),
    ("42", "funding", "", ""),
)
_CHECKLISTS = {
    "CLEAR Derm (2022)": _CLEAR_DERM,
    "TRIPOD+AI (2024)": _TRIPOD_AI,
    "CLAIM (2020)": _CLAIM,
}


@dataclass(frozen=True)
class Item:
    """An item of a guideline: what it asks, and the section that answers it; `place` and `anchor` are empty where none does."""

    number: str
    asks: str
    status: str
    place: str
    anchor: str
    remains: str


@dataclass(frozen=True)
class Checklist:
    """A guideline's items."""

    name: str
    items: tuple[Item, ...]

    @property
    def filled(self) -> int:
        """How many the report answers, at least in part."""
        return sum(item.status in (HERE, PARTLY) for item in self.items)

    @property
    def yours(self) -> int:
        """How many are left to the user."""
        return sum(item.status == YOURS for item in self.items)


def checklists(
    kind: str, *, has_split: bool = True, has_patients: bool = False, uses_metadata: bool = False
) -> list[Checklist]:
    """Say of each item of the guidelines where a report answers it.

    Args:
        kind: `run` or `evaluation`: the latter knows nothing of the training.
        has_split: whether the report knows of parts; an evaluation without `--split` does not.
        has_patients: whether the data name patients.
        uses_metadata: whether age, sex and site are in the probabilities.

    """
    notes = _notes(kind, has_patients, uses_metadata)
    return [
        Checklist(
            name,
            tuple(
                _item(kind if has_split or where != "split" else "", number, asks, where, notes.get(remains, remains))
                for number, asks, where, remains in rows
            ),
        )
        for name, rows in _CHECKLISTS.items()
    ]


def _notes(kind: str, has_patients: bool, uses_metadata: bool) -> dict[str, str]:
    """Give the notes that stand for their names in the rows."""
    beside = "pixels; age, sex and site by log odds that the model's run chose on its validation part"
    own = "this report is one where its data are of another origin than the training data"
    return {
        _EXTERNAL: own if kind == "evaluation" else "lesionlab evaluate on data of another origin",
        _PREDICTORS: beside if uses_metadata else "pixels alone; no metadata enters these figures",
        _DISJOINT: f"lesion and near-duplicate{', patient' if has_patients else '; the data name no patients'}",
    }


def _item(kind: str, number: str, asks: str, where: str, remains: str) -> Item:
    place = _PLACES.get(where)
    anchor = getattr(place, kind) if place and kind else ""
    status = YOURS if place is None else RUN if not anchor else PARTLY if remains else HERE
    return Item(number, asks, status, place.name if place and anchor else "", anchor, remains)
