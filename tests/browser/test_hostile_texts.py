"""Texts and files that mean ill: what models, files and users write is shown letter by letter, never as HTML; a damaged
run does not hide the others; a link does not lead out of the runs folder.
"""

import json
import re

import pytest
from playwright.sync_api import Locator, Page, expect
from server import Server, opened_whole, settled

from engine.records.events import Alert, ProbeAnswer, ProbeResult, StatusEvent
from engine.records.runs import create_run
from engine.records.spec_text import build_spec

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

BAD = "<img src=x onerror=\"window.hit=1\"> <b id='bad'>bold</b> [link](javascript:alert(1)) $x$ :red[red]"


def unharmed(page: Page) -> None:
    """Nothing of it became an element, nothing ran, and no user sees a stack trace."""
    assert page.evaluate("window.hit") is None
    assert page.locator("img[src='x'], #bad, a[href^='javascript']").count() == 0
    assert page.get_by_test_id("stException").count() == 0


def shown(page: Page) -> Locator:
    """The hostile text where a user sees it: labels for screen readers repeat it unseen."""
    return page.get_by_text("onerror").filter(visible=True).first


def test_what_runs_files_and_models_say_is_never_html(server: Server, page: Page):
    file = server.tiny / "bad.jsonl"
    row = {"response": BAD, "category": BAD, "style": BAD, "split": "train"}
    file.write_text("".join(json.dumps(row | {"prompt": f"{BAD} {n}", "id": f"{BAD} {n}"}) + "\n" for n in range(4)))
    run = create_run(server.settings.runs, build_spec({"data": {"circuit_breaker": str(file)}}), name=BAD, preset=BAD)
    run.set_label(name=BAD, note=BAD)
    answers = tuple(
        ProbeAnswer(prompt_id=BAD, label=label, prompt=BAD, answer=BAD)  # type: ignore[arg-type]
        for label in ("harmful", "benign")
    )
    for event in (ProbeResult(step=0, answers=answers), Alert(step=1, message=BAD, advice=BAD)):
        run.append(event)
    run.append(StatusEvent(status="failed", message=BAD))
    run.update(status="failed", error=BAD, device=BAD, host=BAD)

    page.goto(f"{server.url}/runs")
    expect(shown(page)).to_be_visible(timeout=60_000)
    unharmed(page)
    for view in ("Curves", "Probe answers", "Log", "Spec"):
        page.goto(f"{server.url}/runs?run={run.id}&view={view.replace(' ', '+')}")
        expect(shown(page)).to_be_visible(timeout=60_000)
        unharmed(settled(page))
    page.goto(f"{server.url}/train?data.circuit_breaker={file}")
    page.get_by_text("Advanced: every field").click(timeout=60_000)
    page.get_by_text("Look inside the harmful set").click(timeout=60_000)
    expect(shown(page)).to_be_visible(timeout=60_000)
    unharmed(page)
    for path in ("representations", "side-by-side", "evaluate"):
        opened_whole(page, f"{server.url}/{path}?run={run.id}")
        unharmed(page)


def test_damaged_runs_are_named_and_the_others_open(server: Server, page: Page):
    whole = create_run(server.settings.runs, build_spec({}), name="a whole run")
    whole.update(status="finished", step=3, steps=3)
    damaged = {}
    for name in ("record.json", "spec.json", "events.jsonl", "label.json"):
        damaged[name] = create_run(server.settings.runs, build_spec({}), name=name)
        damaged[name].update(status="finished")
        (damaged[name].folder / name).write_bytes(b'{"torn": \xff')
    page.goto(f"{server.url}/runs")
    expect(page.get_by_role("link", name="a whole run")).to_be_visible(timeout=60_000)
    unharmed(page)
    for name, run in damaged.items():
        for path in ("runs", "representations", "side-by-side", "evaluate"):
            opened_whole(page, f"{server.url}/{path}?run={run.id}")
            unharmed(page)
            assert "Traceback" not in server.log(), (name, path)
            if name in ("record.json", "spec.json") and path == "runs":
                what = name.removesuffix(".json")
                expect(page.get_by_text(f"has no readable {what}").filter(visible=True).first).to_be_visible()
    page.goto(f"{server.url}/runs?run={whole.id}")
    expect(page.get_by_text("a whole run").first).to_be_visible()


def test_a_link_leads_to_no_other_folder(server: Server, page: Page):
    secret = server.settings.runs.parent / "secret"
    secret.mkdir()
    (secret / "capture.json").write_text("{}")
    (server.settings.runs.parent / "record.json").write_text("{}")
    for link in ("runs?run=..", "runs?run=../../etc", "representations?capture=../../secret"):
        page.goto(f"{server.url}/{link}")
        expect(page.get_by_text(re.compile("There is no (run|capture)")).first).to_be_visible(timeout=60_000)
        unharmed(page)
