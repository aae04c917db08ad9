import ast
import errno
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import lesionlab
from builders import write
from conftest import command
from lesionlab.cli import data, evaluate, main, make_parser, next_steps, predict, run
from lesionlab.data.phantom.write import write_phantoms

HEAVY = ("numpy", "PIL", "keras", "tensorflow", "pandas", "matplotlib", "sklearn", "jax", "torch", "rich")


def commands() -> list[str]:
    (actions,) = [action for action in make_parser()._actions if action.choices and action.dest != "help"]
    return list(actions.choices)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom lesionlab.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "not a medical device" in " ".join(done.stdout.split())


def test_without_a_command_the_commands_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    out, shown = capsys.readouterr()
    assert out == "" and all(re.search(rf"\n    {name}\s", shown) for name in commands())


FINISHED = json.dumps({"lesionlab": "0.2.0", "command": "lesionlab run", "finished": "2026-11-30T00:00:00Z"})
STOPPED = FINISHED.replace('"2026-11-30T00:00:00Z"', "null")


@pytest.mark.parametrize(
    ("files", "first"),
    [
        ({}, "lesionlab demo"),
        ({"a.jpg": ""}, "lesionlab predict ."),
        ({"my photos/a.jpg": ""}, "lesionlab predict 'my photos'"),
        ({"my data/HAM10000_metadata.csv": ""}, "lesionlab check 'my data'"),
        ({"ISIC_metadata.csv": "", "a.jpg": ""}, "lesionlab check ."),
        (
            {"runs/x/manifest.json": FINISHED, "runs/x/model.onnx": "", "a.jpg": ""},
            "lesionlab predict photo.jpg --model runs/x/model.onnx",
        ),
        ({"runs/x/manifest.json": STOPPED.replace("run", "run --seed 3")}, "lesionlab run --seed 3"),
        ({"x/manifest.json": STOPPED.replace("run", "run; rm -r ~")}, "lesionlab 'run;' rm -r '~'"),
        ({"x/manifest.json": STOPPED.replace("lesionlab run", "rm -r ~")}, "lesionlab demo"),
        ({"x/manifest.json": STOPPED.replace("run", "\\u001b[2J")}, "lesionlab demo"),
        ({"x/manifest.json": "[1]", "y/manifest.json": "no JSON", "z/manifest.json": FINISHED}, "lesionlab demo"),
    ],
)  # fmt: skip
def test_without_a_command_three_are_suggested_by_what_lies_here(
    files: dict[str, str],
    first: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, text in files.items():
        write(tmp_path / name, text)
    monkeypatch.chdir(tmp_path)
    assert main([]) == 2
    steps = capsys.readouterr().err.partition("\nnext, here:\n")[2].splitlines()
    assert len(steps) == 3 and steps[0].startswith(f"  {first}  ")


def test_going_on_with_a_run_never_starts_it_over(tmp_path: Path) -> None:
    manifest = {"lesionlab": "0.2.0", "command": "lesionlab run --data HAM10000 --again", "finished": None}
    write(tmp_path / "runs" / "a" / "manifest.json", json.dumps(manifest))
    assert next_steps.next_steps(tmp_path)[0][0] == "lesionlab run --data HAM10000"


def test_without_an_extra_its_installation_is_suggested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(next_steps, "find_spec", lambda _: None)
    assert [command for command, _ in next_steps.next_steps(tmp_path)] == [
        "pip install 'lesionlab[serve]'", "pip install 'lesionlab[cpu]'", "lesionlab predict photo.jpg",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["compl"], {"completion"}),
        (["predict", "--js"], {"--json"}),
        (["check", "fold"], {"folder"}),  # a folder is wanted: the file is not offered
        (["evaluate", "f"], {"folder", "file.onnx"}),
    ],
)
def test_bash_completes_commands_options_and_files(
    typed: list[str], offered: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["completion", "bash"]) == 0
    write(tmp_path / "file.onnx", "")
    (tmp_path / "folder").mkdir()
    words = " ".join(["lesionlab", *typed])
    asked = f'COMP_WORDS=({words}); COMP_CWORD={len(typed)}; _shtab_lesionlab lesionlab "{typed[-1]}"; echo "${{COMPREPLY[@]}}"'
    script = f"{capsys.readouterr().out}\n{asked}\n"
    done = subprocess.run(["bash", "--norc"], input=script, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert set(done.stdout.split()) == offered, done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_are_given_every_command(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(re.search(rf"\b{name}\b", script) for name in commands()) and "no-browser" in script
    if shutil.which(shell):
        done = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_only_the_command_line_parses_and_prints() -> None:
    package = Path(lesionlab.__file__).parent
    parse, prints = set(), set()
    for path in sorted(package.rglob("*.py")):
        room = path.relative_to(package).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom) and "argparse" in ast.unparse(node):
                parse.add(room)
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "print":
                prints.add(room)
    assert parse and all(room.startswith("cli/") for room in parse)
    assert {room for room in prints if not room.startswith("cli/")} == {"runs/stages.py"}


@pytest.mark.parametrize("command", commands())
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert "usage: lesionlab" in capsys.readouterr().out


@pytest.mark.parametrize("command", commands())
def test_every_command_is_documented(command: str) -> None:
    root = Path(__file__).parents[1]
    assert f"lesionlab {command}" in (root / "docs" / "commands.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--data", "nowhere"], "nowhere"),
        (["run", "--recipe", "mobil"], "did you mean 'mobile'"),
        (["run", "--split", "lesoin"], "did you mean 'lesion'"),
        (
            ["run", "--weights", "nowhere.weights.h5", "--recipe", "mobile"],
            "There is no weights file nowhere.weights.h5",
        ),
        (["run", "--weights", "some.weights.h5", "--recipe", "quick"], "starts from random weights alone"),
        (["check", "nowhere"], "nowhere"),
        (["explore", "nowhere", "--out", "x"], "nowhere"),
    ],
)
def test_a_users_mistake_is_one_sentence_and_exit_2(
    arguments: list[str], message: str, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    out, shown = capfd.readouterr()
    assert message in shown and "Traceback" not in shown and shown.startswith("lesionlab: ")
    assert " 2/14" not in out  # before any image is read


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "--epochs", "0"],
        ["run", "--seed", "-1"],
        ["evaluate", "--data", "x", "--out", "y", "--seed", "-1"],
        ["tune", "quick", "--space", "x", "--data", "x", "--out", "y", "--seed", "2147483648"],
        ["run", "--limit", "x"],
        ["rn"],
    ],
)
def test_wrong_options_exit_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "x", "--batch-size", "abc"], "--batch-size: 'abc' is not a whole number of at least 1"),
        (["run", "--seed", "x"], "--seed: 'x' is not a whole number from 0 to 2147483647"),
        (["run", "--devices", "0"], "--devices: '0' is not a whole number of at least 1, or all"),
        (["evaluate", "--risk", "x"], "--risk: 'x' is not a number between 0 and 1"),
        (["tune", "--trials", "0"], "--trials: '0' is not a whole number of at least 1"),
        (["serve", "--port", "99999"], "--port: '99999' is not a port: a whole number from 0 to 65535"),
        (["serve", "--max-files", "0"], "--max-files: '0' is not a whole number of at least 1"),
        (["serve", "--max-file-mb", "nan"], "--max-file-mb: 'nan' is not a number of at least 1"),
        (["serve", "--waiting", "-1"], "--waiting: '-1' is not a whole number of at least 1"),
        (["predict", "--jsno"], "lesionlab predict: error: unrecognized arguments: --jsno (did you mean '--json'?)"),
        (["score", "a", "b", "c"], "lesionlab score: error: unrecognized arguments: c"),
        (["run", "--limti=3", "--", "--x"], "unrecognized arguments: --limti=3 (did you mean '--limit'?)"),
        (["--jsno", "score", "a", "b"], "lesionlab: error: unrecognized arguments: --jsno"),
        (["rnu"], "(did you mean 'run'?)"),
        (["export", "RUN", "--format", "savedmodle"], "(did you mean 'savedmodel'?)"),
    ],
)
def test_wrong_options_are_told_what_is_wanted(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", ["PORT", "MAX_FILES", "MAX_FILE_MB", "WAITING"])
def test_a_services_variables_are_checked_too(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"LESIONLAB_{name}", "-1")
    with pytest.raises(SystemExit, match="2"):
        main(["serve", "--model", "x.onnx"])


def test_a_path_may_look_like_an_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", "--", "--jsno", "x"]) == 2
    assert "--jsno" in capsys.readouterr().err


def test_check_and_explore(phantoms: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(phantoms)]) == 0
    shown = capfd.readouterr().out
    assert "melanoma" in shown and "Findings" in shown
    assert main(["explore", str(phantoms), "--out", str(tmp_path / "eda")]) == 0
    assert (tmp_path / "eda" / "explore.html").stat().st_size > 10_000


