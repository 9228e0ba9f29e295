"""Side by side in a real browser: both panes stream while a run trains, and what a user does with an answer."""

import json
import re
import time

import pytest
from graphs import asked
from making import wait_for, write_tiny_model
from playwright.sync_api import Locator, Page, expect
from server import Server, opened_whole, settled
from test_live_run import started_run, steps

from engine.desk.queue import Queue
from engine.records.chats.chat import Chat, list_chats
from engine.records.chats.sets import list_sets
from engine.records.runs import Run

pytestmark = [pytest.mark.browser, pytest.mark.timeout(420)]


def box(page: Page) -> Locator:
    return page.get_by_placeholder("Ask all models at once")


def ask(page: Page, text: str) -> None:
    box(page).fill(text)
    page.get_by_role("button", name=re.compile("^(Ask|Send)$")).click()


@pytest.fixture(scope="module")
def server(shared_server: Server) -> Server:
    return shared_server


def opened(server: Server, page: Page, query: str = "") -> None:
    """The page by link; without a run the base model alone is asked, the tiny one."""
    page.goto(f"{server.url}/side-by-side{query or f'?model={server.tiny}/model'}")
    expect(box(page)).to_be_visible(timeout=30_000)


def newest_chat(server: Server) -> Chat:
    """With its first message in it: the folder is there a moment earlier."""
    wait_for(lambda: any(chat.numbers() for chat in list_chats(server.settings)[:1]), what="a chat")
    return list_chats(server.settings)[0]


def finished_run(server: Server, page: Page) -> Run:
    run = started_run(server, page, **{"optimizer.steps": 20, "captures.probe_every": 1000})
    wait_for(lambda: run.record().status == "finished", seconds=120, what="the run")
    return run


def test_both_panes_stream_while_a_run_trains_and_its_charts_move(own_server: Server, page: Page):
    # As deep as it takes for an answer to last some looks at it, however fast the machine.
    deep = write_tiny_model(own_server.tiny / "deep", blocks=40)
    more = {"optimizer.steps": 20000, "captures.probe_every": 100000, "model.name": str(deep)}
    run = started_run(own_server, page, **more)
    wait_for(lambda: len(steps(run)) > 5, seconds=120, what="some steps")
    expect(page.locator(".js-plotly-plot").first).to_be_visible()

    chat_page = page.context.new_page()
    chat_page.set_default_timeout(30_000)
    opened(own_server, chat_page, f"?run={run.id}")
    expect(chat_page.get_by_role("combobox", name="Model 2")).to_have_value(re.compile("as it trains$"))
    chat_page.get_by_text("System prompt and sampling").click()
    chat_page.get_by_role("spinbutton", name="New tokens").fill("300")
    chat_page.get_by_role("spinbutton", name="New tokens").press("Tab")
    chat_page.get_by_text("Harmful", exact=True).click()
    ask(chat_page, "benign request number 3")
    chat = newest_chat(own_server)
    panes = chat_page.locator("[class*='st-key-exchange_'] .answer")
    expect(panes).to_have_count(2)

    seen: list[tuple[int, int]] = []
    while chat.reply(0).answered is None:
        lengths = [len(pane.inner_text()) for pane in panes.all()]
        if len(lengths) == 2 and (lengths[0], lengths[1]) not in seen:
            seen.append((lengths[0], lengths[1]))
        time.sleep(0.05)
    growing = [pair for pair in seen if pair[0] > 1 and pair[1] > 1]
    assert len(growing) >= 3, f"both panes were seen growing {len(growing)} times only: {seen}"

    wait_for(lambda: chat.reply(0).trips, seconds=60, what="the trip")
    before = len(steps(run))
    wait_for(lambda: len(steps(run)) > before + 20, what="training going on")

    def last_step() -> float:
        """Where the chart's axis ends."""
        return asked(page, "losses", "graph => graph._fullLayout.xaxis?.range?.[1]")

    drawn = last_step()
    wait_for(lambda: last_step() > drawn + 5, what="the chart moving")
    assert chat.folder.parent.parent == run.folder
    Queue(own_server.settings.desk).control(run.id, "cancel")


