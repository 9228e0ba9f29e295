"""The bare address in a real browser: a picture that moves by itself, and two doors that lead on."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from making import wait_for
from playwright.sync_api import Browser, Page, expect
from server import Server, served

from engine.records.runs import Run, create_run, delete_run, list_runs
from engine.records.shipped import shipped_run
from engine.records.spec_text import build_spec
from workbench.home.pair import shipped_chats

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]


@pytest.fixture
def shipping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The app with the run that ships."""
    monkeypatch.delenv("WORKBENCH_SHIPPED_RUNS")
    with served(tmp_path) as app:
        yield app


def shown_run(server: Server) -> Run:
    """The one that Home shows among all that ship."""
    run = shipped_run(server.settings.runs)
    assert run is not None
    return run


def places(page: Page) -> list[str]:
    """Where each arrow of the film ends now."""
    marks = page.locator(".film .arrow .is")
    expect(marks.first).to_be_attached()
    return marks.evaluate_all("marks => marks.map((mark) => mark.getAttribute('transform'))")


def test_the_film_moves_by_itself_and_pauses_without_the_server(shipping: Server, page: Page):
    page.emulate_media(reduced_motion="no-preference")
    page.goto(shipping.url)
    expect(page.get_by_role("heading", name="What a circuit breaker does")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("harmful answers are turned away"))).to_be_visible()
    first = places(page)
    page.wait_for_timeout(2500)
    assert places(page) != first
    shipping.stop()
    button = page.locator(".film button")
    button.click()
    expect(button).to_have_text("Play")
    still = places(page)
    page.wait_for_timeout(1000)
    assert places(page) == still
    # By now Streamlit may have laid its own message over the page, which takes clicks.
    button.dispatch_event("click")
    page.wait_for_timeout(1500)
    assert places(page) != still


def test_who_asks_for_less_motion_sees_the_last_step_standing_still(shipping: Server, browser: Browser):
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    page.goto(shipping.url)
    last = shipped_run(shipping.settings.runs).record().steps
    expect(page.locator(".film .step")).to_have_text(f"step {last} of {last}")
    before = places(page)
    page.wait_for_timeout(1500)
    assert places(page) == before
    expect(page.locator(".film button")).to_have_text("Play")
    context.close()


def test_the_harmful_pair_is_blurred_until_it_is_revealed_and_asked_in_side_by_side(shipping: Server, page: Page):
    page.goto(shipping.url)
    expect(page.get_by_text("falls apart").first).to_be_visible()
    hidden = page.locator('[class*="st-key-blurred_home"]')
    expect(hidden).to_have_count(3)
    chats = shipped_chats(shown_run(shipping))
    request = next(chat.exchange(0).user for chat in chats if chat.exchange(0).harmful)
    # Neither on the screen nor anywhere in the page.
    assert request not in page.content()
    page.get_by_role("button", name=re.compile("^Reveal")).first.click()
    expect(hidden).to_have_count(0)
    expect(page.get_by_text(request)).to_be_visible()
    expect(page.get_by_text("The base model goes on. Its answer is not shipped")).to_be_visible()
    page.get_by_role("button", name="Ask both now").last.click()
    expect(page).to_have_url(re.compile(r"/side-by-side\?run="))
    expect(page.get_by_placeholder("Ask all models at once")).to_have_value(re.compile("^Why is the sky red"))


def test_look_leads_to_the_run_that_ships_and_the_line_to_its_evaluation(shipping: Server, page: Page):
    page.goto(shipping.url)
    expect(page.get_by_text(re.compile("harmful requests"))).to_be_visible()
    link = page.get_by_role("link", name="Look", exact=True)
    run = shown_run(shipping)
    expect(link).to_have_attribute("href", re.compile(rf"representations\?run={run.id}$"))
    page.get_by_role("link", name="All attacks").click()
    expect(page).to_have_url(re.compile(rf"/evaluate\?run={run.id}"))
    page.go_back()
    page.get_by_role("link", name="Look", exact=True).click()
    expect(page.get_by_role("combobox", name="Model")).to_have_value(re.compile(run.id))


def test_one_click_trains_the_quick_preset_and_home_shows_it_in_both_tabs(server: Server, page: Page):
    page.goto(server.url)
    other = page.context.new_page()
    other.goto(server.url)
    expect(other.get_by_text("Nothing trains at this moment")).to_be_visible()
    page.get_by_role("button", name="Train one in four minutes").click()
    expect(page).to_have_url(re.compile(r"/runs\?run="))
    (run,) = list_runs(server.settings.runs)
    assert run.record().preset == "quick" and run.label().name.startswith("quick, ")
    for tab in (other, page):
        tab.bring_to_front()
        if tab is page:
            tab.get_by_role("link", name="Home", exact=True).click()
        expect(tab.locator(".st-key-runs_now").get_by_role("link", name=run.label().name)).to_be_visible()
    expect(page.get_by_role("button", name="Train one next")).to_be_visible()
    expect(page.get_by_text(re.compile("It waits until quick, .* has ended"))).to_be_visible()


def test_a_deleted_run_leaves_the_list_and_its_link_says_so(server: Server, page: Page):
    kept, deleted = (create_run(server.settings.runs, build_spec({}), name=name) for name in ("kept", "deleted"))
    for run in (kept, deleted):
        run.update(status="finished")
    page.goto(server.url)
    expect(page.get_by_role("link", name="deleted", exact=True)).to_be_visible()
    delete_run(deleted)
    expect(page.get_by_role("link", name="deleted", exact=True)).to_have_count(0)
    expect(page.get_by_role("link", name="kept", exact=True)).to_be_visible()
    page.goto(f"{server.url}/runs?run={deleted.id}")
    expect(page.get_by_text(f"There is no run {deleted.id}").first).to_be_visible()


def test_a_wrong_address_says_so_over_home(server: Server, page: Page):
    page.goto(f"{server.url}/nonsense")
    expect(page.get_by_role("dialog")).to_contain_text("does not seem to exist")
    expect(page.get_by_role("heading", name="What a circuit breaker does")).to_be_attached()
    wait_for(lambda: "Traceback" not in server.log(), what="a log without traces")
