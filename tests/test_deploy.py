"""The examples in deploy/: their command lines and variables are those of `lesionlab serve`, and they run."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from lesionlab.cli.serve import add_serve
from test_serve import TOKEN, serving

pytestmark = pytest.mark.slow

DEPLOY = Path(__file__).parents[1] / "deploy"


def variables(text: str) -> dict[str, str]:
    return dict(re.findall(r"^(LESIONLAB_\w+)=(.*)$", text, re.MULTILINE))


def options() -> dict[str, object]:
    """What `lesionlab serve` without options would do, now."""
    parser = argparse.ArgumentParser()
    add_serve(parser.add_subparsers())
    return vars(parser.parse_args(["serve"]))


def test_the_environment_file_names_every_option_with_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    given = variables((DEPLOY / "lesionlab.env").read_text(encoding="utf-8"))
    expected = options()
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert options() == expected
    names = {f"LESIONLAB_{name.upper()}" for name in expected} - {"LESIONLAB_COMMAND", "LESIONLAB_INSECURE_NO_TOKEN"}
    assert names == set(given)


def test_the_unit_runs_the_service(finished: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    unit = (DEPLOY / "lesionlab.service").read_text(encoding="utf-8")
    assert re.search(r"^ExecStart=\S+/lesionlab serve$", unit, re.MULTILINE)
    for name, value in variables((DEPLOY / "lesionlab.env").read_text(encoding="utf-8")).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LESIONLAB_MODEL", str(finished[0] / "model.onnx"))
    with serving() as (address, _):
        assert httpx.get(f"{address}/readyz").status_code == 200


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    unit = (DEPLOY / "lesionlab.service").read_text(encoding="utf-8")
    (tmp_path / "lesionlab.service").write_text(unit.replace("/opt/lesionlab/bin/lesionlab", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / "lesionlab.service"], capture_output=True, text=True, check=False
    )
    assert "lesionlab.service" not in done.stderr, done.stderr


def test_the_container_wants_a_token_and_its_health_check_finds_the_service(
    finished: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    for name, value in re.findall(r"(LESIONLAB_\w+)=(\S+)", text.split("ENV ")[1]):
        monkeypatch.setenv(name, value)
    assert os.environ["LESIONLAB_HOST"] == "0.0.0.0"
    command = json.loads(re.findall(r"^CMD (.*)$", text, re.MULTILINE)[0])
    assert command == ["lesionlab", "serve"]
    refused = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=False)
    assert refused.returncode == 2 and "LESIONLAB_TOKEN" in refused.stderr
    monkeypatch.setenv("LESIONLAB_TOKEN", TOKEN)
    check = json.loads(re.findall(r"HEALTHCHECK.* CMD (.*)$", text, re.MULTILINE)[0])
    with serving("--model", finished[0] / "model.onnx") as (address, _):
        monkeypatch.setenv("LESIONLAB_PORT", address.rsplit(":", 1)[1])
        assert subprocess.run([sys.executable, *check[1:]], check=False).returncode == 0
    assert subprocess.run([sys.executable, *check[1:]], capture_output=True, check=False).returncode != 0
