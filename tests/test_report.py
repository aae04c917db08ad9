"""The report as a reader gets it: whole, self-contained, and every number the one in metrics.json."""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
import pytest

from builders import change_json
from lesionlab.data.explore import age_band_names, explore, mean_images
from lesionlab.lifecycle.run import rewrite_report
from lesionlab.report import card as model_card
from lesionlab.report import page
from lesionlab.report.checklists import HERE, PARTLY, RUN, YOURS, checklists
from lesionlab.runs.directory import open_run
from lesionlab.taxonomy import DX, HAM10000

VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """Collects elements, and checks that every tag that opens closes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def attributes(self, name: str) -> list[str]:
        return [attributes[name] for _, attributes in self.elements if name in attributes]


@pytest.fixture(scope="module")
def run_dir(finished: tuple[Path, str]) -> Path:
    return finished[0]


@pytest.fixture
def copy(run_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run_dir, tmp_path / "copy"))


def write_report(folder: Path) -> Path:
    return rewrite_report(open_run(folder))


def write_card(folder: Path) -> Path:
    run = open_run(folder)
    manifest = run.manifest
    facts = (manifest.evaluated, manifest.data, manifest.split, manifest.pixels, manifest.model)
    model_card.write_card(folder, run.metrics(), *facts)
    return folder / "card.md"


def test_every_number_is_the_one_in_metrics_json(run_dir: Path) -> None:
    page = Page((run_dir / "report.html").read_text(encoding="utf-8"))
    metrics = json.loads((run_dir / "metrics.json").read_text())
    traced = [attributes for tag, attributes in page.elements if tag == "data"]
    assert len(traced) > 80
    for attributes in traced:
        value = metrics
        for name in attributes["data-key"].split("."):
            value = value[int(name)] if isinstance(value, list) else value[name]
        assert float(attributes["value"]) == value, attributes["data-key"]


def test_the_page_is_one_file(run_dir: Path) -> None:
    page = Page((run_dir / "report.html").read_text(encoding="utf-8"))
    for source in page.attributes("src") + page.attributes("href") + page.attributes("xlink:href"):
        assert source.startswith(("data:image/", "#")), source
    text = (run_dir / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"<script|@import|url\((?!#)", text)


def test_ids_are_unique_and_links_lead_somewhere(run_dir: Path) -> None:
    page = Page((run_dir / "report.html").read_text(encoding="utf-8"))
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    targets = {link[1:] for link in page.attributes("href") + page.attributes("xlink:href") if link.startswith("#")}
    assert targets <= set(ids)


def test_it_can_be_read_without_seeing(run_dir: Path) -> None:
    page = Page((run_dir / "report.html").read_text(encoding="utf-8"))
    assert ("html", {"lang": "en"}) in page.elements
    assert all(attributes.get("alt") for tag, attributes in page.elements if tag == "img")
    assert all(attributes.get("scope") for tag, attributes in page.elements if tag == "th")
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:], strict=False))


def test_the_fourteen_steps_are_its_sections(run_dir: Path) -> None:
    page = Page((run_dir / "report.html").read_text(encoding="utf-8"))
    assert [i for i in page.attributes("id") if i.startswith("step-")] == [f"step-{n}" for n in range(1, 15)]


def test_it_says_what_it_is_made_from(run_dir: Path) -> None:
    text = (run_dir / "report.html").read_text(encoding="utf-8")
    assert "not a medical device" in text and "Generated lesions." in text
    for figure in (run_dir / "figures").glob("*.svg"):
        assert "generated lesions" in figure.read_text(encoding="utf-8"), figure.name


def test_it_can_be_made_again_without_training(copy: Path) -> None:
    before = (copy / "report.html").read_bytes()
    (copy / "report.html").unlink()
    assert write_report(copy).read_bytes() == before


def test_a_leak_stands_in_red(copy: Path) -> None:
    assert "This split leaks" not in (copy / "report.html").read_text(encoding="utf-8")

    def leak(manifest: dict) -> None:
        proof = manifest["split"]["proof"]
        proof |= {"is_leaking": True, "test_images_sharing_a_lesion": 779, "test_images": 2003}
        proof["test_images_sharing_a_lesion_share"] = 779 / 2003

    change_json(copy / "manifest.json", leak)
    text = write_report(copy).read_text(encoding="utf-8")
    assert re.search(r'class="box leak".*779 of 2,003 test images \(38\.9.%\)', text, re.DOTALL)
    assert "This split leaks" in write_card(copy).read_text(encoding="utf-8")


def test_an_undefined_figure_is_said_to_be_so(copy: Path) -> None:
    def forget(metrics: dict) -> None:
        row = metrics["test"]["per_class"]["df"]
        row |= dict.fromkeys(("sensitivity", "f1", "auc", "average_precision", "misclassified", "sensitivity_interval"))

    change_json(copy / "metrics.json", forget)
    assert "not available" in write_report(copy).read_text(encoding="utf-8")
    assert "not available" in write_card(copy).read_text(encoding="utf-8")


def test_what_was_not_tested_or_trained_on_is_said(copy: Path) -> None:
    """Two diagnoses in the test part, one of them in no training image; figures without an interval; a limit."""

    def lack(metrics: dict) -> None:
        for dx, row in metrics["test"]["per_class"].items():
            row["images"] = 9 if dx in ("mel", "nv") else 0
        metrics["test"]["intervals"]["macro_auc"] = [None, None]
        metrics["histology"] = None

    def limit(manifest: dict) -> None:
        manifest["data"]["kept"] = 1234
        manifest["split"]["untrained"] = ["mel"]

    before = (copy / "report.html").read_text(encoding="utf-8")
    assert "Not trained on" not in before and "the others are not tested" not in before and "--limit" not in before
    change_json(copy / "metrics.json", lack)
    change_json(copy / "manifest.json", limit)
    text = write_report(copy).read_text(encoding="utf-8")
    assert (
        "mean over the 2 diagnoses that the test part has (mel, nv), where always predicting one diagnosis gets 0.500"
        in text
    )
    assert "Not trained on: mel." in text and "1,234 images were read and kept; of these" in text
    assert "not available</span> to" not in text
    card = write_card(copy).read_text(encoding="utf-8")
    assert "are means over the 2 diagnoses that the test part has (mel, nv); the others are not tested" in card
    assert "**Not trained on, but tested: mel.**" in card and "of 1,234 images that were read and kept" in card


@pytest.mark.parametrize(("rule", "exponent"), [("argmax", 0.0), ("prior-corrected", 0.0), ("prior-corrected", 0.5)])
def test_a_rule_that_changes_nothing_costs_nothing(copy: Path, rule: str, exponent: float) -> None:
    change_json(copy / "metrics.json", lambda metrics: metrics["decision"].update(rule=rule, exponent=exponent))
    report, card = write_report(copy).read_text(encoding="utf-8"), write_card(copy).read_text(encoding="utf-8")
    for text in (report, card):
        assert ("costs some calibration" in text) is (exponent > 0)
    assert ("Before the rule the network had" in report) is (exponent > 0)
    assert ("predicts the likeliest diagnosis" in card) is (exponent == 0)
    assert rule == "prior-corrected" or "both chosen" not in card


def test_what_histology_says_depends_on_its_figure(copy: Path) -> None:
    def confirm(images: int, change_by: float) -> str:
        def put(metrics: dict) -> None:
            test = metrics["test"]
            metrics["histology"] = test | {"counts": dict.fromkeys(test["per_class"], 1), "images": images}
            metrics["histology"]["balanced_accuracy"] = test["balanced_accuracy"] + change_by

        change_json(copy / "metrics.json", put)
        return write_report(copy).read_text(encoding="utf-8")

    tested = json.loads((copy / "metrics.json").read_text())["test"]["images"]
    assert "That is the whole test part." in confirm(tested, 0)
    assert "this is the harder figure" in confirm(tested - 1, -0.1)
    assert "harder" not in confirm(tested - 1, 0.1)


def test_patients_are_spoken_of_as_the_data_name_them(copy: Path) -> None:
    def write(**proof: int) -> list[str]:
        def name(manifest: dict) -> None:
            manifest["data"]["is_generated"] = False
            manifest["data"] |= {"patients": {"known": 12, "images_without": 3}} if proof else {}
            manifest["split"]["proof"] |= proof

        change_json(copy / "manifest.json", name)
        change_json(copy / "metrics.json", lambda metrics: metrics.update(is_generated=False))
        return [write(copy).read_text(encoding="utf-8") for write in (write_report, write_card)]

    for text in write():
        assert "The data name no patients: lesions of one patient may lie on two sides." in text
    for text in write(shared_patients=0):
        assert "No patient lies on two sides, as far as the data name them" in text
    report, _ = write(shared_patients=0)
    assert "lesion and near-duplicate, patient" in report and "There is no patient id" not in report
    for text in write(shared_patients=2):
        assert "2 patients have images on two sides." in text


def test_the_card_says_nothing_of_ham10000_that_it_cannot_know(copy: Path) -> None:
    change_json(copy / "metrics.json", lambda metrics: metrics.update(is_generated=False))
    card = write_card(copy).read_text(encoding="utf-8")
    assert "The weights carry the licence of the data; HAM10000's is CC BY-NC 4.0" in card
    assert "as in HAM10000, a network that saw it would" in card and "few clinics" not in card


def test_hostile_text_is_only_text(copy: Path) -> None:
    hostile = "<script>alert(1)</script>"

    def poison(manifest: dict) -> None:
        manifest["data"]["folder"] = hostile
        manifest["set_aside"] = [{"image_id": hostile, "reason": hostile}]

    change_json(copy / "manifest.json", poison)
    text = write_report(copy).read_text(encoding="utf-8")
    assert "<script" not in text and "&lt;script&gt;" in text


def test_the_card_holds_the_results(run_dir: Path) -> None:
    card = (run_dir / "card.md").read_text(encoding="utf-8")
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert f"| balanced accuracy | {metrics['test']['balanced_accuracy']:.3f} |" in card
    assert "not a medical device" in card and "Trained on generated lesions" in card


def test_the_card_says_of_groups_what_was_computed(copy: Path) -> None:
    """The mark is Holm's, of as many groups as have a rest to be compared with; a refusal score is allowed for."""

    def mark(metrics: dict) -> None:
        row = {"by": "sex", "lesions": 30, "accuracy": 0.5, "interval": [0.2, 0.8], "expected": 0.6, "p": 0.5}
        row |= dict.fromkeys(("gap", "gap_interval", "p_holm", "malignant_found", "malignant_interval"))
        row |= {"images": 40, "malignant": 0}
        metrics["subgroups"] = [
            row | {"group": "female", "stands_out": False},
            row | {"group": "male", "stands_out": True},
            row | {"group": "alone", "stands_out": False, "expected": None, "p": None},
        ]

    change_json(copy / "metrics.json", mark)
    card = write_card(copy).read_text(encoding="utf-8")
    assert "| sex | male \\* | 30 |" in card and "| sex | female | 30 |" in card
    assert (
        "the accuracy of all other test images if they had" in card
        and "corrected for 2 groups by Holm's method" in card
    )
    assert "whole test part" not in card and "by chance" not in card

    change_json(copy / "metrics.json", lambda metrics: metrics.update(subgroups=[]))
    card = write_card(copy).read_text(encoding="utf-8")
    assert "Not available: no group has 20 test lesions." in card and "Holm" not in card
    assert "always answers with" not in card and 'decides "not dermatoscopic" above its threshold' in card


