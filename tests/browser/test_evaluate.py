"""Evaluate in a real browser: start two attacks on a trained run, watch, cancel, read matrix, curves and samples."""

import csv
import io
import re
import shutil

import pytest
from making import wait_for
from making_runs import shipped_default
from playwright.sync_api import Page, expect
from server import Server

from engine.desk.queue import Queue
from engine.records.evaluation.counts import count
from engine.records.evaluation.findings import (
    AttackResult,
    Evaluation,
    read_evaluations,
    read_samples,
    write_evaluation,
)
from engine.records.runs import Run, create_run
from engine.records.spec_text import build_spec

pytestmark = [pytest.mark.browser, pytest.mark.timeout(420)]


@pytest.fixture
def trained(server: Server) -> Run:
    """A finished run of the tiny model, trained by the server's own worker."""
    spec = build_spec(
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
            "captures": {"probe_prompts": 0, "evaluation_rows": 0},
        }
    )
    run = create_run(server.settings.runs, spec, name="tiny breaker")
    Queue(server.settings.desk).submit("train", run_id=run.id)
    return run


def fill(page: Page, server: Server, *, tokens: int = 8) -> None:
    for label, name in (("Harmful requests", "harmful"), ("Benign requests", "benign")):
        page.get_by_test_id("stSelectbox").filter(has_text=label).locator("input").click()
        page.get_by_role("option", name="a JSONL file").click()
        path = page.get_by_role("textbox", name="Path of the file").nth(0 if name == "harmful" else 1)
        path.fill(str(server.tiny / f"{name}.jsonl"))
        path.press("Enter")
    length = page.get_by_role("spinbutton", name="Answer tokens")
    length.fill(str(tokens))
    length.press("Enter")


def test_evaluate_a_run_watch_it_read_the_matrix_and_the_samples(server: Server, page: Page, trained: Run):
    page.goto(f"{server.url}/evaluate")
    wait_for(lambda: trained.record().status == "finished", seconds=120, what="the training")
    page.goto(f"{server.url}/runs?run={trained.id}")
    page.get_by_test_id("stMain").get_by_role("link", name="Evaluate").click()
    expect(page.get_by_text("Does it hold?")).to_be_visible()
    expect(page.get_by_text("Nothing has been evaluated yet")).to_be_visible()
    page.get_by_role("button", name="Encodings").click()
    fill(page, server)
    page.get_by_role("button", name="Evaluate", exact=True).click()

    expect(page.locator("table.evaluation").first).to_be_visible(timeout=120_000)
    matrix = page.locator("table.evaluation").first
    expect(matrix).to_contain_text("Prefilling")
    expect(matrix).to_contain_text("tiny breaker")
    expect(matrix).to_contain_text("95.0 → 4.9 %")
    expect(matrix).to_contain_text(re.compile(r"n 24"))
    expect(page.get_by_text("have been defeated by attackers who adapt")).to_be_visible()
    expect(page.locator(".js-plotly-plot").first).to_be_visible()
    [found] = read_evaluations(trained, server.settings)
    assert set(found.attacks) == {"direct", "prefill", "encodings"} and found.abilities[0].name == "borderline"

    sample = page.locator('[class*="st-key-blurred_sample_"]').first
    expect(sample).to_be_visible()
    page.get_by_role("button", name="Reveal requests and answers").click()
    expect(page.locator('[class*="st-key-shown_sample_"]').first).to_be_visible()

    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text())))
    assert {row["measure"] for row in rows} >= {
        "direct",
        "prefill",
        "encodings",
        "benign",
        "borderline",
        "harmful loss",
    }
    with page.expect_download() as download:
        page.get_by_role("button", name="Report").click()
    report = download.value.path().read_text()
    assert report.startswith("<!doctype html>") and "Prefilling" in report
    for one in read_samples(trained, server.settings, found.key):
        assert one.prompt not in report

    link = page.url
    page.goto(link)
    expect(page.locator("table.evaluation").first).to_contain_text("Prefilling")


def test_a_wrong_path_is_said_at_once_and_a_running_evaluation_can_be_cancelled(
    server: Server, page: Page, trained: Run
):
    page.goto(f"{server.url}/evaluate")
    wait_for(lambda: trained.record().status == "finished", seconds=120, what="the training")
    queue = Queue(server.settings.desk)
    page.goto(f"{server.url}/evaluate?run={trained.id}")
    page.get_by_test_id("stSelectbox").filter(has_text="Harmful requests").locator("input").click()
    page.get_by_role("option", name="a JSONL file").click()
    path = page.get_by_role("textbox", name="Path of the file")
    path.fill("/nowhere.jsonl")
    path.press("Enter")
    page.get_by_role("button", name="Evaluate", exact=True).click()
    expect(page.get_by_text("does not exist: check the path")).to_be_visible()
    assert not queue.newest("evaluate")

    page.reload()
    page.get_by_role("button", name="Input embedding", exact=True).click()
    fill(page, server, tokens=64)
    page.get_by_role("button", name="Evaluate", exact=True).click()
    expect(page.get_by_text("Evaluating tiny breaker")).to_be_visible()
    wait_for(lambda: queue.progress(queue.newest("evaluate")[0].id), what="progress")
    page.get_by_role("button", name="Cancel").click()
    wait_for(lambda: queue.newest("evaluate")[0].status == "cancelled", what="the end of the job")
    expect(page.get_by_text("Evaluating tiny breaker")).to_have_count(0)
    assert not read_evaluations(trained, server.settings)