def test_explore_leaves_other_folders_alone(phantoms: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = sorted(phantoms.iterdir())
    assert main(["explore", str(phantoms), "--out", str(phantoms / "." / "")]) == 2
    assert "is the data folder itself" in capfd.readouterr().err and sorted(phantoms.iterdir()) == before
    assert main(["explore", str(phantoms), "--out", str(phantoms / "eda")]) == 2
    assert "lies in the data folder" in capfd.readouterr().err and sorted(phantoms.iterdir()) == before
    (tmp_path / "thesis.tex").write_text("years of work")
    assert main(["explore", str(phantoms), "--out", str(tmp_path)]) == 2
    assert "is not empty and holds no exploration (thesis.tex …)" in capfd.readouterr().err
    (tmp_path / "explore.html").write_text("an earlier one")
    assert main(["explore", str(phantoms), "--out", str(tmp_path)]) == 0


def test_check_prints_names_as_they_are(
    phantoms: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "500")
    folder = tmp_path / "[" / "a] [old] :bug:"  # [/a] would close a colour
    shutil.copytree(phantoms, folder)
    table = next(folder.glob("*.csv"))
    lines = table.read_text(encoding="utf-8").splitlines()
    for number, name in enumerate(("x [red]", "z [old]", ":bug:"), start=1):
        lesion, image, *others = lines[number].split(",")
        lines[number] = ",".join([lesion, name, *others])
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert main(["check", str(folder)]) == 0
    shown = capfd.readouterr().out
    assert f"{folder}: layout" in shown and "x [red], z [old], :bug:" in shown


@pytest.mark.slow
def test_phantom_writes_what_check_reads(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["phantom", str(tmp_path / "p"), "--lesions", "30", "--seed", "1"]) == 0
    assert "30 generated lesions, of no patient" in capfd.readouterr().out
    assert main(["phantom", str(tmp_path / "p"), "--lesions", "30"]) == 2
    assert main(["check", str(tmp_path / "p")]) == 0


@pytest.mark.parametrize(("number", "code"), [(errno.EROFS, 2), (errno.EACCES, 2), (errno.ENOSPC, 1)])
def test_phantom_names_the_folder_that_cannot_be_written(
    number: int, code: int, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: object) -> str:
        raise OSError(number, "no", ".p-8x2")

    monkeypatch.setattr("tempfile.mkdtemp", fail)
    assert main(["phantom", str(tmp_path / "p"), "--lesions", "3"]) == code
    shown = capfd.readouterr().err
    where = f"{tmp_path / 'p'} cannot be written (no). Name another folder." if code == 2 else "The disk is full"
    assert shown.startswith(f"lesionlab: {where}") and "--out" not in shown


def test_check_shows_whole_names_on_a_narrow_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_phantoms(tmp_path / "p", lesions=30, seed=1, size_px=(90, 120))
    names = [f"clinic-of-dermatology-2026-{number}" for number in (1, 2)]
    table = next(folder.glob("*.csv"))
    lines = table.read_text(encoding="utf-8").splitlines()
    for number, name in enumerate(names, start=1):  # rows without image
        lesion, _, *others = lines[number].split(",")
        lines[number] = ",".join([lesion, name, *others])
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["check", str(folder)]) == 0
    last = [line.split("│")[-2].strip() for line in capfd.readouterr().out.splitlines() if line.startswith("│")]
    assert all(name in "".join(last).replace(" ", "") for name in names)


