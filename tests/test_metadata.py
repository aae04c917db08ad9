"""Age, sex and site beside the image: read, fitted, put into a model file, and into every answer."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import Browser, Route, expect

import tiny_onnx
from browsing import give, opened
from builders import write
from conftest import lesionlab_here
from lesionlab.data.patient import OLDEST_YEARS, SEXES, SITES, Patient, read_patient
from lesionlab.data.patient_table import read_patient_table
from lesionlab.errors import UsageError
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.evaluation.patient_fit import KnownPatients, choose_patient_terms, fit_patient_terms, gains_of_lesions
from lesionlab.evaluation.patient_terms import PatientTerms, log_odds, with_patients
from lesionlab.inference.model import load_model
from lesionlab.runs.directory import open_evaluated, open_run
from lesionlab.taxonomy import DX, HAM10000
from test_serve import serving

K = len(DX)
TERMS = PatientTerms(
    years=(20.0, 60.0),
    age=(tuple(0.1 * n for n in range(K)), tuple(-0.1 * n for n in range(K))),
    sex={"female": (0.5, *[0.0] * (K - 1)), "male": (-0.5, *[0.0] * (K - 1))},
    site={"trunk": (0.0, 1.0, *[0.0] * (K - 2))},
)
FACT = {"years": TERMS.years, "age": TERMS.age, "sex": TERMS.sex, "site": TERMS.site}
patients = st.builds(
    Patient,
    st.none() | st.floats(0.1, OLDEST_YEARS),
    st.none() | st.sampled_from(list(SEXES)),
    st.none() | st.sampled_from(list(SITES)),
)


@pytest.fixture(scope="module")
def knowing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model, with log odds in its file."""
    return tiny_onnx.write(tmp_path_factory.mktemp("model") / "knowing.onnx", tiny_onnx.facts(patient=FACT))


# Read


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (("55", "F", "lower_extremity"), Patient(55, "female", "lower extremity")),
        ((55.0, "male", "Head/Neck"), Patient(55, "male", "head and neck")),
        (("0.5", "m", "anterior torso"), Patient(0.5, "male", "trunk")),
        (("120", "Woman", "genital areas"), Patient(120, "female", "genital")),
        ((float("nan"), "unknown", ""), Patient()),
        ((None, "-", "n/a"), Patient()),
    ],
)
def test_words_of_every_data_set_are_read(written: tuple, read: Patient) -> None:
    found = read_patient(*written)
    assert found == read and not found.left_out


@pytest.mark.parametrize("age", ["0", "-5", "121", "300", "5_0", "old", "inf", "1e9"])
def test_an_age_out_of_range_is_left_out_and_said(age: str) -> None:
    found = read_patient(age, "female", None)
    (words,) = found.left_out
    assert found == Patient(None, "female", None) and f"age {age!r} is left out" in words and "up to 120" in words


def test_other_words_are_left_out_and_said() -> None:
    found = read_patient(40, "X", "palms/soles")
    sex, site = found.left_out
    assert found == Patient(40) and "sex 'X'" in sex and "site 'palms/soles'" in site and "head and neck" in site


@pytest.mark.parametrize("wrong", [{"age": 500}, {"age": 0}, {"sex": ["female"]}, {"site": "acral"}])
def test_a_patient_made_by_hand_is_checked(wrong: dict) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(UsageError, match=re.escape(f"{name} {str(value)!r} of a patient cannot be read: give ")):
        Patient(**wrong)


def test_a_patient_made_by_hand_is_written_in_one_way() -> None:
    made = Patient(np.float32(55), "F", "Back")  # type: ignore[arg-type]
    assert made == Patient(55.0, "female", "trunk") and json.dumps(made.as_dict())
    assert Patient(float("nan")) == Patient(None, "unknown", "") == Patient()


def test_a_table_by_the_names_of_isic(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "isic_id,age_approx,anatom_site_general\na.jpg,50,trunk\nb,300,nowhere\n")
    table = read_patient_table(path)
    assert table.patients == {"a": Patient(50, None, "trunk"), "b": Patient()}
    assert len(table.patients["b"].left_out) == 2
    assert table.columns == "age from age_approx, no sex, site from anatom_site_general; images by isic_id"


