"""Representations in a real browser: what would mislead. Blocks of two runs, suggestions from noise, the same tokens
for both sides, waits. Captures are made ones; their maps are the real worker's."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from graphs import asked
from making import wait_for
from making_captures import write_capture
from playwright.sync_api import Locator, Page, expect
from server import Server, served

from engine.records.captures.capture import TRAINING
from engine.records.runs import Run, create_run
from engine.records.spec_text import build_spec

pytestmark = [pytest.mark.browser, pytest.mark.timeout(420)]

# Words of a wait are on the screen for a moment each.
LISTENER = """() => {
    window.waits = [];
    const look = () => {
        for (const bar of document.querySelectorAll("[data-testid=stProgress]"))
            if (!window.waits.includes(bar.textContent)) window.waits.push(bar.textContent);
    };
    window.setInterval(look, 50);
}"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with served(tmp_path_factory.mktemp("app")) as app:
        yield app


def captured_run(server: Server, name: str, **more) -> Run:
    run = create_run(server.settings.runs, build_spec({}), name=name)
    run.update(status="finished", step=30, steps=30)
    options = {"harmful": 20, "benign": 20, "steps": (10, 30)} | more
    write_capture(run.representations_folder / TRAINING, run_id=run.id, key=TRAINING, **options)
    return run


def link(server: Server, run: Run, **more: object) -> str:
    query = "".join(f"&{name}={value}" for name, value in more.items())
    return f"{server.url}/representations?run={run.id}&capture={TRAINING}{query}"


def choose(page: Page, run: Run) -> None:
    page.get_by_role("combobox", name="Model").first.click()
    page.get_by_role("option", name=run.id).click()
    expect(page).to_have_url(re.compile(f"run={run.id}"))


def slider(page: Page) -> Locator:
    return page.locator(".st-key-block").get_by_role("slider")


def test_the_first_map_says_what_it_waits_for_how_far_it_is_and_for_how_long(tmp_path: Path, page: Page):
    """In an app of its own, whose worker has loaded no library yet. So many points are laid out for seconds."""
    page.add_init_script(f"({LISTENER})()")
    with served(tmp_path) as app:
        run = captured_run(app, "waited for", harmful=400, benign=400)
        page.goto(link(app, run, method="UMAP"))
        expect(page.locator(".st-key-chart_map .js-plotly-plot").first).to_be_visible(timeout=180_000)
        waits = page.evaluate("window.waits")
    assert any(
        re.search(r"UMAP of block 1: loading the map libraries \(about 8 s the first time\)", one) for one in waits
    )
    assert any(re.search(r" · \d+ s$", one) for one in waits), waits
    shares = [int(share) for one in waits for share in re.findall(r"\((\d+) %\)", one)]
    assert len(set(shares)) > 3 and shares == sorted(shares), waits
    assert any("epoch" in one or "compiling the layout" in one for one in waits), waits


def test_another_run_opens_at_its_own_target_unless_a_block_was_chosen_in_it(server: Server, page: Page):
    low = captured_run(server, "low", blocks=(0, 1, 2, 3), targets=(1,))
    high = captured_run(server, "high", blocks=(0, 1, 2, 3), targets=(3,))
    page.goto(link(server, low))
    expect(slider(page)).to_have_attribute("aria-valuetext", "1", timeout=60_000)
    expect(page.locator(".st-key-block_strip [data-kind=target]")).to_have_attribute("title", "block 1: target")
    choose(page, high)
    expect(slider(page)).to_have_attribute("aria-valuetext", "3")
    expect(page.locator(".st-key-block_strip")).to_contain_text("target 3")

    slider(page).press("ArrowLeft")
    expect(slider(page)).to_have_attribute("aria-valuetext", "2")
    expect(page).to_have_url(re.compile("block=2"))
    choose(page, low)
    expect(slider(page)).to_have_attribute("aria-valuetext", "1")
    choose(page, high)
    expect(slider(page)).to_have_attribute("aria-valuetext", "2")


def test_a_link_that_names_a_block_opens_at_it_in_a_second_tab_too(server: Server, page: Page):
    low = captured_run(server, "low", blocks=(0, 1, 2, 3), targets=(1,))
    high = captured_run(server, "high", blocks=(0, 1, 2, 3), targets=(3,))
    page.goto(link(server, low))
    expect(slider(page)).to_have_attribute("aria-valuetext", "1", timeout=60_000)
    other = page.context.new_page()
    other.goto(link(server, high, block=0))
    expect(slider(other)).to_have_attribute("aria-valuetext", "0", timeout=60_000)
    page.goto(link(server, high, block=2))
    expect(slider(page)).to_have_attribute("aria-valuetext", "2", timeout=60_000)


def test_where_to_intervene_offers_nothing_where_it_cannot_be_told(server: Server, page: Page):
    few = captured_run(server, "few", harmful=6, benign=6)
    page.goto(link(server, few, tab="Where+to+intervene"))
    expect(page.get_by_text("Cannot tell where to train:")).to_be_visible(timeout=180_000)
    expect(page.get_by_text("Capture at least")).to_be_visible()
    expect(page.get_by_role("link", name="Take into the Train form")).to_have_count(0)

    many = captured_run(server, "many")
    page.goto(link(server, many, tab="Where+to+intervene"))
    expect(page.get_by_role("link", name="Take into the Train form")).to_be_visible(timeout=180_000)
    title = asked(page, "separation", "graph => graph.layout.title.text")
    assert "n = 20 harmful" in title.replace("<br>", " ") and "shuffled labels" in title.replace("<br>", " ")


def test_the_heat_map_is_of_the_same_tokens_and_others_are_a_choice(server: Server, page: Page):
    run = captured_run(server, "both", averaged=("answer", "all"))
    page.goto(link(server, run, tab="What+rerouting+did"))
    title = "graph => graph.layout.title.text.replaceAll('<br>', ' ')"
    wait_for(lambda: "over answer tokens" in (asked(page, "movement", title) or ""), what="answer tokens")
    assert "harmful 0.70" in asked(page, "movement", title)
    page.get_by_text("all tokens", exact=True).click()
    wait_for(lambda: "over all tokens" in (asked(page, "movement", title) or ""), what="all tokens")
    assert "harmful 0.85" in asked(page, "movement", title)
    expect(page).to_have_url(re.compile("averaged=all"))

    earlier = captured_run(server, "of version 0.1")
    page.goto(link(server, earlier, tab="What+rerouting+did"))
    expect(page.get_by_text("both columns are not of the same tokens")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("Averaged over")).to_have_count(0)
