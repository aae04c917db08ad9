import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionlab.data.groups import take_lesions
from lesionlab.data.split import PARTS, describe_parts, split
from lesionlab.data.split_proof import prove
from lesionlab.errors import LesionlabError, UsageError
from lesionlab.recipe import SplitChoice
from lesionlab.taxonomy import DX, HAM10000


def make_table(lesions_per_dx: int = 20, *, seed: int = 0, most_images: int = 4) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    rows = [
        {"lesion_id": f"L{dx}{n}", "dx": dx, "dataset": ("rosendahl", "vidir")[n % 2]}
        for dx in DX
        for n in range(lesions_per_dx)
        for _ in range(rng.integers(1, most_images + 1))
    ]
    table = pd.DataFrame(rows)
    table["image_id"] = [f"I{n:05}" for n in range(len(table))]
    table["group"] = table["lesion_id"]
    table["sha256"] = table["image_id"]
    return table


def with_patients(table: pd.DataFrame) -> pd.DataFrame:
    """A patient has the lesions of one number, of all diagnoses, joined as `clean` does; of one lesion none is known."""
    number = table["lesion_id"].str.extract(r"(\d+)$")[0]
    patient = "P" + number.where(table["lesion_id"] != "Lnv0", "unknown")
    first = table["lesion_id"].groupby(patient).transform("min")
    return table.assign(patient_id=patient.replace("Punknown", "unknown"), group=first)


@pytest.fixture(scope="module")
def metadata(ham10000: Path) -> pd.DataFrame:
    table = pd.read_csv(ham10000 / "HAM10000_metadata.csv")
    return table.assign(group=table["lesion_id"], sha256=table["image_id"])


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 1000),
    lesions=st.integers(3, 40),
    joined=st.lists(st.tuples(st.integers(0, 19), st.integers(0, 19)), max_size=8),
    test_share=st.floats(0.05, 0.4),
)
def test_no_lesion_and_no_group_is_on_two_sides(seed: int, lesions: int, joined: list, test_share: float) -> None:
    table = make_table(lesions + 2 * len(joined), seed=seed)
    names = table["lesion_id"].unique()
    for a, b in joined:  # near-duplicates join the groups of two lesions, whatever their diagnoses
        groups = table.loc[table["lesion_id"].isin([names[a], names[b]]), "group"].unique()
        table.loc[table["group"].isin(groups), "group"] = groups[0]
    parts = split(table, SplitChoice(test_share=test_share), HAM10000, seed=seed)
    assert set(parts) == set(PARTS)
    assert not prove(table, parts).is_leaking
    assert (parts.groupby(table["lesion_id"]).nunique() == 1).all()
    assert (parts.groupby(table["group"]).nunique() == 1).all()
    pd.testing.assert_series_equal(parts, split(table, SplitChoice(test_share=test_share), HAM10000, seed=seed))


@pytest.mark.parametrize("shares", [(0.5, 0.3), (0.9, 0.05), (0.05, 0.9), (0.4, 0.4), (0.6, 0.39)])
@pytest.mark.parametrize("lesions", [3, 4, 5, 7])
def test_large_shares_leave_each_diagnosis_in_every_part(lesions: int, shares: tuple[float, float]) -> None:
    table = make_table(lesions)
    parts = split(table, SplitChoice(test_share=shares[0], validation_share=shares[1]), HAM10000, seed=0)
    assert (pd.crosstab(table["dx"], parts) > 0).all(axis=None) and set(parts) == set(PARTS)
    choice = SplitChoice(name="source", source="vidir", test_share=0.05, validation_share=shares[1])
    parts = split(
        table.assign(dataset=["vidir" if name[-1] == "0" else "other" for name in table["lesion_id"]]),
        choice,
        HAM10000,
        seed=0,
    )
    rest = parts != "test"
    assert (pd.crosstab(table["dx"][rest], parts[rest]) > 0).all(axis=None)


def test_the_order_of_the_rows_does_not_matter() -> None:
    table = make_table()
    shuffled = table.sample(frac=1, random_state=1)
    one, other = (split(t, SplitChoice(), HAM10000, seed=5) for t in (table, shuffled))
    assert dict(zip(table["image_id"], one, strict=True)) == dict(zip(shuffled["image_id"], other, strict=True))


