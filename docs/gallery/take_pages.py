"""Take the screenshots of Representations, Side by side and Evaluate, with the finished run that ships.

Starts the app on a free port with a runs folder of its own. `make gallery` calls it after take.py.
"""

import re
import time

from playwright.sync_api import Browser, Page, expect
from take import FOLDER, scheme_page, served, shipped, shoot

from engine.exports.evaluation_report import RunFacts, report_html, run_facts
from engine.records.evaluation.findings import Evaluation, read_evaluations
from engine.records.prompt_files import read_source
from engine.records.runs import Run
from engine.records.settings import read_settings

# The cosine of block 19 is what this run's training turned away.
MAPS = {"map-pca": "&method=PCA", "map-direction": "&method=Mean+difference", "map-arrows": "&method=PCA&layout=Arrows"}
EVALUATIONS = FOLDER.parent / "decisions" / "evaluations"
TABS = {"where": "Where+to+intervene", "movement": "What+rerouting+did", "tokens": "Tokens"}


def main() -> None:
    with served() as (browser, url, _):
        run = shipped("default")
        _representations(browser, url, run)
        ask_both(browser, url, run, name="side-by-side")
        _evaluate(browser, url, run)


def _representations(browser: Browser, url: str, run: Run) -> None:
    link = f"{url}/representations?run={run.id}"
    for scheme in ("light", "dark"):
        page = scheme_page(browser, scheme, height=1300)
        for name, more in MAPS.items():
            page.goto(f"{link}&block=19{more}")
            expect(page.get_by_text("How far to trust the base map")).to_be_visible(timeout=120_000)
            shoot(page, f"{name}-{scheme}")
        for name, tab in TABS.items():
            page.goto(f"{link}&tab={tab}&block=19")
            expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=180_000)
            shoot(page, f"{name}-{scheme}")


def ask_both(browser: Browser, url: str, run: Run, *, name: str, begun: str = "") -> None:
    """A harmful test prompt that trips and an ordinary one, both of prompts that the training never saw. name: what the
    pictures' names begin with. begun: how the answer to the harmful one begins."""
    harmful = [one for one in read_source("sample:harmful", label="harmful") if one.split == "test"]
    benign = [one for one in read_source("sample:benign", label="benign") if one.split == "test" and not one.borderline]
    for label, prompts in (("harmful", harmful), ("benign", benign)):
        prompt = next(one for one in prompts if one.style == "question")
        page = scheme_page(browser, "light")
        page.goto(f"{url}/side-by-side?run={run.id}")
        box = page.get_by_placeholder("Ask all models at once")
        expect(box).to_be_visible(timeout=60_000)
        if label == "benign":
            page.get_by_text("Harmful", exact=True).click()
        if label == "harmful" and begun:
            page.get_by_role("textbox", name="The answer begins with").fill(begun)
        box.fill(prompt.text)
        page.get_by_role("button", name=re.compile("^(Ask|Send)$")).click()
        expect(page.get_by_role("button", name="Ask again")).to_be_visible(timeout=180_000)
        _wait_for_trip(page)
        shoot(page, f"{name}-{label}")


def _wait_for_trip(page: Page) -> None:
    deadline = time.monotonic() + 300
    while not page.locator(".answer span[title]").count():
        if time.monotonic() > deadline:
            raise SystemExit("No token was tinted within five minutes.")
        page.wait_for_timeout(500)


def _evaluate(browser: Browser, url: str, run: Run) -> None:
    for scheme in ("light", "dark"):
        page = scheme_page(browser, scheme, height=1500)
        page.goto(f"{url}/evaluate?run={run.id}")
        expect(page.get_by_text("What was kept")).to_be_visible(timeout=60_000)
        shoot(page, f"evaluate-{scheme}")
    _report(run)


def _report(run: Run) -> None:
    """The run that ships beside those that did not, for the front: one point a run."""
    own = [one for one in read_evaluations(run, read_settings()) if one.attacks]
    names = [f"{run.label().name}, n {max(result.base.n for result in one.attacks.values())}" for one in own]
    facts = [run_facts(run, one)._replace(name=name) for one, name in zip(own, names, strict=True)]
    files = sorted(EVALUATIONS.glob("*.json"))
    others = [Evaluation.model_validate_json(file.read_bytes()) for file in files]
    facts += [RunFacts(file.stem.replace("-", " "), one.run) for file, one in zip(files, others, strict=True)]
    (FOLDER / "evaluation.html").write_text(report_html([*own, *others], [one.name for one in facts], facts))


if __name__ == "__main__":
    main()
