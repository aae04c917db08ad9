"""`lesionlab adapt`: on generated lesions and a model of three features, whose head is fitted in milliseconds."""

import csv
import dataclasses
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import tiny_onnx
from builders import draw, photographs
from conftest import lesionlab_here
from lesionlab.errors import UsageError
from lesionlab.evaluation.before_after import before_after, by_diagnosis
from lesionlab.evaluation.label_next import label_next
from lesionlab.evaluation.labelled_predictions import LabelledPredictions
from lesionlab.evaluation.metrics import headline
from lesionlab.inference.bundle import open_bundle, open_bytes
from lesionlab.inference.facts import Ood
from lesionlab.lifecycle.adapted_facts import ood_of, training_mix
from lesionlab.model.adapt import choose as choose_module
from lesionlab.model.adapt.anchored import fit_change, make_coordinates
from lesionlab.model.adapt.candidates import ClinicImages
from lesionlab.model.adapt.choose import choose
from lesionlab.model.adapt.priors import corrected, counted_mix, estimated_mix
from lesionlab.model.adapt.start import start_from
from lesionlab.model.export.head import Head, read_head, with_head
from lesionlab.taxonomy import HAM10000, Diagnosis, Taxonomy, read_taxonomy

DOCS = Path(__file__).parents[1] / "docs"
RULE = {
    "rule": "prior-corrected",
    "exponent": 1.0,
    "log_shift": (-np.log([0.1, 0.6, 0.1, 0.05, 0.1, 0.03, 0.02])).tolist(),
}


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty generated lesions, small."""
    from lesionlab.data.phantom.write import write_phantoms

    folder = tmp_path_factory.mktemp("clinic") / "clinic"
    write_phantoms(folder, lesions=60, seed=5, size_px=(60, 80))
    return folder


@pytest.fixture(scope="module")
def adapted(clinic: Path, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """What the command writes and prints."""
    out = tmp_path_factory.mktemp("adapted")
    done = lesionlab_here(
        *("adapt", tiny, "--data", clinic, "--out", out / "mine.onnx", "--report", out / "mine.html"),
        *("--unlabelled", clinic / "HAM10000_images", "--rank", out / "next.csv", "--suspects", out / "again.csv"),
    )
    assert done.returncode == 0, done.stderr
    return SimpleNamespace(folder=out, model=out / "mine.onnx", shown=done.stdout)


def a_head(d: int = 3, k: int = 7, seed: int = 0) -> Head:
    kernel = np.random.default_rng(seed).normal(size=(d, k)).astype(np.float32)
    return Head(kernel, np.zeros(k, np.float32), np.zeros(k, np.float32))


def clinic_images(features: np.ndarray, labels: np.ndarray, head: Head) -> ClinicImages:
    names, start = np.arange(len(labels)).astype(str), start_from(head, HAM10000, HAM10000)
    return ClinicImages(features.astype(np.float32), labels, names, names, start, head.log_shift, head.log_shift)


def test_the_new_file_predicts_as_any_model(adapted: SimpleNamespace, photos: list[Path], tmp_path: Path) -> None:
    table = tmp_path / "answers.csv"
    done = lesionlab_here("predict", *photos[:3], "--model", adapted.model, "--out", table)
    assert done.returncode == 0, done.stderr
    rows = list(csv.reader(table.read_text(encoding="utf-8").splitlines()))
    assert rows[0] == ["image", *HAM10000.columns] and len(rows) == 4
    assert all(abs(sum(map(float, row[1:])) - 1) < 1e-6 for row in rows[1:])


def test_the_facts_say_what_it_was_made_of(adapted: SimpleNamespace) -> None:
    facts = open_bundle(adapted.model).facts
    assert facts.name == "tiny-adapted"
    assert "images of 60 lesions" in facts.training_data and "made of tiny" in facts.training_data
    assert facts.thresholds.malignant is not None and facts.thresholds.uncertainty is not None
    assert facts.conformal is not None and sum(facts.conformal.images) == 60
    assert "What cross-validation measured" in facts.card and len(facts.operating) > 0


def test_the_terminal_and_the_report_promise_no_more_than_the_lesions_bear(adapted: SimpleNamespace) -> None:
    page = (adapted.folder / "mine.html").read_text(encoding="utf-8")
    for text in (adapted.shown, page):
        assert "60 lesions tell little" in text
        assert "No sensitivity is stated of diagnoses with fewer than 10 lesions" in text
        assert "Set anew by these lesions" in text and "threshold" in text
        assert "balanced accuracy" in text
    assert "generated, of no patient" in page and "<svg" in page
    assert not re.search(r"(src|href)=\"(?!#|data:)", page), "the report needs nothing from outside"


def test_the_matrix_of_the_report_fills_its_figure(adapted: SimpleNamespace) -> None:
    page = (adapted.folder / "mine.html").read_text(encoding="utf-8")
    drawn = page[page.index('aria-label="Confusion matrix"') :]
    width = float(re.search(r'viewBox="0 0 ([\d.]+)', drawn)[1])  # type: ignore[index]
    edges = re.search(r'id="confusion-patch_2">\s*<path d="M ([\d.]+) [\d.]+\s+L ([\d.]+)', drawn)
    assert edges is not None
    assert float(edges[1]) < 0.2 * width and float(edges[2]) > 0.95 * width
    assert 'id="reliability-patch_5"' not in page, "no frame above and beside the points"


def test_a_contact_sheet_ends_with_what_it_must_not_be_used_for(adapted: SimpleNamespace) -> None:
    with Image.open(adapted.folder / "again.png") as sheet:
        pixels = np.asarray(sheet.convert("L"))
    assert (len(pixels) - 34) % (160 + 34) == 0 and (pixels[-34:] < 200).any()


def test_the_report_says_whether_photographs_of_one_lesion_were_found_point_by_point(
    adapted: SimpleNamespace, clinic: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cv2", reason="OpenCV, the extra match, is not installed")
    page = (adapted.folder / "mine.html").read_text(encoding="utf-8")
    assert all("at another zoom were not looked for" in text for text in (adapted.shown, page))
    monkeypatch.setenv("LESIONLAB_CACHE", str(tmp_path / "cache"))
    assert lesionlab_here("check", clinic).returncode == 0
    given = ("adapt", tiny, "--data", clinic, "--out", tmp_path / "mine.onnx", "--report", tmp_path / "mine.html")
    shown, page = lesionlab_here(*given).stdout, (tmp_path / "mine.html").read_text(encoding="utf-8")
    assert all("found point by point (" in text and "not looked for" not in text for text in (shown, page))


def test_it_says_that_lesions_trained_on_make_its_figures_too_good(adapted: SimpleNamespace) -> None:
    page = (adapted.folder / "mine.html").read_text(encoding="utf-8")
    for text in (adapted.shown, page):
        assert "too good where the model was trained on these lesions, which only you can know" in text


def test_what_to_label_next_and_what_to_look_at_again(adapted: SimpleNamespace) -> None:
    ranked = pd.read_csv(adapted.folder / "next.csv")
    assert list(ranked["rank"]) == list(range(1, len(ranked) + 1)) and ranked["image"].is_unique
    assert (ranked["distance"] < 0.02).all(), "all of these images are labelled already"
    again = pd.read_csv(adapted.folder / "again.csv")
    assert (again["margin"] < 0).all() and (again["given"] != again["suggested"]).all()
    assert (adapted.folder / "next.png").read_bytes().startswith(b"\x89PNG")


def test_an_adapted_file_can_be_adapted_again(adapted: SimpleNamespace) -> None:
    bundle = open_bundle(adapted.model)
    head = read_head(bundle.data, np.array(bundle.facts.decision["log_shift"]), "mine")
    again = open_bytes(with_head(bundle.data, head, bundle.facts.to_json(), "mine"), Path("again.onnx"))
    pixels = np.random.default_rng(0).integers(0, 256, (3, tiny_onnx.HEIGHT, tiny_onnx.WIDTH, 3)).astype(np.uint8)
    first, second = (one.run(["probabilities", "features", "activation_maps"], pixels) for one in (bundle, again))
    for name in first:
        np.testing.assert_allclose(first[name], second[name], atol=1e-6)
    np.testing.assert_allclose(head.probabilities(first["features"]), first["probabilities"], atol=1e-6)


def test_a_head_of_eleven_diagnoses_with_a_rule_is_what_numpy_says(tiny: Path) -> None:
    bundle, eleven = open_bundle(tiny), read_taxonomy("milk10k")
    head = Head(a_head(k=11).kernel, np.arange(11, dtype=np.float32) / 9, np.linspace(0, 2, 11).astype(np.float32))
    facts = bundle.facts.to_json() | {"taxonomy": eleven.to_facts(), "classes": list(eleven.dx), "task": "milk10k"}
    made = open_bytes(with_head(bundle.data, head, facts, "tiny"), Path("eleven.onnx"))
    pixels = np.random.default_rng(1).integers(0, 256, (5, tiny_onnx.HEIGHT, tiny_onnx.WIDTH, 3)).astype(np.uint8)
    found = made.run(["probabilities", "features", "activation_maps"], pixels)
    np.testing.assert_allclose(head.probabilities(found["features"]), found["probabilities"], atol=1e-6)
    assert found["activation_maps"].shape[-1] == 11


def test_a_head_of_other_features_is_refused(tiny: Path) -> None:
    bundle = open_bundle(tiny)
    with pytest.raises(UsageError, match="takes 5 features, and tiny gives 3: they are of another model"):
        with_head(bundle.data, a_head(d=5), bundle.facts.to_json(), "tiny")


def test_the_model_is_left_as_it_is_where_nothing_is_better() -> None:
    rng, head = np.random.default_rng(0), a_head(seed=4)
    features = rng.normal(size=(150, 3))
    labels = np.array([rng.choice(7, p=p) for p in head.probabilities(features)])
    head = dataclasses.replace(head, log_shift=-np.log(counted_mix(labels, 7)).astype(np.float32))
    choice = choose(clinic_images(features, labels, head))
    assert choice.name == "as it is" and not choice.is_changed
    np.testing.assert_allclose(choice.head.probabilities(features), head.probabilities(features), atol=1e-3)


def test_a_model_that_is_left_as_it_is_is_measured_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where some of the folds would have chosen another: what the file says of each image is known."""
    rng = np.random.default_rng(4)
    labels = np.arange(60) % 7
    features, head = rng.normal(size=(60, 7)) + 2 * np.eye(7)[labels], a_head(7)
    monkeypatch.setattr(choose_module, "_best", lambda losses, *_: int(losses.shape[1] < 60))
    choice = choose(clinic_images(features, labels, head))
    assert choice.name == "as it is"
    np.testing.assert_allclose(choice.out_of_fold, choice.head.probabilities(features), atol=1e-6)


