"""The outcome in a real browser: measured by itself after training, on the run's page, in the list, in its order."""

import re

import pytest
from making import wait_for
from playwright.sync_api import Page, expect
from server import Server

from engine.desk.launch import ensure_worker
from engine.desk.queue import Queue
from engine.records.best import BestCheckpoint
from engine.records.evaluation.counts import count
from engine.records.evaluation.findings import AttackResult, Evaluation, write_evaluation
from engine.records.runs import Run, create_run
from engine.records.spec_text import build_spec

pytestmark = [pytest.mark.browser, pytest.mark.timeout(420)]


def spec(server: Server, **captures: int):
    return build_spec(
        {
            "model": {"name": str(server.tiny / "model"), "device": "cpu"},
            "data": {
                "circuit_breaker": str(server.tiny / "harmful.jsonl"),
                "retain": str(server.tiny / "benign.jsonl"),
                "answers": "given",
                "max_tokens": 128,
            },
            "blocks": {"targets": "1", "adapted": "0-1"},
            "optimizer": {"steps": 4, "circuit_breaker_batch": 3, "retain_batch": 3},
            "captures": {"probe_prompts": 0} | captures,
        }
    )


def ended(server: Server, name: str, *, harmful: int, benign: int) -> Run:
    """A finished run with an evaluation of 16 requests a side, so many of which the circuit-broken model answered."""

    def answered(complied: int):
        return count(["complied"] * complied + ["refused"] * (16 - complied))

    run = create_run(server.settings.runs, spec(server), name=name)
    run.update(status="finished", step=4, ended=1.0, evaluation="done")
    found = Evaluation(
        key="made",
        run=f"{run.id}@4",
        harmful="own test split",
        benign="own test split",
        attacks={"direct": AttackResult(base=answered(16), rerouted=answered(harmful))},
        benign_answers={"base": answered(16), "rerouted": answered(benign)},
    )
    write_evaluation(run, server.settings, found, [])
    return run


def test_a_run_is_measured_by_itself_after_training_and_its_page_and_the_list_say_so(server: Server, page: Page):
    run = create_run(server.settings.runs, spec(server, evaluation_rows=3), name="measured")
    Queue(server.settings.desk).submit("train", run_id=run.id)
    ensure_worker(server.settings)
    page.goto(f"{server.url}/runs?run={run.id}")
    outcome = page.locator(".st-key-run_outcome")
    expect(outcome).to_be_visible(timeout=120_000)
    expect(outcome).to_contain_text(re.compile(r"Harmful requests answered .* % .*n = 3"), timeout=120_000)
    expect(page.get_by_text("own test split")).to_be_visible()
    assert run.record().evaluation == "done"
    expect(page.get_by_role("button", name="Measure answers")).to_have_count(0)
    page.get_by_test_id("stMain").get_by_role("link", name="All runs").click()
    row = page.locator(f".st-key-row_{run.id}")
    words = re.compile("holds and keeps|damages the rest|does not hold|not measured")
    expect(row.get_by_text(words).first).to_be_visible()


def test_a_run_without_measured_answers_says_so_and_a_button_measures_them(server: Server, page: Page):
    run = create_run(server.settings.runs, spec(server, evaluation_rows=0), name="unmeasured")
    Queue(server.settings.desk).submit("train", run_id=run.id)
    ensure_worker(server.settings)
    wait_for(lambda: run.record().status == "finished", seconds=120, what="the run")
    page.goto(f"{server.url}/runs?run={run.id}")
    outcome = page.locator(".st-key-run_outcome")
    expect(outcome).to_contain_text("Answers were not measured. Activations of the test split")
    expect(outcome).to_contain_text("not measured")
    page.get_by_role("button", name="Measure answers").click()
    expect(outcome).to_contain_text("Harmful requests answered", timeout=120_000)


def test_two_runs_wear_their_own_outcomes_and_the_list_is_ordered_by_them_under_a_link(server: Server, page: Page):
    holds = ended(server, "keeps its word", harmful=0, benign=16)
    fails = ended(server, "a failure", harmful=15, benign=16)
    damages = ended(server, "damaging", harmful=0, benign=4)
    page.goto(f"{server.url}/runs?sort=outcome")
    for run, word in ((holds, "holds and keeps"), (damages, "damages the rest"), (fails, "does not hold")):
        expect(page.locator(f".st-key-row_{run.id}").get_by_text(word).first).to_be_visible()
    links = page.locator('[class*="st-key-row_"]').get_by_role("link")

    def names() -> list[str]:
        return [text.strip() for text in links.all_inner_texts()]

    wait_for(lambda: names() == ["keeps its word", "damaging", "a failure"], what="the order by outcome")
    page.get_by_test_id("stSelectbox").filter(has_text="Sort by").locator("input").click()
    page.get_by_role("option", name="name", exact=True).click()
    wait_for(lambda: names() == ["a failure", "damaging", "keeps its word"], what="the order by name")
    expect(page).to_have_url(re.compile("sort=name"))


def test_a_better_checkpoint_is_said_and_can_be_asked_and_evaluated(server: Server, page: Page):
    run = ended(server, "went on too long", harmful=0, benign=4)
    best = BestCheckpoint(step=2, measured=2, cosine=0.2, drift=0.05, benign_cosine=0.97, rows=(8, 8))
    run.update(best=best)
    run.checkpoint_folder(2).mkdir(parents=True)
    page.goto(f"{server.url}/runs?run={run.id}")
    expect(page.locator(".st-key-run_outcome")).to_contain_text("Step 2 was better on the validation split (n = 8 + 8)")
    for name in ("Ask step 2", "Evaluate step 2"):
        link = page.get_by_role("link", name=name)
        expect(link).to_have_attribute("href", re.compile(f"run={run.id}(@|%40)2"))
