"""The challenge's metrics: equal to the official scorer's, to hand-made values and to scikit-learn's; faults are named."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

import builders
from lesionlab.cli import main
from lesionlab.errors import UsageError
from lesionlab.evaluation.isic_score import METRICS, score, score_arrays
from lesionlab.taxonomy import HAM10000
from official_scores import CASES, COLUMNS, REFERENCE, table

HEAD = ",".join(("image", *HAM10000.columns))


def write(folder: Path, predictions: str, truth: str) -> tuple[Path, Path]:
    (folder / "p.csv").write_text(predictions, encoding="utf-8")
    (folder / "t.csv").write_text(truth, encoding="utf-8")
    return folder / "p.csv", folder / "t.csv"


def one_hot(*codes: str) -> str:
    """Ground truth of the images i0, i1, ..."""
    return builders.one_hot(*((f"i{n}", code) for n, code in enumerate(codes)))


@pytest.mark.parametrize("case", CASES)
def test_equal_to_the_official_scorer(case: str, tmp_path: Path) -> None:
    reference = json.loads(REFERENCE.read_text())[case]
    truth, predictions = table(case)
    result = score(*write(tmp_path, predictions, truth))
    near = pytest.approx
    assert result["balanced_accuracy"] == near(reference["aggregate"]["balanced_accuracy"], abs=1e-9)
    assert result["validation_balanced_accuracy"] == near(reference["validation"], abs=1e-9)
    assert result["macro_auc"] == near(reference["macro_average"]["auc"], abs=1e-9)
    for metric in METRICS:
        assert result["macro_average"][metric] == near(reference["macro_average"][metric], abs=1e-9)
        for column in COLUMNS:
            assert result["per_category"][column][metric] == near(reference["per_category"][metric][column], abs=1e-9)


def test_a_weight_stays_with_its_image_whatever_the_order(tmp_path: Path) -> None:
    truth, predictions = table("weights")
    expected = score(*write(tmp_path, predictions, truth))
    head, *rows = truth.splitlines()
    assert score(*write(tmp_path, predictions, "\n".join([head, *reversed(rows)]))) == expected


def test_by_hand(tmp_path: Path) -> None:
    result = score(*write(tmp_path, one_hot("mel", "mel", "nv", "bcc"), one_hot("mel", "nv", "nv", "bcc")))
    assert result["accuracy"] == 0.75
    assert result["balanced_accuracy"] == pytest.approx((1 + 0.5 + 1) / 3)
    melanoma = result["per_category"]["MEL"]
    assert (melanoma["sensitivity"], melanoma["specificity"]) == (1.0, pytest.approx(2 / 3))
    assert (melanoma["ppv"], melanoma["npv"], melanoma["dice"]) == (0.5, 1.0, pytest.approx(2 / 3))
    assert melanoma["auc"] == pytest.approx(5 / 6)


def test_a_tie_is_no_answer(tmp_path: Path) -> None:
    predictions = f"{HEAD}\ni0,0.5,0.5,0,0,0,0,0\ni1,0,1.0,0,0,0,0,0\n"
    result = score(*write(tmp_path, predictions, one_hot("mel", "nv")))
    assert (result["undecided"], result["accuracy"], result["balanced_accuracy"]) == (1, 0.5, 0.5)


def test_a_diagnosis_that_does_not_occur_is_nan_and_left_out(tmp_path: Path, capsys) -> None:
    paths = write(tmp_path, one_hot("mel", "nv", "nv"), one_hot("mel", "nv", "nv"))
    result = score(*paths)
    absent = result["per_category"]["DF"]
    assert absent["images"] == 0 and all(math.isnan(absent[key]) for key in ("sensitivity", "auc", "ap", "dice"))
    assert result["balanced_accuracy"] == 1.0 and result["macro_auc"] == 1.0
    assert main(["score", *map(str, paths), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["per_category"]["DF"]["auc"] is None and shown["accuracy"] == 1.0


@settings(max_examples=50)
@given(seed=st.integers(0, 2**31), images=st.integers(14, 60))
def test_equal_to_scikit_learn(seed: int, images: int) -> None:
    draw = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(7), draw.integers(0, 7, images - 7)])
    probabilities = draw.dirichlet(np.ones(7), images)
    ones = np.ones(images)
    result = score_arrays(np.eye(7)[labels], probabilities, ones, ones)
    predicted = probabilities.argmax(axis=1)
    assert result["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predicted), abs=1e-12)
    assert result["macro_auc"] == pytest.approx(roc_auc_score(np.eye(7)[labels], probabilities), abs=1e-12)
    assert result["validation_balanced_accuracy"] == result["balanced_accuracy"]
    perfect = score_arrays(np.eye(7)[labels], np.eye(7)[labels], ones, ones)
    assert list(perfect["macro_average"].values()) == pytest.approx([1.0] * len(METRICS))


def test_metadata_as_truth_and_missing_rows(tmp_path: Path) -> None:
    truth = "lesion_id,image_id,dx\nL0,i0,mel\nL1,i1,NV\nL2,i2,df\n"
    predictions, path = write(tmp_path, one_hot("mel", "nv"), truth)
    with pytest.raises(
        UsageError, match="p.csv lacks 1 images of .*t.csv: i2. Predict them, or score .* --allow-missing"
    ):
        score(predictions, path)
    result = score(predictions, path, allow_missing=True)
    assert result["images"] == 2 and "1 images of" in result["notes"][0]
    path.write_text("image_id,dx\ni0,mel\ni1,wart\n")
    with pytest.raises(UsageError, match="t.csv, row 3: dx 'wart' is not one of mel, nv"):
        score(predictions, path)


@pytest.mark.parametrize(
    "truth",
    [
        "lesion_id,image_id,dx\nL0,i0.png,Melanoma\nL1,i1.TIFF,melanocytic nevi\n",
        "LESION_ID,IMAGE_ID,DX\nL0,i0,MEL\nL1,i1,nv\n",
        "Image ID;Dx\ni0.jpeg;mel\ni1;nv\n",
        "isic_id,dx\ni0,mel\ni1,nv\n",
        one_hot("mel", "nv").lower(),
    ],
)
def test_a_truth_is_read_as_check_reads_it(truth: str, tmp_path: Path) -> None:
    predictions, path = write(tmp_path, one_hot("mel", "nv").replace("i1,", "i1.webp,"), truth)
    assert score(predictions, path)["accuracy"] == 1.0


def test_decimal_commas(tmp_path: Path) -> None:
    text = f"{HEAD}\ni0,0.75,0.25,0,0,0,0,0\ni1,0.5,0.125,0.375,0,0,0,0\n"
    predictions, truth = write(tmp_path, text, one_hot("mel", "nv"))
    expected = score(predictions, truth)
    predictions.write_text(text.replace(",", ";").replace(".", ","))
    assert score(predictions, truth) == expected
    predictions.write_text(text.replace(",", ";").replace("0.75", "0,7,5"))
    with pytest.raises(UsageError, match=r"row 2 \(i0\), column MEL: '0,7,5' is no number"):
        score(predictions, truth)


def test_a_runs_own_table(tmp_path: Path) -> None:
    rows = one_hot("mel", "nv", "nv").splitlines()
    parts = ("test", "train", "test")
    lines = [
        rows[0] + ",part,lesion_id,truth,predicted",
        *(f"{r},{p},L,nv,nv" for r, p in zip(rows[1:], parts, strict=True)),
    ]
    predictions, truth = write(tmp_path, "\n".join(lines), one_hot("mel", "nv", "nv", "bcc"))
    with pytest.raises(
        UsageError, match="p.csv holds test, train, of which training was on one. Choose: lesionlab score --part test"
    ):
        score(predictions, truth)
    assert score(predictions, truth, part="test")["images"] == 2
    with pytest.raises(UsageError, match="has no part 'validation': it has test, train"):
        score(predictions, truth, part="validation")
    with pytest.raises(UsageError, match="has no column 'part': leave out --part"):
        score(truth, truth, part="test")


GOOD = "i0,1.0,0,0,0,0,0,0"


@pytest.mark.parametrize(
    ("predictions", "message"),
    [
        ("", "is empty: it should hold a header"),
        (HEAD + "\n", "has a header but no rows"),
        (f"{HEAD[:-5]}\ni0,1,0,0,0,0,0\n", "has no column VASC; it has image, MEL"),
        (f"{HEAD.replace('image', 'name')}\n{GOOD}\n", "has no column image"),
        (f"{HEAD},note\n{GOOD},x\n", "columns that predictions do not have: 'note'"),
        (f"{HEAD},MEL\n{GOOD},1\n", "row 1: the column 'MEL' stands there twice"),
        (f"{HEAD}\n{GOOD}\n\n{GOOD}\n", "row 4: the image 'i0' is in row 2 too"),
        (f"{HEAD}\n{GOOD}\ni0.jpg,1,0,0,0,0,0,0\n", "row 3: the image 'i0' is in row 2 too"),
        (f"{HEAD}\n,1,0,0,0,0,0,0\n", "row 2: the image has no name"),
        (f"{HEAD}\ni0,nan,0,0,0,0,0,0\n", r"row 2 \(i0\), column MEL: the value is missing"),
        (f"{HEAD}\ni0,1,,0,0,0,0,0\n", r"row 2 \(i0\), column NV: the value is missing"),
        (f"{HEAD}\ni0,1,0,high,0,0,0,0\n", "column BCC: 'high' is no number"),
        (f"{HEAD}\ni0,1_0,0,0,0,0,0,0\n", "column MEL: '1_0' is no number"),
        (f"{HEAD}\ni0,1,0,0,0,0,0,-0.1\n", "column VASC: -0.1 is outside 0 to 1"),
        (f"{HEAD}\ni0,1.01,0,0,0,0,0,0\n", "column MEL: 1.01 is outside 0 to 1"),
        (f"{HEAD}\ni0,inf,0,0,0,0,0,0\n", "column MEL: inf is outside 0 to 1"),
        (f"{HEAD}\ni0,1,0\n", "row 2: 3 values where the header has 8"),
        (f"{HEAD}\n{GOOD},9\n", "row 2: 9 values where"),
        (f"{HEAD}\n{GOOD}\nother,1,0,0,0,0,0,0\n", "has 1 images that .*t.csv has not: other"),
    ],
)
def test_faults_of_predictions_are_named(predictions: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        score(*write(tmp_path, predictions, one_hot("mel")))


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (f"{HEAD}\ni0,1,1,0,0,0,0,0\n", r"row 2 \(i0\): the truth needs one 1 and six 0"),
        (f"{HEAD}\ni0,0.5,0.5,0,0,0,0,0\n", "needs one 1 and six 0"),
        (f"{HEAD}\n{GOOD}\n{GOOD}\n", "row 3: the image 'i0' is in row 2 too"),
        (f"{HEAD},score_weight\n{GOOD},-1\n", "column score_weight: the weight -1 is not 0 or more"),
        (f"{HEAD},score_weight\n{GOOD},x\n", "column score_weight: 'x' is no number"),
        (f"{HEAD},score_weight\n{GOOD},0\n", "no scored image has a score_weight above 0"),
        ("name,dx\ni0,mel\n", r"has no column image, MEL, .* \(or give metadata with image_id and dx\)"),
    ],
)
def test_faults_of_the_truth_are_named(truth: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        score(*write(tmp_path, one_hot("mel"), truth))


def test_files_that_are_no_table(tmp_path: Path) -> None:
    predictions, truth = write(tmp_path, one_hot("mel"), one_hot("mel"))
    with pytest.raises(UsageError, match="nowhere.csv cannot be opened"):
        score(tmp_path / "nowhere.csv", truth)
    predictions.write_bytes(b"PK\x03\x04" + bytes(100))
    with pytest.raises(UsageError, match="is an Excel workbook or a ZIP archive"):
        score(predictions, truth)


@pytest.mark.parametrize(
    "saved",
    [
        lambda text: text.replace("\n", "\r\n").encode("utf-8-sig"),
        lambda text: text.replace(",", ";").encode(),
        lambda text: text.replace(",", "\t").encode("utf-16"),
        lambda text: text.replace(",", ", ").encode(),
        lambda text: ("sep=;\n" + text.replace(",", ";")).encode(),
    ],
    ids=["mark and CRLF", "semicolons", "UTF-16 and tabs", "blanks", "a line that names the separator"],
)
def test_tables_as_spreadsheets_save_them(saved: Callable[[str], bytes], tmp_path: Path) -> None:
    predictions, truth = write(tmp_path, one_hot("mel"), one_hot("mel"))
    predictions.write_bytes(saved(one_hot("mel")))
    truth.write_bytes(saved(one_hot("mel")))
    assert score(predictions, truth)["accuracy"] == 1.0


def test_rows_that_do_not_sum_to_one_are_scored_and_noted(tmp_path: Path, capsys) -> None:
    paths = write(tmp_path, f"{HEAD}\ni0,0.9,0.9,0,0,0,0,0\n", one_hot("mel"))
    assert main(["score", *map(str, paths)]) == 0
    shown = capsys.readouterr()
    assert "1 rows of" in shown.err and "do not sum to 1 (i0); scored as they are" in shown.err
    assert "balanced accuracy" in shown.out and "MEL" in shown.out
    assert main(["score", str(tmp_path / "no.csv"), str(paths[1])]) == 2
