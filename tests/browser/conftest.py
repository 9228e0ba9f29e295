"""The real server, started as a user starts it, and a real browser."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from conftest import write_prompts, write_tiny_model
from find_chromium import chromium
from playwright.sync_api import Browser, Page, sync_playwright

from engine.records.jobs import Queue
from engine.records.settings import ROOT, Settings, read_settings

CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass
class Server:
    """A running app. `settings` are its folders; `tiny` holds a small model and prompt files."""

    settings: Settings
    tiny: Path
    port: int
    modules_file: Path
    process: subprocess.Popen | None = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"

    def start(self) -> float:
        """Start the server and return the seconds until it answers."""
        started = time.monotonic()
        self.process = subprocess.Popen(
            [str(Path(sys.executable).parent / "streamlit"), "run", "workbench/app.py", f"--server.port={self.port}"],
            cwd=ROOT,
            env=self.environment,
            stdout=(self.settings.cache.parent / "server.log").open("ab"),
            stderr=subprocess.STDOUT,
        )
        while True:
            try:
                urllib.request.urlopen(f"{self.url}/_stcore/health", timeout=1).read()
                return time.monotonic() - started
            except OSError:
                assert self.process.poll() is None and time.monotonic() - started < 60, self.log()
                time.sleep(0.05)

    def stop(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=20)

    def log(self) -> str:
        return (self.settings.cache.parent / "server.log").read_text()

    def kill_worker(self) -> None:
        os.kill(Queue(self.settings.desk).worker().pid, signal.SIGKILL)


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
    if state.alive:
        os.kill(state.pid, signal.SIGKILL)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = chromium()
    assert path, "no Chromium: run `make browser`"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(30_000)
    yield page
    context.close()


def wait_for(condition: Callable[[], object], *, seconds: float = 60, what: str = "it") -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.1)
