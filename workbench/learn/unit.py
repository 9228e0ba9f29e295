"""One unit, step by step: the text and its task, what it talks about beside it, and below them its check."""

import streamlit as st

from engine.records.lessons.lesson import Hints, Step
from engine.records.lessons.progress import forget_unit, read_met
from engine.records.lessons.reading import Lesson, Lessons
from workbench.kit.frame import caught
from workbench.kit.state import settings
from workbench.learn.beside import beside
from workbench.learn.check import step_check
from workbench.learn.place import go, step_number

COLUMNS = (1, 1.15)
# Pixels of a text that nothing stands beside.
ALONE = 720
HINTS = (("nudge", "A nudge"), ("suggestion", "A suggestion"), ("show_me", "Show me"))


def unit_view(lesson: Lesson, lessons: Lessons, step_id: str) -> None:
    """step_id: the step that is looked at; the first where the unit has none of that id."""
    unit, place = lesson.unit, step_number(lesson, step_id)
    step = unit.steps[place]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button("All units", key="lesson_list", icon=":material/arrow_back:", type="tertiary", on_click=go)
        st.caption(f"Step {place + 1} of {len(unit.steps)}", width="content")
    done = steps_done(lesson)
    _steps(lesson, place, done)
    with st.container(key="lesson"):
        # In a narrow window the style of the page puts what the text talks about between the text and its check.
        left, right = st.columns(COLUMNS, gap="large") if step.figure else (st.container(width=ALONE),) * 2
    with left, st.container(key="lesson_text"):
        st.subheader(step.title, anchor=False)
        st.markdown(step.text)
        turn = "To try, if you have the time" if step.optional else "Your turn"
        st.markdown(f":material/flag: **{turn}.** {step.task}")
    with right, caught():
        beside(lesson, step)
    with left, st.container(key="lesson_turn"):
        with caught():
            met = step_check(lesson, step)
            done = done | {step.id} if met else done
        _hints(lesson, step)
        _ways_on(lesson, lessons, place, done)


def steps_done(lesson: Lesson) -> set[str]:
    """The ids of steps whose checks were met."""
    return {step.id for step in lesson.unit.steps if read_met(settings(), lesson.name, step.id) is not None}


def is_done(lesson: Lesson, done: set[str]) -> bool:
    """Whether the unit is: steps that are optional may be left."""
    return all(step.id in done or step.optional for step in lesson.unit.steps)


def _steps(lesson: Lesson, place: int, done: set[str]) -> None:
    with st.container(horizontal=True, gap="xsmall", key="lesson_steps"):
        for number, step in enumerate(lesson.unit.steps):
            st.button(
                str(number + 1),
                key=f"lesson_step_{step.id}",
                icon=":material/check:" if step.id in done else None,
                type="primary" if number == place else "secondary",
                help=step.title,
                on_click=go,
                args=(lesson.name, step.id),
            )


def _hints(lesson: Lesson, step: Step) -> None:
    """Each opens after the one before it."""
    key = f"lesson_hints_{lesson.name}_{step.id}"
    opened = int(st.session_state.get(key, 0))
    hints: Hints = step.hints
    for name, title in HINTS[:opened]:
        st.info(f"**{title}.** {getattr(hints, name)}", icon=":material/lightbulb:")
    if opened < len(HINTS):
        st.button(
            f"Hint: {HINTS[opened][1].lower()}",
            key="lesson_hint",
            icon=":material/lightbulb:",
            type="tertiary",
            on_click=_open_hint,
            args=(key, opened + 1),
        )


def _open_hint(key: str, count: int) -> None:
    st.session_state[key] = count


def _ways_on(lesson: Lesson, lessons: Lessons, place: int, done: set[str]) -> None:
    steps = lesson.unit.steps
    with st.container(horizontal=True, gap="small", key="lesson_ways"):
        if place:
            before = (lesson.name, steps[place - 1].id)
            st.button("Back", key="lesson_back", icon=":material/chevron_left:", on_click=go, args=before)
        if place + 1 < len(steps):
            st.button(
                "Next step",
                key="lesson_next",
                icon=":material/chevron_right:",
                on_click=go,
                args=(lesson.name, steps[place + 1].id),
            )
    if not is_done(lesson, done):
        return
    st.success("This unit is done.", icon=":material/workspace_premium:")
    names = [one.name for one in lessons.units]
    later = lessons.units[names.index(lesson.name) + 1 :]
    with st.container(horizontal=True, gap="small"):
        for one in later[:1]:
            st.button(f"Next unit: {one.unit.title}", key="lesson_next_unit", on_click=go, args=(one.name,))
        st.button(
            "Begin this unit again",
            key="lesson_again",
            type="tertiary",
            icon=":material/restart_alt:",
            on_click=_again,
            args=(lesson,),
        )


def _again(lesson: Lesson) -> None:
    forget_unit(settings(), lesson.name)
    go(lesson.name)
