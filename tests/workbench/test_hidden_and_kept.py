"""What is hidden stays hidden, what was chosen stays chosen, and a button that is pressed twice does its work once."""

import shutil

import pandas as pd
import pytest
import streamlit as st
from making_pages import drawn, page_of
from making_runs import write_run
from streamlit.testing.v1 import AppTest

from engine.desk.queue import Queue
from engine.records.chats.asked import Column
from engine.records.chats.chat import Chat, Exchange, list_chats, new_chat
from engine.records.chats.replies import Answered, Judged, Pieces
from engine.records.chats.sets import SetRequest, SetRow, new_set
from engine.records.runs import Run, create_run, delete_run
from engine.records.settings import ROOT
from engine.records.spec_text import build_spec
from workbench.chat import columns
from workbench.chat.sets import _sounds_benign
from workbench.kit import state
from workbench.kit.downloads import csv_of
from workbench.kit.words import counted
from workbench.runs.line import waiting_line

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
    return "\n".join(str(one.proto) for kind in ("markdown", "caption", "html") for one in page.get(kind))


@pytest.mark.parametrize(("goes_on", "hidden"), [(True, True), (False, False)])
def test_what_goes_on_from_a_harmful_message_is_hidden_with_it_and_labelled_as_it_is(chat, goes_on, hidden):
    page = drawn(page_of("side_by_side", chat=chat.id))
    page.toggle(key="continue").set_value(goes_on)
    page.text_area(key="chat_text").set_value("second")
    page.toggle(key="chat_harmful").set_value(False)
    next(one for one in page.button if one.label in ("Ask", "Send")).click()
    drawn(page)
    number = chat.thread()[-1]
    assert (chat.exchange(number).user, chat.exchange(number).harmful) == ("second", False)
    chat.append(number, Pieces(columns=(("Its words",),) * 2))
    chat.append(number, Answered(ids=((1,),) * 2, reasons=("end",) * 2, first_token_seconds=1, seconds=1))
    page = drawn(page_of("side_by_side", chat=chat.id))
    assert ("Its words" not in page_texts(page)) is hidden
    page.session_state[state.BLUR] = False
    assert "Its words" in page_texts(drawn(page))


def test_a_message_that_is_sent_twice_in_a_row_is_asked_once(settings, run):
    def sending():
        import streamlit as st

        from engine.records.chats.asked import Column
        from workbench.chat.asking import CHOSEN
        from workbench.chat.composer import PREFILL, TEXT, _take, keep_message
        from workbench.chat.library import _prompts
        from workbench.chat.view import _send
        from workbench.kit.state import CHAT

        keep_message()
        st.session_state[CHOSEN] = (Column(checkpoint="base"), Column(checkpoint=st.session_state["run"]))
        _take(_prompts("harmful")[0])
        sample = st.session_state[TEXT]
        for text, prefill in (
            (sample, ""),
            (sample, ""),
            ("once", ""),
            ("once", ""),
            ("once", "Sure"),
            ("another", ""),
        ):
            # The browser knows neither the new chat nor that the box was emptied.
            st.query_params.pop(CHAT, None)
            st.session_state[TEXT], st.session_state[PREFILL] = text, prefill
            _send()

    page = AppTest.from_function(sending)
    page.session_state["run"] = run.id
    drawn(page)
    said = sorted((chat.exchange(0).user, chat.exchange(0).prefill) for chat in list_chats(settings))
    assert len(said) == 4 and said[1:] == [("another", ""), ("once", ""), ("once", "Sure")]


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


def test_a_transcript_that_cannot_be_read_is_deleted_too_and_the_other_stays(settings, chat):
    damaged = new_chat(settings, chat.exchange(0).columns)
    damaged.ask(chat.exchange(0))
    (damaged.folder / "exchange-0000.json").write_text("{")
    page = page_of("side_by_side", side_view="Transcripts").run()
    assert len(page.error) == 1 and "cannot be read" in page.error[0].value and not page.exception
    page.button(key=f"delete_{damaged.id}").click()
    assert not drawn(page).error and list_chats(settings) == [chat]


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


