"""Representations in a real browser: linked maps, film, zoom, links, blur, captures, and what a user reads when there
is nothing to see. Captures are made ones where no model is needed; maps of them are the real worker's."""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from graphs import asked, drag, place
from making import wait_for
from making_captures import write_capture
from playwright.sync_api import Page, expect
from server import Server, served

from engine.desk.queue import Queue
from engine.records.captures.capture import TRAINING, Capture, run_captures
from engine.records.runs import Run, create_run
from engine.records.spec_text import build_spec

pytestmark = [pytest.mark.browser, pytest.mark.timeout(420)]

# The prompts that light up in a map, by their places.
LIT = """(graph, axis) => graph._fullData.filter(trace => trace.xaxis === axis && trace.customdata)
    .flatMap(trace => Array.from(trace.selectedpoints ?? []).map(point => trace.customdata[point][0])).sort()"""
FRAME = """graph => ["xaxis", "xaxis2", "yaxis", "yaxis2"].flatMap(
    axis => graph._fullLayout[axis]?.range?.slice() ?? [])"""
WORDS = "graph => graph.layout.xaxis?.ticktext"
# A step is on the screen for a second: whoever looks now and then may miss one.
PROJECTOR = """() => {
    window.stepsSeen = [];
    const look = () => {
        const words = document.querySelector(".st-key-chart_map")?.textContent ?? "";
        const step = words.match(/Circuit-broken, (step \\d+)/)?.[1];
        if (step && step !== window.stepsSeen.at(-1)) window.stepsSeen.push(step);
    };
    look();
    window.setInterval(look, 50);
}"""
RIGHT_MAP = "graph => graph._fullData.filter(trace => trace.xaxis === 'x2').flatMap(trace => Array.from(trace.x))"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One for all tests here: each opens runs of its own by their links, and a new worker takes long to make its first
    map."""
    with served(tmp_path_factory.mktemp("app")) as app:
        yield app


def finished_run(server: Server, *, name: str = "broken") -> Run:
    run = create_run(server.settings.runs, build_spec({}), name=name)
    run.update(status="finished", step=30, steps=30)
    return run


def captured_run(server: Server, **more) -> tuple[Run, Capture]:
    run = finished_run(server)
    run.adapter_folder.mkdir()
    (run.adapter_folder / "adapter_config.json").write_text("{}")
    folder = run.representations_folder / TRAINING
    options = {"harmful": 20, "benign": 20, "steps": (10, 20, 30)} | more
    return run, write_capture(folder, run_id=run.id, key=TRAINING, **options)


def link(server: Server, run: Run, **more: object) -> str:
    """A capture's view; two PCA maps where nothing else is asked for."""
    query = "".join(f"&{name}={value}" for name, value in ({"method": "PCA"} | more).items())
    return f"{server.url}/representations?run={run.id}&capture={TRAINING}{query}"


def shown_map(page: Page) -> None:
    expect(page.locator(".st-key-chart_map .js-plotly-plot").first).to_be_visible(timeout=120_000)
    wait_for(lambda: len(frame(page)) == 8, what="a drawn map")


def frame(page: Page) -> list[float]:
    return asked(page, "map", FRAME)


def lit(page: Page, axis: str) -> list[int]:
    return asked(page, "map", LIT, axis)


def lasso(page: Page, *, panel: int) -> None:
    """Draw around all of a map's left half."""
    drag(page, "map", [(0.02, 0.02), (0.5, 0.02), (0.5, 0.98), (0.02, 0.98), (0.02, 0.02)], number=panel)


def test_a_lasso_lights_up_the_same_prompts_in_both_maps_and_its_link_reopens_them(server: Server, page: Page):
    run, capture = captured_run(server)
    page.goto(link(server, run))
    shown_map(page)
    assert lit(page, "x") == []
    for panel in (0, 1):
        lasso(page, panel=panel)
        expect(page.get_by_text("Selected prompts")).to_be_visible()
        wait_for(lambda: lit(page, "x") != [], what="the light")
        wait_for(lambda: lit(page, "x") == lit(page, "x2"), what="the light in both")
        chosen = lit(page, "x")
        assert 0 < len(chosen) < 40
        if panel == 0:
            page.get_by_role("button", name="Clear").click()
            expect(page.get_by_text("Selected prompts")).to_have_count(0)
            wait_for(lambda: lit(page, "x") == [], what="the dark")
    groups = [capture.index.prompts[row].group for row in chosen]
    told = page.get_by_text(re.compile(rf"^{len(chosen)} prompts:"))
    expect(told).to_be_visible()
    for group in set(groups):
        assert f"{groups.count(group)} {group}" in told.inner_text()

    # The sidebar looks at the worker each two seconds, and the browser may send an old map's lasso along with that.
    page.wait_for_timeout(3000)
    expect(page).to_have_url(re.compile("selected="))
    other = page.context.new_page()
    other.goto(page.url)
    wait_for(lambda: lit(other, "x") == chosen, what="the same light in another tab")
    expect(other.get_by_text("Selected prompts")).to_be_visible()