def test_a_model_that_is_wrong_gets_a_new_head() -> None:
    rng, truth = np.random.default_rng(0), a_head(seed=5)
    features = 2 * rng.normal(size=(200, 3))
    labels = truth.probabilities(features).argmax(axis=1)
    choice = choose(clinic_images(features, labels, a_head(seed=6)))
    assert choice.name.startswith("held head") and choice.scores[0].loss > 1.5 * min(s.loss for s in choice.scores)
    assert (choice.out_of_fold.argmax(axis=1) == labels).mean() > 0.5
    np.testing.assert_allclose(choice.out_of_fold.sum(axis=1), 1, atol=1e-9)


def test_a_strong_pull_gives_the_old_head_back_and_a_weak_one_fits() -> None:
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(60, 3)), np.arange(60) % 2
    features[:, 0] += 5 * labels
    coordinates, old = make_coordinates(features, 3).of(features), np.zeros((60, 2))
    strong, weak = (fit_change(coordinates, old, labels, s, log_mix=np.log([0.5, 0.5])) for s in (1e6, 1e-3))
    assert np.abs(strong.weights).max() < 1e-3
    assert (weak.logits(coordinates, old).argmax(axis=1) == labels).mean() > 0.9


def test_the_mix_is_found_without_labels() -> None:
    rng, mix, new = np.random.default_rng(0), np.array([0.7, 0.2, 0.1]), np.array([0.2, 0.3, 0.5])
    labels = rng.choice(3, 4000, p=new)
    values = rng.normal(size=4000) + 2.5 * labels
    densities = np.exp(-((values[:, None] - 2.5 * np.arange(3)) ** 2) / 2)
    given = densities * mix / (densities * mix).sum(axis=1, keepdims=True)
    found = estimated_mix(given, mix)
    np.testing.assert_allclose(found, new, atol=0.03)
    np.testing.assert_allclose(corrected(given, mix, mix), given)