def test_tokens_are_tinted_and_the_adapter_strength_asks_again(own_server: Server, page: Page):
    run = finished_run(own_server, page)
    opened(own_server, page)
    ask(page, "harmful request number 1")
    chat = newest_chat(own_server)
    expect(page.get_by_role("button", name="Ask again")).to_be_visible(timeout=90_000)
    token = page.locator(".answer span[title]").first
    expect(token).to_have_attribute("title", re.compile(r"answer token 1: cosine -?\d\.\d\d"))
    expect(page.locator("[class*='st-key-blurred_answer']")).to_have_count(2)
    settled(page).get_by_role("button", name="Reveal the message and 2 answers").click()
    expect(page.locator("[class*='st-key-blurred_answer']")).to_have_count(0)
    assert all(str(trip.against.checkpoint) == run.id for trip in chat.reply(0).trips)

    slider = page.get_by_role("slider", name="Adapter strength 2")
    slider.focus()
    slider.press("ArrowLeft")
    wait_for(lambda: len(chat.numbers()) == 2, what="the second asking")
    assert [column.dose for column in chat.exchange(1).columns] == [1.0, 0.95]
    expect(page.get_by_text("adapter strength 0.95")).to_be_visible()


def test_a_transcript_is_reopened_by_its_link_and_downloads(server: Server, page: Page):
    opened(server, page)
    ask(page, "benign request number 2")
    expect(page.get_by_role("button", name="Ask again")).to_be_visible(timeout=90_000)
    link, chat = page.url, newest_chat(server)
    assert chat.id in link
    page.goto(server.url + "/runs")
    expect(page.get_by_text("Runs").first).to_be_visible()
    page.goto(link)
    settled(page).get_by_role("button", name="Reveal the message and 1 answer").click()
    expect(page.get_by_text("benign request number 2").first).to_be_visible()
    expect(page.locator(".answer").first).to_be_attached()
    page.get_by_role("button", name="Download").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="As JSON").click()
    content = json.loads(download.value.path().read_text())
    assert content["exchanges"][0]["asked"]["user"] == "benign request number 2"

    page.keyboard.press("Escape")
    ask(page, "and then?")
    wait_for(lambda: len(chat.numbers()) == 2, what="the second turn")
    assert chat.exchange(1).turn == 1 and chat.exchange(1).alone


def test_each_question_is_read_alone_unless_the_conversation_is_continued(server: Server, page: Page):
    """Two tabs: the one that continues, and the one that does not."""
    opened(server, page)
    expect(page.get_by_text("The model reads: this question alone.")).to_be_visible()
    ask(page, "benign request number 2")
    expect(page.get_by_role("button", name="Ask again")).to_be_visible(timeout=90_000)
    chat = newest_chat(server)
    other = page.context.new_page()
    other.goto(page.url)
    expect(box(other)).to_be_visible(timeout=30_000)

    page.get_by_text("Continue the conversation").click()
    expect(
        page.get_by_text(re.compile("The model reads: the turn above and this question; about [0-9]+ tokens"))
    ).to_be_visible()
    ask(page, "and then?")
    wait_for(lambda: len(chat.numbers()) == 2 and chat.reply(1).verdicts, seconds=90, what="the second answer")
    assert chat.conversation(1, 0).messages[0].text == "benign request number 2"
    expect(page.get_by_text(re.compile("read the turn above and this question, [0-9]+ tokens"))).to_be_visible()

    other.reload()
    expect(other.get_by_text("The model reads: this question alone.")).to_be_visible()
    ask(other, "something else")
    wait_for(lambda: len(chat.numbers()) == 3 and chat.reply(2).verdicts, seconds=90, what="the third answer")
    assert [m.text for m in chat.conversation(2, 0).messages] == ["something else"]
    assert chat.reply(2).read[0] < chat.reply(1).read[0] and len(chat.thread()) == 3