def test_harmful_prompts_of_a_selection_are_blurred_until_revealed(server: Server, page: Page):
    run, _ = captured_run(server)
    page.goto(link(server, run, selected="0,25"))
    shown_map(page)
    blurred = page.locator("[class*='st-key-blurred']")
    expect(blurred).to_have_count(1)
    assert "harmful request number 0" not in page.content()
    stand_in = blurred.locator(".stand-in").first
    assert "blur" in stand_in.evaluate("element => getComputedStyle(element).filter")
    expect(blurred.get_by_text("Base, as captured")).to_be_visible()
    expect(page.get_by_text("answer of benign-5")).to_be_visible()
    page.get_by_role("button", name="Reveal").click()
    expect(page.locator("[class*='st-key-blurred']")).to_have_count(0)
    expect(page.get_by_text("harmful request number 0")).to_be_visible()


def test_the_film_plays_in_one_frame_keeps_the_zoom_and_ends_on_the_last_step(server: Server, page: Page):
    run, _ = captured_run(server)
    page.goto(link(server, run, step=10, block=2))
    shown_map(page)
    expect(page.get_by_text("Circuit-broken, step 10").first).to_be_visible()
    page.locator(".st-key-chart_map [data-title='Zoom']").click()
    drag(page, "map", [(0.2, 0.2), (0.8, 0.8)], steps=6)
    page.wait_for_timeout(1500)
    zoomed = frame(page)
    assert zoomed[:2] == zoomed[2:4] and zoomed[4:6] == zoomed[6:8]
    before = asked(page, "map", RIGHT_MAP)
    page.evaluate(PROJECTOR)
    page.get_by_role("button", name="Play").click()
    wait_for(lambda: page.evaluate("window.stepsSeen")[-1:] == ["step 30"], what="the last step")
    assert page.evaluate("window.stepsSeen") == ["step 10", "step 20", "step 30"]
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    assert frame(page) == pytest.approx(zoomed, rel=1e-3)
    assert asked(page, "map", RIGHT_MAP) != before
    expect(page.locator(".st-key-step").get_by_role("slider")).to_have_attribute("aria-valuetext", "30")
    expect(page).to_have_url(re.compile("block=2"))


def test_a_3d_map_stays_turned_while_the_film_goes_on(server: Server, page: Page):
    run, _ = captured_run(server)
    page.goto(link(server, run, step=10, block=2, dimensions="3D"))
    expect(page.locator(".st-key-chart_map_3d .svg-container").first).to_be_visible(timeout=120_000)
    page.wait_for_timeout(1500)

    def camera() -> dict[str, float]:
        return asked(page, "map_3d", "graph => graph._fullLayout.scene?._scene?.getCamera().eye")

    before = camera()

    def is_turned() -> bool:
        # A drag while the map is drawn again turns the one that is replaced.
        drag(page, "map_3d", [(0.25, 0.5), (0.4, 0.6)], part=".svg-container")
        page.wait_for_timeout(1500)
        return camera()["x"] != pytest.approx(before["x"], abs=0.05)

    wait_for(is_turned, what="a turned map")
    turned = camera()
    page.locator(".st-key-step").get_by_role("slider").press("ArrowRight")
    expect(page.get_by_text("Circuit-broken, step 20").first).to_be_visible(timeout=60_000)
    page.wait_for_timeout(1500)
    assert camera()["x"] == pytest.approx(turned["x"], abs=0.02)


def test_a_link_opens_the_view_that_was_shared(server: Server, page: Page):
    run, _ = captured_run(server)
    page.goto(link(server, run, block=0, step=0, method="Mean+difference", layout="Arrows", tokens="last+prompt+token"))
    shared = page.locator(".st-key-chart_map .js-plotly-plot").first
    expect(shared).to_be_visible(timeout=120_000)
    expect(page.get_by_text("From base to circuit-broken, step 0").first).to_be_visible()
    expect(page.get_by_text("difference of means").first).to_be_visible()
    for name, value in (("block", "0"), ("step", "0")):
        expect(page.locator(f".st-key-{name}").get_by_role("slider")).to_have_attribute("aria-valuetext", value)
    for part in ("block=0", "step=0", "Mean", "Arrows", "last"):
        expect(page).to_have_url(re.compile(part))


