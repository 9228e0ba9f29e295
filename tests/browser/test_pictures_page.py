"""The page Pictures in a real browser: upload, both answers, the heat map and a short live attack, by the real worker
on a tiny model that sees."""

import io
import re

import pytest
from making import wait_for
from making_callers import finished_run
from making_seers import painted, write_tiny_llava
from PIL import Image
from playwright.sync_api import Page, expect
from server import Server, opened_whole, settled

from engine.compute.model.load import load_model
from engine.records.chats.chat import list_chats
from engine.records.kept_pictures import kept_pictures
from engine.records.picture_attacks import list_attacks
from engine.records.runs import Run
from engine.records.spec_parts import ModelSpec
from engine.records.spec_text import build_spec

pytestmark = [pytest.mark.browser, pytest.mark.timeout(420)]


def run_of_seer(server: Server) -> Run:
    """A finished run of a tiny LLaVA, whose adapter turns what it reads."""
    folder = write_tiny_llava(server.tiny / "llava")
    model = load_model(ModelSpec(name=str(folder), device="cpu"), server.settings)
    prompts = {"circuit_breaker": str(server.tiny / "harmful.jsonl"), "retain": str(server.tiny / "benign.jsonl")}
    spec = build_spec(
        {
            "model": {"name": str(folder), "device": "cpu"},
            "data": {**prompts, "answers": "given", "max_tokens": 128},
            "blocks": {"targets": "1", "adapted": "0-1"},
            "adapter": {"rank": 4, "alpha": 4.0, "noise": 0.3},
        }
    )
    return finished_run(server.settings, model, spec)


def upload(page: Page, name: str, content: bytes) -> None:
    page.locator("input[type=file]").first.set_input_files({"name": name, "mimeType": "image/png", "buffer": content})


def ask(page: Page, question: str) -> None:
    page.get_by_placeholder("Ask all models at once").fill(question)
    page.get_by_role("button", name=re.compile("^(Ask|Send)$")).click()


def attack_live(page: Page, **settings: str) -> None:
    """Begin one with these settings, by their labels, and wait for its first steps."""
    page.get_by_role("tab", name="Attack").click()
    page.get_by_placeholder("What the model is asked of the picture").fill("What is this?")
    for label, value in settings.items():
        field = page.get_by_role("spinbutton", name=label.replace("_", " "), exact=True)
        field.fill(value)
        field.press("Enter")
        page.wait_for_timeout(700)
    page.get_by_role("button", name="Attack", exact=True).click()
    expect(page.get_by_text(re.compile("Lowest loss .* nats a token after"))).to_be_visible(timeout=90_000)


def test_an_upload_is_answered_by_both_models_tinted_attacked_live_and_kept(server: Server, page: Page):
    run = run_of_seer(server)
    content = painted(server.tiny / "cat.png", size=(32, 24)).read_bytes()
    page.goto(f"{server.url}/pictures?run={run.id}")
    expect(page.get_by_placeholder("Ask all models at once")).to_be_visible()

    # What is no picture is refused in a sentence, and what is odd says what was done.
    upload(page, "notes.png", b"no picture at all")
    expect(page.get_by_text("notes.png is no picture: give a file of the kind PNG")).to_be_visible()
    clear = io.BytesIO()
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(clear, "PNG")
    upload(page, "clear.png", clear.getvalue())
    expect(page.get_by_text("8 x 8, transparent parts on white")).to_be_visible()
    upload(page, "cat.png", content)
    expect(page.get_by_text("Kept as cat.png: 32 x 24")).to_be_visible()
    assert len(kept_pictures(server.settings)) == 2

    preview = page.locator(".st-key-picture_choice img")
    expect(preview).to_have_attribute("alt", "A picture, hidden until it is revealed")
    settled(page).get_by_role("button", name="Reveal the picture").click()
    expect(preview).to_have_attribute("alt", "cat.png")

    ask(page, "What is this?")
    expect(page.get_by_role("heading", name="Where the picture was turned")).to_be_visible(timeout=90_000)
    [chat] = list_chats(server.settings)
    assert [len(ids) > 0 for ids in chat.reply(0).answered.ids] == [True, True]
    first = page.locator("[class*='st-key-exchange_0']")
    expect(first.locator("img")).to_have_attribute("alt", "A picture, hidden until it is revealed")
    settled(page).get_by_role("button", name="Reveal the message and 2 answers").click()
    expect(first.locator("img")).to_have_attribute("alt", "cat.png")
    expect(page.get_by_text(re.compile("4 x 4 patches: mean cosine"))).to_be_visible()
    link = page.url

    attack_live(page, Steps="400", Answer_every="10", New_tokens="4")
    expect(page.get_by_text(re.compile("Answered after .* steps")).first).to_be_visible(timeout=90_000)
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Keep", exact=True).click(timeout=60_000)
    [attack] = list_attacks(server.settings)
    wait_for(lambda: attack.is_kept, what="the kept attack")
    course = attack.course()
    assert course.end.reason in ("stopped", "done") and len(course.answers[-1].texts) == 2
    assert len(kept_pictures(server.settings)) == 3
    settled(page).get_by_role("button", name="Reveal pictures, request and answers").click()
    expect(page.get_by_alt_text("What was changed in each colour, made visible")).to_be_visible()

    page.get_by_role("tab", name="Gallery").click()
    row = page.locator(f".st-key-row_attack_{attack.id}")
    expect(row.get_by_role("link")).to_have_attribute("href", re.compile(f"pictures[?]attack={attack.id}"))
    page.goto(link)
    expect(page.get_by_text("read this question alone")).to_be_visible()
    assert page.get_by_test_id("stException").count() == 0 and "Traceback" not in server.log()