def test_hidden_texts_are_in_no_reader_and_the_key_reveals_them_but_not_while_typing(server: Server, page: Page):
    opened(server, page)
    ask(page, "harmful request number 1")
    expect(page.get_by_role("button", name="Ask again")).to_be_visible(timeout=90_000)
    main = page.get_by_test_id("stMain")
    exchange = page.locator("[class*='st-key-exchange_0']")
    assert "harmful request number 1" not in main.aria_snapshot()
    assert "harmful request number 1" not in page.content()
    assert "▆" not in main.aria_snapshot() and "▆" in exchange.inner_text()
    for heading in ("harmful$", "^Base$"):
        shown = exchange.get_by_text(re.compile(heading)).first
        expect(shown).to_be_visible()
        assert shown.evaluate("""element => { for (let at = element; at; at = at.parentElement)
            if (getComputedStyle(at).filter !== 'none') return false; return true }""")

    box(page).click()
    page.keyboard.type("voice no, vN")
    page.wait_for_timeout(1500)
    assert "harmful request number 1" not in main.aria_snapshot()
    expect(box(page)).to_have_value("voice no, vN")
    page.get_by_role("heading", name="Side by side").click()
    page.keyboard.press("v")
    expect(exchange.get_by_text("harmful request number 1")).to_be_visible()
    assert "harmful request number 1" in main.aria_snapshot()
    page.keyboard.press("v")
    expect(exchange.get_by_text("harmful request number 1")).to_have_count(0)


def test_the_key_n_takes_one_sample_prompt_after_the_other(server: Server, page: Page):
    opened(server, page)
    page.get_by_text("Sample prompts").click()
    page.get_by_role("radio", name="benign").click()
    expect(page.locator("[class*='st-key-library_use_b-'] button").first).to_be_visible()
    page.get_by_role("heading", name="Side by side").click()
    taken = []
    for _ in range(2):
        page.keyboard.press("n")
        expect(box(page)).not_to_have_value(taken[-1] if taken else "")
        taken.append(box(page).input_value())
    assert len(set(taken)) == 2 and "n" not in taken


def test_equal_models_have_headings_of_their_own_and_it_is_said(own_server: Server, page: Page):
    run = finished_run(own_server, page)
    opened(own_server, page, f"?run={run.id}")
    for place in (2, 1):
        page.get_by_role("combobox", name=f"Model {place}").click()
        page.get_by_role("option", name="Base model").click()
        expect(page.get_by_role("combobox", name=f"Model {place}")).to_have_value("Base model")
    expect(page.get_by_text("chosen twice: its answers are the same")).to_be_visible()
    page.get_by_text("Harmful", exact=True).click()
    ask(page, "benign request number 3")
    exchange = page.locator("[class*='st-key-exchange_0']")
    expect(exchange.get_by_text("Base (1)", exact=True)).to_be_visible(timeout=60_000)
    expect(exchange.get_by_text("Base (2)", exact=True)).to_be_visible()


def test_a_link_to_a_run_that_is_gone_says_so_and_leads_on(server: Server, page: Page):
    opened(server, page, "?run=nonsense")
    expect(page.get_by_text("There is no run 'nonsense'")).to_be_visible()
    page.get_by_test_id("stMain").get_by_role("link", name="Runs").click()
    expect(page).to_have_url(re.compile("/runs"))


def test_stop_ends_an_answer_and_keeps_it(own_server: Server, page: Page):
    opened(own_server, page)
    page.get_by_text("System prompt and sampling").click()
    page.get_by_role("spinbutton", name="New tokens").fill("450")
    page.get_by_role("spinbutton", name="New tokens").press("Tab")
    ask(page, "benign request number 1")
    chat = newest_chat(own_server)
    wait_for(lambda: any(chat.reply(0).answers), what="the first token")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Ask again")).to_be_visible(timeout=30_000)
    reply = chat.reply(0)
    assert reply.answered and reply.answered.reasons[0] == "stopped" and 0 < len(reply.answered.ids[0]) < 450
    expect(page.get_by_text("stopped").first).to_be_visible()