def test_no_patient_is_on_two_sides(tmp_path: Path) -> None:
    table = with_patients(make_table())
    parts = split(table, SplitChoice(), HAM10000, seed=3)
    assert prove(table, parts).shared_patients == 0 and set(parts) == set(PARTS)
    by_lesion = split(make_table(), SplitChoice(), HAM10000, seed=3)
    proof = prove(table, by_lesion)
    assert proof.is_leaking and proof.shared_patients == 19 and proof.shared_lesions == 0
    path = tmp_path / "mine.csv"
    pd.DataFrame({"image_id": table["image_id"], "part": by_lesion}).to_csv(path, index=False)
    with pytest.raises(LesionlabError, match=r"and 19 patients lie on two sides .* or a patient, in one part"):
        split(table, SplitChoice(name="file", file=str(path)), HAM10000, seed=0)


def test_a_patient_on_two_sides_is_a_leak_by_itself() -> None:
    """Other lesions, other groups and other contents: the patient alone is the same."""
    table = pd.DataFrame({"lesion_id": ["a", "b"], "group": ["a", "b"], "sha256": ["1", "2"], "patient_id": ["p", "p"]})
    proof = prove(table, pd.Series(["train", "test"]))
    assert proof.is_leaking and proof.shared_patients == 1 and proof.shared_lesions == proof.shared_groups == 0
    assert not prove(table.assign(patient_id=["p", "q"]), pd.Series(["train", "test"])).is_leaking
    assert not prove(table.drop(columns="patient_id"), pd.Series(["train", "test"])).is_leaking


def test_a_patient_with_a_melanoma_counts_for_it() -> None:
    """Else the melanomas of patients with many nevi would be tested or not as chance has it."""
    table = pd.DataFrame(
        [(f"P{n}", f"L{n}{dx}{k}", dx) for n in range(12) for dx, k in [("mel", 0), *(("nv", k) for k in range(4))]],
        columns=["patient_id", "lesion_id", "dx"],
    )
    table = table.assign(image_id=table["lesion_id"], group=table["patient_id"], dataset="a")
    parts = split(table, SplitChoice(), HAM10000, seed=0)
    assert set(parts[table["dx"] == "mel"]) == set(PARTS)
    assert prove(table, parts).shared_patients == 0


def test_without_patients_a_split_is_as_it_was() -> None:
    """HAM10000 names none: a digest of the parts that lesionlab gave before it knew of patients."""
    table = make_table()
    parts = split(table, SplitChoice(), HAM10000, seed=7)
    lines = "\n".join(f"{name},{part}" for name, part in zip(table["image_id"], parts, strict=True))
    assert hashlib.sha256(lines.encode()).hexdigest()[:16] == "e871994405b228c9"
    assert prove(table, parts).shared_patients is None


def test_every_diagnosis_is_in_every_part_in_proportion(metadata: pd.DataFrame) -> None:
    parts = split(metadata, SplitChoice(), HAM10000, seed=0)
    counts = pd.crosstab(metadata["dx"], parts)
    shares = counts.div(counts.sum(axis=1), axis=0)
    assert (shares["test"].between(0.10, 0.20)).all() and (shares["validation"].between(0.10, 0.20)).all()
    assert describe_parts(metadata, parts)["train"]["lesions"] == 5230


def test_the_notebooks_split_and_its_leak(metadata: pd.DataFrame) -> None:
    parts = split(metadata, SplitChoice(name="kaggle"), HAM10000, seed=0)
    assert parts.value_counts().to_dict() == {"train": 7210, "validation": 802, "test": 2003}
    proof = prove(metadata, parts)
    assert proof.is_leaking and proof.shared_lesions > 0
    assert proof.test_images_sharing_a_lesion == 779
    assert round(100 * proof.test_images_sharing_a_lesion_share, 1) == 38.9


def test_an_image_set_aside_moves_no_other_in_the_notebooks_split(metadata: pd.DataFrame) -> None:
    whole = split(metadata, SplitChoice(name="kaggle"), HAM10000, seed=0)
    kept = metadata.assign(row=np.arange(len(metadata))).drop(index=[17, 4000]).reset_index(drop=True)
    parts = split(kept, SplitChoice(name="kaggle"), HAM10000, seed=0, of_rows=len(metadata))
    assert (parts.to_numpy() == whole.drop(index=[17, 4000]).to_numpy()).all()