def test_a_clicked_block_opens_its_map_again_and_again_and_choices_last(server: Server, page: Page):
    run, _ = captured_run(server)
    page.goto(link(server, run, tab="Where+to+intervene"))
    chart = page.locator(".st-key-chart_separation .js-plotly-plot")
    expect(chart).to_be_visible(timeout=120_000)
    expect(page.get_by_text("Reroute block")).to_be_visible()
    chart.locator(".scatterlayer .trace:has(.point)").first.locator(".point").nth(2).click(force=True)
    shown_map(page)
    expect(page).to_have_url(re.compile("block=2"))

    # What was chosen on one tab is still chosen after a visit to another.
    page.get_by_text("Mean difference", exact=True).click()
    expect(page.get_by_text("difference of means").first).to_be_visible(timeout=120_000)
    page.get_by_role("tab", name="Tokens").click()
    expect(page.get_by_text("Trips below cosine").first).to_be_visible()
    page.get_by_role("tab", name="Maps").click()
    expect(page.get_by_text("difference of means").first).to_be_visible()
    expect(page).to_have_url(re.compile("block=2"))
    expect(page).to_have_url(re.compile("method=Mean"))

    page.get_by_role("tab", name="Where to intervene").click()
    expect(chart).to_be_visible()
    chart.locator(".scatterlayer .trace:has(.point)").first.locator(".point").nth(2).click(force=True)
    shown_map(page)


def test_suggested_blocks_go_into_the_train_form_and_leave_its_other_fields(server: Server, page: Page):
    _, capture = captured_run(server)
    page.goto(f"{server.url}/train?preset=quick&optimizer.steps=77")
    expect(page).to_have_url(re.compile("optimizer.steps=77"))
    expect(page.get_by_text("Differs from quick")).to_be_visible(timeout=60_000)
    tab = page.get_by_role("tab", name="Where to intervene")

    def opened() -> bool:
        # A click in the moment in which the form is drawn again leads back to the form.
        page.get_by_role("link", name="Representations").click()
        with suppress(AssertionError):
            expect(tab).to_be_visible(timeout=15_000)
        return tab.is_visible()

    wait_for(opened, what="the other page")
    tab.click()
    suggestion = page.locator(".st-key-suggestion")
    expect(suggestion).to_contain_text("Reroute block", timeout=120_000)
    (target,) = re.findall(r"Reroute block (\d+)", suggestion.inner_text())
    page.get_by_role("link", name="Take into the Train form").click()
    expect(page.get_by_role("textbox", name="Target blocks").first).to_have_value(target, timeout=60_000)
    for part in ("preset=quick", "optimizer.steps=77", f"blocks.targets={target}", "model.name=made"):
        expect(page).to_have_url(re.compile(part))
    assert capture.index.model == "made/model"


def clicked_cell(page: Page) -> bool:
    """Click block 0, step 10, the lower left of the cells of blocks 0 to 2 and steps 10 to 30. The page is drawn again
    when the probes of the table below are there, and a click in that moment meets the old chart."""
    left, top, width, height = place(page, "movement")
    cell = left + width / 6, top + height * 5 / 6
    page.mouse.move(*cell)
    page.wait_for_timeout(400)
    page.mouse.click(*cell)
    page.wait_for_timeout(3000)
    return "block=0" in page.url


def test_a_clicked_cell_opens_the_map_of_its_block_and_step(server: Server, page: Page):
    run, _ = captured_run(server)
    page.goto(link(server, run, tab="What+rerouting+did"))
    expect(page.locator(".st-key-chart_movement .js-plotly-plot").first).to_be_visible(timeout=60_000)
    wait_for(lambda: "block=0" in page.url or clicked_cell(page), what="the map of the clicked cell")
    shown_map(page)
    expect(page).to_have_url(re.compile("block=0"))
    expect(page).to_have_url(re.compile("step=10"))


