"""Two tabs, or two runs, that wait for what the worker makes; and one label that two tabs change."""

import streamlit as st
from making_pages import drawn
from making_runs import write_run
from streamlit.testing.v1 import AppTest

from engine.desk.queue import Queue
from engine.records.runs import delete_run, list_runs, open_run
from workbench.kit import state
from workbench.runs.follow import KEPT_RUNS, follow


def waiting():
    import streamlit as st

    from workbench.kit.waiting import awaited

    awaited(
        "project",
        {"wish": st.session_state["wish"]},
        what="Map",
        ready=lambda: False,
        place="map",
        leave=lambda: st.session_state.update(wish="nothing"),
    )


def tab(wish: str) -> AppTest:
    state.settings.cache_clear()
    page = AppTest.from_function(waiting)
    page.session_state["wish"] = wish
    return drawn(page)


def said(page: AppTest) -> str:
    return "\n".join(one.value for one in page.markdown)


def test_who_goes_on_to_something_else_takes_nothing_from_who_waits_for_the_same(settings):
    first, second = tab("a"), tab("a")
    queue = Queue(settings.desk)
    assert len(queue.newest("project")) == 1
    first.session_state["wish"] = "b"
    drawn(first)
    drawn(second)
    wanted = [(job.payload["wish"], job.status) for job in queue.newest("project")]
    assert wanted.count(("a", "queued")) == 1 and wanted.count(("b", "queued")) == 1
    assert "it was cancelled" not in said(second)


def test_what_is_cancelled_in_one_tab_is_cancelled_in_all(settings):
    first, second = tab("a"), tab("a")
    first.button(key="cancel_map").click()
    drawn(first)
    drawn(second)
    assert "it was cancelled" in said(first) and "it was cancelled" in said(second)
    assert len(Queue(settings.desk).newest("project")) == 1


def test_what_one_cancels_oneself_stays_cancelled_until_it_is_asked_for_again(settings):
    page = tab("a")
    page.button(key="cancel_map").click()
    drawn(page)
    assert "it was cancelled" in said(page)
    page.button(key="leave_map").click()
    drawn(page)
    page.session_state["wish"] = "a"
    drawn(page)
    assert "it was cancelled" not in said(page)
    newest = Queue(settings.desk).newest("project")
    assert next(job.status for job in newest if job.payload["wish"] == "a") == "queued"


def test_a_note_that_is_saved_in_one_tab_leaves_the_name_that_another_gave(settings):
    state.settings.cache_clear()
    run = write_run(settings, name="old")
    run.set_label(name="old", note="")
    form = AppTest.from_function(naming)
    form.session_state["run"] = str(run.folder)
    drawn(form)
    run.set_label(name="new", note="")
    form.text_area[0].set_value("a note")
    form.button[0].click()
    drawn(form)
    assert (run.label().name, run.label().note) == ("new", "a note")
    assert form.text_input[0].value == "new" and form.text_area[0].value == "a note"


def naming():
    from pathlib import Path

    import streamlit as st

    from engine.records.runs import Run
    from workbench.runs.name_form import name_form

    run = Run(Path(st.session_state["run"]))
    name_form(run, run.label())


def test_a_copy_of_a_run_that_ships_is_listed_once(settings, monkeypatch):
    monkeypatch.delenv("WORKBENCH_SHIPPED_RUNS", raising=False)
    (shipped, *_) = list_runs(settings.runs)
    copy = settings.runs / shipped.id
    copy.mkdir(parents=True)
    (copy / "record.json").write_bytes((shipped.folder / "record.json").read_bytes())
    listed = list_runs(settings.runs)
    assert (
        [run.folder for run in listed if run.id == shipped.id] == [copy] == [open_run(settings.runs, copy.name).folder]
    )
    delete_run(listed[0])
    assert shipped.id in {run.id for run in list_runs(settings.runs)}


def test_more_runs_than_are_usually_kept_are_followed_together(settings, monkeypatch):
    monkeypatch.setattr(st, "session_state", {})
    runs = [write_run(settings, name=f"{number}") for number in range(KEPT_RUNS + 2)]
    before = [follow(run, beside=len(runs)) for run in runs]
    assert [follow(run, beside=len(runs)) for run in runs] == before
    assert all(one is two for one, two in zip(before, [follow(run, beside=len(runs)) for run in runs], strict=True))
