"""The page Runs from day to day, in a real browser: stages, the line, next steps, addresses, keys, compare."""

import re

import pytest
from graphs import asked
from making import wait_for
from playwright.sync_api import Page, expect
from server import Server
from test_live_run import started_run, steps

from engine.desk.queue import Queue
from engine.records.events import Alert, HeldoutResult, StatusEvent, StepResult
from engine.records.runs import Run, create_run, delete_run
from engine.records.sample_answers import SampleAnswer, SampleAnswers
from engine.records.spec_text import build_spec

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


def finished_run(server: Server, *, name: str = "", count: int = 20, **changes: object) -> Run:
    """A finished run as a worker leaves it, with an adapter folder and no weights."""
    run = create_run(server.settings.runs, build_spec({"optimizer": {"steps": count}, **changes}), name=name)
    run.append(StatusEvent(status="running", time=1000.0))
    for number in range(count):
        run.append(StepResult(step=number, reroute_loss=1 - number / count, retain_loss=0.1, reroute_weight=5,
                              retain_weight=0, loss=2.5, gradient_norm=1, learning_rate=1e-3, tokens=10, seconds=1,
                              time=1010.0 + number))  # fmt: skip
    for split, cosine, rows in (("validation", 0.106, 85), ("test", -0.006, 88)):
        run.append(HeldoutResult(step=count, split=split, cosine={"1": cosine}, raw_cosine={}, benign_cosine={},
                                 drift={"1": 0.05}, harmful_rows=rows, benign_rows=100, time=1040.0))  # fmt: skip
    run.append(Alert(step=10, message="The rerouting cosine does not fall: 0.97 over the last 10 steps.", advice="Try"))
    run.append(StatusEvent(status="finished", time=1042.0))
    run.adapter_folder.mkdir()
    (run.adapter_folder / "adapter_config.json").write_text("{}")
    run.update(status="finished", step=count, steps=count, started=1000.0, ended=1042.0, seconds=20.0,
               figures={"heldout_cosine": -0.006, "validation_cosine": 0.106})  # fmt: skip
    return run


def test_a_finished_run_offers_what_to_do_next_and_says_which_split_made_its_figures(server: Server, page: Page):
    run = finished_run(server)
    page.goto(f"{server.url}/runs?run={run.id}")
    expect(page.get_by_role("heading", name=run.name)).to_be_visible()
    assert re.match(r"own settings, \d\d \w{3} \d\d:\d\d", run.name)
    header = page.locator(".st-key-header_figures")
    expect(header).to_contain_text("test split, n = 88 harmful")
    expect(header).to_contain_text("validation 0.106, n = 85")
    expect(header.get_by_test_id("stMetric").filter(has_text="Whole time")).to_contain_text("42 s")
    expect(page.get_by_text("The cosine did not fall at first")).to_be_visible()
    expect(page.locator("[data-testid=stAlertContentWarning]")).to_have_count(0)
    said = asked(page, "cosine", "graph => graph._fullLayout.title?.subtitle?.text")
    assert "validation split, n = 85" in said

    nexts = page.locator(".st-key-next_steps")
    for label, address in (("Look", "representations"), ("Ask", "side-by-side"), ("Evaluate", "evaluate")):
        link = nexts.get_by_role("link", name=label)
        expect(link).to_have_attribute("href", re.compile(rf"{address}\?run={run.id}"))
        assert link.bounding_box()["y"] < 500, "above the fold"
    nexts.get_by_role("button", name="Share").click()
    expect(page.get_by_text(f"python -m engine pack {run.id} FOLDER")).to_be_visible()
    expect(page.get_by_text(f"python -m engine export {run.id} FOLDER")).to_be_visible()
    expect(page.get_by_text(f"{server.url}/runs?run={run.id}")).to_be_visible()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download the spec").click()
    assert waiting.value.suggested_filename == f"spec-{run.spec().digest}.json"