def test_mistakes_are_the_most_confident_ones(run_dir: Path) -> None:
    shown = json.loads((run_dir / "figures" / "mistakes.json").read_text())
    table = pd.read_csv(run_dir / "predictions.csv")
    wrong = table[(table["part"] == "test") & (table["truth"] != table["predicted"])]
    confidence = wrong[["MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"]].max(axis=1).sort_values(ascending=False)
    assert [case["confidence"] for case in shown] == pytest.approx(confidence[: len(shown)].tolist())
    assert all((run_dir / "figures" / case["file"]).stat().st_size > 500 for case in shown)


def test_every_item_of_the_guidelines_is_answered_or_the_users(run_dir: Path) -> None:
    page = Page((run_dir / "report.html").read_text(encoding="utf-8"))
    anchors = set(page.attributes("id"))
    for kind in ("run", "evaluation"):
        lists = checklists(kind)
        assert [len(found.items) for found in lists] == [25, 52, 42]
        for found in lists:
            numbers = [item.number for item in found.items]
            assert len(set(numbers)) == len(numbers)
            assert 0 < found.filled and 0 < found.yours
            assert not any("HAM10000" in item.remains for item in found.items), "it may be of any data"
            for item in found.items:
                assert item.status in (HERE, PARTLY, RUN, YOURS) and bool(item.anchor) == (
                    item.status in (HERE, PARTLY)
                )
                assert kind == "evaluation" or item.status != RUN
                assert kind == "evaluation" or not item.anchor or item.anchor in anchors, item


