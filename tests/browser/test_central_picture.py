"""The central picture in a real browser: it opens first, says what it shows, its slide and film are files that open,
and a run's own page draws it anew as the run goes on."""

import io
import re
from collections.abc import Iterator

import pytest
from graphs import asked, drag
from making import wait_for
from making_captures import write_capture
from PIL import Image
from playwright.sync_api import Page, expect
from server import Server, served

from engine.records.captures.capture import TRAINING
from engine.records.runs import Run, create_run
from engine.records.spec_text import build_spec

pytestmark = [pytest.mark.browser, pytest.mark.timeout(420)]

NAMES = "graph => graph._fullData.filter(trace => trace.customdata).map(trace => trace.name)"
LIT = """graph => graph._fullData.filter(trace => trace.customdata)
    .flatMap(trace => Array.from(trace.selectedpoints ?? []).map(point => trace.customdata[point][0]))"""
MOVED = re.compile(r"Harmful answers moved [\d.]+ deviations, benign 0.0, borderline 0.0; n = 10 \+ 7 \+ 4, held out")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("app")) as app:
        yield app


def captured_run(server: Server, *, status: str = "finished", **more) -> Run:
    run = create_run(server.settings.runs, build_spec({}), name="broken $5 <b>")
    run.update(status=status, step=30, steps=30)
    options = {"harmful": 20, "benign": 21, "steps": (10, 20, 30)} | more
    write_capture(run.representations_folder / TRAINING, run_id=run.id, key=TRAINING, **options)
    return run


def open_map(server: Server, page: Page, run: Run, more: str = "") -> None:
    page.goto(f"{server.url}/representations?run={run.id}{more}")
    expect(page.locator(".st-key-chart_map .js-plotly-plot").first).to_be_visible(timeout=120_000)


def test_the_picture_opens_first_says_its_finding_and_its_selection_is_listed(server: Server, page: Page):
    run = captured_run(server)
    open_map(server, page, run)
    expect(page.get_by_text(MOVED)).to_be_visible()
    expect(page.get_by_text("capture the run's last step again")).to_be_visible()
    expect(page.locator(".st-key-chart_strip .js-plotly-plot")).to_be_visible()
    assert asked(page, "map", NAMES) == ["harmful, n = 10", "benign, n = 7", "borderline, n = 4"]
    drag(page, "map", [(0.02, 0.02), (0.98, 0.02), (0.98, 0.98), (0.02, 0.98), (0.02, 0.02)])
    expect(page.get_by_text("Selected prompts")).to_be_visible()
    wait_for(lambda: len(asked(page, "map", LIT)) == 21, what="the light")
    expect(page.get_by_text(re.compile("^21 prompts:"))).to_be_visible()

    page.get_by_text("Before and after", exact=True).click()
    expect(page.get_by_text("After step 30").first).to_be_visible()
    expect(page).to_have_url(re.compile("plane=Before"))
    page.get_by_text("PCA", exact=True).click()
    expect(page.get_by_text("Circuit-broken, step 30").first).to_be_visible(timeout=60_000)


def test_slides_and_films_are_files_that_open(server: Server, page: Page):
    run = captured_run(server)
    open_map(server, page, run)
    page.get_by_role("button", name="Slide").click()
    for label, size in (("PNG, 1600 x 900", (1600, 900)), ("PNG, 3200 x 1800", (3200, 1800)), ("Film", (1280, 720))):
        with page.expect_download(timeout=90_000) as waiting:
            page.get_by_role("button", name=label).click()
        picture = Image.open(io.BytesIO(waiting.value.path().read_bytes()))
        assert picture.size == size
        assert label != "Film" or picture.n_frames > 4
    with page.expect_download() as waiting:
        page.get_by_role("button", name="SVG").click()
    assert b"</svg>" in waiting.value.path().read_bytes()


def test_a_base_model_alone_opens_pca_and_one_step_has_no_film(server: Server, page: Page):
    alone = captured_run(server, steps=())
    open_map(server, page, alone)
    expect(page.get_by_text("Where harmful answers went")).to_have_count(0)
    expect(page.get_by_text("component 1", exact=False).first).to_be_visible()
    once = captured_run(server, steps=(30,))
    open_map(server, page, once)
    page.get_by_role("button", name="Slide").click()
    expect(page.get_by_text("A film needs a capture with at least two steps.")).to_be_visible()


def test_a_runs_own_map_is_drawn_anew_at_a_capture_and_stays_as_it_is_between(server: Server, page: Page):
    run = captured_run(server, status="running", steps=(10,))
    page.goto(f"{server.url}/runs?run={run.id}&view=Map")
    chart = page.locator(".st-key-chart_live_map .js-plotly-plot").first
    expect(chart).to_be_visible(timeout=120_000)
    expect(page.get_by_text("Block 1 after step 10")).to_be_visible()
    chart.evaluate("graph => graph.marked = true")
    page.wait_for_timeout(7000)
    assert chart.evaluate("graph => graph.marked") is True
    write_capture(
        run.representations_folder / TRAINING, run_id=run.id, key=TRAINING, harmful=20, benign=21, steps=(10, 20)
    )
    expect(page.get_by_text("Block 1 after step 20")).to_be_visible(timeout=60_000)
    expect(page.get_by_text(MOVED)).to_be_visible()
    empty = create_run(server.settings.runs, build_spec({}), name="empty")
    empty.update(status="finished", step=3, steps=3)
    page.goto(f"{server.url}/runs?run={empty.id}&view=Map")
    expect(page.get_by_text("This run has captured no step")).to_be_visible()