def test_a_diagnosis_too_rare_to_estimate_keeps_its_share() -> None:
    """A network gives each diagnosis a little: of one that it hardly saw, more than its share."""
    rng, mix, new = np.random.default_rng(0), np.array([0.6997, 0.3, 0.0003]), np.array([0.3, 0.7, 0.0])
    labels = rng.choice(3, 300, p=new)
    values = rng.normal(size=300) + 3 * labels
    densities = np.exp(-((values[:, None] - 3 * np.arange(2)) ** 2) / 2)
    given = densities * mix[:2] / (densities * mix[:2]).sum(axis=1, keepdims=True)
    given = np.column_stack([given * 0.995, np.full(300, 0.005)])
    found = estimated_mix(given, mix)
    assert found[2] == pytest.approx(0.0003) and found.sum() == pytest.approx(1)
    np.testing.assert_allclose(found[:2], new[:2], atol=0.06)


def test_pictures_that_are_not_dermatoscopic_move_neither_the_mix_nor_the_limit(clinic: Path, tmp_path: Path) -> None:
    images = clinic / "HAM10000_images"
    ood = {"threshold": 0.0, "score": "mean of the values"}
    model = tiny_onnx.write(tmp_path / "m.onnx", tiny_onnx.facts(decision=RULE, ood=ood), has_ood_score=True)
    scores = dict(scores_of(model, images))
    limit = float(np.quantile(list(scores.values()), 0.9)) + 1e-6
    strange = sorted(image for image, score in scores.items() if score > limit)
    assert strange
    model = tiny_onnx.write(
        tmp_path / "m.onnx", tiny_onnx.facts(decision=RULE, ood=ood | {"threshold": limit}), has_ood_score=True
    )
    done = lesionlab_here("adapt", model, "--unlabelled", images, "--out", tmp_path / "all.onnx")
    assert done.returncode == 0, done.stderr
    assert f"{len(strange)} of them, which the model calls not dermatoscopic" in done.stdout
    assert strange[0] in done.stdout and open_bundle(tmp_path / "all.onnx").facts.ood.threshold == limit
    kept = [path for path in sorted(images.iterdir()) if path.stem not in strange]
    again = lesionlab_here("adapt", model, "--unlabelled", *kept, "--out", tmp_path / "kept.onnx")
    assert again.returncode == 0, again.stderr
    shares = [re.search("Estimated mix.*", text.stdout) for text in (done, again)]
    assert shares[0] and shares[1] and shares[0][0] == shares[1][0]