def test_two_tabs_keep_their_own_picture_conversation_and_attack(server: Server, page: Page):
    """The second asks while the first attacks: one worker does both, and neither tab shows what the other asked."""
    run = run_of_seer(server)
    second = page.context.new_page()
    tabs = {"cat.png": page, "dog.png": second}
    for number, (name, tab) in enumerate(tabs.items()):
        content = painted(server.tiny / name, size=(32, 24), seed=number).read_bytes()
        tab.goto(f"{server.url}/pictures?run={run.id}")
        upload(tab, name, content)
        expect(tab.get_by_text(f"Kept as {name}: 32 x 24")).to_be_visible()
    # Of one it is said that the picture and its first question are harmless.
    settled(second).locator("label", has_text="Harmful picture").click()
    expect(second.locator(".st-key-picture_choice img")).to_have_attribute(
        "alt", "A picture, hidden until it is revealed"
    )
    settled(second).locator(".st-key-chat_harmful label").click()
    for name, tab in tabs.items():
        ask(tab, f"What is {name}?")
    for name, tab in tabs.items():
        expect(tab.get_by_role("heading", name="Where the picture was turned")).to_be_visible(timeout=120_000)
        if tab is page:
            settled(tab).get_by_role("button", name="Reveal the message and 2 answers").click()
        exchange = tab.locator("[class*='st-key-exchange_0']")
        expect(exchange.locator("img")).to_have_attribute("alt", name)
        expect(exchange.get_by_text(f"What is {name}?")).to_be_visible()
    chats = {chat.exchange(0).user: chat for chat in list_chats(server.settings)}
    assert set(chats) == {"What is cat.png?", "What is dog.png?"}
    assert len({chat.exchange(0).message.parts[0] for chat in chats.values()}) == 2

    attack_live(page, Steps="1000")
    ask(second, "And what else?")
    asked = chats["What is dog.png?"]
    wait_for(lambda: len(asked.numbers()) == 2 and asked.reply(1).answered, what="the second tab's answer")
    [attack] = list_attacks(server.settings)
    assert attack.course().end is None, "the attack goes on behind the answer"
    page.get_by_role("button", name="Stop", exact=True).click()
    wait_for(lambda: attack.course().end is not None, what="the end of the attack")
    for tab in tabs.values():
        assert tab.get_by_test_id("stException").count() == 0
    assert "Traceback" not in server.log()


def test_the_page_opens_by_any_link_without_an_error_of_its_own(server: Server, page: Page):
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    for query in ("", "?chat=none", "?pictures_view=Attack&attack=none", "?pictures_view=Gallery", "?run=none"):
        opened_whole(page, f"{server.url}/pictures{query}")
        expect(page.get_by_role("heading", name="Pictures", exact=True)).to_be_visible()
        assert page.get_by_test_id("stException").count() == 0
    assert problems == [] and "Traceback" not in server.log()