def test_a_wrong_address_is_told_in_a_sentence_with_a_way_back(server: Server, page: Page):
    run = finished_run(server, name="the known one")
    page.goto(f"{server.url}/runs?run=nonsense")
    expect(page.get_by_text("There is no run nonsense: it was deleted, or the address is mistyped.")).to_be_visible()
    assert page.get_by_test_id("stTabs").count() == 0
    page.get_by_role("link", name="To the list of runs").click()
    expect(page.get_by_role("link", name="the known one")).to_be_visible()

    page.goto(f"{server.url}/runs?compare={run.id},nonsense")
    expect(page.get_by_text("There is no run nonsense")).to_be_visible()
    page.get_by_role("link", name="Open the known one alone").click()
    expect(page.get_by_role("heading", name="the known one")).to_be_visible()
    assert "Traceback" not in server.log()


def test_a_run_that_is_deleted_while_its_page_is_open_is_told_so(server: Server, page: Page):
    """Two tabs: the run's own page, and a comparison with another run."""
    run, other = finished_run(server, name="gone soon"), finished_run(server, name="stays")
    page.goto(f"{server.url}/runs?run={run.id}")
    expect(page.get_by_role("heading", name="gone soon")).to_be_visible()
    second = page.context.new_page()
    second.goto(f"{server.url}/runs?compare={run.id},{other.id}")
    expect(second.get_by_role("heading", name="Compare runs")).to_be_visible()
    delete_run(run)
    page.bring_to_front()
    expect(page.get_by_text(f"There is no run {run.id}")).to_be_visible(timeout=60_000)
    expect(page.get_by_role("link", name="To the list of runs")).to_be_visible()
    second.reload()
    expect(second.get_by_text(f"There is no run {run.id}")).to_be_visible()
    expect(second.get_by_role("link", name="Open stays alone")).to_be_visible()
    assert "Traceback" not in server.log()


def test_a_pause_while_answers_are_generated_keeps_its_figures_and_the_key_p_pauses_and_resumes(
    server: Server, page: Page
):
    run = started_run(server, page, **{"data.new_tokens": 600, "data.answers": "elicit"})
    chip = page.locator(".st-key-stages").get_by_text(re.compile(r"Generate training answers [1-9]\d* of \d+"))
    expect(chip).to_be_visible(timeout=60_000)
    expect(page.get_by_text("What the base model answers")).to_be_visible()
    page.keyboard.press("p")
    wait_for(lambda: run.record().status == "paused", what="the pause")
    expect(page.get_by_text(re.compile(r"Paused while generating training answers [1-9]\d* of \d+"))).to_be_visible()
    expect(chip).to_be_visible()
    page.get_by_role("button", name="Name and note").click()
    name = page.get_by_role("textbox", name="Name")
    name.fill("")
    name.press_sequentially("pp")
    assert run.record().status == "paused", "a letter in a field is no key"
    page.keyboard.press("Escape")
    page.locator("h1").click()
    page.keyboard.press("p")
    wait_for(lambda: run.record().status == "running", what="the resume")
    Queue(server.settings.desk).control(run.id, "cancel")
    wait_for(lambda: run.record().status == "stopped", what="the end")
    assert not list(run.folder.glob("sample*"))


def test_harmful_sample_answers_are_blurred_until_they_are_revealed(server: Server, page: Page):
    run = create_run(server.settings.runs, build_spec({}), name="answering")
    SampleAnswers(run).take([SampleAnswer(label=label, prompt=f"A {label} question", answer=f"A {label} answer")
                             for label in ("harmful", "benign")])  # fmt: skip
    page.goto(f"{server.url}/runs?run={run.id}")
    expect(page.locator(".st-key-shown_sample_benign_0")).to_contain_text("A benign question")
    expect(page.locator(".st-key-blurred_sample_harmful_0")).to_be_visible()
    for words in ("A harmful question", "A harmful answer"):
        assert words not in page.content()
    page.get_by_role("button", name=re.compile("^Reveal")).first.click()
    for words in ("A harmful question", "A harmful answer"):
        expect(page.locator(".st-key-shown_sample_harmful_0")).to_contain_text(words)


