"""`lesionlab demo`: generated lesions to click, in a browser or at an address, and nothing left behind."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, expect

from browsing import opened, overflows, serious_faults
from conftest import command
from lesionlab.cli import main


@pytest.mark.parametrize(
    ("options", "display", "is_opened"), [([], "", False), ([], ":9", True), (["--no-browser"], ":9", False)]
)
def test_a_browser_is_opened_where_there_is_a_display(
    options: list[str], display: str, is_opened: bool, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    asked: list[str] = []
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("webbrowser.open", asked.append)
    monkeypatch.setattr("lesionlab.serve.server.serve", lambda settings, tell: tell(settings.host, 8123))
    kept = signal.getsignal(signal.SIGTERM)
    try:
        assert main(["demo", "--lesions", "1", *options]) == 0
    finally:
        signal.signal(signal.SIGTERM, kept)
    said = capsys.readouterr().out
    assert "http://127.0.0.1:8123" in said and "1 generated lesions, of no patient" in said
    for _ in range(100 if is_opened else 1):
        if asked:
            break
        time.sleep(0.05)
    assert asked == (["http://127.0.0.1:8123"] if is_opened else [])


@pytest.mark.slow
def test_a_generated_lesion_is_clicked_and_nothing_is_left(browser: Browser, tmp_path: Path) -> None:
    process = subprocess.Popen(
        command("demo", "--lesions", "7", "--no-browser"),
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    try:
        assert process.stdout is not None
        url = re.findall(r"http://\S+", process.stdout.readline())[0]
        assert len(list(tmp_path.glob("lesionlab-demo-*/lesions/HAM10000_images/*.jpg"))) >= 7
        for page in opened(browser, url, bypass_csp=True):
            examples = page.get_by_role("button", name="drawn as")
            expect(examples).to_have_count(7)
            expect(page.locator("#examples")).to_contain_text("of no patient")
            examples.first.click()
            expect(page.locator("#status")).to_have_text("1 image done", timeout=30_000)
            expect(page.locator("#detail h2")).to_have_text(re.compile(r"PHANTOM_\d+\.jpg"))
            assert not serious_faults(page) and not overflows(page)
        assert httpx.get(f"{url}/v1/examples/7").status_code == 404
        assert httpx.get(f"{url}/v1/examples/0").content.startswith(b"\xff\xd8")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert not list(tmp_path.glob("lesionlab-demo-*"))
    finally:
        process.kill()
        process.communicate()
