"""What is hidden stays hidden, what was chosen stays chosen, and a button that is pressed twice does its work once."""

import pandas as pd
import pytest
from making_pages import drawn, page_of
from making_runs import write_run
from streamlit.testing.v1 import AppTest

from engine.desk.queue import Queue
from engine.records.chats.asked import Column
from engine.records.chats.chat import Chat, Exchange, list_chats, new_chat
from engine.records.chats.replies import Answered, Judged, Pieces
from engine.records.chats.sets import SetRequest, SetRow, new_set
from engine.records.runs import Run
from workbench.chat.sets import _sounds_benign
from workbench.kit import state
from workbench.kit.downloads import csv_of
from workbench.kit.words import counted

QUOTED = "I cannot help with locks"


@pytest.fixture
def run(settings, monkeypatch) -> Run:
    monkeypatch.setattr("workbench.chat.asking.ensure_worker", lambda _: None)
    state.settings.cache_clear()
    yield write_run(settings, name="mine")
    state.settings.cache_clear()


@pytest.fixture
def chat(settings, run) -> Chat:
    """A harmful question that one model refused in words that say what was asked."""
    columns = (Column(checkpoint="base"), Column(checkpoint=run.id))
    chat = new_chat(settings, columns)
    chat.ask(Exchange(model=run.spec().model, columns=columns, user="first", harmful=True))
    chat.append(0, Pieces(columns=(("Yes.",),) * 2))
    chat.append(0, Answered(ids=((1,),) * 2, reasons=("end",) * 2, first_token_seconds=1, seconds=1))
    chat.append(0, Judged(column=0, word="refused", reason=QUOTED))
    return chat


def page_texts(page: AppTest) -> str:
    """What stands on the page and in its tips."""
    return "\n".join(str(one.proto) for kind in ("markdown", "caption") for one in page.get(kind))


@pytest.mark.parametrize(("goes_on", "harmful"), [(True, True), (False, False)])
def test_a_harmless_message_that_goes_on_from_a_harmful_one_is_harmful(chat, goes_on, harmful):
    page = drawn(page_of("side_by_side", chat=chat.id))
    page.toggle(key="continue").set_value(goes_on)
    page.text_area(key="chat_text").set_value("second")
    page.toggle(key="chat_harmful").set_value(False)
    next(one for one in page.button if one.label in ("Ask", "Send")).click()
    drawn(page)
    assert [(chat.exchange(number).user, chat.exchange(number).harmful) for number in chat.thread()] == [
        ("first", True),
        ("second", harmful),
    ]


def test_a_message_that_is_sent_twice_in_a_row_is_asked_once(settings, run):
    def sending():
        import streamlit as st

        from engine.records.chats.asked import Column
        from workbench.chat.asking import CHOSEN
        from workbench.chat.composer import TEXT, keep_message
        from workbench.chat.view import _send
        from workbench.kit.state import CHAT

        keep_message()
        st.session_state[CHOSEN] = (Column(checkpoint="base"), Column(checkpoint=st.session_state["run"]))
        for text in ("once", "once", "another"):
            # The browser knows neither the new chat nor that the box was emptied.
            st.query_params.pop(CHAT, None)
            st.session_state[TEXT] = text
            _send()

    page = AppTest.from_function(sending)
    page.session_state["run"] = run.id
    drawn(page)
    assert sorted(chat.exchange(0).user for chat in list_chats(settings)) == ["another", "once"]


def test_why_an_answer_was_judged_so_is_hidden_with_it(chat, monkeypatch):
    page = drawn(page_of("side_by_side", chat=chat.id))
    assert "refused" in page_texts(page) and QUOTED not in page_texts(page)
    page.session_state[state.BLUR] = False
    assert QUOTED in page_texts(drawn(page))


def test_the_same_of_a_row_of_a_set(settings, run):
    columns = (Column(checkpoint="base"), Column(checkpoint=run.id))
    made = new_set(settings, SetRequest(model=run.spec().model, columns=columns, source="x.jsonl", label="harmful"))
    made.append(
        SetRow(
            prompt_id="a", prompt="?", label="harmful", answers=("a", "b"), words=("refused",) * 2,
            reasons=(QUOTED, ""),
        )
    )  # fmt: skip
    page = drawn(page_of("side_by_side", set=made.id, side_view="Run a set", row="a"))
    assert "refused" in page_texts(page) and QUOTED not in page_texts(page)
    page.session_state[state.BLUR] = False
    assert QUOTED in page_texts(drawn(page))


def test_a_conversation_and_a_set_that_are_gone_leave_the_page_usable(settings, run):
    page = drawn(page_of("side_by_side", chat="none"))
    assert any("There is no transcript" in one.value for one in page.warning)
    assert page.text_area(key="chat_text") and "chat" not in page.query_params
    page = drawn(page_of("side_by_side", set="none", side_view="Run a set"))
    assert page.button(key="set_start") and "set" not in page.query_params