def test_bad_input_is_said_and_loses_nothing(own_server: Server, page: Page):
    opened(own_server, page)
    ask(page, "   ")
    expect(page.get_by_text("The message is empty")).to_be_visible()
    long = "x" * 700
    ask(page, long)
    expect(page.get_by_text("more than").first).to_be_visible(timeout=60_000)
    expect(box(page)).to_have_value(long)
    ask(page, "short")
    chat = newest_chat(own_server)
    wait_for(lambda: len(chat.numbers()) == 2 and chat.reply(1).answered, what="the answer to another message")
    assert chat.thread() == [1]


def test_what_is_typed_stays_where_the_page_is_drawn_anew_and_tab_leads_to_the_buttons(server: Server, page: Page):
    opened(server, page)
    box(page).fill("half a question")
    page.get_by_role("button", name="Add a model").click()
    expect(page.get_by_role("button", name="Remove the last")).to_be_visible()
    expect(box(page)).to_have_value("half a question")
    page.get_by_role("button", name="Remove the last").click()
    expect(page.get_by_role("button", name="Remove the last")).to_have_count(0)
    expect(box(page)).to_have_value("half a question")
    # Buttons with a help text are no question marks.
    box(page).focus()
    stops = []
    while len(stops) < 12 and not any(stop.endswith("Ask") for stop in stops):
        page.keyboard.press("Tab")
        stops.append(page.evaluate("() => document.activeElement.textContent.trim()"))
    assert stops[-1].endswith("Ask"), stops


def test_a_sample_prompt_is_taken_into_the_box_with_its_label(server: Server, page: Page):
    opened(server, page)
    page.get_by_text("Sample prompts").click()
    page.get_by_role("radio", name="benign").click()
    use = page.locator("[class*='st-key-library_use_b-'] button").first
    expect(use).to_be_visible()
    use.click()
    expect(box(page)).not_to_have_value("")
    expect(page.get_by_label("Harmful", exact=True)).not_to_be_checked()


def test_a_set_is_answered_in_the_background_and_downloads(server: Server, page: Page):
    opened(server, page)
    page.get_by_text("System prompt and sampling").click()
    page.get_by_role("spinbutton", name="New tokens").fill("5")
    page.get_by_role("spinbutton", name="New tokens").press("Tab")
    page.wait_for_timeout(1500)  # The page is drawn anew for the number before it can be for the tab.
    page.get_by_role("tab", name="Run a set").click()
    limit = page.get_by_role("spinbutton", name="Prompts")
    limit.fill("3")
    limit.press("Tab")
    page.get_by_role("button", name="Answer them").click()
    expect(page.get_by_role("button", name="Download CSV")).to_be_visible(timeout=90_000)
    wait_for(lambda: len(list_sets(server.settings)[0].rows()) == 3, what="the set")
    request = list_sets(server.settings)[0].request()
    assert request.sampling.new_tokens == 5 and request.label == "harmful"
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    head = download.value.path().read_text().splitlines()[0].split(",")
    assert "Base: verdict" in head and not {"prompt", "Base: answer"} & set(head), "texts are hidden"


def test_the_page_opens_by_any_link_without_an_error_of_its_own(server: Server, page: Page):
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    for query in ("", "?chat=none", "?side_view=Run+a+set&set=none", "?side_view=Transcripts", "?run=none"):
        opened_whole(page, f"{server.url}/side-by-side{query}")
        expect(page.get_by_role("heading", name="Side by side")).to_be_visible()
        assert page.get_by_test_id("stException").count() == 0
        if query == "?chat=none":
            expect(page.get_by_text("There is no transcript")).to_be_visible()
    assert problems == [] and "Traceback" not in server.log()
