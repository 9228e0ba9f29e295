"""Take the screenshots of this folder: the preset `quick` with the bundled model, from the form to the finished run.

Starts the app on a free port with a runs folder of its own and prints how long each part took. `make gallery` calls it.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

from engine.desk.launch import end_worker
from engine.desk.queue import Queue
from engine.records.runs import Run, list_runs
from engine.records.settings import ROOT, SAMPLE_DATA, read_settings

sys.path.insert(0, str(ROOT / "tests" / "browser"))
from find_chromium import chromium

FOLDER = Path(__file__).parent


def main() -> None:
    with served() as (browser, url, runs):
        _take(browser, url, runs)


@contextmanager
def served(runs: Path | None = None) -> Iterator[tuple[Browser, str, Path]]:
    """A browser, the app's address and its runs folder: this one, or an empty one."""
    runs = runs or Path(tempfile.mkdtemp()) / "runs"
    settings = read_settings(runs)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [str(Path(sys.executable).parent / "streamlit"), "run", "workbench/app.py", f"--server.port={port}"],
        cwd=ROOT,
        env=os.environ | {"WORKBENCH_RUNS": str(runs)},
    )
    try:
        _wait_for_server(port)
        with sync_playwright() as playwright:
            arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
            browser = playwright.chromium.launch(executable_path=chromium(), args=arguments)
            yield browser, f"http://localhost:{port}", runs
    finally:
        server.terminate()
        worker = Queue(settings.desk).worker()
        if worker.alive:
            end_worker(worker.pid)


def shipped(preset: str) -> Run:
    """The finished run that ships for a preset."""
    runs = (Run(file.parent) for file in (SAMPLE_DATA / "runs").glob("*/record.json"))
    return next(run for run in runs if run.record().preset == preset)


def _take(browser: Browser, url: str, runs: Path) -> None:
    pages = {scheme: scheme_page(browser, scheme) for scheme in ("light", "dark")}
    for scheme, page in pages.items():
        page.goto(f"{url}/train?preset=quick")
        expect(page.get_by_role("button", name="Start training")).to_be_enabled(timeout=180_000)
        shoot(page, f"train-{scheme}")
    page = pages["light"]
    clicked = time.monotonic()
    page.get_by_role("button", name="Start training").click()
    page.wait_for_url("**/runs?run=*")
    run = list_runs(runs)[0]
    _wait_for_step(run, run.record().steps // 2)
    for scheme, page in pages.items():
        page.goto(f"{url}/runs?run={run.id}")
        shoot(page, f"run-{scheme}")
    _wait_for_step(run, None)
    record = run.record()
    print(
        f"{record.status} {time.monotonic() - clicked:.0f} s after the click; eliciting {record.elicit_seconds:.0f} s, "
        f"training {record.seconds:.0f} s; held-out cosine {record.figures.get('heldout_cosine', 1):.3f}, "
        f"drift {record.figures.get('heldout_drift', 0):.4f}"
    )
    for scheme, page in pages.items():
        for view, name in (("Curves", "finished"), ("Probe answers", "probes")):
            page.goto(f"{url}/runs?run={run.id}&view={view}")
            shoot(page, f"{name}-{scheme}")
        page.goto(f"{url}/runs")
        shoot(page, f"runs-{scheme}")


def scheme_page(browser: Browser, scheme: str, *, height: int = 960) -> Page:
    context = browser.new_context(viewport={"width": 1440, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
    return context.new_page()


def shoot(page: Page, name: str) -> None:
    page.wait_for_timeout(6000)
    # Parts that are drawn anew at this moment are pale.
    page.wait_for_function("!document.querySelector('[data-stale=true]')", timeout=60_000)
    page.screenshot(path=FOLDER / f"{name}.png")


def _wait_for_step(run: Run, step: int | None) -> None:
    while run.record().status in ("queued", "running") and (step is None or run.record().step < step):
        time.sleep(0.5)
    if run.record().status not in ("running", "finished"):
        raise SystemExit(f"The run is {run.record().status}: {run.record().error}")


def _wait_for_server(port: int) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(f"http://localhost:{port}/_stcore/health", timeout=1).read()
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("The app did not start.")


if __name__ == "__main__":
    main()
