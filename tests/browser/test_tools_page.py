"""The page Tools in a real browser: the real worker asks a small model that was taught one call, base and run."""

import json
import re

import pytest
from making import wait_for
from making_callers import ANSWER, CALL, QUESTION, WEATHER, finished_run, write_calling_model
from playwright.sync_api import Page, expect
from server import Server, choose, opened_whole, settled

from engine.compute.model.load import load_model
from engine.records.chats.chat import Chat, list_chats
from engine.records.chats.sets import list_sets
from engine.records.runs import Run
from engine.records.spec_parts import ModelSpec
from engine.records.spec_text import build_spec

pytestmark = [pytest.mark.browser, pytest.mark.timeout(420)]


def run_of_caller(server: Server) -> Run:
    """A finished run of the model that calls, whose adapter changes next to nothing."""
    folder = write_calling_model(server.tiny / "caller")
    model = load_model(ModelSpec(name=str(folder)), server.settings)
    prompts = {"circuit_breaker": str(server.tiny / "harmful.jsonl"), "retain": str(server.tiny / "benign.jsonl")}
    spec = build_spec(
        {
            "model": {"name": str(folder), "device": "cpu"},
            "data": {**prompts, "answers": "given", "max_tokens": 128},
            "blocks": {"targets": "1", "adapted": "0-1"},
            "adapter": {"rank": 4, "alpha": 4.0, "noise": 1e-4},
        }
    )
    return finished_run(server.settings, model, spec)


def opened(server: Server, page: Page, query: str) -> None:
    page.goto(f"{server.url}/tools{query}")
    expect(page.get_by_placeholder("Ask all models to do something")).to_be_visible()


def offer_weather(page: Page) -> None:
    """As a tool of the user's own, pasted."""
    page.get_by_text("Tools of your own").click()
    page.get_by_label("Definition").fill(WEATHER.model_dump_json())
    page.get_by_label("Definition").press("Control+Enter")
    page.get_by_role("button", name="Add it").click()
    expect(page.get_by_text("Added to the domain own")).to_be_visible()


def ask(page: Page, text: str) -> None:
    page.get_by_placeholder("Ask all models to do something").fill(text)
    page.get_by_role("button", name=re.compile("^(Ask|Send)$")).click()


def only_chat(server: Server) -> Chat:
    wait_for(lambda: any(chat.numbers() for chat in list_chats(server.settings)), what="a chat")
    [chat] = list_chats(server.settings)
    return chat


def test_both_models_call_go_on_over_their_results_and_answer_a_message(server: Server, page: Page):
    run = run_of_caller(server)
    opened(server, page, f"?run={run.id}")
    offer_weather(page)
    ask(page, QUESTION)
    first = page.locator("[class*='st-key-exchange_0']")
    expect(first.locator(".call .function")).to_have_text(["get_weather", "get_weather"], timeout=90_000)
    go_on = page.get_by_role("button", name="Go on with the results")
    expect(go_on).to_be_visible(timeout=90_000)

    # Harmful until said otherwise: functions and the arguments that the tool defines can be read, nothing else.
    assert "Bern" not in first.inner_html() and "clear" not in first.inner_html() and "▆" in first.inner_html()
    assert "▆" not in first.aria_snapshot() and "get_weather" in first.aria_snapshot()
    settled(page).get_by_role("button", name="Reveal the message and 2 answers").click()
    values = first.locator(".call td .answer")
    expect(values).to_have_text(["Bern", "Bern"])
    expect(values.first.locator("span[title]").first).to_have_attribute(
        "title", re.compile(r"answer token \d+: cosine")
    )
    expect(first.locator(".call .result .text").first).to_have_text('{"city": "Bern", "sky": "clear"}')

    go_on.click()
    second = page.locator("[class*='st-key-exchange_1']")
    expect(second.get_by_text("read the turn above and the results")).to_be_visible(timeout=90_000)
    chat = only_chat(server)
    wait_for(lambda: len(chat.reply(1).verdicts) == 2, seconds=90, what="the answers to the results")
    assert [chat.reply(1).text(column) for column in range(2)] == [ANSWER, ANSWER]
    assert [called.answer.calls for called in chat.reply(0).called] == [(CALL,), (CALL,)]
    # It answered in words: there is nothing more to go on with.
    expect(page.get_by_role("button", name="Ask again")).to_be_visible()
    expect(go_on).to_have_count(0)
    settled(page).get_by_role("button", name="Reveal the message and 2 answers").click()
    expect(second.locator(".answer").first).to_have_text(ANSWER)

    ask(page, "And then?")
    wait_for(lambda: len(chat.numbers()) == 3 and chat.reply(2).answered, seconds=90, what="the third turn")
    roles = [message.role for message in chat.conversation(2, 1).messages]
    assert roles == ["user", "assistant", "tool", "assistant", "user"]