def scores_of(model: Path, images: Path) -> Iterator[tuple[str, float]]:
    for line in lesionlab_here("predict", images, "--model", model, "--json").stdout.splitlines():
        row = json.loads(line)
        yield row["image"], row["ood_score"]


def test_without_labels_the_mix_alone_is_corrected(clinic: Path, tmp_path: Path) -> None:
    ruled = tiny_onnx.write(tmp_path / "ruled.onnx", tiny_onnx.facts(decision=RULE))
    done = lesionlab_here("adapt", ruled, "--unlabelled", clinic / "HAM10000_images", "--out", tmp_path / "mix.onnx")
    assert done.returncode == 0, done.stderr
    assert "Estimated mix of diagnoses: mel" in done.stdout and "nothing is promised" in done.stdout
    assert "does not count its training images" in done.stdout and "nv" in done.stdout
    facts = open_bundle(tmp_path / "mix.onnx").facts
    assert facts.conformal is None and not facts.operating and "without labels" in facts.training_data


def test_unlabelled_images_may_be_a_pattern(clinic: Path, tmp_path: Path) -> None:
    ruled = tiny_onnx.write(tmp_path / "ruled.onnx", tiny_onnx.facts(decision=RULE))
    given = ("adapt", ruled, "--out", tmp_path / "mix.onnx", "--unlabelled")
    assert lesionlab_here(*given, clinic / "HAM10000_images" / "*.jpg").returncode == 0
    none = lesionlab_here(*given, clinic / "HAM10000_images" / "*.tif")
    assert none.returncode == 2 and "No file matches" in none.stderr


