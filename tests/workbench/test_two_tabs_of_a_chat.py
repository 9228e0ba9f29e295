"""One conversation in two tabs: what one of them asks is neither displaced nor stopped by the other."""

import pytest
from making_pages import drawn, page_of
from making_runs import write_run
from streamlit.testing.v1 import AppTest

from engine.desk.queue import Queue
from engine.records.chats.asked import Column
from engine.records.chats.chat import Chat, Exchange, new_chat
from engine.records.chats.replies import Answered, Pieces
from engine.records.errors import RunError
from engine.records.runs import Run
from workbench.chat.asking import DRAWN
from workbench.chat.columns import dose_key, model_of
from workbench.kit import state


@pytest.fixture
def run(settings, monkeypatch) -> Run:
    monkeypatch.setattr("workbench.chat.asking.ensure_worker", lambda _: None)
    state.settings.cache_clear()
    return write_run(settings, name="mine")


def answered(chat: Chat, number: int) -> None:
    chat.append(number, Pieces(columns=(("Yes.",),) * 2))
    chat.append(number, Answered(ids=((1,),) * 2, reasons=("end",) * 2, first_token_seconds=1, seconds=1))


@pytest.fixture
def chat(settings, run) -> Chat:
    """Two tabs may have it open: its first exchange is answered."""
    columns = (Column(checkpoint="base"), Column(checkpoint=run.id))
    chat = new_chat(settings, columns)
    chat.ask(Exchange(model=run.spec().model, columns=columns, user="first"))
    answered(chat, 0)
    return chat


def from_another_tab(settings, chat: Chat) -> int:
    """A second message, which the worker has begun to answer. Returns its job."""
    number = chat.ask(chat.exchange(0).model_copy(update={"turn": 1, "user": "second"}))
    job = Queue(settings.desk).submit("chat", payload={"chat": chat.id, "exchange": number})
    chat.set_job(number, job)
    chat.append(number, Pieces(columns=(("Half an",),) * 2))
    return job


def test_a_message_waits_for_the_answer_to_another_tabs_message_and_stays_in_the_box(settings, chat):
    page = drawn(page_of("side_by_side", chat=chat.id))
    from_another_tab(settings, chat)
    page.text_area(key="chat_text").set_value("third")
    next(one for one in page.button if one.label == "Ask").click()
    drawn(page)
    assert [chat.exchange(number).user for number in chat.thread()] == ["first", "second"]
    assert page.text_area(key="chat_text").value == "third"
    assert any("is being answered, in another tab perhaps" in one.value for one in (*page.error, *page.warning))


def test_asking_again_and_another_strength_stop_no_message_of_another_tab(settings, run, chat):
    for press in (
        lambda page: page.button(key="chat_again").click(),
        lambda page: page.slider(key=dose_key(1)).set_value(0.5),
    ):
        page = drawn(page_of("side_by_side", chat=chat.id, run=run.id))
        job = from_another_tab(settings, chat)
        number = chat.thread()[-1]
        press(page)
        drawn(page)
        assert chat.thread()[-1] == number and Queue(settings.desk).take_unwanted() == set()
        Queue(settings.desk).finish(job)
        answered(chat, number)


def test_a_number_that_means_another_job_in_a_new_queue_is_no_job_of_this_chat(settings, run, chat):
    other = Queue(settings.desk).submit("evaluate", run_id=run.id, payload={"key": "k"})
    chat.set_job(0, other)
    page = drawn(page_of("side_by_side", chat=chat.id))
    assert "chat_stop" not in {button.key for button in page.button}
    page.button(key="chat_again").click()
    drawn(page)
    assert Queue(settings.desk).job(other).status == "queued" and Queue(settings.desk).take_unwanted() == set()


def test_two_changes_in_a_row_are_both_asked(settings, run, chat):
    """The second may come before what the first asked was drawn."""

    def changing():
        import streamlit as st

        from workbench.chat.asking import ask_again
        from workbench.kit.state import CHAT

        st.query_params[CHAT] = st.session_state["chat"]
        ask_again()
        ask_again()

    page = AppTest.from_function(changing)
    page.session_state["chat"] = chat.id
    page.session_state[DRAWN] = (chat.id, 0)
    drawn(page)
    assert chat.numbers() == [0, 1, 2]
    statuses = [Queue(settings.desk).job(chat.job(number)).status for number in (1, 2)]
    assert statuses == ["cancelled", "queued"]


def test_a_message_that_was_stopped_before_its_turn_says_so_and_not_that_the_worker_died(settings, chat):
    number = chat.ask(chat.exchange(0).model_copy(update={"turn": 1, "user": "second"}))
    job = Queue(settings.desk).submit("chat", payload={"chat": chat.id, "exchange": number})
    chat.set_job(number, job)
    Queue(settings.desk).cancel(job)
    page = drawn(page_of("side_by_side", chat=chat.id))
    assert any("Stopped before it began" in one.value for one in page.info)
    assert not any("worker ended" in one.value for one in page.warning)


def test_two_runs_whose_words_are_written_under_other_templates_are_not_asked_together(settings, run):
    other = write_run(settings, name="plain")
    spec = other.spec()
    plain = spec.model_copy(update={"model": spec.model.model_copy(update={"chat_template": "plain"})})
    (other.folder / "spec.json").write_text(plain.to_json())
    own, theirs = (Column(checkpoint=one.id) for one in (run, other))
    assert model_of((own, own)) == run.spec().model
    with pytest.raises(RunError, match=r"different chat templates \(model, plain\)"):
        model_of((own, theirs))