def test_the_line_says_places_reasons_and_times_in_the_list_and_on_a_runs_page(server: Server, page: Page):
    """Two runs wait for a third."""
    first = started_run(server, page, **{"optimizer.steps": 20000})
    wait_for(lambda: len(steps(first)) > 25, seconds=120, what="some steps")
    queue, waiting = Queue(server.settings.desk), []
    for _ in range(2):
        waiting.append(create_run(server.settings.runs, first.spec(), preset="quick"))
        queue.submit("train", run_id=waiting[-1].id)
    wait_for(lambda: len(queue.worker().waiting) == 2, what="the line")
    page.goto(f"{server.url}/runs")
    for number, run in enumerate(waiting):
        row = page.locator(f".st-key-row_{run.id}")
        expect(row.get_by_role("link", name=run.name, exact=True)).to_be_visible()
        expect(row).to_contain_text(f"Waits for {first.name} (step", timeout=20_000)
        expect(row).to_contain_text(f"{('1st', '2nd')[number]} in line")
    expect(page.locator(f".st-key-row_{waiting[0].id}")).to_contain_text(re.compile(r"at about \d\d:\d\d"))
    page.goto(f"{server.url}/runs?run={waiting[1].id}")
    expect(page.get_by_text(f"2nd in line: waits for {first.name} (step")).to_be_visible(timeout=20_000)
    page.get_by_role("button", name="Train this first").click()
    wait_for(lambda: len(steps(waiting[1])) > 1, seconds=60, what="steps of the one that was put first")
    for run in (waiting[0], first, waiting[1]):
        queue.control(run.id, "cancel")


def test_the_key_f_freezes_the_charts_and_lets_them_go_on(server: Server, page: Page):
    run = finished_run(server)
    page.goto(f"{server.url}/runs?run={run.id}")
    expect(page.get_by_role("button", name="Freeze charts")).to_be_visible()
    page.locator("h1").click()
    page.keyboard.press("f")
    expect(page.get_by_role("button", name="Let charts go on")).to_be_visible()
    # While a page is drawn anew its keys are not heard.
    page.wait_for_timeout(1500)
    page.keyboard.press("f")
    expect(page.get_by_role("button", name="Freeze charts")).to_be_visible()


def test_a_comparison_has_differences_first_and_its_view_in_the_address(server: Server, page: Page):
    """Two runs of different lengths, opened a second time by the address that the first view made."""
    runs = [finished_run(server, name="short", count=10), finished_run(server, name="long", count=30, seed=7)]
    page.goto(f"{server.url}/runs?compare={runs[0].id},{runs[1].id}")
    differ = page.get_by_role("heading", name="Where the specs differ")
    expect(differ).to_be_visible()
    first_chart = page.locator(".js-plotly-plot").first
    expect(first_chart).to_be_visible()
    assert differ.bounding_box()["y"] < first_chart.bounding_box()["y"]
    assert asked(page, "compare_reroute", "graph => graph._fullData.map(line => Math.max(...line.x))") == [9, 29]
    page.get_by_role("radio", name="share of the run").or_(page.get_by_role("button", name="share of the run")).click()
    # The slider's own value is drawn anew with what the click brought.
    page.wait_for_url(re.compile(r"across=share"))
    slider = page.get_by_role("slider", name="Smoothing of the losses")
    slider.focus()
    for _ in range(4):
        slider.press("ArrowRight")
    page.wait_for_url(re.compile(r"smooth=0\.2"))
    link = page.url

    second = page.context.new_page()
    second.goto(link)
    expect(second.locator(".js-plotly-plot").first).to_be_visible()
    ends = "graph => graph._fullData.map(line => Math.round(Math.max(...line.x)))"
    wait_for(lambda: asked(second, "compare_reroute", ends) == [90, 90, 97, 97], what="faint and smoothed curves")
    assert "compare=" in second.url
    assert "Traceback" not in server.log()
