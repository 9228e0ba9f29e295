"""Take the pictures of a second model: the finished run of `quick-qwen`, its map, a harmful and an everyday request.

Takes the newest finished run of the preset from the usual runs folder; without one it trains it first, which takes ten
minutes on two cores. `make gallery` does not call it: the model has to be fetched (Train offers it).
"""

import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Browser, expect
from take import scheme_page, served, shoot
from take_pages import ask_both

from engine.records.errors import WorkbenchError
from engine.records.runs import Run, list_runs
from engine.records.settings import ROOT, read_settings

PRESET = "quick-qwen"


def main() -> None:
    runs = read_settings().runs
    run = newest(runs, PRESET)
    if run is None:
        subprocess.run([sys.executable, "-m", "engine", "train", PRESET], cwd=ROOT, check=True)
        run = newest(runs, PRESET)
    assert run is not None
    with served(runs) as (browser, url, _):
        _pictures(browser, url, run)


def newest(runs: Path, preset: str) -> Run | None:
    """The newest finished run of a preset that nobody edited."""
    for run in list_runs(runs):
        try:
            record = run.record()
        except WorkbenchError:
            continue
        if record.preset == preset and record.status == "finished":
            return run
    return None


def _pictures(browser: Browser, url: str, run: Run) -> None:
    page = scheme_page(browser, "light", height=1300)
    page.goto(f"{url}/representations?run={run.id}")
    expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=120_000)
    shoot(page, "second-model-map")
    page = scheme_page(browser, "light")
    page.goto(f"{url}/runs?run={run.id}")
    shoot(page, "second-model-run")
    ask_both(browser, url, run, name="second-model")


if __name__ == "__main__":
    main()
