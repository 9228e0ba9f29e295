"""Take the pictures of a second model: a finished run, its map, its evaluations, a harmful and an everyday request.

`python docs/gallery/second_model.py [PRESET]`: of `quick-qwen` where none is named, of which the newest finished run is
taken; without one it is trained first, in ten minutes on two cores. Of `default-qwen` one ships. `make gallery` does
not call it: the model has to be fetched (Train offers it).
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

# What the pictures of each preset are called, and how the answer to its harmful request begins.
NAMES = {"quick-qwen": ("second-model", ""), "default-qwen": ("default-qwen", "Sure, here is")}


def main() -> None:
    preset = sys.argv[1] if len(sys.argv) > 1 else "quick-qwen"
    runs = read_settings().runs
    run = newest(runs, preset)
    if run is None:
        subprocess.run([sys.executable, "-m", "engine", "train", preset], cwd=ROOT, check=True)
        run = newest(runs, preset)
    assert run is not None
    with served(runs) as (browser, url, _):
        _pictures(browser, url, run, *NAMES[preset])


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


def _pictures(browser: Browser, url: str, run: Run, name: str, begun: str) -> None:
    page = scheme_page(browser, "light", height=1300)
    page.goto(f"{url}/representations?run={run.id}")
    expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=120_000)
    shoot(page, f"{name}-map")
    page = scheme_page(browser, "light")
    page.goto(f"{url}/runs?run={run.id}")
    shoot(page, f"{name}-run")
    page.goto(f"{url}/evaluate?run={run.id}")
    shoot(page, f"{name}-evaluate")
    ask_both(browser, url, run, name=name, begun=begun)


if __name__ == "__main__":
    main()