def test_of_two_columns_the_one_that_says_anything_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "image_id,age,age_approx,localization,site\na,,80,unknown,foot\nb,50,45,back,\n")
    assert read_patient_table(path).patients == {"a": Patient(80, None, "foot"), "b": Patient(50, None, "trunk")}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image_id,dx\na,nv\n", "needed are one of image_id"),
        ("age,sex\n50,male\n", "needed are one of image_id"),
        ("image_id,age\na,50\na,60\n", "row 3: of image 'a' a row above says something else"),
    ],
)
def test_a_table_that_cannot_be_used(text: str, words: str, tmp_path: Path, knowing: Path, photos: list[Path]) -> None:
    path = write(tmp_path / "t.csv", text)
    done = lesionlab_here("predict", photos[0], "--model", knowing, "--metadata", path)
    assert done.returncode == 2 and words in done.stderr and not done.stdout


# Added to an image's log odds


@given(st.lists(st.floats(0.001, 1), min_size=K, max_size=K), patients)
def test_log_odds_add_up(shares: list[float], patient: Patient) -> None:
    row = np.array([shares]) / sum(shares)
    (moved,) = with_patients(row, [patient], TERMS)
    assert moved.sum() == pytest.approx(1)
    if not patient.is_known:
        assert (moved == row[0]).all()
    shift = log_odds(patient, TERMS, K)
    ratio = np.log(moved / row[0])
    assert ratio - ratio[0] == pytest.approx(shift - shift[0], abs=1e-6)


def test_ages_between_are_interpolated_and_beyond_are_held() -> None:
    found = {age: log_odds(Patient(age), TERMS, K)[K - 1] for age in (1.0, 20.0, 40.0, 60.0, 120.0)}
    assert list(found.values()) == pytest.approx([0.6, 0.6, 0.0, -0.6, -0.6])


@pytest.mark.parametrize(
    "change",
    [
        {"years": (60.0, 20.0)},
        {"years": (20.0,)},
        {"sex": {"male": (0.0,)}},
        {"site": {"trunk": (float("inf"), *[0.0] * (K - 1))}},
        {"colour": 1},
    ],
)
def test_a_file_whose_log_odds_do_not_fit_is_refused(change: dict, tmp_path: Path) -> None:
    path = tiny_onnx.write(tmp_path / "m.onnx", tiny_onnx.facts(patient=FACT | change))
    with pytest.raises(UsageError, match="its fact 'patient' has no valid value"):
        load_model(path)


# Fitted


def drawn(number: int, *, seed: int, is_telling: bool = True) -> tuple[list[Patient], np.ndarray]:
    """Lesions of two of the diagnoses: akiec on old faces, nv on young trunks; or patients that tell nothing."""
    random = np.random.default_rng(seed)
    is_old = random.random(number) < 0.5
    labels = np.where(is_old, DX.index("akiec"), DX.index("nv"))
    told = is_old if is_telling else random.permutation(is_old)
    ages = np.where(told, random.normal(70, 6, number), random.normal(35, 6, number)).clip(1, OLDEST_YEARS)
    sites = np.where(told, "head and neck", "trunk")
    return [Patient(float(age), None, str(site)) for age, site in zip(ages, sites, strict=True)], labels


def parts(*, is_telling: bool) -> tuple[KnownPatients, LabelledPredictions, list[Patient]]:
    known, labels = drawn(600, seed=1, is_telling=is_telling)
    others, other_labels = drawn(200, seed=2, is_telling=is_telling)
    unsure = np.random.default_rng(3).dirichlet(np.full(K, 1.0), 200)
    training = KnownPatients(known, labels, np.arange(600), np.full(600, "here"))
    return training, LabelledPredictions(other_labels, unsure, np.arange(200), HAM10000), others


def test_what_age_and_site_tell_is_found() -> None:
    training, validation, others = parts(is_telling=True)
    terms = choose_patient_terms(training, validation, others)
    assert terms
    old, young = (log_odds(one, terms, K) for one in (Patient(75, None, "head and neck"), Patient(30, None, "trunk")))
    akiec, nv, mel = (DX.index(dx) for dx in ("akiec", "nv", "mel"))
    assert old[akiec] - old[nv] > 2 and young[nv] - young[akiec] > 2 and abs(old[mel] + young[mel]) < 1
    moved = with_patients(validation.probabilities, others, terms)
    assert (moved.argmax(axis=1) == validation.labels).mean() > 0.7 > 0.3 > validation.is_right.mean()