def test_one_clinic_is_held_out(metadata: pd.DataFrame) -> None:
    parts = split(metadata, SplitChoice(name="source", source="rosendahl"), HAM10000, seed=0)
    assert (metadata.loc[parts == "test", "dataset"] == "rosendahl").all()
    assert not (metadata.loc[parts != "test", "dataset"] == "rosendahl").any()
    assert set(parts) == set(PARTS) and not prove(metadata, parts).is_leaking


def test_an_unknown_clinic_is_named() -> None:
    with pytest.raises(UsageError, match=r"split.source = 'rosendal'.*did you mean 'rosendahl'"):
        split(make_table(), SplitChoice(name="source", source="rosendal"), HAM10000, seed=0)


def test_a_clinic_is_found_whatever_its_letters_and_one_alone_is_not_held_out() -> None:
    table = make_table()
    named = split(table, SplitChoice(name="source", source="Rosendahl"), HAM10000, seed=0)
    pd.testing.assert_series_equal(
        named, split(table, SplitChoice(name="source", source="rosendahl"), HAM10000, seed=0)
    )
    with pytest.raises(UsageError, match=r"one clinic alone, 'a', and nothing would be left to train on"):
        split(table.assign(dataset="a"), SplitChoice(name="source", source="a"), HAM10000, seed=0)


def test_a_clinic_that_has_an_image_of_every_lesion_is_not_held_out() -> None:
    table = make_table(most_images=1)
    both = pd.concat([table.assign(dataset="a"), table.assign(dataset="b", image_id="J" + table["image_id"])])
    both = both.assign(sha256=both["image_id"]).reset_index(drop=True)
    with pytest.raises(UsageError, match="Every lesion has an image from a: nothing is left to train on"):
        split(both, SplitChoice(name="source", source="a"), HAM10000, seed=0)


@pytest.mark.parametrize("number", [2, 9])
def test_the_notebooks_split_needs_ten_images(number: int) -> None:
    with pytest.raises(UsageError, match=f"'kaggle' needs 10 images or more; these are {number}"):
        split(make_table().head(number), SplitChoice(name="kaggle"), HAM10000, seed=0)


def test_a_clinic_without_which_a_diagnosis_is_too_rare() -> None:
    table = make_table(4)
    table.loc[(table["dx"] == "df") & (table["lesion_id"] != "Ldf1"), "dataset"] = "rosendahl"
    with pytest.raises(UsageError, match=r"Without rosendahl, dermatofibroma \(df\) has one lesion"):
        split(table, SplitChoice(name="source", source="rosendahl"), HAM10000, seed=0)


def test_a_group_counts_for_its_commonest_diagnosis_where_a_clinic_is_held_out() -> None:
    """A dermatofibroma that is joined to two nevi, by their images, leaves one group of its own diagnosis."""
    table = make_table(6, most_images=1).assign(dataset="vidir")
    table.loc[table["lesion_id"] == table.loc[table["dx"] == "mel", "lesion_id"].iloc[0], "dataset"] = "rosendahl"
    chosen = (table["dx"] != "df") | table["lesion_id"].isin(["Ldf1", "Ldf2"])
    table = table[chosen].reset_index(drop=True)
    nevi = table.loc[table["dx"] == "nv", "lesion_id"].unique()
    table.loc[table["lesion_id"].isin(["Ldf1", *nevi[:3]]), "group"] = "joined"
    with pytest.raises(UsageError, match=r"Without rosendahl, dermatofibroma \(df\) has one lesion"):
        split(table, SplitChoice(name="source", source="rosendahl"), HAM10000, seed=0)


@pytest.mark.parametrize("number", [1, 2])
def test_too_few_lesions_to_split(number: int) -> None:
    table = make_table(5)
    table = table[(table["dx"] != "df") | table["lesion_id"].isin(["Ldf0", "Ldf1"][:number])]
    with pytest.raises(UsageError, match=rf"dermatofibroma \(df\) has {number} lesion\(s\)"):
        split(table, SplitChoice(), HAM10000, seed=0)


def test_an_absent_diagnosis_is_no_fault() -> None:
    table = make_table(5)
    assert set(split(table[table["dx"] != "df"], SplitChoice(), HAM10000, seed=0)) == set(PARTS)


def test_shares_that_leave_nothing() -> None:
    with pytest.raises(UsageError, match="their sum must be below 1"):
        split(make_table(), SplitChoice(test_share=0.6, validation_share=0.5), HAM10000, seed=0)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    table = make_table()
    parts = split(table, SplitChoice(), HAM10000, seed=9)
    path = tmp_path / "mine.csv"
    pd.DataFrame({"image_id": table["image_id"], "part": parts}).to_csv(path, index=False)
    read = split(table, SplitChoice(name="file", file=str(path)), HAM10000, seed=0)
    assert read.tolist() == parts.tolist()


