"""A page that is come to again, and a second of the same thing: what the link names is shown, not what was left."""

from streamlit.testing.v1 import AppTest

from engine.desk.queue import Queue
from engine.records.chats.asked import Column
from engine.records.chats.chat import Exchange
from engine.records.spec_parts import ModelSpec
from workbench.chat.asking import are_asked
from workbench.evaluate import jobs
from workbench.kit import state


def tabs() -> None:
    import streamlit as st

    from workbench.kit.state import note_arrival, open_tab

    note_arrival(st.session_state.get("place", "here"))
    open_tab("view", "first", "chat", "run", anew=st.session_state.get("anew", True))
    for tab in st.tabs(["first", "second"], key="view", on_change="rerun"):
        tab.write(str(tab.open))


def opened(page: AppTest) -> str:
    return ["first", "second"][[one.value for one in page.markdown].index("True")]


def drawn(page: AppTest, **said: str) -> AppTest:
    for name, value in said.items():
        page.session_state[name] = value
    return page.run()


def test_a_link_opens_its_tab_when_the_page_is_come_to_or_names_another():
    page = AppTest.from_function(tabs)
    page.query_params["chat"] = "one"
    assert opened(drawn(page)) == "first"
    # Chosen by hand: it stays while nothing else is named.
    assert opened(drawn(page, view="second")) == "second" and opened(drawn(page)) == "second"
    page.query_params["chat"] = "two"
    assert opened(drawn(page)) == "first"
    drawn(page, view="second")
    drawn(page, place="elsewhere")
    assert opened(drawn(page, place="here", view="second")) == "first"


def test_without_a_link_or_where_only_arriving_counts_the_tab_stays():
    page = AppTest.from_function(tabs)
    assert opened(drawn(page, view="second", anew=False)) == "second"
    page.query_params["run"] = "a"
    assert opened(drawn(page)) == "second"
    drawn(page, place="elsewhere")
    assert opened(drawn(page, place="here", view="second")) == "first"


def test_two_base_models_are_two(monkeypatch):
    base = (Column(checkpoint="base"),)
    exchange = Exchange(model=ModelSpec(name="one/model"), columns=base, user="hello")
    for name, same in (("one/model", True), ("another/model", False)):
        monkeypatch.setattr("workbench.chat.asking.model_of", lambda _, name=name: ModelSpec(name=name))
        assert are_asked(base, exchange) is same


def test_every_evaluation_under_way_is_shown_however_many_there_are(settings):
    state.settings.cache_clear()
    queue = Queue(settings.desk)
    numbers = [queue.submit("evaluate", run_id=f"run-{one}", payload={"state": f"run-{one}"}) for one in range(30)]
    assert [job.id for job in queue.under_way("evaluate")] == numbers[::-1]
    assert [job.id for job in jobs._jobs()] == numbers[::-1]
    queue.cancel(numbers[0])
    assert len(queue.under_way("evaluate")) == 29