def test_patients_that_tell_nothing_are_not_taken() -> None:
    assert choose_patient_terms(*parts(is_telling=False)) is None


def test_too_few_or_unknown_patients_are_not_taken() -> None:
    training, validation, others = parts(is_telling=True)
    nothing = KnownPatients([Patient()] * 600, training.labels, training.lesions, training.sources)
    assert choose_patient_terms(nothing, validation, others) is None
    one = [others[0], *[Patient()] * 199]  # who happens to have what helps
    assert choose_patient_terms(training, validation, one) is None
    few = np.arange(200) < 20
    assert choose_patient_terms(training, validation.take(few), others[:20]) is None


def test_a_lesion_of_many_images_has_one_say() -> None:
    """Its twenty images gain, and forty other lesions lose."""
    labels, lesions = np.full(60, DX.index("nv")), np.array([0] * 20 + list(range(1, 41)))
    part = LabelledPredictions(labels, np.full((60, K), 1 / K), lesions, HAM10000)
    for_nv = tuple(float(dx == "nv") for dx in DX)
    terms = PatientTerms((20.0, 60.0), (for_nv, tuple(-0.1 * value for value in for_nv)), {}, {})
    gains = gains_of_lesions(terms, part, [Patient(20.0)] * 20 + [Patient(60.0)] * 40)
    assert len(gains) == 41 and gains[0] > 0.5 and (gains[1:] < 0).all()


def test_a_source_s_mix_is_not_taken_for_age() -> None:
    """Old patients of one source, young of the other, and each source with its own diagnosis: of a source, age tells nothing."""
    random = np.random.default_rng(4)
    is_first = np.arange(4000) < 2000
    ages = np.where(is_first, random.normal(65, 12, 4000), random.normal(50, 12, 4000)).clip(1, OLDEST_YEARS)
    labels = np.where(random.random(4000) < np.where(is_first, 0.8, 0.2), DX.index("akiec"), DX.index("nv"))
    known = [Patient(float(age)) for age in ages]

    def between(sources: np.ndarray) -> float:
        terms = fit_patient_terms(KnownPatients(known, labels, np.arange(4000), sources), K)
        old, young = log_odds(Patient(75), terms, K), log_odds(Patient(40), terms, K)
        gain = old - young
        return float(gain[DX.index("akiec")] - gain[DX.index("nv")])

    assert abs(between(np.where(is_first, "a", "b"))) < 0.5 < 1 < between(np.full(4000, "one"))


# In every answer


