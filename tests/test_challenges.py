"""`score --challenge`: every ISIC challenge, equal to its official scorer; the forms of its tables; faults named."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from lesionlab.cli import main
from lesionlab.errors import UsageError
from lesionlab.evaluation.isic_challenges import CHALLENGES
from lesionlab.evaluation.isic_score import METRICS, partial_auc, score
from official_scores import CHALLENGES as SCORED
from official_scores import KINDS, REFERENCE, challenge_table

CASES = Path(__file__).parents[2] / "shared" / "cases"


def write(folder: Path, predictions: str, truth: str) -> tuple[Path, Path]:
    (folder / "p.csv").write_text(predictions, encoding="utf-8")
    (folder / "t.csv").write_text(truth, encoding="utf-8")
    return folder / "p.csv", folder / "t.csv"


def as_published(text: str, challenge: str) -> str:
    return text.replace("image", "lesion_id", 1) if challenge == "milk10k" else text


RANKED_BY = {"isic2016": "ap", "isic2017": "auc", "isic2020": "auc", "milk10k": "dice"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("challenge", SCORED)
def test_equal_to_the_official_scorer(challenge: str, kind: str, tmp_path: Path) -> None:
    reference = json.loads(REFERENCE.read_text())[f"{challenge}/{kind}"]
    truth, predictions = (as_published(text, challenge) for text in challenge_table(challenge, kind))
    result = score(*write(tmp_path, predictions, truth), challenge=challenge)
    near = pytest.approx
    for metric in METRICS:
        assert result["macro_average"][metric] == near(reference["macro_average"][metric], abs=1e-9)
        for column, value in reference["per_category"][metric].items():
            assert result["per_category"][column][metric] == near(value, abs=1e-9)
    value = result[result["metric"]]
    if challenge == "isic2019":
        assert value == near(reference["aggregate"]["balanced_accuracy"], abs=1e-9)
        assert result["validation_balanced_accuracy"] == near(reference["validation"], abs=1e-9)
    elif challenge == "isic2024":
        assert kind == "weights" or value == near(reference["pauc"], abs=1e-9)
    else:
        assert value == near(reference["macro_average"][RANKED_BY[challenge]], abs=1e-9)


def test_partial_area_by_hand() -> None:
    ones = np.ones(4)
    perfect = partial_auc(np.array([True, True, False, False]), np.array([0.9, 0.8, 0.2, 0.1]), ones)
    assert perfect == pytest.approx(0.2)
    assert partial_auc(np.array([True, False, True, False]), ones / 4, ones) == pytest.approx(
        0.02
    )  # all tied: the diagonal
    # The lower malignant one is found only after one of two benign ones: above 80 %, from fpr 0.5 to 1, the curve is at 1.
    half = partial_auc(np.array([True, False, True, False]), np.array([0.9, 0.8, 0.7, 0.1]), ones)
    assert half == pytest.approx(0.1)
    assert math.isnan(partial_auc(np.ones(4, bool), ones, ones))


def test_macro_f1_leaves_out_what_does_not_occur(tmp_path: Path) -> None:
    columns = CHALLENGES["milk10k"].columns
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 9, 60)  # of eleven; NV and SCCKA stand at places 8 and 9
    probabilities = np.round(draw.dirichlet(np.full(11, 0.2), 60), 3)
    head = ",".join(("lesion_id", *columns))
    rows = [head, *(f"IL_{n}," + ",".join(map(str, row)) for n, row in enumerate(probabilities))]
    marks = [head, *(f"IL_{n}," + ",".join(map(str, row)) for n, row in enumerate(np.eye(11)[labels]))]
    result = score(*write(tmp_path, "\n".join(rows), "\n".join(marks)), challenge="milk10k")
    occurring = sorted(set(labels))
    expected = f1_score(np.eye(11)[labels], probabilities > 0.5, average="macro", labels=occurring, zero_division=0)
    assert result["macro_f1"] == pytest.approx(expected, abs=1e-12)
    assert math.isnan(result["per_category"]["VASC"]["dice"]) and result["per_category"]["VASC"]["images"] == 0


def test_milk10k_is_scored_by_lesion(tmp_path: Path) -> None:
    truth, predictions = challenge_table("milk10k", "plain")
    paths = write(tmp_path, predictions, as_published(truth, "milk10k"))
    with pytest.raises(UsageError, match="has no column lesion_id: this challenge scores lesions, one row each"):
        score(*paths, challenge="milk10k")
    twice = as_published(predictions, "milk10k") + predictions.splitlines()[1] + "\n"
    with pytest.raises(UsageError, match="the lesion 'ISIC_0000000' is in row 2 too"):
        score(*write(tmp_path, twice, as_published(truth, "milk10k")), challenge="milk10k")


@pytest.mark.skipif(not CASES.is_dir(), reason="no ../shared/cases")
def test_absent_classes_of_seven_and_of_nine(capsys) -> None:
    folder = CASES / "23-score-absent-classes"
    seven = score(folder / "pred7.csv", folder / "truth7.csv")
    nine = score(folder / "pred9.csv", folder / "truth9.csv", challenge="isic2019")
    for key in (
        "balanced_accuracy",
        "accuracy",
        "macro_auc",
        "macro_auc_sens_80",
        "macro_average_precision",
        "macro_average",
    ):
        assert nine[key] == seven[key]
    for column in ("SCC", "UNK"):
        assert nine["per_category"][column]["images"] == 0 and math.isnan(nine["per_category"][column]["auc"])
    assert main(["score", str(folder / "pred9.csv"), str(folder / "truth9.csv")]) == 2
    assert "These are the columns of --challenge isic2019." in capsys.readouterr().err


def test_squamous_and_unknown_may_be_missing(tmp_path: Path) -> None:
    predictions = "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\nA,.5,.1,.1,.1,.1,.1,0\nB,0,1,0,0,0,0,0\nC,0,0,0,.9,.1,0,0\n"
    truth = "image,dx\nA,melanoma\nB,squamous cell carcinoma\nC,ak\n"
    result = score(*write(tmp_path, predictions, truth), challenge="isic2019")
    assert result["accuracy"] == pytest.approx(2 / 3) and result["per_category"]["SCC"]["sensitivity"] == 0
    assert "has no column SCC and UNK: taken as 0" in result["notes"][0]
    with pytest.raises(UsageError, match="dx 'wart' is not one of MEL, NV, BCC, AK, BKL, DF, VASC, SCC, UNK"):
        score(*write(tmp_path, predictions, truth.replace("ak", "wart")), challenge="isic2019")


@pytest.mark.parametrize(
    ("challenge", "truth", "predictions"),
    [
        ("isic2016", "a,benign\nb,malignant\nc,benign\n", "a,0.2\nb,0.7\nc,0.9\n"),
        ("isic2016", "a,0.0\nb,1.0\nc,0.0\n", "image,malignant\na.jpg,0.2\nb.jpg,0.7\nc.jpg,0.9\n"),
        ("isic2020", "image_name,sex,benign_malignant,target\na,,benign,0\nb,,malignant,1\nc,,benign,0\n", None),
        ("isic2020", "image_name,benign_malignant\na,benign\nb,malignant\nc,benign\n", None),
        ("isic2024", "isic_id,target,patient_id,lesion_id\na,0,P,\nb,1,P,L\nc,0,P,\n", None),
        ("isic2024", "isic_id,malignant\na,0\nb,1\nc,0\n", None),
    ],
)
def test_tables_as_published(challenge: str, truth: str, predictions: str | None, tmp_path: Path) -> None:
    given = predictions or "isic_id,target\na,0.2\nb,0.7\nc,0.9\n"
    result = score(*write(tmp_path, given, truth), challenge=challenge)
    assert result["images"] == 3 and result["macro_auc"] == 0.5
    assert "accuracy" not in result and result[result["metric"]] == pytest.approx({"isic2024": 0.1}.get(challenge, 0.5))


def test_a_model_that_knows_more_is_scored_on_what_is_asked(tmp_path: Path) -> None:
    """The packaged model's eleven diagnoses: without the four others for ISIC 2018; its own malignant ones for 2024."""
    header = "image,AKIEC,BCC,BEN_OTH,BKL,DF,INF,MAL_OTH,MEL,NV,SCCKA,VASC"
    predictions = f"{header}\na,0,.1,0,0,0,0,0,.2,.2,.5,0\nb,0,0,.4,0,0,0,0,.2,.4,0,0\nc,0,0,0,0,0,0,1,0,0,0,0\n"
    paths = write(tmp_path, predictions, "image,dx\na,mel\nb,nv\nc,bcc\n")
    result = score(*paths)
    assert result["accuracy"] == pytest.approx(1 / 3)  # of a, mel and nv are equal; of c nothing is left: both are ties
    assert "predicts BEN_OTH, INF, MAL_OTH, SCCKA too: left out" in result["notes"][0]
    assert main(["score", *map(str, paths)]) == 0
    marks = write(tmp_path, predictions, "image,target\na,1\nb,0\nc,1\n")
    result = score(*marks, challenge="isic2024")
    assert result["pauc_80"] == pytest.approx(0.2)
    assert "is AKIEC + BCC + MAL_OTH + MEL + SCCKA" in result["notes"][0]
    assert "target of" in result["notes"][0] and "is MEL." in score(*marks, challenge="isic2020")["notes"][0]


