"""The harmfulness probe in a real browser: fitted on a run's page, put beside a chat, told in an evaluation."""

import math
import re

import pytest
from making import wait_for, write_prompts
from making_probes import always_or_never
from playwright.sync_api import Page, expect
from server import Server, choose
from test_live_run import started_run
from test_side_by_side import ask, newest_chat, opened

from engine.records.evaluation.findings import read_evaluations
from engine.records.harmfulness import MESSAGE, read_probes

pytestmark = [pytest.mark.browser, pytest.mark.timeout(420)]


def test_a_probe_is_fitted_on_the_runs_page_ends_answers_and_is_evaluated(server: Server, page: Page):
    write_prompts(server.tiny / "harmful.jsonl", kind="harmful", rows=120)
    write_prompts(server.tiny / "benign.jsonl", kind="benign", rows=180)
    run = started_run(server, page, **{"optimizer.steps": 20, "captures.probe_every": 1000})
    wait_for(lambda: run.record().status == "finished", seconds=120, what="the run")

    opened(server, page, f"?run={run.id}")
    chosen = page.get_by_role("combobox", name="Harmfulness probe")
    expect(chosen).to_have_count(0)
    page.goto(f"{server.url}/runs?run={run.id}&view=Spec")
    page.get_by_role("button", name="Fit it").click()
    table = page.get_by_test_id("stTable")
    expect(table).to_contain_text("MLP 64-32", timeout=120_000)
    expect(table).to_contain_text("circuit-broken")
    found = read_probes(run, server.settings)
    assert found is not None and found.step == 20
    expect(
        page.get_by_text(f"n = {len(found.probes['base']['mlp'].harmful)} harmful and 15 borderline")
    ).to_be_visible()

    always_or_never(run, server.settings, base=math.inf, rerouted=-math.inf)
    opened(server, page, f"?run={run.id}")
    expect(chosen).to_have_value("No harmfulness probe")
    choose(page, chosen, "Probe: linear")
    ask(page, "a request")
    expect(page.get_by_text(MESSAGE)).to_have_count(1, timeout=60_000)
    expect(page.get_by_text("1 token, then the harmfulness probe fired")).to_be_visible()
    expect(page.get_by_text(re.compile("with the linear harmfulness probe"))).to_be_visible()
    chat = newest_chat(server)
    wait_for(lambda: len(chat.reply(0).verdicts) == 2, what="the verdicts")
    assert chat.reply(0).answered.reasons[1] == "probe"
    # The page is drawn anew when the job has ended, and keeps the choice: asked again without it, nothing is ended.
    expect(page.get_by_role("button", name="Ask again")).to_be_visible()
    expect(chosen).to_have_value("Probe: linear")
    choose(page, chosen, "No harmfulness probe")
    page.get_by_role("button", name="Ask again").click()
    expect(page.get_by_text(MESSAGE)).to_have_count(0, timeout=60_000)

    page.goto(f"{server.url}/evaluate?run={run.id}")
    page.get_by_role("spinbutton", name="Rows a side").fill("2")
    page.get_by_role("spinbutton", name="Answer tokens").fill("4")
    page.get_by_role("spinbutton", name="Answer tokens").press("Enter")
    choose(page, page.get_by_role("combobox", name="Harmful requests"), "sample set, test split")
    choose(page, chosen, "MLP 64-32")
    expect(page.get_by_role("spinbutton", name="False alarms, %")).to_have_value("0.00")
    page.get_by_role("button", name="Evaluate", exact=True).click()
    wait_for(lambda: read_evaluations(run, server.settings), seconds=120, what="the evaluation")
    expect(page.get_by_role("heading", name="With the harmfulness probe")).to_be_visible(timeout=60_000)
    expect(
        page.get_by_text(re.compile(r"benign answers that it ended: base 0 of 2, circuit-broken 2 of 2"))
    ).to_be_visible()