def test_predict_takes_a_table(knowing: Path, photos: list[Path], tmp_path: Path) -> None:
    known = [Patient(65, "female", "trunk"), Patient(25), Patient()]
    rows = [
        f"{path.stem},{one.age or ''},{one.sex or ''},{one.site or ''}"
        for path, one in zip(photos, known, strict=False)
    ]
    lines = ["image_id,age,sex,localization", *rows, f"{photos[3].stem},400,,", "other,500,,"]
    table = write(tmp_path / "t.csv", "\n".join(lines) + "\n")
    done = lesionlab_here("predict", *photos[:4], "--model", knowing, "--metadata", table, "--json")
    assert done.returncode == 0
    assert "age from age, sex from sex, site from localization; images by image_id" in done.stderr
    assert f"{photos[3]}: age '400' is left out" in done.stderr and "500" not in done.stderr
    assert "2 images are predicted from the picture alone" in done.stderr
    assert (
        f"has no row for {photos[2]}, {photos[3]}, or nothing" in done.stderr
        and "No image has a row" not in done.stderr
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    alone = load_model(knowing).predict(photos[:4])
    expected = with_patients(alone.probabilities, [*known, Patient()], TERMS)
    for answer, row in zip(found, expected, strict=True):
        assert list(answer["probabilities"].values()) == pytest.approx(row.tolist(), abs=1e-8)
    assert [answer.get("metadata") for answer in found] == [known[0].as_dict(), known[1].as_dict(), None, None]
    assert len(found[3]["left_out"]) == 1 and "left_out" not in found[0]
    model = load_model(knowing)
    by_name = {path.stem: one for path, one in zip(photos, known, strict=False)}
    for given_as in (table, str(table), by_name):
        assert model.predict(photos[:4], metadata=given_as).probabilities == pytest.approx(expected, abs=1e-8)
    one = model.predict(photos[0], metadata=known[0])[0]
    assert one.patient == known[0] and list(one.probabilities.values()) == pytest.approx(expected[0].tolist(), abs=1e-8)


def test_a_file_keeps_its_patient_under_another_name(knowing: Path, photos: list[Path], tmp_path: Path) -> None:
    for folder in ("p", "q"):
        (tmp_path / folder).mkdir()
        shutil.copy(photos[0], tmp_path / folder)
    table = write(tmp_path / "t.csv", f"image_id,age\n{photos[0].name},65\n")
    done = lesionlab_here("predict", tmp_path / "p", tmp_path / "q", "--model", knowing, "--metadata", table, "--json")
    first, second = map(json.loads, done.stdout.splitlines())
    assert first["image"] != second["image"] and first["probabilities"] == second["probabilities"]
    assert "alone" not in done.stderr


def test_a_row_that_names_a_folder_is_of_the_file_there(knowing: Path, photos: list[Path], tmp_path: Path) -> None:
    for folder, photo in zip("pq", photos, strict=False):
        (tmp_path / folder).mkdir()
        shutil.copy(photo, tmp_path / folder / "1.jpg")
    table = write(tmp_path / "t.csv", "image_id,age\np/1.jpg,25\nq/1,65\n")
    done = lesionlab_here("predict", tmp_path / "p", tmp_path / "q", "--model", knowing, "--metadata", table, "--json")
    assert [json.loads(line)["metadata"]["age"] for line in done.stdout.splitlines()] == [25, 65]
    by_path = {tmp_path / "p" / "1.jpg": Patient(25), str(tmp_path / "q" / "1.jpg"): Patient(65)}
    found = load_model(knowing).predict([*by_path], metadata=by_path)
    assert [item.patient.age for item in found] == [25, 65]


def test_metadata_of_no_image_is_said(knowing: Path, photos: list[Path], tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "image_id,age\nother,25\n")
    done = lesionlab_here("predict", *photos[:2], "--model", knowing, "--metadata", table, "--out", tmp_path / "p.csv")
    assert "No image has a row in" in done.stderr and "all predictions are of the picture alone" in done.stderr
    for metadata in ({}, {"other": Patient(25)}, table):
        with pytest.raises(UsageError, match="metadata has nothing of any image; the first is"):
            load_model(knowing).predict(photos[:2], metadata=metadata)
    alone = load_model(knowing).predict(photos[:1])
    assert (load_model(knowing).predict(photos[:1], metadata=Patient()).probabilities == alone.probabilities).all()
    with pytest.raises(UsageError, match="two patients for the image 'a'"):
        load_model(knowing).predict(photos[0], metadata={"a.jpg": Patient(5), "a.png": Patient(6)})


def test_images_are_streamed_with_their_patients(knowing: Path, tiny: Path, photos: list[Path]) -> None:
    model = load_model(knowing)
    known = list(model.with_metadata(photos[:2], Patient(65)))
    assert [item.patient for item in model.stream(known)] == [Patient(65)] * 2  # type: ignore[union-attr]
    assert [item.patient for item in load_model(tiny).predict(known)] == [Patient()] * 2  # a model that takes none


@pytest.mark.parametrize("wrong", [5, False, [Patient(3)], pd.DataFrame({"age": [3]}), {"a": {"age": 3}}, {"a": None}])
def test_metadata_of_another_kind_is_refused(wrong: object, knowing: Path, photos: list[Path]) -> None:
    with pytest.raises(UsageError, match="metadata"):
        load_model(knowing).predict(photos[0], metadata=wrong)  # type: ignore[arg-type]


def test_a_table_is_gone_on_with_by_the_same_metadata(knowing: Path, photos: list[Path], tmp_path: Path) -> None:
    out, table = tmp_path / "p.csv", write(tmp_path / "t.csv", f"image_id,age\n{photos[1].stem},65\n")
    common = ("predict", *photos[:3], "--model", knowing, "--out", out, "--resume")
    assert lesionlab_here("predict", *photos[:2], "--model", knowing, "--out", out).returncode == 0
    other = lesionlab_here(*common, "--metadata", table)
    assert other.returncode == 2 and "with other --metadata" in other.stderr
    out.unlink()
    for _ in range(2):
        assert lesionlab_here(*common, "--metadata", table).returncode == 0
    without = lesionlab_here(*common)
    assert without.returncode == 2 and "with other --metadata" in without.stderr


def test_a_model_that_takes_none_says_so(tiny: Path, photos: list[Path], tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", "image_id,age\na,50\n")
    done = lesionlab_here("predict", photos[0], "--model", tiny, "--metadata", table)
    assert done.returncode == 2 and "does not take age, sex and site" in done.stderr
    with pytest.raises(UsageError, match="does not take age"):
        load_model(tiny).predict(photos[0], metadata=Patient(50))


def test_shards_know_the_metadata_that_they_were_made_with(knowing: Path, photos: list[Path], tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", f"image_id,age\n{photos[0].stem},50\n")
    common = ("predict", *photos[:3], "--model", knowing, "--shards", tmp_path / "s", "--shard-format", "csv")
    assert lesionlab_here(*common, "--metadata", table).returncode == 0
    assert "3 images were done before" in lesionlab_here(*common, "--metadata", table).stderr
    write(table, f"image_id,age,sex\n{photos[0].stem},50,what\n")  # the same of what counts
    assert "3 images were done before" in lesionlab_here(*common, "--metadata", table).stderr
    other = lesionlab_here(*common)
    assert other.returncode == 2 and "or was made with other --metadata" in other.stderr


@pytest.fixture(scope="module")
def service(knowing: Path) -> Iterator[str]:
    with serving("--model", knowing) as (url, _):
        yield url


def ask(url: str, photo: Path, **form: str) -> httpx.Response:
    return httpx.post(f"{url}/v1/predict", files=[("image", (photo.name, photo.read_bytes()))], data=form, timeout=30)


def test_the_service_takes_them_as_fields(service: str, knowing: Path, photos: list[Path]) -> None:
    answer = ask(service, photos[0], age="65", sex="F", site="Trunk").json()
    expected = load_model(knowing).predict(photos[0], metadata=Patient(65, "female", "trunk"))
    assert list(answer["results"][0]["probabilities"].values()) == pytest.approx(expected.probabilities[0].tolist())
    (result,) = answer["results"]
    assert result["metadata"] == {"age": 65, "sex": "female", "site": "trunk"} and "left_out" not in result
    (odd,) = ask(service, photos[0], age="-1", site="moon").json()["results"]
    alone = load_model(knowing).predict(photos[0])
    assert list(odd["probabilities"].values()) == pytest.approx(alone.probabilities[0].tolist(), abs=1e-8)
    assert len(odd["left_out"]) == 2 and "age '-1'" in odd["left_out"][0] and "metadata" not in odd


def test_the_service_says_what_it_does_not_take(service: str, tiny: Path, photos: list[Path]) -> None:
    picture = ("image", ("a.jpg", photos[0].read_bytes()))
    twice = httpx.post(f"{service}/v1/predict", files=[picture, ("age", (None, "5")), ("age", (None, "6"))])
    assert twice.status_code == 422 and "the field 'age' twice" in twice.json()["error"]["reason"]
    address = httpx.post(f"{service}/v1/predict?age=5", files=[picture])
    assert address.status_code == 422 and "Send age as a field" in address.json()["error"]["reason"]
    long = ask(service, photos[0], age="0" * 300 + "55")
    assert long.status_code == 422 and "'age' has more than 200 bytes" in long.json()["error"]["reason"]
    with serving("--model", tiny) as (url, _):
        refused = ask(url, photos[0], age="50")
        assert refused.status_code == 422 and refused.json()["error"]["code"] == "no_metadata"
        assert ask(url, photos[0]).status_code == 200


def test_the_page_asks_for_them(service: str, knowing: Path, photos: list[Path], browser: Browser) -> None:
    for page in opened(browser, service):
        give(page, photos[:2])
        before = page.locator("#detail td.n").all_inner_texts()
        page.fill("#patient-age", "65")
        page.keyboard.press("Tab")
        expect(page.locator("#patient-sex")).to_be_focused()
        page.select_option("#patient-sex", "female")
        expect(page.locator("#detail")).to_contain_text("take into account: age 65, female.")
        top = load_model(knowing).predict(photos[0], metadata=Patient(65, "female"))[0]
        expect(page.locator("#detail th.top-one")).to_have_text(top.name)
        page.select_option("#patient-site", "trunk")
        expect(page.locator("#detail")).to_contain_text("take into account: age 65, female, trunk.")
        assert page.locator("#detail td.n").all_inner_texts() != before
        page.locator("#gallery li button").nth(1).click()
        expect(page.locator("#patient-age")).to_have_value("")  # another image, of another patient
        page.locator("#gallery li button").nth(0).click()
        expect(page.locator("#patient-age")).to_have_value("65")
        page.fill("#patient-age", "0")
        page.keyboard.press("Tab")
        expect(page.locator("#detail")).to_contain_text("take into account: age 65, female, trunk.")


def test_an_age_is_typed_to_its_end_while_an_answer_comes(service: str, photos: list[Path], browser: Browser) -> None:
    held: list[Route] = []
    for page in opened(browser, service):
        give(page, photos[:1])
        page.route("**/v1/predict*", lambda route: held.append(route))  # a slow service
        with page.expect_request("**/v1/predict*"):
            page.select_option("#patient-site", "trunk")
        page.locator("#patient-age").press("6")
        with page.expect_response("**/v1/predict*"):
            held[0].continue_()
        page.wait_for_timeout(300)
        page.keyboard.press("4")
        expect(page.locator("#patient-age")).to_have_value("64")
        page.unroute("**/v1/predict*")
        page.keyboard.press("Tab")
        expect(page.locator("#detail")).to_contain_text("take into account: age 64, trunk.")
        expect(page.locator("#patient-sex")).to_be_focused()


def test_a_model_that_takes_none_has_no_fields_on_its_page(tiny: Path, photos: list[Path], browser: Browser) -> None:
    with serving("--model", tiny) as (url, _):
        for page in opened(browser, url):
            give(page, photos[:1])
            expect(page.locator("#patient-age")).to_have_count(0)


# A whole run


@pytest.fixture(scope="module")
def told(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Generated lesions whose patients' age and site tell the diagnosis."""
    folder = tmp_path_factory.mktemp("told") / "lesions"
    shutil.copytree(phantoms, folder)
    (path,) = folder.rglob("*metadata.csv")
    table = pd.read_csv(path)
    table["age"] = 10 + 12 * table["dx"].map(DX.index)
    table["localization"] = np.where(table["dx"] == "nv", "trunk", "face")
    table.to_csv(path, index=False)
    return folder


@pytest.mark.slow
def test_a_run_learns_what_its_patients_tell(
    told: Path, tiny: Path, tmp_path: Path, undrawn: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lesionlab.evaluation.patient_fit.FEWEST", 10)
    out = tmp_path / "run"
    done = lesionlab_here("probe", "--data", told, "--model", tiny, "--out", out)
    assert done.returncode == 0 and "age, sex and site help on the validation part" in done.stdout, done.stderr
    metrics = open_run(out).metrics()
    assert metrics.decision and metrics.decision.patient
    assert metrics.stages["patient"].log_loss < metrics.test.log_loss
    card = (out / "card.md").read_text(encoding="utf-8")
    assert "with age, sex and site as well" in card and "--metadata" in card
    assert load_model(out).facts.patient == metrics.decision.patient and "patient" not in load_model(out).facts.decision
    assert "with age, sex and site as well" in (out / "report.html").read_text(encoding="utf-8")
    elsewhere = (
        "evaluate",
        out,
        "--data",
        told,
        "--split",
        out / "splits.csv",
        "--out",
        tmp_path / "e",
        "--use-metadata",
    )
    first = lesionlab_here(*elsewhere)
    assert first.returncode == 0 and "from the picture alone" not in first.stdout + first.stderr
    compared = lesionlab_here("compare", out, tmp_path / "e")
    assert (
        compared.returncode == 0 and f"Note: {tmp_path / 'e'} was predicted from age, sex and site" in compared.stdout
    )
    assert "Note:" not in lesionlab_here("compare", out, out).stdout
    evaluated = open_evaluated(tmp_path / "e")
    assert evaluated.metrics().test.log_loss == pytest.approx(metrics.stages["patient"].log_loss, abs=1e-4)
    assert evaluated.metrics().given.endswith("with age, sex and site")
    report = (tmp_path / "e" / "report.html").read_text(encoding="utf-8")
    assert "images, with age, sex and site</h1>" in report and "age, sex and site by log odds" in report
    refused = lesionlab_here("evaluate", tiny, "--data", told, "--out", tmp_path / "f", "--use-metadata")
    assert refused.returncode == 2 and "does not take age" in refused.stderr
    shaken = lesionlab_here("evaluate", out, "--data", told, "--out", tmp_path / "g", "--use-metadata", "--robustness")
    assert shaken.returncode == 2 and "leave out --use-metadata" in shaken.stderr
    (table,) = told.rglob("*metadata.csv")
    partly = tmp_path / "partly"
    shutil.copytree(told, partly)
    rows = pd.read_csv(table)
    rows.loc[:1, ["age", "sex", "localization"]] = np.nan, "unknown", "unknown"
    rows.to_csv(partly / table.relative_to(told), index=False)
    two = lesionlab_here("evaluate", out, "--data", partly, "--out", tmp_path / "i", "--use-metadata")
    assert f"2 of {len(rows)} images are predicted from the picture alone" in two.stdout + two.stderr, two.stderr
    silent = tmp_path / "silent"
    shutil.copytree(told, silent)
    pd.read_csv(table)[["lesion_id", "image_id", "dx"]].to_csv(silent / table.relative_to(told), index=False)
    nothing = lesionlab_here("evaluate", out, "--data", silent, "--out", tmp_path / "h", "--use-metadata")
    assert nothing.returncode == 2 and "have no age, sex or site that can be read" in nothing.stderr


def with_ages(phantoms: Path, folder: Path, of_nevi: float, of_others: float) -> Path:
    """Generated lesions, of whose patients the age alone is known."""
    shutil.copytree(phantoms, folder)
    (path,) = folder.rglob("*metadata.csv")
    table = pd.read_csv(path)
    ages = np.where(table["dx"] == "nv", of_nevi, of_others)
    table.assign(age=ages, sex="unknown", localization="unknown").to_csv(path, index=False)
    return folder


@pytest.mark.slow
def test_adapt_keeps_them_where_they_help(phantoms: Path, tmp_path: Path) -> None:
    for_nevi = [float(dx == "nv") for dx in DX]
    terms = {"years": [20.0, 80.0], "age": [for_nevi, [-value for value in for_nevi]], "sex": {}, "site": {}}
    model = tiny_onnx.write(tmp_path / "m.onnx", tiny_onnx.facts(patient=terms))
    few = with_ages(phantoms, tmp_path / "few", 20.0, 80.0)
    (path,) = few.rglob("*metadata.csv")
    table = pd.read_csv(path)
    table.assign(age=table["age"].where(np.arange(len(table)) < 20)).to_csv(path, index=False)
    done = lesionlab_here("adapt", model, "--data", few, "--out", tmp_path / "few.onnx")
    assert "lesions, and of fewer than 50 it cannot be told whether they help" in done.stdout, done.stdout + done.stderr
    said = {
        (20.0, 80.0): "Age, sex and site help these images too",
        (80.0, 20.0): "does not take age, sex and site: what the old file knows of them does not help",
        (np.nan, np.nan): "does not take age, sex and site: the data do not have them",
    }
    for ages, words in said.items():
        data, out = with_ages(phantoms, tmp_path / str(ages), *ages), tmp_path / f"{ages[0]}.onnx"
        done = lesionlab_here("adapt", model, "--data", data, "--out", out)
        assert done.returncode == 0 and words in done.stdout, done.stdout + done.stderr
        assert (load_model(out).facts.patient == load_model(model).facts.patient) == words.startswith("Age")