def test_a_forced_call_is_shown_as_put_into_the_mouth_and_a_transcript_leads_back(server: Server, page: Page):
    run = run_of_caller(server)
    opened(server, page, f"?run={run.id}")
    offer_weather(page)
    page.get_by_text("Harmful", exact=True).click()
    page.wait_for_timeout(500)
    choose(page, settled(page).get_by_role("combobox", name="Each answer begins with"), "A call, up to its arguments")
    expect(page.get_by_role("combobox", name="Function of the forced call")).to_be_enabled()
    ask(page, QUESTION)
    expect(page.get_by_role("button", name="Go on with the results")).to_be_visible(timeout=90_000)
    # While the page is drawn anew the part that it replaces is still there for a moment: once, in the end.
    expect(page.get_by_text("every answer begins with a call of get_weather, up to its arguments")).to_have_count(1)
    page.get_by_text("As it was written").first.click()
    begun = page.locator(".answer .said-for")
    expect(begun.first).to_be_visible()
    assert "".join(begun.all_inner_texts()).startswith("<tool_call>")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").click()
        page.get_by_role("button", name="As JSON").click()
    [exchange] = json.loads(download.value.path().read_text())["exchanges"]
    assert exchange["called"][1]["answer"]["calls"][0]["arguments"] == {"city": "Bern"}

    link = page.url
    page.goto(f"{server.url}/side-by-side?side_view=Transcripts")
    row = page.locator("[class*='st-key-row_chat_']")
    expect(row.get_by_role("link")).to_have_attribute("href", re.compile("tools[?]chat="))
    page.goto(link)
    expect(page.locator(".call .function").first).to_have_text("get_weather")
    # What the chat offered; the tools of the user's own stay as they are.
    expect(page.get_by_text("this chat · get_weather")).to_be_visible()


def test_a_set_is_answered_with_its_own_calls_forced(server: Server, page: Page):
    run = run_of_caller(server)
    file = server.tiny / "tools.jsonl"
    row = {"prompt": QUESTION, "tools": [WEATHER.model_dump(mode="json")]}
    rows = [{"id": "a", "call": {"name": "get_weather"}, **row}, {"id": "b", "call": None, **row}]
    file.write_text("".join(json.dumps(one) + "\n" for one in rows))
    page.goto(f"{server.url}/tools?run={run.id}&tools_view=Run a set")
    source = page.get_by_role("combobox", name="Set of requests")
    source.click()
    source.fill(str(file))
    source.press("Enter")
    page.wait_for_timeout(500)
    choose(
        page, settled(page).get_by_role("combobox", name="Each answer begins with"), "A call, up to the function's name"
    )
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="Answer them").click()
    expect(page.get_by_role("button", name="Download CSV")).to_be_visible(timeout=90_000)
    wait_for(lambda: len(list_sets(server.settings)[0].rows()) == 2, what="the set")
    [forced, direct] = list_sets(server.settings)[0].rows()
    assert forced.forced and not direct.forced and forced.words == ("complied", "complied")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    assert "Base: functions" in download.value.path().read_text().splitlines()[0]


def test_models_that_take_tools_are_chosen_and_kept_over_the_tabs(server: Server, page: Page):
    opened(server, page, f"?model={server.tiny}/model")
    expect(page.get_by_text("takes no tools, so it cannot be asked with any")).to_be_visible()
    page.get_by_role("button", name="Add a model").click()
    expect(page.get_by_role("combobox", name="Model 2")).to_be_visible()
    page.get_by_role("tab", name="Transcripts").click()
    expect(page.get_by_text("Transcripts are listed here once you have asked something with tools.")).to_be_visible()
    page.get_by_role("tab", name="Run a set").click()
    expect(page.get_by_role("combobox", name="Base model")).to_have_value(f"{server.tiny}/model")
    expect(page.get_by_text("takes no tools, so it cannot be asked with any")).to_be_visible()


def test_the_page_opens_by_any_link_without_an_error_of_its_own(server: Server, page: Page):
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    for query in ("", "?chat=none", "?tools_view=Run+a+set&set=none", "?tools_view=Transcripts", "?run=none"):
        opened_whole(page, f"{server.url}/tools{query}")
        expect(page.get_by_role("heading", name="Tools", exact=True)).to_be_visible()
        assert page.get_by_test_id("stException").count() == 0
        if query == "?chat=none":
            expect(page.get_by_text("There is no transcript")).to_be_visible()
    assert problems == [] and "Traceback" not in server.log()
