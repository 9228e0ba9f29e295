"""The real server, started as a user starts it, and a real browser."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from find_chromium import chromium
from making import write_prompts, write_tiny_model
from playwright.sync_api import Browser, Page, expect, sync_playwright
from server import Server

from engine.records.jobs import Queue
from engine.records.settings import Settings, read_settings

PATIENCE = 30_000
"""Milliseconds until something counts as missing: a first page takes 10 seconds on a busy machine."""
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """The app on a free port with folders of its own. The server and its worker end with the test."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    environment = os.environ | {
        "WORKBENCH_RUNS": str(tmp_path / "runs"),
        "WORKBENCH_CACHE": str(tmp_path / "cache"),
        "WORKBENCH_PROBE": str(tmp_path / "modules.txt"),
        "PYTHONPATH": str(Path(__file__).parent / "probe"),
    }
    write_tiny_model(tmp_path / "tiny" / "model", blocks=4)
    for kind in ("harmful", "benign"):
        write_prompts(tmp_path / "tiny" / f"{kind}.jsonl", kind=kind, rows=24)
    (tmp_path / "cache").mkdir()
    settings = Settings(runs=tmp_path / "runs", cache=tmp_path / "cache")
    assert read_settings(settings.runs).runs == settings.runs
    app = Server(settings, tmp_path / "tiny", port, tmp_path / "modules.txt", environment=dict(environment))
    app.start()
    yield app
    app.stop()
    state = Queue(settings.desk).worker()
    if state.pid:
        with suppress(ProcessLookupError):
            os.kill(state.pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = chromium()
    assert path, "no Chromium: run `make browser`"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        expect.set_options(timeout=PATIENCE)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    yield page
    context.close()
