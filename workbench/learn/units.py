"""The list of units: what each teaches, how long it takes, and how far the learner is."""

import streamlit as st

from engine.records.lessons.reading import Lesson, Lessons
from workbench.kit.words import plain
from workbench.learn.place import go
from workbench.learn.unit import is_done, steps_done

INTRODUCTION = (
    "Short units on what goes on inside a language model, and on how a circuit breaker changes it. Each step has a "
    "text, what it talks about beside it, and something to do; it checks itself by what you did in the workbench. All "
    "that is needed ships with it: start anywhere."
)


def units_view(lessons: Lessons) -> None:
    st.markdown(INTRODUCTION)
    problems_view(lessons)
    if not lessons.units:
        st.info("There are no lessons: WORKBENCH_LESSONS may name a folder of your own.", icon=":material/school:")
    for lesson in lessons.units:
        _row(lesson)
    st.button("Teacher's sheet", key="lesson_sheet", icon=":material/print:", type="tertiary", on_click=_open_sheet)


def problems_view(lessons: Lessons) -> None:
    """What is wrong with files of lessons; the others are there."""
    for problem in lessons.problems:
        st.warning(plain(problem), icon=":material/edit_note:")


def _row(lesson: Lesson) -> None:
    unit, done = lesson.unit, steps_done(lesson)
    with st.container(border=True, key=f"unit_{lesson.name}", gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
            st.markdown(f"**{unit.order}. {plain(unit.title)}**", width="content")
            if is_done(lesson, done):
                st.badge("done", icon=":material/check:", color="green")
            else:
                words = f"{len(done)} of {len(unit.steps)} steps · " if done else ""
                st.caption(f"{words}{unit.minutes} min", width="content")
        st.caption(plain(unit.learns))
        following = next((step.id for step in unit.steps if step.id not in done), "")
        st.button(
            "Go on" if done and following else "Look again" if done else "Begin",
            key=f"begin_{lesson.name}",
            icon=":material/play_arrow:",
            on_click=go,
            args=(lesson.name, following),
            help=unit.title,
        )


def _open_sheet() -> None:
    go(sheet="yes")