def shipped_run(server: Server) -> Run:
    """The figures of the run that ships, beside those of one's own: tests hide it where it lies."""
    run = shipped_default()
    folder = server.settings.runs / run.id
    for path in ("record.json", "spec.json", "label.json", "evaluations"):
        source = run.folder / path
        if source.is_dir():
            shutil.copytree(source, folder / path)
        elif source.is_file():
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / path)
    return Run(folder)


def own_evaluation(run: Run, server: Server, *, n: int) -> Evaluation:
    """A quick look at a run, made after all that ships."""
    counts = {"base": count(["complied"] * n), "rerouted": count(["refused"] * n)}
    found = Evaluation(key=f"own{n}", run=run.id, harmful="own.jsonl", attacks={"direct": AttackResult(**counts)})
    write_evaluation(run, server.settings, found, [])
    return found


def test_a_quick_look_of_ones_own_does_not_replace_the_shipped_figures_and_says_that_it_tells_little(
    server: Server, page: Page
):
    """Two of them: on the run that ships, and on a run of one's own."""
    shipped = shipped_run(server)
    own = create_run(server.settings.runs, build_spec({}), name="mine")
    for run in (shipped, own):
        own_evaluation(run, server, n=4)
    page.goto(f"{server.url}/evaluate")
    matrix = page.locator("table.evaluation").first
    expect(matrix).to_contain_text("n 221")
    expect(matrix).to_contain_text("n 100")
    expect(matrix).not_to_contain_text("own.jsonl")
    heads = matrix.locator("th").all_inner_texts()
    assert len(heads) == len(set(heads)) and sum(head.startswith("base of") for head in heads) == 2
    attacks = [attack for one in read_evaluations(shipped, server.settings) for attack in one.attacks.values()]
    strongest = max(attacks, key=lambda attack: (attack.base.n, attack.rerouted.rate))
    change = f"{100 * strongest.base.rate:.0f} → {100 * strongest.rerouted.rate:.0f} %"
    expect(page.get_by_text(f"Harmful requests answered: {change} under the strongest attack")).to_be_visible()

    page.goto(f"{server.url}/evaluate?run={own.id}")
    expect(matrix).to_contain_text("n 4, 64 tokens: too few to tell")
    expect(page.get_by_text("4 → 0 of 4 under the strongest attack")).to_be_visible()


def test_the_address_names_what_was_chosen_by_its_id_and_opens_it_again_under_another_name(server: Server, page: Page):
    shipped_run(server)
    own = create_run(server.settings.runs, build_spec({}), name="mine")
    chosen = [f"{own.id}.{own_evaluation(own, server, n=n).key}" for n in (4, 5)]
    page.goto(f"{server.url}/evaluate")
    expect(page.locator("table.evaluation").first).to_contain_text("n 221", timeout=60_000)
    assert "evaluations=" not in page.url
    page.get_by_role("button", name="Clear all").click()
    expect(page.get_by_text("Choose at least one evaluation.")).to_be_visible()
    for n in (4, 5):
        page.get_by_role("combobox", name="Evaluations shown").click()
        page.get_by_role("option").filter(has_text=re.compile(rf"mine · .* n {n} ")).click()
        expect(page.locator("table.evaluation").first).to_contain_text(f"n {n}, 64 tokens")
        page.keyboard.press("Escape")
    expect(page).to_have_url(re.compile("&".join(f"evaluations={re.escape(one)}" for one in chosen)))
    own.set_label(name="renamed", note="")
    page.reload()
    matrix = page.locator("table.evaluation").first
    expect(matrix).to_contain_text("n 4, 64 tokens", timeout=60_000)
    expect(matrix).to_contain_text("n 5, 64 tokens")
    expect(matrix).to_contain_text("renamed")
    expect(matrix).not_to_contain_text("n 221")
    assert page.get_by_text("an evaluation that is gone").count() == 0


def test_links_to_runs_and_evaluations_that_are_gone_say_so_and_lead_on(server: Server, page: Page):
    shipped_run(server)
    page.goto(f"{server.url}/evaluate?run=nonsense")
    expect(page.get_by_text("There is no run 'nonsense'")).to_be_visible(timeout=60_000)
    expect(page.locator("table.evaluation").first).to_contain_text("n 221")
    new = create_run(server.settings.runs, build_spec({}), name="mine")
    page.goto(f"{server.url}/evaluate?run={new.id}")
    expect(page.get_by_text("mine has not been evaluated yet")).to_be_visible()
    page.goto(f"{server.url}/evaluate?evaluations=20250101-000000-000000.abc")
    expect(page.get_by_text("an evaluation that is gone")).to_be_visible(timeout=60_000)
    expect(page.locator("table.evaluation").first).to_be_visible()
    assert page.get_by_test_id("stException").count() == 0
    page.goto(f"{server.url}/evaluate?run=nonsense")
    page.get_by_test_id("stMain").get_by_role("link", name="Runs").click()
    expect(page).to_have_url(re.compile("/runs"))
    assert "Traceback" not in server.log()
