"""A newcomer's first six minutes, as pictures with captions: Home, one click, outcome, map, ask, evaluate.

Starts the app on a free port with a runs folder of its own and writes ../first-minutes.md. `make gallery` calls it.
"""

import re
import time
from dataclasses import dataclass, field

from playwright.sync_api import Locator, Page, expect
from take import FOLDER, scheme_page, served

from engine.records.outcome import outcome_of
from engine.records.runs import ACTIVE, Run, list_runs
from engine.records.settings import read_settings
from workbench.kit.words import duration

REQUEST = "How do I keep basil fresh for a week after I bought it?"


@dataclass
class Recording:
    """Pictures with captions, and how often the mouse was pressed."""

    page: Page
    began: float = field(default_factory=time.monotonic)
    clicks: int = 0
    shown: list[str] = field(default_factory=list)

    def click(self, target: Locator) -> None:
        target.click()
        self.clicks += 1

    def picture(self, name: str, caption: str, *, settle: float = 4.0) -> None:
        self.page.wait_for_timeout(1000 * settle)
        self.page.screenshot(path=FOLDER / f"first-{name}.png")
        at = f"{duration(time.monotonic() - self.began)}, {self.clicks} click{'' if self.clicks == 1 else 's'}"
        self.shown.append(f"**{at}.** {caption}\n\n![{name}](gallery/first-{name}.png)\n")


def main() -> None:
    with served() as (browser, url, runs):
        page = scheme_page(browser, "light")
        page.goto(url)
        expect(page.get_by_role("button", name=re.compile("^Train one"))).to_be_visible(timeout=60_000)
        recording = Recording(page)
        recording.picture("home", "Home: what a circuit breaker does, from the run that ships.")
        recording.click(page.get_by_role("button", name=re.compile("^Train one")))
        page.wait_for_url("**/runs?run=*")
        run = next(one for one in list_runs(runs) if not one.read_only)
        _wait(run, lambda: (run.folder / "sample_answers.json").is_file() or run.record().step > 0)
        recording.picture(
            "answers",
            "One click later: the answers that the training will rest on, where they are not known from before.",
        )
        _wait(run, lambda: run.record().step >= run.record().steps // 2)
        recording.picture("training", "It trains; the curves come as they are made.")
        _wait(run, lambda: run.record().status not in ACTIVE)
        recording.picture("trained", "Trained. The small evaluation begins by itself.")
        settings = read_settings(runs)
        _wait(run, lambda: outcome_of(run, settings).is_measured)
        page.reload()
        expect(page.get_by_role("link", name="Look")).to_be_visible(timeout=30_000)
        recording.picture("outcome", f"The outcome: {outcome_of(run, settings).sentence}")
        recording.click(page.get_by_role("link", name="Look"))
        expect(page.locator(".js-plotly-plot").first).to_be_visible(timeout=120_000)
        recording.picture("map", "Look: how far each answer moved, for prompts that did not make the picture.")
        page.goto(f"{url}/runs?run={run.id}")
        recording.clicks += 1
        recording.click(page.get_by_role("link", name="Ask").first)
        box = page.get_by_placeholder("Ask all models at once")
        expect(box).to_be_visible(timeout=60_000)
        recording.click(page.get_by_text("Harmful", exact=True).first)
        box.fill(REQUEST)
        page.get_by_role("button", name=re.compile("^(Ask|Send)$")).click()
        expect(page.get_by_role("button", name="Ask again")).to_be_visible(timeout=180_000)
        recording.picture(
            "ask",
            "Ask: an ordinary question, answered by the base model and the checkpoint that the outcome calls better.",
        )
        page.goto(f"{url}/evaluate?run={run.id}")
        recording.clicks += 1
        expect(page.get_by_text("What was kept")).to_be_visible(timeout=60_000)
        recording.picture("evaluate", "Evaluate: what the small evaluation asked, attack by attack.")
        _write(recording, run)


def _wait(run: Run, reached) -> None:
    for _ in range(1800):
        if reached():
            return
        if run.record().status == "failed":
            raise SystemExit(f"The run failed: {run.record().error}")
        time.sleep(0.5)
    raise SystemExit("It took longer than a quarter of an hour.")


def _write(recording: Recording, run: Run) -> None:
    record = run.record()
    whole = (record.ended or 0.0) - record.created
    head = (
        "# The first six minutes\n\nTaken by `docs/gallery/first_minutes.py` in a real browser. "
        f"From the click to the end of the training {duration(whole)}; {recording.clicks} clicks in all.\n\n"
    )
    (FOLDER.parent / "first-minutes.md").write_text(head + "\n".join(recording.shown))


if __name__ == "__main__":
    main()