def test_exploration_counts_by_hand() -> None:
    table = pd.DataFrame(
        {
            "image_id": list("abcd"),
            "lesion_id": ["1", "1", "2", "3"],
            "dx": ["mel", "mel", "nv", "nv"],
            "dx_type": ["histo"] * 4,
            "age": [40.0, 45.0, 80.0, np.nan],
            "sex": ["male", "male", "female", "unknown"],
            "localization": ["back"] * 4,
            "dataset": ["x"] * 4,
            "row": [3, 2, 1, 0],
        }
    )
    pixels = np.stack([np.full((2, 2, 3), value, np.uint8) for value in (10, 20, 30, 50)])
    explored = msgspec.to_builtins(explore(table, mean_images(table, pixels, HAM10000), HAM10000))
    assert explored["by_diagnosis"]["mel"] == {"images": 2, "lesions": 1, "share": 0.5}
    assert explored["by_diagnosis"]["df"]["images"] == 0
    assert explored["by_column"]["age"]["40-49"]["mel"] == 2 and explored["by_column"]["age"]["80+"]["nv"] == 1
    assert explored["by_column"]["age"]["unknown"]["nv"] == 1
    assert explored["by_column"]["sex"]["male"] == dict.fromkeys(DX, 0) | {"mel": 2}
    assert explored["images_per_lesion"] == {"1": 2, "2": 1}
    assert explored["missing"]["age"] == {"images": 1, "share": 0.25}
    assert explored["missing"]["sex"]["images"] == 1
    assert explored["mean_colour"]["mel"] == [40.0, 40.0, 40.0] and explored["mean_colour"]["df"] is None
    assert mean_images(table, pixels, HAM10000)["nv"].shape == (2, 2, 3)
    assert age_band_names()[0] == "0-19" and age_band_names()[-1] == "80+"


def test_names_of_diagnoses_are_text_in_a_report_and_may_hold_dots() -> None:
    """They come with a model file, which may be anybody's."""
    name = 'Mel. in situ"><script>'
    metrics = {"operating_points": {name: [0.25], "Mel": [0.5]}}
    shown = page._number(metrics, f"operating_points.{name}.0", ".2f")  # type: ignore[arg-type]
    assert ">0.25</data>" in shown and "<script>" not in shown and "&lt;script&gt;" in shown