def test_a_link_to_a_model_leads_to_it_and_to_its_newest_run_whatever_other_runs_there_are(settings, run, monkeypatch):
    """Another model's run is the newest."""
    theirs = run.spec().model.name
    theirs_made = write_run(settings, name="of another", model="another")
    page = drawn(page_of("side_by_side", model=theirs))
    assert page.selectbox(key="chat_model_1").value == run.id
    page = drawn(page_of("side_by_side", model="a-third"))
    assert page.selectbox(key="chat_base").value == "a-third"
    # Whatever was chosen before, and where the newest run of it has nothing to ask yet, or the run is an old one.
    page = page_of("side_by_side", model="another")
    page.session_state["chat_base"] = "a-third"
    create_run(settings.runs, build_spec({"model": {"name": "another"}}), name="queued")
    assert drawn(page).selectbox(key="chat_model_1").value == theirs_made.id
    monkeypatch.setattr(columns, "SHOWN_RUNS", 1)
    assert drawn(page_of("side_by_side", model="another")).selectbox(key="chat_model_1").value == theirs_made.id
    page = page_of("side_by_side", model="a-fourth")
    page.session_state["chat_base"] = "a-third"
    assert drawn(page).selectbox(key="chat_base").value == "a-fourth"
    assert [one.key for one in page.selectbox if one.key.startswith("chat_model")] == ["chat_model_0"]


def test_charts_that_are_frozen_stay_over_a_new_drawing_and_freeze_no_other_view():
    def charts():
        import plotly.graph_objects as go
        import streamlit as st

        from workbench.runs.live_figures import draw_anew, live_charts

        draw_anew()
        view, version = st.session_state.get("view", "a"), st.session_state.get("version", 0)
        drawn_as = st.session_state.get("drawn_as", "")
        words = f"{view} {version} {drawn_as}".strip()
        live_charts(view, version, lambda: {"one": go.Figure(layout={"title": {"text": words}})}, drawn_as=drawn_as)

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
    assert title(page, drawn_as="smooth") == "a 4 smooth" and title(page, drawn_as="") == "a 4"
    assert title(page, version=5) == "a 4"
    page.button(key="freeze_charts").click()
    assert title(page) == "a 5"


def test_requests_and_runs_of_an_evaluation_stay_chosen_and_a_link_says_which_run(settings, run):
    other = write_run(settings, name="second")
    page = drawn(page_of("evaluate", run=run.id))
    assert page.multiselect(key="evaluate_runs").value == [run.id]
    page.selectbox(key="evaluate_benign").set_value("overrefusal")
    page.multiselect(key="evaluate_runs").set_value([other.id])
    drawn(page)
    assert drawn(page).multiselect(key="evaluate_runs").value == [other.id]
    assert page.selectbox(key="evaluate_benign").value == "overrefusal"


def test_a_run_that_was_copied_by_hand_waits_for_itself(settings, tiny_spec):
    """Also where the one that it was copied from is gone."""
    state.settings.cache_clear()
    run = create_run(settings.runs, tiny_spec())
    shutil.copytree(run.folder, settings.runs / "a copy")
    worker = Queue(settings.desk).worker()
    assert set(waiting_line(worker)) == {run.id, "a copy"}
    delete_run(run)
    assert set(waiting_line(worker)) == {"a copy"}
    state.settings.cache_clear()


def test_of_a_set_that_is_being_answered_the_table_alone_is_cut(settings, run, monkeypatch):
    monkeypatch.setattr("workbench.chat.sets.SHOWN_WHILE_GOING", 2)
    column = (Column(checkpoint="base"),)
    made = new_set(settings, SetRequest(model=run.spec().model, columns=column, source="x.jsonl", label="benign"))
    for number in range(4):
        made.append(
            SetRow(prompt_id=str(number), prompt=f"p{number}", label="benign", answers=("a",), words=("complied",),
                   reasons=("",))
        )  # fmt: skip
    job = Queue(settings.desk).submit("answer_set", payload={"set": made.id})
    made.set_job(job)
    page = drawn(page_of("side_by_side", set=made.id, side_view="Run a set"))
    assert list(page.dataframe[0].value["prompt"]) == ["p2", "p3"]
    assert page.metric[0].value == "4 complied"
    Queue(settings.desk).finish(job)
    page = drawn(page_of("side_by_side", set=made.id, side_view="Run a set"))
    assert len(page.dataframe[0].value) == 4


def test_an_app_whose_settings_were_not_read_says_so_and_shows_nothing_else(monkeypatch):
    """As when it is started in another folder: it then listens to everybody."""
    page = AppTest.from_file(str(ROOT / "workbench" / "app.py"), default_timeout=60)
    asked = st.get_option
    monkeypatch.setattr(st, "get_option", lambda name: None if name == "server.address" else asked(name))
    page.run()
    assert len(page.error) == 1 and "--server.address localhost" in page.error[0].value
    assert not page.sidebar.button and not page.title