@pytest.mark.parametrize(
    ("arguments", "goes_on"),
    [
        (["run"], "The same command goes on where it stopped."),
        (["run", "--again"], "The same command without --again goes on where it stopped."),
        (["predict", "x", "--shards", "y"], "The same command goes on where it stopped."),
        (["predict", "x"], "Start it again."),
        (["predict", "x", "--out", "y"], "The same command with --resume goes on where it stopped."),
        (["predict", "x", "--out", "y", "--by-lesion", "z"], "Start it again."),
        (["score", "x", "y"], "Start it again."),
        (["check", "x"], "Start it again."),
    ],
)
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_only_a_command_that_goes_on_is_said_to(
    error: BaseException, arguments: list[str], goes_on: str, capfd: pytest.CaptureFixture[str], monkeypatch
) -> None:
    def fail(_: object) -> None:
        raise error

    for module, name in ((run, "_run"), (data, "_check"), (predict, "_predict"), (evaluate, "_score")):
        monkeypatch.setattr(module, name, fail)
    assert main(arguments) in (1, 130)
    assert capfd.readouterr().err.strip().endswith(f". {goes_on}")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is Linux's")
def test_a_full_disk_on_standard_output_is_one_sentence(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\na,1,0,0,0,0,0,0\nb,0,1,0,0,0,0,0\n", encoding="utf-8")
    with open("/dev/full", "w") as full:
        done = subprocess.run(command("score", table, table), stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "lesionlab: The disk is full. Free some space. Start it again.\n")


def test_the_version() -> None:
    done = subprocess.run([sys.executable, "-m", "lesionlab", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("lesionlab 0.")


@pytest.mark.slow
def test_signs_of_formulas_in_a_table_are_letters(phantoms: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(phantoms, data)
    file = data / "HAM10000_metadata.csv"
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    table.loc[:9, "localization"] = "$^$"
    table.to_csv(file, index=False)
    assert main(["explore", str(data), "--out", str(tmp_path / "explored")]) == 0
