"""The app in a real browser: from the start of the server to the first heading, and from click to page."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from benchmarks.rows import Row
from engine.records.jobs import Queue
from engine.records.launch import end_worker
from engine.records.settings import ROOT, read_settings

PORT = 8677


def measure(repeats: int) -> list[Row]:
    sys.path.insert(0, str(ROOT / "tests" / "browser"))
    from find_chromium import chromium
    from playwright.sync_api import sync_playwright

    headings, forms, switches = [], [], []
    runs = Path(tempfile.mkdtemp()) / "runs"
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=chromium(), args=arguments)
        for _ in range(min(repeats, 3)):
            page = browser.new_page()
            started = time.monotonic()
            server = _serve(runs)
            try:
                page.goto(f"http://localhost:{PORT}/")
                page.get_by_role("heading", name="Train a circuit breaker").wait_for()
                headings.append(time.monotonic() - started)
                page.get_by_role("button", name="Start training").wait_for()
                forms.append(time.monotonic() - started)
                # The worker loads its libraries meanwhile: page switches are timed when it is idle.
                page.wait_for_timeout(20_000)
                for name, heading in (("Runs", "Runs"), ("Train", "Train a circuit breaker"), ("Runs", "Runs")):
                    clicked = time.monotonic()
                    page.get_by_role("link", name=name, exact=True).click()
                    page.get_by_role("heading", name=heading, exact=True).wait_for()
                    switches.append(time.monotonic() - clicked)
                    page.wait_for_timeout(1500)
            finally:
                server.terminate()
                server.wait()
                page.close()
    worker = Queue(read_settings(runs).desk).worker()
    if worker.alive:
        end_worker(worker.pid)
    return [
        _row("app: start of the server to the first heading", headings),
        _row("app: start of the server to the whole form", forms),
        _row("app: click to another page", switches),
    ]


def _row(name: str, seconds: list[float]) -> Row:
    return Row(name, {"seconds (median)": statistics.median(seconds), "seconds (worst)": max(seconds)})


def _serve(runs: Path) -> subprocess.Popen:
    server = subprocess.Popen(
        [str(Path(sys.executable).parent / "streamlit"), "run", "workbench/app.py", f"--server.port={PORT}"],
        cwd=ROOT,
        env=os.environ | {"WORKBENCH_RUNS": str(runs)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while True:
        try:
            urllib.request.urlopen(f"http://localhost:{PORT}/_stcore/health", timeout=1).read()
            return server
        except OSError:
            time.sleep(0.02)
