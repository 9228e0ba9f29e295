"""A step's check: read again and again until it is met, or answered here. What is met is kept at once."""

import streamlit as st

from engine.records.lessons.checking import Judged, judge
from engine.records.lessons.lesson import Answer, Step
from engine.records.lessons.progress import Met, is_gone, keep_answer, keep_met, read_answers, read_met
from engine.records.lessons.reading import Lesson
from workbench.kit.frame import catching
from workbench.kit.state import settings
from workbench.kit.words import plain

TICK = 4.0


def step_check(lesson: Lesson, step: Step) -> bool:
    """Draw it, and return whether it is met."""
    known = read_met(settings(), lesson.name, step.id)
    judged = Judged(True, known.words, known.run) if known is not None else _judged(lesson, step)
    with st.container(border=True, key="lesson_check"):
        if isinstance(step.check, Answer):
            _question(lesson, step, step.check, done=judged.met)
        if judged.met:
            _met(judged)
        elif isinstance(step.check, Answer):
            _missing(judged)
        else:
            st.fragment(_wait, run_every=TICK)(lesson, step, [judged])
    return judged.met


def _judged(lesson: Lesson, step: Step) -> Judged:
    """Read the records, and keep that the check is met where it is."""
    judged = judge(step.check, settings(), read_answers(settings(), lesson.name, step.id))
    if judged.met:
        keep_met(settings(), lesson.name, step.id, Met(words=judged.words, run=judged.run))
    return judged


@catching
def _wait(lesson: Lesson, step: Step, first: list[Judged]) -> None:
    """first: what was judged for the drawing, which this is a part of at first; taken out."""
    judged = first.pop() if first else _judged(lesson, step)
    if judged.met:
        st.rerun()
    _missing(judged)
    st.button("Check now", key="lesson_check_now", icon=":material/refresh:", type="tertiary")


def _missing(judged: Judged) -> None:
    st.markdown(f":material/radio_button_unchecked: {plain(judged.words)}")


def _met(judged: Judged) -> None:
    st.markdown(f":green[:material/check_circle: **Done.**] {plain(judged.words)}")
    if is_gone(settings(), judged.run):
        st.caption(plain(f"The run {judged.run} that met it was deleted since; the step stays done."))


def _question(lesson: Lesson, step: Step, check: Answer, *, done: bool) -> None:
    given = read_answers(settings(), lesson.name, step.id)
    last = given[-1].text if given else ""
    key, numbers = f"lesson_answer_{lesson.name}_{step.id}", list(range(1, len(check.choices) + 1))
    known: str | int | None = last
    if check.choices:
        known = int(last) if last.isdecimal() and int(last) in numbers else None
    if done or key not in st.session_state:
        # By the state, not as a default: a field whose default changed shows the answer that was given before.
        st.session_state[key] = known
    if check.choices:
        st.radio(
            check.question,
            numbers,
            key=key,
            format_func=lambda number: check.choices[number - 1],
            disabled=done,
        )
    else:
        st.text_input(check.question, key=key, disabled=done, placeholder="A number")
    # It stays where it is when it is done with, so that nothing below it moves.
    given_to = (lesson.name, step.id, key)
    st.button("Answer", key="lesson_answer", type="primary", disabled=done, on_click=_answer, args=given_to)


@catching
def _answer(unit: str, step: str, key: str) -> None:
    value = st.session_state.get(key)
    if value is not None and str(value).strip():
        keep_answer(settings(), unit, step, str(value).strip()[:200])
