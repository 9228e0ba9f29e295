"""The replay bundle opened from disk in a real browser without a network: it plays, hides, turns dark, fits a phone."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from making_runs import BENIGN_REQUEST, HARMFUL_REQUEST, add_capture, add_chat, shipped_default, write_run
from playwright.sync_api import Browser, Page, expect
from test_exported_files import CUT, LABELS

from engine.exports.bundle.write import bundle_html

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
MARK = ".player #scrubber"


@pytest.fixture
def offline(browser: Browser) -> Iterator[Page]:
    """A page without a network that fails the test where its script fails or asks for anything."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True, color_scheme="light")
    page = context.new_page()
    trouble: list[str] = []
    page.on("pageerror", lambda error: trouble.append(str(error)))
    page.on("request", lambda asked: None if asked.url.startswith(("file:", "data:")) else trouble.append(asked.url))
    yield page
    context.close()
    assert trouble == []


@pytest.fixture
def made(settings, tmp_path: Path) -> Path:
    run = write_run(settings)
    add_capture(run, settings)
    add_chat(run, settings, request=HARMFUL_REQUEST, answer="first take a pin </script>", harmful=True)
    add_chat(run, settings, request=BENIGN_REQUEST, answer="a lock keeps a door shut", harmful=False)
    file = tmp_path / "made.html"
    file.write_text(bundle_html(run, settings))
    return file


def test_the_shipped_run_plays_from_disk(offline: Page, settings, tmp_path: Path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_SHIPPED_RUNS", "show")
    file = tmp_path / "shipped.html"
    run = shipped_default()
    last = run.record().steps
    file.write_text(bundle_html(run, settings))
    offline.goto(file.as_uri())
    expect(offline.locator("h1")).to_have_text("default, shipped")
    expect(offline.locator("#step")).to_have_text(f"step {last} of {last}")
    expect(offline.locator("#curves .main-svg .xtitle")).to_have_count(6)
    assert offline.locator(".missing").all_text_contents() == [
        "No answer was looked at token by token: open some in Representations, Tokens, then write the file again."
    ]
    assert offline.evaluate(CUT, LABELS) == []
    end = offline.locator("#film .arrow.harmful .is").first.get_attribute("transform")
    offline.keyboard.press("Home")
    expect(offline.locator("#step")).to_have_text(f"step 0 of {last}")
    expect(offline.locator("#now")).to_contain_text("held-out cosine 1.00")
    assert offline.locator("#film .arrow.harmful .is").first.get_attribute("transform") != end
    offline.keyboard.press("ArrowRight")
    expect(offline.locator("#step")).to_have_text(f"step 1 of {last}")
    offline.keyboard.press(" ")
    expect(offline.locator("#play")).to_have_text("Pause")
    expect(offline.locator("#play")).to_have_text("Play", timeout=40_000)
    expect(offline.locator("#step")).to_have_text(f"step {last} of {last}")
    assert offline.locator("#film .arrow.harmful .is").first.get_attribute("transform") == end


def test_harmful_text_is_in_the_page_only_when_it_is_revealed_and_markup_stays_text(offline: Page, made: Path):
    offline.goto(made.as_uri())
    shown = offline.locator("main")
    expect(shown).to_contain_text(BENIGN_REQUEST)
    for text in (HARMFUL_REQUEST, "take a pin", "a harmful answer"):
        expect(shown).not_to_contain_text(text)
    chat = offline.locator("#chats > .card", has_text="Harmful request")
    chat.get_by_role("button", name="Reveal").click()
    expect(chat).to_contain_text(HARMFUL_REQUEST)
    expect(chat.locator(".token.trips")).to_have_count(1)
    expect(offline.locator("#answers")).not_to_contain_text("a harmful answer")
    offline.keyboard.press("r")
    expect(offline.locator("#answers")).to_contain_text("a harmful answer at 20")
    offline.get_by_role("button", name="Hide harmful text").click()
    expect(chat).not_to_contain_text("take a pin")


def test_an_answer_follows_the_step_and_each_of_two_prompts_has_its_tokens(offline: Page, made: Path):
    offline.goto(made.as_uri())
    offline.locator(MARK).fill("12")
    expect(offline.locator("#answers")).to_contain_text("a benign answer at 10")
    expect(offline.locator("#answers")).not_to_contain_text("a benign answer at 20")
    tokens = offline.locator("#tokens")
    for prompt, word in (("benign-5 (benign), step 20", "·all"), ("harmful-0 (harmful), step 20", "")):
        tokens.get_by_label("Prompt").select_option(prompt)
        expect(tokens.locator(".main-svg").first).to_be_visible()
        assert ("·secret" in tokens.inner_text(), "·all" in tokens.inner_text()) == (False, bool(word))
    offline.keyboard.press("Escape")
    offline.locator("h1").click()
    offline.keyboard.press("r")
    expect(tokens).to_contain_text("·secret")


def test_it_follows_the_systems_theme_turns_by_hand_and_fits_400_pixels(offline: Page, made: Path):
    offline.emulate_media(color_scheme="dark")
    offline.set_viewport_size({"width": 400, "height": 800})
    offline.goto(made.as_uri())
    ground = "getComputedStyle(document.body).backgroundColor"
    assert offline.evaluate(ground) == "rgb(20, 24, 29)"
    assert offline.evaluate("document.documentElement.scrollWidth") == 400
    offline.get_by_role("button", name="Light").click()
    assert offline.evaluate(ground) == "rgb(255, 255, 255)"
    expect(offline.locator("#curves .gtitle").first).to_have_css("fill", "rgb(31, 41, 51)")
    offline.keyboard.press("d")
    assert offline.evaluate(ground) == "rgb(20, 24, 29)"


def test_the_runs_page_writes_it_without_harmful_text_unless_asked(page: Page, server, tmp_path: Path):
    run = write_run(server.settings)
    page.goto(f"{server.url}/runs?run={run.id}")
    page.get_by_role("button", name="Share").click()
    for with_harmful in (False, True):
        if with_harmful:
            page.get_by_text("With harmful text").click()
            # The button is drawn anew with what the switch says.
            page.wait_for_timeout(1500)
        with page.expect_download() as waiting:
            page.get_by_role("button", name="Download the replay").click()
        html = waiting.value.path().read_text()
        assert waiting.value.suggested_filename == f"replay-{run.id}.html"
        assert ("a harmful answer at 20" in html) is with_harmful and "a benign answer at 20" in html
