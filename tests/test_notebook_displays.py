"""What notebooks show of a prediction, a figure, a comparison and a run; and of a mistake: a sentence, no stack of frames."""

import errno
import re
import shutil
import sys
from pathlib import Path

import nbformat
import numpy as np
import pytest

import lesionlab
from builders import write
from labelled import labelled, taxonomy_of
from lesionlab.cli.notebook import word_os_error
from lesionlab.evaluation.compare import compare
from lesionlab.evaluation.labelled_predictions import LabelledPredictions

OLD = Path(__file__).parent / "data" / "run-8c5b32e"
NOTICE = "must not be used to diagnose"


@pytest.fixture(scope="module")
def part() -> LabelledPredictions:
    """Sixty images of thirty lesions, of three diagnoses, one of whose codes is HTML."""
    labels = np.arange(60) // 2 % 3
    sure = np.eye(3)[np.where(np.arange(60) % 4 == 0, 0, labels)] * 0.7 + 0.1
    return labelled(labels, sure, np.arange(60) // 2, taxonomy_of("a", "b", "<i>", malignant=("b",)))


def test_predictions_show_pictures_bars_and_what_was_not_read(tiny: Path, photos: list[Path], tmp_path: Path) -> None:
    shutil.copy(photos[0], tmp_path / "a&b.jpg")
    broken = write(tmp_path / "<u>.jpg", "no picture")
    predictions = lesionlab.load_model(tiny).predict([tmp_path / "a&b.jpg", *photos, broken])
    shown = predictions._repr_html_()
    assert shown.count("data:image/jpeg;base64,") == 12 and "and 9 more" in shown and NOTICE in shown
    assert "a&amp;b" in shown and "not read: " in shown and "&lt;u&gt;.jpg" in shown and "<u>" not in shown
    for dx, p in predictions[0].probabilities.items():
        assert f"{dx} {p:.3f}" in shown
    one = predictions[0]._repr_html_()
    assert one.count("<img") == 1 and predictions[0].name in one and "width:110px" in one


def test_a_prediction_of_what_is_no_file_any_more_shows_no_picture(
    tiny: Path, photos: list[Path], tmp_path: Path
) -> None:
    gone = Path(shutil.copy(photos[0], tmp_path / "gone.jpg"))
    model = lesionlab.load_model(tiny)
    (of_file,), (of_bytes,) = model.predict(gone), model.predict(gone.read_bytes())
    gone.unlink()
    for prediction in (of_file, of_bytes):
        assert "<img" not in prediction._repr_html_() and f"{max(prediction.probabilities.values()):.3f}" in (
            prediction._repr_html_()
        )


def test_figures_show_their_intervals_and_what_is_not_defined(part: LabelledPredictions) -> None:
    figures = lesionlab.evaluate_part(part, seed=0)
    shown = figures._repr_html_()
    low, high = figures.intervals["balanced_accuracy"]
    assert f"{figures.balanced_accuracy:.3f}" in shown and f"{low:.3f} to {high:.3f}" in shown
    assert "60 images of 30 lesions" in shown and "sensitivity, &lt;i&gt;" in shown and "<i>" not in shown
    assert f"left:{100 * low:.1f}%" in shown  # the band begins at the lower bound
    of_one = lesionlab.evaluate_part(part.take(part.labels == 0), seed=0)._repr_html_()
    assert "sensitivity, b</td><td" in of_one and "–" in of_one and "nan" not in of_one


def test_a_comparison_shows_its_verdict(part: LabelledPredictions) -> None:
    better = part.with_probabilities(np.eye(3)[part.labels] * 0.7 + 0.1)
    shown = compare(part, better)._repr_html_()
    assert "The second is better than the first" in shown and "malignant against benign" in shown
    assert "60 images of 30 lesions" in shown and NOTICE in shown


def test_an_opened_run_gives_what_its_folder_holds() -> None:
    run = lesionlab.open_run(OLD)
    figures = run.metrics.test
    assert lesionlab.evaluate_part(run.labelled(), seed=0).balanced_accuracy == pytest.approx(
        figures.balanced_accuracy, abs=1e-6
    )
    assert len(run.labelled("validation")) == (run.predictions["part"] == "validation").sum() > 0
    assert len(run.directory.splits()) == len(run.predictions) and run.figures == {}
    shown = run._repr_html_()
    assert f"{figures.balanced_accuracy:.3f}" in shown and "report.html" in shown
    with pytest.raises(lesionlab.UsageError, match=r"no predictions of 'tests'; its parts are: .*test"):
        run.labelled("tests")
    with pytest.raises(lesionlab.UsageError, match=r"model\.onnx is not there\. Write it anew: lesionlab export"):
        _ = run.model


def test_a_run_shows_its_pictures_and_predicts(tiny: Path, photos: list[Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(OLD, tmp_path / "run"))
    write(folder / "figures" / "roc.svg", "<svg xmlns='http://www.w3.org/2000/svg'/>")
    (folder / "figures" / "mistakes").mkdir()
    shutil.copy(photos[0], folder / "figures" / "mistakes" / "01.jpg")
    shutil.copy(tiny, folder / "model.onnx")
    run = lesionlab.open_run(str(folder))
    assert list(run.figures) == ["mistakes/01", "roc"]
    assert "data:image/svg+xml;base64," in run.figures["roc"]._repr_html_()
    assert run.model.predict(photos[0])[0].dx in run.taxonomy.dx


def test_what_is_no_run_is_refused_and_an_error_shows_its_sentence_alone(tmp_path: Path) -> None:
    with pytest.raises(lesionlab.UsageError, match="is no run directory") as raised:
        lesionlab.open_run(tmp_path)
    assert raised.value._render_traceback_() == [f"UsageError: {raised.value}"]  # what IPython prints in its place


def test_what_the_system_refuses_lesionlab_is_a_sentence_in_a_cell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """After `%load_ext lesionlab`; what it refuses other code keeps its frames, and the cell fails all the same."""
    shell_class = pytest.importorskip("IPython.core.interactiveshell", reason="needs IPython").InteractiveShell
    shell = shell_class(user_ns={"folder": write(tmp_path / "file", "") / "inside"})
    shell.run_line_magic("load_ext", "lesionlab")
    capsys.readouterr()
    drawn = shell.run_cell("import lesionlab\nlesionlab.write_phantoms(folder, lesions=60, seed=1, size_px=(90, 120))")
    out, shown = capsys.readouterr()
    assert not drawn.success and "Traceback" not in out + shown and str(tmp_path / "file") in shown
    assert not shell.run_cell("folder.read_text()").success
    assert "Traceback" in "".join(capsys.readouterr())
    assert not shell.run_cell("lesionlab.read_collection(folder)").success
    assert "UsageError: There is no folder" in (said := "".join(capsys.readouterr())) and "Traceback" not in said


def test_a_full_disk_and_a_closed_folder_are_told_what_helps() -> None:
    assert "Free some space" in word_os_error(OSError(errno.ENOSPC, "No space left", "x.csv"))
    assert word_os_error(OSError(errno.EROFS, "Read-only", "x")).startswith("Access is not permitted (x).")


def cells_of(name: str, **places: Path) -> list[str]:
    """The code of a notebook, its paths set as a reader would set them."""
    notebook = nbformat.read(Path(__file__).parents[1] / "notebooks" / f"{name}.ipynb", as_version=4)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    for variable, place in places.items():
        code[0], count = re.subn(
            rf"^{variable} = .*$", f"{variable} = Path({str(place)!r})", code[0], flags=re.MULTILINE
        )
        assert count == 1
    return code


@pytest.mark.parametrize(
    ("name", "files", "absent", "said"),
    [
        ("lifecycle", ("a.png", "b.png"), "", "has 2 images but no metadata"),
        ("lifecycle", ("cats/a.png", "dogs/b.png"), "", "UsageError: "),
        ("lifecycle", (), "", "UsageError: There is no folder"),
        ("lifecycle", ("mel/a.png",), "seaborn", "needs seaborn, which is not installed: pip install 'lesionlab[notebooks]'."),
        ("seed", ("mel/a.png",), "keras", "needs keras, which is not installed: pip install 'lesionlab[cpu]'."),
        ("trust", ("a.png",), "", "UsageError: "),
    ],
)  # fmt: skip
def test_a_notebook_says_in_a_sentence_what_is_wrong(
    name: str, files: tuple[str, ...], absent: str, said: str, tiny: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    """What is no folder of lesions, and what is not installed: no frame of ours in the cell, and nothing is made of it."""
    shell_class = pytest.importorskip("IPython.core.interactiveshell", reason="needs IPython").InteractiveShell
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    for file in files:
        write(data / file, "no lesion")
    run = Path(shutil.copytree(OLD, tmp_path / "run"))
    shutil.copy(tiny, run / "model.onnx")
    if absent:
        monkeypatch.setitem(sys.modules, absent, None)
    shell = shell_class()
    for code in cells_of(name, DATA=data, **({"RUN": run} if name == "trust" else {})):
        capsys.readouterr()
        if not shell.run_cell(code).success:
            break
    shown = "".join(capsys.readouterr())
    assert said in shown and "Traceback" not in shown and "site-packages" not in shown
    assert sorted(path for path in data.rglob("*") if path.is_file()) == sorted(data / file for file in files)