def test_two_marks_without_header(tmp_path: Path) -> None:
    truth = "image_id,melanoma,seborrheic_keratosis\na,0.0,1.0\nb,1.0,0.0\nc,0.0,0.0\n"
    result = score(*write(tmp_path, "a,.9,.9\nb,.8,.1\nc,.1,.2\n", truth), challenge="isic2017")
    assert (
        result["per_category"]["melanoma"]["auc"] == 0.5 and result["per_category"]["seborrheic_keratosis"]["auc"] == 1
    )
    assert result["macro_auc"] == 0.75


def test_the_seven_diagnoses_answer_for_a_mark(tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    probabilities = draw.dirichlet(np.ones(7), 30)
    marks = draw.integers(0, 2, 30)
    rows = [f"i{n}," + ",".join(map(repr, map(float, row))) for n, row in enumerate(probabilities)]
    truth = "image_name,target\n" + "".join(f"i{n},{mark}\n" for n, mark in enumerate(marks))
    paths = write(tmp_path, "\n".join(["image,MEL,NV,BCC,AKIEC,BKL,DF,VASC", *rows]), truth)
    melanoma = score(*paths, challenge="isic2020")
    assert melanoma["auc"] == pytest.approx(roc_auc_score(marks, probabilities[:, 0]), abs=1e-12)
    assert "is MEL." in melanoma["notes"][-1]
    malignant = score(*paths, challenge="isic2024")
    assert malignant["macro_auc"] == pytest.approx(
        roc_auc_score(marks, probabilities[:, [0, 2, 3]].sum(axis=1)), abs=1e-12
    )
    assert "is MEL + BCC + AKIEC." in malignant["notes"][-1]


@pytest.mark.parametrize(("challenge", "area"), [("isic2016", 1.0), ("isic2020", 1.0), ("isic2024", 0.75)])
def test_a_mark_is_told_by_the_diagnoses_that_have_it(challenge: str, area: float, tmp_path: Path) -> None:
    answers = (
        "image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\na,.9,.1,0,0,0,0,0\nb,.2,.8,0,0,0,0,0\nc,0,.9,.1,0,0,0,0\nd,0,1,0,0,0,0,0\n"
    )
    paths = write(tmp_path, answers, "image_id,dx\na,mel\nb,nv\nc,bcc\nd,bkl\n")
    found = score(*paths, challenge=challenge)
    assert found["macro_auc"] == pytest.approx(area) and found["images"] == 4
    paths = write(tmp_path, answers, "image_id,dx\na,mel\nb,wart\nc,bcc\nd,bkl\n")
    with pytest.raises(UsageError, match="'wart'"):
        score(*paths, challenge=challenge)


@pytest.mark.parametrize(
    ("challenge", "predictions", "truth", "message"),
    [
        (
            "isic2020",
            "image_name,target\na,0.1\n",
            "image_name,target\na,0.5\n",
            r"row 2 \(a\), column target: 0.5 is neither",
        ),
        (
            "isic2020",
            "image_name,target\na,x\n",
            "image_name,target\na,1\n",
            r"row 2 \(a\), column target: 'x' is no number",
        ),
        ("isic2020", "image_name,target\na,1.2\n", "image_name,target\na,1\n", "1.2 is outside 0 to 1"),
        (
            "isic2020",
            "image_name,label\na,1\n",
            "image_name,target\na,1\n",
            "has no column target; it has image_name, label",
        ),
        ("isic2017", "a,0.1\n", "image_id,melanoma,seborrheic_keratosis\na,1,0\n", "has a header but no rows"),
        (
            "isic2017",
            "a,.1,.2\na,.1,.2\n",
            "image_id,melanoma,seborrheic_keratosis\na,1,0\n",
            "'a' is in row 1 too",
        ),
        ("isic2020", "image_name,target\na,1\n", "image_name,target\na,1\nb,0\n", "lacks 1 images of .*t.csv: b"),
        ("isic2019", "image,MEL\na,1\n", "image,dx\na,mel\n", "has no column NV, BCC, AK, BKL, DF, VASC; it has"),
        ("isic2021", "a", "b", "There is no challenge 'isic2021': it is one of isic2016, isic2017"),
    ],
)
def test_faults_are_named(challenge: str, predictions: str, truth: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        score(*write(tmp_path, predictions, truth), challenge=challenge)


def test_all_of_one_kind_has_no_figure(tmp_path: Path, capsys) -> None:
    paths = write(tmp_path, "a,.5\nb,.2\n", "a,benign\nb,benign\n")
    for challenge, key in (("isic2016", "average_precision"), ("isic2020", "auc"), ("isic2024", "pauc_80")):
        assert main(["score", *map(str, paths), "--challenge", challenge, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)[key] is None


def test_the_command_says_what_ranks(tmp_path: Path, capsys) -> None:
    for challenge in SCORED:
        truth, predictions = (as_published(text, challenge) for text in challenge_table(challenge, "plain"))
        assert main(["score", *map(str, write(tmp_path, predictions, truth)), "--challenge", challenge]) == 0
        assert f"(ranks {challenge})" in capsys.readouterr().out.splitlines()[0]
