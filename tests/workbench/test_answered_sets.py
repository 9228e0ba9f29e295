"""Answered sets: one model's can be opened and labelled too, one that goes on is followed, one is deleted."""

import pytest
from making_pages import drawn, page_of
from streamlit.testing.v1 import AppTest

from engine.desk.queue import Queue
from engine.records.chats.asked import Column
from engine.records.chats.marks import read_marks
from engine.records.chats.sets import AnswerSet, SetRequest, SetRow, list_sets, new_set
from engine.records.spec_parts import ModelSpec
from workbench.kit import state


@pytest.fixture(autouse=True)
def own_settings(settings):
    state.settings.cache_clear()
    yield
    state.settings.cache_clear()


@pytest.fixture
def answers(settings) -> AnswerSet:
    """One model's answers, of which the second trips."""
    request = SetRequest(model=ModelSpec(), columns=(Column(checkpoint="base"),), source="x.jsonl", label="benign")
    made = new_set(settings, request)
    for prompt_id, trip in (("a", 0), ("b", 7)):
        made.append(
            SetRow(
                prompt_id=prompt_id, prompt=f"request {prompt_id}", label="benign", answers=("yes",),
                words=("complied",), reasons=("",), trips=(trip,),
            )
        )  # fmt: skip
    return made


def opened(answers: AnswerSet, **address: str) -> AppTest:
    return drawn(page_of("side_by_side", set=answers.id, side_view="Run a set", **address))


def test_rows_of_one_model_say_where_they_trip_and_are_opened_and_labelled(answers):
    page = opened(answers, row="b")
    table = page.dataframe[0].value
    assert list(table["Base: trips at"]) == [0, 7] and "differ" not in table
    assert not [one for one in page.toggle if one.label == "Only where they differ"]
    page.feedback(key=f"thumb_{answers.id}_b_0").set_value(1)
    drawn(page)
    assert read_marks(answers)["b"].thumbs == ("up",)
    page.multiselect(key=f"differ_Trips_{answers.id}").set_value(["never"])
    assert list(drawn(page).dataframe[0].value["id"]) == ["a"]


def following():
    """Drawn at first as of a set that is at rest."""
    import streamlit as st

    from engine.records.chats.sets import open_set
    from workbench.chat.sets import _results
    from workbench.kit.state import settings

    st.session_state["times"] = st.session_state.get("times", 0) + 1
    _results(open_set(settings(), st.session_state["set"]), st.session_state["times"] > 1)


def test_a_set_that_goes_on_has_the_page_drawn_anew_so_that_it_is_followed(settings, answers):
    answers.set_job(Queue(settings.desk).submit("answer_set", payload={"set": answers.id}))
    page = AppTest.from_function(following)
    page.session_state["set"] = answers.id
    drawn(page)
    assert page.session_state["times"] == 2 and page.button(key="set_stop")


def test_a_set_is_deleted_with_its_job_and_leaves_the_address_and_twice_without_an_error(settings, answers):
    other = new_set(settings, answers.request())
    job = Queue(settings.desk).submit("answer_set", payload={"set": answers.id})
    answers.set_job(job)
    one, two = (opened(answers, row="b") for _ in range(2))
    for page in (one, two):
        page.button(key="set_delete").click()
        drawn(page)
        assert "set" not in page.query_params and "row" not in page.query_params
    assert list_sets(settings) == [other] and Queue(settings.desk).job(job).status == "cancelled"