def test_the_training_mix_is_in_the_rule(tmp_path: Path) -> None:
    facts = open_bundle(tiny_onnx.write(tmp_path / "ruled.onnx", tiny_onnx.facts(decision=RULE))).facts
    np.testing.assert_allclose(training_mix(facts), [0.1, 0.6, 0.1, 0.05, 0.1, 0.03, 0.02], atol=1e-9)


def test_a_file_that_counts_its_training_images_needs_no_rule_for_their_mix(clinic: Path, tmp_path: Path) -> None:
    """The rule takes the three rarest for equally rare; what it adds to each is kept where the mix stays as it is."""
    counts = [100, 600, 100, 50, 140, 8, 2]
    clipped = np.maximum(np.array(counts) / 1000, 0.05)
    rule = RULE | {"log_shift": (-np.log(clipped)).tolist()}
    counted = tiny_onnx.write(tmp_path / "counted.onnx", tiny_onnx.facts(decision=rule, diagnosis_counts=counts))
    facts = open_bundle(counted).facts
    np.testing.assert_allclose(training_mix(facts), (np.array(counts) + 0.5) / 1003.5)
    done = lesionlab_here("adapt", counted, "--unlabelled", clinic / "HAM10000_images", "--out", tmp_path / "mix.onnx")
    assert done.returncode == 0, done.stderr
    assert "vasc" in done.stdout and "(in training 0.2%)" in done.stdout and "does not count" not in done.stdout
    mixed = open_bundle(tmp_path / "mix.onnx").facts
    assert sum(mixed.diagnosis_counts) == pytest.approx(90)
    moved = np.log(np.array(mixed.diagnosis_counts) / 90) - np.log(training_mix(facts))
    np.testing.assert_allclose(mixed.decision["log_shift"], -np.log(clipped) - moved, atol=1e-4)


@pytest.mark.parametrize("counts", [[1, 2, 3], [0] * 7, [1, 1, 1, 1, 1, 1, -1]])
def test_counts_that_fit_no_taxonomy_are_refused(tmp_path: Path, counts: list[int]) -> None:
    with pytest.raises(UsageError, match="its fact 'diagnosis_counts' has no valid value"):
        open_bundle(tiny_onnx.write(tmp_path / "wrong.onnx", tiny_onnx.facts(diagnosis_counts=counts)))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "a.onnx"], "Give labelled images by --data DIR, or images without labels by --unlabelled"),
        (["--unlabelled", "x", "--report", "r.html", "--out", "a.onnx"], "need labelled images: give them by --data"),
        (["--data", "x", "--rank", "r.csv", "--out", "a.onnx"], "--rank ranks images without labels"),
        (
            ["--data", "x", "--unlabelled", ".", "--out", "a.onnx"],
            "are ranked and not learnt from: name the table by --rank",
        ),
        (
            ["--data", "x", "--unlabelled", "none", "--rank", "r.csv", "--out", "a.onnx"],
            "--unlabelled none does not exist",
        ),
        (["--data", "x", "--out", "a.bin"], "a.bin does not end in .onnx"),
        (["--data", "x", "--out", "nowhere/a.onnx"], "The folder nowhere does not exist"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments: list[str], said: str) -> None:
    done = lesionlab_here("adapt", *arguments)
    assert done.returncode == 2 and said in done.stderr