def test_figures_and_their_tables_are_downloaded_without_texts(server: Server, page: Page, tmp_path: Path):
    run, _ = captured_run(server)
    page.goto(link(server, run))
    shown_map(page)
    for label, ending in (("HTML", "html"), ("CSV", "csv"), ("Parquet", "parquet")):
        with page.expect_download() as waiting:
            page.get_by_role("button", name=label, exact=True).click()
        file = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(file)
        assert file.name == f"map-block-1-pca-step-30.{ending}"
        assert b"request number" not in file.read_bytes() and file.stat().st_size > 1000
    assert "https://cdn" not in (tmp_path / "map-block-1-pca-step-30.html").read_text()[:4000]
    lines = (tmp_path / "map-block-1-pca-step-30.csv").read_text().splitlines()
    assert len(lines) == 41 and lines[0].endswith("base_x,base_y,x,y")
    with page.expect_download() as waiting:
        page.locator(".st-key-chart_map [data-title='Download plot as a PNG']").click()
    assert waiting.value.suggested_filename == "map-block-1-pca-step-30.png"


def test_what_cannot_be_shown_is_said_in_words(server: Server, page: Page):
    empty = finished_run(server, name="nothing kept")
    few, _ = captured_run(server, harmful=2, benign=2)
    damaged, _ = captured_run(server)
    (damaged.representations_folder / TRAINING / "capture.json").write_text("{")
    torn, _ = captured_run(server)
    (torn.representations_folder / TRAINING / "base.000.safetensors").write_bytes(b"torn")
    alone, _ = captured_run(server, steps=())
    page.goto(f"{server.url}/representations?run={empty.id}")
    expect(page.get_by_text("no capture, no checkpoint and no adapter")).to_be_visible(timeout=60_000)
    page.goto(link(server, few))
    expect(page.get_by_text("Too few harmful or too few benign prompts").first).to_be_visible(timeout=120_000)
    page.goto(f"{server.url}/representations?run={damaged.id}")
    expect(page.get_by_text("cannot be read")).to_be_visible()
    page.goto(link(server, torn))
    expect(page.get_by_text("cannot be read").first).to_be_visible(timeout=120_000)
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    for tab in ("What+rerouting+did", "Tokens"):
        page.goto(link(server, alone, tab=tab))
        expect(page.get_by_text(re.compile("base model alone|at one of its steps")).first).to_be_visible()
    page.goto(f"{server.url}/representations?run=nothing")
    expect(page.get_by_text("There is no run").first).to_be_visible()
    assert page.get_by_test_id("stException").count() == 0
    assert "Traceback" not in server.log()


def test_a_trained_run_is_captured_by_the_form_and_its_tokens_are_shown(server: Server, page: Page):
    """The whole way with the real worker: train, capture two checkpoints by the form, see where the breaker trips."""
    spec = build_spec(
        {
            "model": {"name": str(server.tiny / "model")},
            "data": {
                "circuit_breaker": str(server.tiny / "harmful.jsonl"),
                "retain": str(server.tiny / "benign.jsonl"),
                "answers": "given",
            },
            "blocks": {"targets": "2", "adapted": "1-2"},
            "optimizer": {"steps": 8},
            "captures": {
                "checkpoint_every": 4,
                "capture_every": 0,
                "final_prompts": 0,
                "heldout_every": 8,
                "probe_every": 8,
                "evaluation_rows": 0,
            },
        }
    )
    run = create_run(server.settings.runs, spec, name="tiny")
    Queue(server.settings.desk).submit("train", run_id=run.id)
    page.goto(f"{server.url}/representations?run={run.id}&method=PCA")
    wait_for(lambda: run.record().status == "finished", seconds=180, what="the end of the run")
    page.reload()
    expect(page.get_by_text("This run has no capture.")).to_be_visible()
    page.get_by_role("textbox", name="Blocks").fill("77-")
    page.get_by_role("button", name="Capture", exact=True).click()
    expect(page.get_by_text("is not a block list")).to_be_visible()
    page.get_by_role("textbox", name="Blocks").fill("0-3")
    page.locator(f".st-key-capture_steps_{run.id} input").click()
    page.get_by_role("option", name="4", exact=True).click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Capture", exact=True).click()
    shown_map(page)
    (capture,) = run_captures(server.settings, run.id)
    assert capture.steps == [4, 8] and capture.index.blocks == (0, 1, 2, 3)
    expect(page).to_have_url(re.compile(f"capture={capture.index.key}"))

    page.get_by_role("tab", name="Tokens").click()
    expect(page.locator(".st-key-chart_tokens .js-plotly-plot").first).to_be_visible(timeout=60_000)
    expect(page.get_by_text(re.compile("The breaker (trips|does not trip)"))).to_be_visible()
    assert all(word.isdigit() for word in asked(page, "tokens", WORDS))
    page.get_by_role("button", name="Reveal").click()
    wait_for(lambda: "h" in asked(page, "tokens", WORDS), what="the words")