@pytest.mark.parametrize(
    "saved",
    [
        lambda text: text.replace(",", ";").encode("utf-8-sig"),
        lambda text: text.replace(",", "\t").encode("utf-16"),
        lambda text: text.replace(",", " , ").encode(),
        lambda text: text.replace(",t", ".jpg,t").replace(",v", ".PNG,v").encode(),
        lambda text: text.replace("image_id,part", "Image ID,PART").encode(),
        lambda text: text.replace("image_id", "isic_id").encode(),
        lambda text: text.replace("image_id", "image").replace("validation", "val").encode(),
        lambda text: text.replace("validation", "Valid").replace("train", "Train").replace("test", "TEST").encode(),
    ],
    ids=["semicolons", "UTF-16 and tabs", "blanks", "suffixes", "capitals", "isic_id", "image, val", "Train, TEST"],
)
def test_a_file_as_spreadsheets_save_it(saved, tmp_path: Path) -> None:
    table = make_table()
    parts = split(table, SplitChoice(), HAM10000, seed=9)
    path = tmp_path / "mine.csv"
    path.write_bytes(saved(pd.DataFrame({"image_id": table["image_id"], "part": parts}).to_csv(index=False)))
    assert split(table, SplitChoice(name="file", file=str(path)), HAM10000, seed=0).tolist() == parts.tolist()


def _replace(column: str, row: int, value: str):
    def change(given: pd.DataFrame) -> pd.DataFrame:
        given.loc[row, column] = value
        return given

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_replace("part", 3, "tset"), r"row 5: part 'tset' is not one of train, validation, test"),
        (_replace("image_id", 4, "I00000"), r"row 6: image_id 'I00000' is listed twice"),
        (lambda given: given.iloc[3:], r"gives no part to 3 images: I00000, I00001, I00002"),
        (
            lambda given: given.rename(columns={"part": "fold"}),
            r"no column 'part'; it has image_id, fold\. Rename the column 'fold' to part",
        ),
        (lambda given: given.assign(part="train"), r"puts no image in the part 'validation'"),
        (lambda given: given.iloc[:0, :0], r"is empty"),
    ],
)
def test_a_wrong_file_is_named(change, message: str, tmp_path: Path) -> None:
    table = make_table()
    path = tmp_path / "mine.csv"
    given = pd.DataFrame({"image_id": table["image_id"], "part": split(table, SplitChoice(), HAM10000, seed=9)})
    change(given).to_csv(path, index=False)
    with pytest.raises(UsageError, match=message):
        split(table, SplitChoice(name="file", file=str(path)), HAM10000, seed=0)


def test_no_split_file() -> None:
    with pytest.raises(UsageError, match="nowhere.csv cannot be opened"):
        split(make_table(), SplitChoice(name="file", file="nowhere.csv"), HAM10000, seed=0)


@pytest.mark.parametrize("what", ["lesion", "group", "content"])
def test_a_file_that_leaks_is_refused(what: str, tmp_path: Path) -> None:
    table = make_table(most_images=1)
    table.loc[1, {"lesion": "lesion_id", "group": "group", "content": "sha256"}[what]] = table.iloc[0][
        {"lesion": "lesion_id", "group": "group", "content": "sha256"}[what]
    ]
    parts = split(make_table(most_images=1), SplitChoice(), HAM10000, seed=0)
    parts[0], parts[1] = "train", "test"
    path = tmp_path / "mine.csv"
    pd.DataFrame({"image_id": table["image_id"], "part": parts}).to_csv(path, index=False)
    with pytest.raises(LesionlabError, match="The split 'file' leaks"):
        split(table, SplitChoice(name="file", file=str(path)), HAM10000, seed=0)


@settings(deadline=None)
@given(limit=st.integers(1, 400))
def test_a_limit_takes_whole_lesions_of_every_diagnosis(limit: int) -> None:
    table = make_table()
    taken = take_lesions(table, limit, HAM10000, seed=0)
    assert set(taken["dx"]) == set(DX)
    whole = table[table["lesion_id"].isin(taken["lesion_id"])]
    assert sorted(whole["image_id"]) == sorted(taken["image_id"])