def test_too_little_is_refused_with_the_remedy(tiny: Path, tmp_path: Path) -> None:
    draw(tmp_path / "one" / "mel", *(f"m{n}" for n in range(12)))
    draw(tmp_path / "few" / "mel", *(f"m{n}" for n in range(4)))
    draw(tmp_path / "few" / "nv", *(f"n{n}" for n in range(4)))
    photographs(tmp_path / "some", [f"p{n}.png" for n in range(3)], seed=0)
    out = tmp_path / "out.onnx"
    one, few = (lesionlab_here("adapt", tiny, "--data", tmp_path / name, "--out", out) for name in ("one", "few"))
    assert "one diagnosis" in one.stderr and "--unlabelled" in one.stderr
    assert "8 labelled lesions" in few.stderr and "fewer than 10" in few.stderr
    told = lesionlab_here("adapt", tiny, "--unlabelled", tmp_path / "some", "--out", out)
    assert "does not say in which mix" in told.stderr and "--data" in told.stderr
    ruled = tiny_onnx.write(tmp_path / "ruled.onnx", tiny_onnx.facts(decision=RULE))
    some = lesionlab_here("adapt", ruled, "--unlabelled", tmp_path / "some", "--out", out)
    assert "3 unlabelled images are too few" in some.stderr and "50 or more" in some.stderr
    assert {done.returncode for done in (one, few, told, some)} == {2} and not out.exists()