def test_a_transcript_is_deleted_after_a_question_with_its_job_and_twice_without_an_error(settings, chat):
    number = chat.ask(chat.exchange(0).model_copy(update={"turn": 1, "user": "second"}))
    job = Queue(settings.desk).submit("chat", payload={"chat": chat.id, "exchange": number})
    chat.set_job(number, job)
    one, other = (drawn(page_of("side_by_side", side_view="Transcripts")) for _ in range(2))
    for page in (one, other):
        page.button(key=f"delete_{chat.id}").click()
        drawn(page)
    assert list_chats(settings) == [] and Queue(settings.desk).job(job).status == "cancelled"


def test_words_that_a_spreadsheet_would_take_for_a_formula_are_quoted():
    table = pd.DataFrame({"=name": ["=1+1", "@x", "-y", "plain", None], "n": [-1.5, 2, 3, 4, 5]})
    assert csv_of(table).splitlines() == ["'=name,n", "'=1+1,-1.5", "'@x,2.0", "'-y,3.0", "plain,4.0", ",5.0"]


def test_a_set_is_benign_by_the_name_of_its_file_alone():
    names = {"sample:benign": True, "/benign-and-harmful/harmful.jsonl": False, "not-benign-harmful.jsonl": False}
    assert {name: _sounds_benign(name) for name in names} == names


def test_one_is_not_several():
    assert [counted(number, "prompt") for number in (0, 1, 2)] == ["0 prompts", "1 prompt", "2 prompts"]


def test_models_that_a_page_asked_are_asked_again_when_it_is_come_back_to(settings, run):
    other = write_run(settings, name="second")

    def coming():
        import streamlit as st

        from workbench.chat.columns import column_pickers
        from workbench.chat.preferred import keep_columns
        from workbench.kit.state import note_arrival

        place = st.session_state.get("place", "here")
        note_arrival(place)
        keep_columns(place)
        if place != "elsewhere":
            column_pickers(on_dose=None)

    page = drawn(AppTest.from_function(coming))
    newest = page.selectbox(key="chat_model_1").value
    oldest = next(one for one in (run.id, other.id) if one != newest)
    page.selectbox(key="chat_model_1").set_value(oldest)
    drawn(page)
    page.session_state["place"] = "there"
    assert drawn(page).selectbox(key="chat_model_1").value
    page.selectbox(key="chat_model_1").set_value(newest)
    drawn(page)
    page.session_state["place"] = "elsewhere"
    drawn(page)
    page.session_state["place"] = "here"
    assert drawn(page).selectbox(key="chat_model_1").value == oldest
    page.session_state["place"] = "elsewhere"
    drawn(page)
    page.session_state["place"] = "here"
    page.query_params["run"] = newest
    assert drawn(page).selectbox(key="chat_model_1").value


def test_charts_that_are_frozen_stay_over_a_new_drawing_and_freeze_no_other_view():
    def charts():
        import plotly.graph_objects as go
        import streamlit as st

        from workbench.runs.live_figures import draw_anew, live_charts

        draw_anew()
        view, version = st.session_state.get("view", "a"), st.session_state.get("version", 0)
        live_charts(view, version, lambda: {"one": go.Figure(layout={"title": {"text": f"{view} {version}"}})})

    def title(page: AppTest, **said: object) -> str:
        for key, value in said.items():
            page.session_state[key] = value
        drawn(page)
        return page.session_state[state.FIGURES][1]["one"].layout.title.text

    page = AppTest.from_function(charts)
    assert title(page) == "a 0" and title(page, version=1) == "a 1"
    page.button(key="freeze_charts").click()
    assert title(page, version=2) == "a 1"
    assert title(page, view="b") == "b 2" and title(page, version=3) == "b 3"
    assert title(page, view="a") == "a 3", "what is frozen is not there any more"
    assert title(page, version=4) == "a 3"
    page.button(key="freeze_charts").click()
    assert title(page) == "a 4"


def test_requests_and_runs_of_an_evaluation_stay_chosen_and_a_link_says_which_run(settings, run):
    other = write_run(settings, name="second")
    page = drawn(page_of("evaluate", run=run.id))
    assert page.multiselect(key="evaluate_runs").value == [run.id]
    page.selectbox(key="evaluate_benign").set_value("overrefusal")
    page.multiselect(key="evaluate_runs").set_value([other.id])
    drawn(page)
    assert drawn(page).multiselect(key="evaluate_runs").value == [other.id]
    assert page.selectbox(key="evaluate_benign").value == "overrefusal"
