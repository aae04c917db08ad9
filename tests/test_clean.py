"""Judging a collection: nothing is lost, and what shows the same lesion stays in one group."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lesionlab.data.clean import Cleaned, Finding, clean
from lesionlab.data.duplicates import NearDuplicate
from lesionlab.data.layouts.recognise import TABLE_COLUMNS, Collection, read_collection
from lesionlab.data.pixels import decode_images
from lesionlab.errors import LesionlabError, UsageError
from lesionlab.taxonomy import DX, HAM10000


def collect(*rows: tuple[str, str, str], **columns: list) -> Collection:
    """Rows are image_id, lesion_id, dx."""
    table = pd.DataFrame(rows, columns=["image_id", "lesion_id", "dx"]).assign(
        dx_type="histo", age=50.0, sex="female", localization="back", dataset="rosendahl", path="/image.jpg"
    )
    table = table.assign(**columns)[list(TABLE_COLUMNS)]
    return Collection(Path("/data"), "images and metadata", table, (), HAM10000)


def facts_of(collection: Collection, **columns: list) -> pd.DataFrame:
    names = list(collection.table["image_id"])
    facts = {"image_id": names, "sha256": [f"sha of {name}" for name in names], "error": [""] * len(names)}
    return pd.DataFrame(facts | columns)


def pair(a: str, b: str) -> NearDuplicate:
    return NearDuplicate(a, b, distance=3, correlation=0.9)


def by_kind(cleaned: Cleaned) -> dict[str, Finding]:
    return {found.kind: found for found in cleaned.findings}


THREE = collect(("a", "L1", "nv"), ("b", "L2", "nv"), ("c", "L3", "mel"))


def test_a_clean_collection_stays_as_it_is() -> None:
    cleaned = clean(THREE, facts_of(THREE), [])
    assert list(cleaned.table.columns) == [*TABLE_COLUMNS, "sha256", "row", "group"]
    pd.testing.assert_frame_equal(cleaned.table[list(TABLE_COLUMNS)], THREE.table)
    assert list(cleaned.table["row"]) == [0, 1, 2] and list(cleaned.table["group"]) == ["L1", "L2", "L3"]
    assert list(cleaned.table["sha256"]) == ["sha of a", "sha of b", "sha of c"]
    assert (
        cleaned.findings == ()
        and list(cleaned.set_aside.columns) == ["image_id", "reason", "group"]
        and cleaned.set_aside.empty
    )


def test_missing_and_unreadable_images_are_set_aside() -> None:
    cleaned = clean(THREE, facts_of(THREE, error=["missing", "the file is empty (0 bytes)", ""]), [])
    assert cleaned.set_aside.to_dict("records") == [
        {"image_id": "a", "reason": "missing", "group": "L1"},
        {"image_id": "b", "reason": "the file is empty (0 bytes)", "group": "L2"},
    ]
    assert list(cleaned.table["image_id"]) == ["c"] and list(cleaned.table["row"]) == [2]
    assert list(cleaned.table.index) == [0]
    assert by_kind(cleaned)["image-missing"].items == ("a",)
    assert by_kind(cleaned)["image-unreadable"].items == ("b: the file is empty (0 bytes)",)


def test_of_the_same_file_the_first_is_kept_and_the_lesions_are_joined() -> None:
    collection = collect(("a", "L1", "nv"), ("b", "L2", "nv"), ("c", "L2", "nv"), ("d", "L3", "nv"))
    cleaned = clean(collection, facts_of(collection, sha256=["x", "x", "y", "z"]), [])
    assert list(cleaned.table["image_id"]) == ["a", "c", "d"]
    assert list(cleaned.table["group"]) == ["L1", "L1", "L3"], "c shows the lesion that a shows"
    assert by_kind(cleaned)["image-copy"].items == ("b: the same file as a",)


def test_the_same_file_under_two_diagnoses_is_set_aside_whole() -> None:
    cleaned = clean(THREE, facts_of(THREE, sha256=["x", "y", "x"]), [])
    assert list(cleaned.table["image_id"]) == ["b"]
    found = by_kind(cleaned)["image-copy-dx"]
    assert found.count == 2 and found.items[0] == "a: the same file under two diagnoses: a, c"
    assert "image-copy" not in by_kind(cleaned)


def test_lesions_of_one_patient_are_joined() -> None:
    collection = collect(("a", "L1", "nv"), ("b", "L2", "mel"), ("c", "L3", "nv"), ("d", "L4", "nv"), ("e", "L5", "nv"))
    table = collection.table.assign(patient_id=["P1", "unknown", "P2", "P1", "unknown"])
    known = Collection(collection.folder, collection.layout, table, (), HAM10000)
    cleaned = clean(known, facts_of(known), [pair("b", "c")])
    assert list(cleaned.table["group"]) == ["L1", "L2", "L2", "L1", "L5"]
    assert list(clean(collection, facts_of(collection), []).table["group"]) == ["L1", "L2", "L3", "L4", "L5"]


def test_unread_images_are_no_copies_of_each_other() -> None:
    cleaned = clean(THREE, facts_of(THREE, sha256=["", "", "z"], error=["missing", "missing", ""]), [pair("a", "b")])
    assert set(by_kind(cleaned)) == {"image-missing"}
    assert list(cleaned.table["group"]) == ["L3"]


def test_near_duplicates_are_kept_and_joined() -> None:
    cleaned = clean(THREE, facts_of(THREE), [pair("a", "b"), pair("b", "c")])
    assert len(cleaned.table) == 3 and set(cleaned.table["group"]) == {"L1"}
    assert by_kind(cleaned)["near-duplicate"].items == ("a ~ b",)
    assert by_kind(cleaned)["near-duplicate-dx"].items == ("b (nv) ~ c (mel)",)
    assert "one label is likely wrong" in by_kind(cleaned)["near-duplicate-dx"].decision


def test_near_duplicates_within_a_lesion_join_nothing() -> None:
    collection = collect(("a", "L1", "nv"), ("b", "L1", "nv"))
    cleaned = clean(collection, facts_of(collection), [pair("a", "b")])
    assert [(found.kind, found.items) for found in cleaned.findings] == [("near-duplicate-lesion", ("a ~ b",))]


def test_a_near_duplicate_that_is_set_aside_still_joins() -> None:
    collection = collect(("a", "L1", "nv"), ("b", "L2", "nv"), ("c", "L3", "nv"), ("d", "L3", "nv"))
    cleaned = clean(collection, facts_of(collection, sha256=["x", "y", "x", "z"]), [pair("b", "c")])
    assert list(cleaned.table["image_id"]) == ["a", "b", "d"] and set(cleaned.table["group"]) == {"L1"}


def test_ages() -> None:
    collection = collect(
        *((name, name, "nv") for name in "abcdefg"), age=[np.nan, 0.0, -1.0, 250.0, np.inf, 120.0, 45.5]
    )
    cleaned = clean(collection, facts_of(collection), [])
    np.testing.assert_array_equal(cleaned.table["age"], [np.nan] * 5 + [120, 45.5])
    found = by_kind(cleaned)
    assert found["age-empty"].items == ("a",) and found["age-zero"].items == ("b",)
    assert found["age-wrong"].items == ("c: -1", "d: 250", "e: inf")
    assert collection.table["age"][1] == 0, "the collection stays as it was read"


def test_unknown_and_contradicting_values() -> None:
    rows = [("a", "L1", "nv"), ("b", "L1", "nv"), ("c", "L2", "nv"), ("d", "L2", "nv")]
    collection = collect(
        *rows, sex=["unknown", "male", "male", "female"], localization=["back", "face", "unknown", "unknown"]
    )
    found = by_kind(clean(collection, facts_of(collection), []))
    assert found["sex-unknown"].items == ("a",) and found["localization-unknown"].items == ("c", "d")
    assert found["localization-two"].items == ("L1",) and found["sex-two"].items == ("L2",)


def test_an_absent_column_is_not_reported_a_second_time() -> None:
    collection = collect(("a", "L1", "nv"), age=[np.nan], sex=["unknown"])
    assert set(by_kind(clean(collection, facts_of(collection), []))) == {"age-empty", "sex-unknown"}
    absent = Finding("columns-absent", "", 2, "", ("age", "sex"))
    told = Collection(collection.folder, collection.layout, collection.table, (absent,), HAM10000)
    assert clean(told, facts_of(told), []).findings == ()


def test_nothing_left() -> None:
    with pytest.raises(UsageError, match=r"/data: no image is left of 3 \(first: a, missing\)"):
        clean(THREE, facts_of(THREE, error=["missing"] * 3), [])
    with pytest.raises(UsageError, match="no image is left of 2 .*the same file under two diagnoses: a, c"):
        two = collect(("a", "L1", "nv"), ("c", "L3", "mel"))
        clean(two, facts_of(two, sha256=["x", "x"]), [])


def test_facts_and_pairs_of_other_images_are_refused() -> None:
    with pytest.raises(LesionlabError, match="The decoded images are not those of /data"):
        clean(THREE, facts_of(THREE).iloc[::-1], [])
    with pytest.raises(LesionlabError, match="A near-duplicate names the image 'z', which is not in the table"):
        clean(THREE, facts_of(THREE), [pair("a", "z")])


@st.composite
def collections(draw: st.DrawFn) -> tuple[Collection, pd.DataFrame, list[NearDuplicate]]:
    """Any lesions, copies, unread images and near-duplicates."""
    number = draw(st.integers(1, 12))
    names = [f"image{index}" for index in range(number)]
    dx_of_lesion = draw(st.lists(st.sampled_from(DX), min_size=4, max_size=4))
    lesions = draw(st.lists(st.integers(0, 3), min_size=number, max_size=number))
    rows = [(name, f"L{lesion}", dx_of_lesion[lesion]) for name, lesion in zip(names, lesions, strict=True)]
    ages = draw(st.lists(st.floats(-5, 200) | st.just(np.nan), min_size=number, max_size=number))
    collection = collect(*rows, age=ages)
    errors = draw(st.lists(st.sampled_from(["", "", "", "missing", "damaged"]), min_size=number, max_size=number))
    contents = draw(st.lists(st.integers(0, 15), min_size=number, max_size=number))
    hashes = ["" if error else f"{content:x}" for content, error in zip(contents, errors, strict=True)]
    ends = draw(st.lists(st.tuples(*[st.integers(0, number - 1)] * 2), max_size=6))
    pairs = [pair(names[a], names[b]) for a, b in ends if a < b]
    return collection, facts_of(collection, sha256=hashes, error=errors), pairs


@pytest.mark.slow
@settings(max_examples=200)
@given(collections())
def test_nothing_is_lost_and_nothing_is_on_two_sides(
    given: tuple[Collection, pd.DataFrame, list[NearDuplicate]],
) -> None:
    collection, facts, pairs = given
    try:
        cleaned = clean(collection, facts, pairs)
    except UsageError as error:
        assert "no image is left" in str(error)
        return
    table, set_aside = cleaned.table, cleaned.set_aside
    kept, out = list(table["image_id"]), list(set_aside["image_id"])
    assert sorted(kept + out) == sorted(collection.table["image_id"])
    assert (set_aside["reason"] != "").all() and table["sha256"].is_unique
    assert list(collection.table["image_id"][table["row"]]) == kept
    assert (table.groupby("lesion_id")["group"].nunique() == 1).all()
    group = dict(zip(table["image_id"], table["group"], strict=True))
    for one in pairs:
        if one.image_id_a in group and one.image_id_b in group:
            assert group[one.image_id_a] == group[one.image_id_b]
    assert set(table["group"]) <= set(collection.table["lesion_id"])
    if not pairs and facts["sha256"][facts["error"] == ""].is_unique:
        assert (table["group"] == table["lesion_id"]).all()
    assert all(found.count == len(found.items) > 0 for found in cleaned.findings)
    assert ((table["age"] > 0) & (table["age"] <= 120) | table["age"].isna()).all()


def test_from_files_to_a_clean_table(tmp_path: Path) -> None:
    """The modules together: a missing, a damaged and a copied file."""
    rng = np.random.default_rng(0)
    for name in ("a", "b", "d"):
        Image.fromarray(rng.integers(0, 256, (20, 20, 3), np.uint8)).save(tmp_path / f"{name}.png")
    (tmp_path / "e.png").write_bytes((tmp_path / "a.png").read_bytes())
    (tmp_path / "d.png").write_bytes((tmp_path / "d.png").read_bytes()[:200])
    rows = "".join(f"{name},L{name},nv\n" for name in "abcde")
    (tmp_path / "metadata.csv").write_text(f"image_id,lesion_id,dx\n{rows}")
    collection = read_collection(tmp_path)
    images = list(zip(collection.table["image_id"], collection.table["path"], strict=True))
    cache = decode_images(images, height=16, width=16, crop="centre", cache_dir=tmp_path / "cache")
    cleaned = clean(collection, cache.facts, [])
    assert list(cleaned.table["image_id"]) == ["a", "b"]
    reasons = dict(zip(cleaned.set_aside["image_id"], cleaned.set_aside["reason"], strict=True))
    assert reasons["c"] == "missing" and reasons["e"] == "the same file as a" and "cut short" in reasons["d"]
    assert cache.pixels[cleaned.table["row"]].any(axis=(1, 2, 3)).all()


def test_the_real_metadata(ham10000: Path) -> None:
    collection = read_collection(ham10000)
    assert (collection.table["path"] != "").all()
    cleaned = clean(collection, facts_of(collection), [])
    counts = {found.kind: found.count for found in cleaned.findings}
    assert counts == {
        "age-empty": 57,
        "age-zero": 39,
        "sex-unknown": 57,
        "localization-unknown": 234,
        "localization-two": 2,
    }
    assert len(cleaned.table) == 10_015 and cleaned.set_aside.empty
    assert cleaned.table["age"].isna().sum() == 57 + 39 and cleaned.table["group"].nunique() == 7_470
    assert (cleaned.table["group"] == cleaned.table["lesion_id"]).all()
    errors = ["" if number % 5 else "missing" for number in range(10_015)]
    cleaned = clean(collection, facts_of(collection, error=errors), [])
    assert by_kind(cleaned)["image-missing"].count == len(cleaned.set_aside) == 2_003 == 10_015 - len(cleaned.table)
