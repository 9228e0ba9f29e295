"""The frame around every page: the way of the Tab key, the ring around what has the focus, and the projector."""

import pytest
from making import wait_for
from playwright.sync_api import Page, expect
from server import Server, opened_whole, settled

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
FOCUSED = """() => {
  const at = document.activeElement, style = getComputedStyle(at);
  return { label: at.getAttribute("aria-label") ?? "", tag: at.tagName, outline: style.outlineStyle,
           help: at.matches('button[aria-label="Help"]') };
}"""


@pytest.fixture(scope="module")
def server(shared_server: Server) -> Server:
    return shared_server


def test_the_tab_key_passes_by_every_question_mark_of_train_and_shows_where_it_is(server: Server, page: Page):
    page.goto(f"{server.url}/train?preset=quick")
    expect(page.get_by_role("button", name="Start training")).to_be_visible()
    marks = page.get_by_role("button", name="Help for")
    page.get_by_text("Advanced: every field").click()
    expect(marks.nth(11)).to_be_attached()
    assert marks.count() > 10, "screen readers still find them"
    settled(page)
    stops = []
    for _ in range(120):
        page.keyboard.press("Tab")
        stops.append(page.evaluate(FOCUSED))
        if stops[-1]["tag"] == "BODY":
            break
    assert len(stops) > 30
    assert [stop for stop in stops if stop["label"].startswith("Help for") or stop["help"]] == []
    buttons = [stop for stop in stops if stop["tag"] in ("BUTTON", "A")]
    assert buttons and [stop for stop in buttons if stop["outline"] != "solid"] == []


def test_f1_in_a_field_opens_its_help_and_leads_back(server: Server, page: Page):
    page.goto(f"{server.url}/train?preset=quick")
    page.get_by_text("Advanced: every field").click()
    field = page.get_by_role("textbox", name="Captured prompts")
    expect(field).to_be_visible()
    page.wait_for_timeout(1000)
    field.focus()
    page.keyboard.press("F1")
    expect(page.get_by_role("tooltip").or_(page.get_by_test_id("stTooltipContent")).first).to_be_visible()
    page.keyboard.press("Escape")
    expect(field).to_be_focused()


def test_the_projector_switch_makes_text_and_figures_larger_and_stays_for_other_pages(server: Server, page: Page):
    page.goto(f"{server.url}/train?preset=quick")
    page.get_by_text("Advanced: every field").click()
    ticks = page.locator(".js-plotly-plot .xtick text")
    expect(ticks.first).to_be_visible()
    size = "one => parseFloat(getComputedStyle(one).fontSize)"
    before = ticks.first.evaluate(size)
    page.get_by_text("Projector", exact=True).click()
    page.wait_for_function("() => getComputedStyle(document.documentElement).fontSize === '20px'")
    # Figures are drawn anew meanwhile, and a text that is taken away has no size.
    page.wait_for_function(
        """least => {
          const tick = document.querySelector(".js-plotly-plot .xtick text");
          return tick && parseFloat(getComputedStyle(tick).fontSize) >= least;
        }""",
        arg=1.4 * before,
    )
    page.get_by_role("link", name="Home", exact=True).click()
    expect(page.get_by_role("heading", name="What a circuit breaker does")).to_be_visible()
    expect(page.locator("html")).to_have_css("font-size", "20px")
    # Another tab is another screen.
    other = page.context.new_page()
    other.goto(server.url)
    expect(other.get_by_role("heading", name="What a circuit breaker does")).to_be_visible()
    expect(other.locator("html")).to_have_css("font-size", "15px")


def test_a_narrow_window_scrolls_no_page_sideways(server: Server, page: Page):
    page.set_viewport_size({"width": 900, "height": 900})
    sidebar = page.get_by_test_id("stSidebar")
    for path in ("", "train", "runs", "representations", "side-by-side", "tools", "pictures", "evaluate", "learn"):
        opened_whole(page, f"{server.url}/{path}")
        wait_for(lambda: sidebar.evaluate("one => one.clientWidth") < 250, what=f"a narrow sidebar of {path}")
        assert page.get_by_test_id("stMain").evaluate("one => one.scrollWidth - one.clientWidth") <= 1, path
    sidebar.hover()
    page.get_by_test_id("stSidebarCollapseButton").get_by_role("button").click()
    wait_for(lambda: page.get_by_test_id("stMain").evaluate("one => one.clientWidth") == 900, what="the whole width")


def test_a_page_that_was_left_blank_comes_back_where_it_was(server: Server, page: Page):
    page.goto(f"{server.url}/train?preset=default")
    expect(page.get_by_role("button", name="Start training")).to_be_visible()
    settled(page).evaluate("document.getElementById('root').replaceChildren()")
    expect(page.get_by_role("button", name="Start training")).to_be_visible()
    assert "preset=default" in page.url
