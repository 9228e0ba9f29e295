"""The app in a real browser: from the start of the server to the first heading, and from click to page."""

import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Browser, WebSocket, sync_playwright

from benchmarks.growth import RUNS, STEPS, write_long_run, write_runs
from benchmarks.rows import Row
from engine.desk.launch import end_worker
from engine.desk.queue import Queue
from engine.records.runs import Run, create_run
from engine.records.settings import ROOT, read_settings
from engine.records.spec_text import build_spec

PORT = 8677
SHORT = 100
HOME = "What a circuit breaker does"


def measure(repeats: int) -> list[Row]:
    sys.path.insert(0, str(ROOT / "tests" / "browser"))
    from find_chromium import chromium

    headings, homes, switches = [], [], []
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
                page.get_by_role("heading", name=HOME).wait_for()
                headings.append(time.monotonic() - started)
                # The last thing that Home draws.
                page.get_by_text("Latest runs", exact=True).wait_for()
                homes.append(time.monotonic() - started)
                # The worker loads its libraries meanwhile: page switches are timed when it is idle.
                page.wait_for_timeout(20_000)
                for name, heading in (("Runs", "Runs"), ("Train", "Train a circuit breaker"), ("Home", HOME)):
                    clicked = time.monotonic()
                    page.get_by_role("link", name=name, exact=True).click()
                    page.get_by_role("heading", name=heading, exact=True).wait_for()
                    switches.append(time.monotonic() - clicked)
                    page.wait_for_timeout(1500)
            finally:
                server.terminate()
                server.wait()
                page.close()
        more = _many_runs(browser, repeats) + _live_ticks(browser)
    _end_worker(runs)
    return [
        _row("app: start of the server to the first heading", headings),
        _row("app: start of the server to the whole of Home", homes),
        _row("app: click to another page", switches),
        *more,
    ]


def _many_runs(browser: Browser, repeats: int) -> list[Row]:
    """From the click on a link to what it shows, with the list and the long run of benchmarks.growth, and a short run
    beside it: what a page load costs whatever it shows."""
    runs = Path(tempfile.mkdtemp()) / "runs"
    write_runs(runs)
    curves: dict[Run, list[float]] = {write_long_run(runs, steps): [] for steps in (STEPS, SHORT)}
    page = browser.new_page()
    server = _serve(runs)
    lists = []
    try:
        page.goto(f"http://localhost:{PORT}/train")
        page.get_by_role("button", name="Start training").wait_for()
        page.wait_for_timeout(20_000)
        for _ in range(repeats):
            page.get_by_role("link", name="Train", exact=True).click()
            page.get_by_role("heading", name="Train a circuit breaker").wait_for()
            page.wait_for_timeout(3000)
            clicked = time.monotonic()
            page.get_by_role("link", name="Runs", exact=True).click()
            page.get_by_role("link", name=re.compile("^run ")).first.wait_for()
            lists.append(time.monotonic() - clicked)
            for run, seconds in curves.items():
                # A new session, as after a reload: nothing of the run has been read.
                fresh = browser.new_page()
                fresh.goto(f"http://localhost:{PORT}/train")
                fresh.get_by_role("button", name="Start training").wait_for()
                clicked = time.monotonic()
                fresh.goto(f"http://localhost:{PORT}/runs?run={run.id}")
                fresh.locator(".js-plotly-plot .scatterlayer path").first.wait_for(state="attached")
                seconds.append(time.monotonic() - clicked)
                fresh.close()
    finally:
        server.terminate()
        server.wait()
        page.close()
        _end_worker(runs)
    return [
        _row(f"app: click to the list of {RUNS} finished runs", lists),
        *(_row(f"app: page load to the first curve of a run of {run.label().name}", s) for run, s in curves.items()),
    ]


def _live_ticks(browser: Browser) -> list[Row]:
    """While a run trains: from the browser asking for a fragment to the last message of the answer."""
    runs = Path(tempfile.mkdtemp()) / "runs"
    spec = build_spec(
        {
            "data": {"circuit_breaker_rows": 32, "retain_rows": 32, "heldout_rows": 4, "new_tokens": 16},
            "optimizer": {"steps": 10_000, "circuit_breaker_batch": 4, "retain_batch": 4},
            "captures": {
                "probe_prompts": 0,
                "capture_every": 0,
                "heldout_every": 20,
                "checkpoint_every": 9999,
                "evaluation_rows": 0,
            },
        }
    )
    run = create_run(runs, spec)
    Queue(read_settings(runs).desk).submit("train", run_id=run.id)
    page = browser.new_page()
    messages: list[tuple[str, float]] = []

    def listen(socket: WebSocket) -> None:
        socket.on("framesent", lambda _: messages.append(("asked", time.monotonic())))
        socket.on("framereceived", lambda _: messages.append(("answered", time.monotonic())))

    page.on("websocket", listen)
    server = _serve(runs)
    try:
        page.goto(f"http://localhost:{PORT}/runs?run={run.id}")
        while run.record().step < 5:
            page.wait_for_timeout(500)
        messages.clear()
        page.wait_for_timeout(60_000)
    finally:
        server.terminate()
        server.wait()
        page.close()
        _end_worker(runs)
    ticks = tick_seconds(messages)
    if len(ticks) < 5:
        raise SystemExit(f"Only {len(ticks)} live ticks were seen within a minute.")
    return [
        Row(
            "app: a live tick while training",
            {
                "s (median)": statistics.median(ticks),
                "s (95th percentile)": statistics.quantiles(ticks, n=20)[-1],
                "ticks": float(len(ticks)),
            },
        )
    ]


def tick_seconds(messages: list[tuple[str, float]]) -> list[float]:
    """From each question to the last answer before the next question; questions without an answer are left out."""
    ticks: list[float] = []
    asked = last = 0.0
    for kind, moment in messages:
        if kind == "answered":
            last = moment
        else:
            if asked and last > asked:
                ticks.append(last - asked)
            asked = moment
    return ticks


def _end_worker(runs: Path) -> None:
    worker = Queue(read_settings(runs).desk).worker()
    if worker.alive:
        end_worker(worker.pid)


def _row(name: str, seconds: list[float]) -> Row:
    return Row(name, {"seconds (median)": statistics.median(seconds), "seconds (worst)": max(seconds)})


def _serve(runs: Path) -> subprocess.Popen:
    with socket.socket() as probe:
        # Another's server must not be measured in its place.
        if probe.connect_ex(("localhost", PORT)) == 0:
            raise SystemExit(f"Something listens at port {PORT} already: end it first.")
    server = subprocess.Popen(
        [str(Path(sys.executable).parent / "streamlit"), "run", "workbench/app.py", f"--server.port={PORT}"],
        cwd=ROOT,
        env=os.environ | {"WORKBENCH_RUNS": str(runs)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while server.poll() is None:
        try:
            urllib.request.urlopen(f"http://localhost:{PORT}/_stcore/health", timeout=1).read()
            return server
        except OSError:
            time.sleep(0.02)
    raise SystemExit(f"Streamlit ended with {server.returncode} before it could be measured.")