def test_lesions_of_one_patient_alone_are_refused(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clinic"
    draw(folder, *(f"i{n}" for n in range(12)))
    rows = "".join(f"i{n},l{n},{'mel' if n % 2 else 'nv'},P1\n" for n in range(12))
    (folder / "metadata.csv").write_text(f"image_id,lesion_id,dx,patient_id\n{rows}")
    done = lesionlab_here("adapt", tiny, "--data", folder, "--out", tmp_path / "out.onnx")
    assert done.returncode == 2 and "all 12 labelled lesions are of one patient" in done.stderr, done.stderr


def test_what_is_left_out_is_said(tiny: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clinic"
    for seed, dx in enumerate(("mel", "nv")):
        photographs(folder / dx, [f"{dx}{n}.png" for n in range(8)], seed=seed)
    (folder / "nv" / "broken.jpg").write_bytes(b"no picture")
    (folder / "nv" / "copy.png").write_bytes(min((folder / "nv").glob("nv*")).read_bytes())
    new = tmp_path / "new"
    photographs(new, ["a.png", "b.png"], seed=2)
    (new / "broken.jpg").write_bytes(b"no picture")
    given = (
        "adapt",
        tiny,
        "--data",
        folder,
        "--out",
        tmp_path / "out.onnx",
        "--unlabelled",
        new,
        "--rank",
        tmp_path / "r.csv",
    )
    done = lesionlab_here(*given)
    assert done.returncode == 0, done.stderr
    assert "2 images were left out: " in done.stdout and "No labelled lesion shows bcc" in done.stdout
    assert "2 unlabelled images; 1 more cannot be read" in done.stdout and "broken.jpg" in done.stdout


def test_diagnoses_that_the_model_lacks_and_a_taxonomy_that_contradicts_it() -> None:
    def clinics(*pairs: tuple[str, str], also: tuple[str, ...] = ()) -> Taxonomy:
        return Taxonomy("ours", tuple(Diagnosis(dx, dx.upper(), name, False, also) for dx, name in pairs))

    with pytest.raises(UsageError, match="None of the diagnoses of ours .wart, scar. is one of the model's"):
        start_from(a_head(), HAM10000, clinics(("wart", "wart"), ("scar", "scar")))
    with pytest.raises(UsageError, match="'nv' is 'dermatofibroma', which the model calls 'df'.*another dx"):
        start_from(a_head(), HAM10000, clinics(("nv", "dermatofibroma"), ("bkl", "benign keratosis")))
    start = start_from(a_head(), HAM10000, clinics(("nv", "melanocytic nevus"), ("wart", "wart")))
    assert start.new == ("wart",) and start.origin == (1, -1)
    named = clinics(("muttermal", "Muttermal"), also=("melanocytic nevus",))
    assert start_from(a_head(), HAM10000, named).origin == (1,), "by a synonym"
    with pytest.raises(UsageError, match="words of two of the model's diagnoses, df and nv"):
        start_from(a_head(), HAM10000, clinics(("spot", "spot"), also=("melanocytic nevus", "dermatofibroma")))


def test_old_answers_in_the_clinics_diagnoses_sum_to_one() -> None:
    start = start_from(a_head(), HAM10000, read_taxonomy("milk10k"))
    found = start.probabilities_of(np.random.default_rng(0).dirichlet(np.ones(7), 5))
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert (found[:, np.array(start.origin) < 0] == 0).all()


def test_few_of_a_clinics_own_pictures_are_rejected() -> None:
    scores = np.random.default_rng(0).normal(4, 1, 1000)
    moved = ood_of(Ood(3.3, "score"), scores[:200])
    assert moved is not None and (scores[200:] > moved.threshold).mean() <= 0.03
    kept = ood_of(Ood(9.0, "score"), scores)
    assert kept is not None and kept.threshold == 9.0, "the threshold is never lowered"
    assert ood_of(None, scores) is None


def test_the_first_to_label_are_unsure_and_unlike_each_other() -> None:
    rng = np.random.default_rng(0)
    near, far = rng.normal(0, 0.1, (20, 4)) + [1, 0, 0, 0], rng.normal(0, 0.01, (10, 4)) + [0, 5, 0, 0]
    features, sure = np.concatenate([near, far]), np.tile([0.98, 0.02], (30, 1))
    sure[3] = [0.5, 0.5]
    found = label_next(features, sure, near + 0.01)
    assert found.order[0] >= 20, "what is far from all that is labelled comes first"
    assert set(found.order.tolist()) == set(range(30)) and (np.sort(found.order[:3]) < 20).any(), "not ten of one kind"
    assert found.uncertainty.argmax() == 3 and found.margin[3] == 0


def test_before_and_after_tell_a_gain_from_chance() -> None:
    rng, labels = np.random.default_rng(0), np.arange(140) % 7
    good = np.full((140, 7), 0.02) + 0.86 * np.eye(7)[np.where(rng.random(140) < 0.8, labels, (labels + 1) % 7)]
    chance = rng.dirichlet(np.ones(7), 140)
    before, after = (LabelledPredictions(labels, p, np.arange(140).astype(str), HAM10000) for p in (chance, good))
    gains = {gain.name: gain for gain in before_after(before, after, seed=0)}
    assert gains["balanced accuracy"].verdict == "better" and gains["log loss"].verdict == "better"
    same = {gain.name: gain for gain in before_after(before, before, seed=0)}
    assert "by chance alone" in same.pop("calibration error").verdict, "no interval of it is honest"
    assert {gain.verdict for gain in same.values()} == {"not told apart"}
    assert all(gain.difference_interval == [0.0, 0.0] for gain in same.values())
    rounded = before.with_probabilities(before.probabilities.astype(np.float16).astype(np.float64))
    assert {gain.verdict for gain in before_after(before, rounded, seed=0)[:-1]} == {"not told apart"}
    assert by_diagnosis(before, after.take(np.arange(140)))[0].lesions == 20


def test_before_and_after_have_the_figures_of_every_other_report() -> None:
    """Probabilities near 0 order the images too; the log loss alone takes them for a thousandth."""
    rng, labels = np.random.default_rng(1), np.arange(210) % 7
    values = 12 * (rng.normal(size=(210, 7)) + np.eye(7)[labels])
    given = np.exp(values - values.max(axis=1, keepdims=True))
    part = LabelledPredictions(labels, given / given.sum(axis=1, keepdims=True), np.arange(210).astype(str), HAM10000)
    found, figures = (
        {gain.name: gain.before for gain in before_after(part, part, seed=0)},
        headline(labels, part.probabilities),
    )
    assert found["macro AUC"] == figures.macro_auc and found["balanced accuracy"] == figures.balanced_accuracy
    assert found["log loss"] < figures.log_loss


def test_few_lesions_all_right_are_no_proof() -> None:
    labels = np.arange(14) % 7
    part = LabelledPredictions(labels, 0.3 / 7 + 0.7 * np.eye(7)[labels], np.arange(14).astype(str), HAM10000)
    for gain in before_after(part, part, seed=0)[:3]:
        assert gain.before == 1.0 and np.isnan(gain.before_interval).all(), gain.name


@pytest.mark.slow
def test_the_walk_in_the_documentation_runs(clinic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/your-clinic.md, its commands in their order, with a small model in place of the one that comes with lesionlab."""
    monkeypatch.chdir(tmp_path)
    small = tiny_onnx.write(tmp_path / "small.onnx", tiny_onnx.facts(decision=RULE))
    (tmp_path / "clinic").symlink_to(clinic)
    (tmp_path / "new-pictures").symlink_to(clinic / "HAM10000_images")
    (tmp_path / "picture.jpg").symlink_to(min((clinic / "HAM10000_images").iterdir()))
    text = (DOCS / "your-clinic.md").read_text(encoding="utf-8")
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    run = [shlex.split(line) for line in lines if line.startswith("lesionlab ")]
    assert {"check", "adapt", "predict", "evaluate", "embed", "compare-data"} <= {words[1] for words in run}
    model = {"adapt": [small], "embed": ["--model", small], "compare-data": ["--model", small]}
    for words in run:
        if words[1] != "serve":  # does not end
            own = model.get(words[1], [])
            done = lesionlab_here(words[1], *own, *words[2:])
            assert done.returncode == 0, f"{words}: {done.stderr}"


def test_tables_of_pictures_replace_none(clinic: Path, tmp_path: Path) -> None:
    (tmp_path / "IMG_1.png").write_bytes(b"a photograph")
    given = ("adapt", "--data", clinic, "--out", tmp_path / "mine.onnx")
    done = lesionlab_here(*given, "--suspects", tmp_path / "IMG_1.csv")
    assert done.returncode == 2 and "would replace" in done.stderr
    done = lesionlab_here(*given, "--suspects", clinic / "again.csv")
    assert done.returncode == 2 and "lies among the images" in done.stderr
    both = ("--unlabelled", clinic / "HAM10000_images", "--rank", tmp_path / "a.csv", "--suspects", tmp_path / "a.csv")
    done = lesionlab_here(*given, *both)
    assert done.returncode == 2 and "give each a table of its own" in done.stderr
    assert (tmp_path / "IMG_1.png").read_bytes() == b"a photograph"


def test_what_is_promised_is_chosen_without_the_lesion(monkeypatch: pytest.MonkeyPatch) -> None:
    """Predictions out of fold have a rule that was chosen on the other folds alone; the new head's is chosen on all."""
    rng = np.random.default_rng(2)
    labels = np.arange(120) % 7
    features = rng.normal(size=(120, 7)) + 2 * np.eye(7)[labels]
    asked: list[int] = []
    monkeypatch.setattr(choose_module, "_exponent", lambda labels, *_: asked.append(len(labels)) or 1.0)
    choose(clinic_images(features, labels, a_head(7)))
    assert len(asked) == 6 and max(asked[:-1]) < 120 and asked[-1] == 120
