"""The teacher's sheet: all units with their views, checks and answers on one page, for printing."""

import streamlit as st

from engine.records.lessons.reading import Lesson, Lessons
from workbench.kit.words import plain
from workbench.learn.place import go
from workbench.learn.units import problems_view
from workbench.learn.words import check_words, view_words

# On paper: the sheet alone, in black, no unit's heading at the foot of a page.
PRINT = """
@media print {
  [data-testid="stSidebar"], [data-testid="stHeader"], [data-testid="stToolbar"], .st-key-sheet_ways { display: none; }
  [data-testid="stApp"], [data-testid="stMain"], [data-testid="stMainBlockContainer"], .st-key-sheet {
    position: static !important; overflow: visible !important; height: auto !important; max-width: none !important;
    padding: 0 !important; background: white !important; color: black !important;
  }
  [data-testid="stAppViewContainer"] { position: static !important; overflow: visible !important; display: block; }
  .st-key-sheet * { color: black !important; }
  .st-key-sheet h3 { break-after: avoid; }
  [class*="st-key-sheet_step_"] { break-inside: avoid; }
}
"""


def sheet_view(lessons: Lessons) -> None:
    st.html(f"<style>{PRINT}</style>")
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="sheet_ways"):
        st.button("All units", key="lesson_list", icon=":material/arrow_back:", type="tertiary", on_click=go)
        st.caption("For teachers: it has every answer. Print it from the browser's menu.", width="content")
    problems_view(lessons)
    with st.container(key="sheet"):
        minutes = sum(lesson.unit.minutes for lesson in lessons.units)
        st.markdown(f"{len(lessons.units)} units, about {minutes} minutes in all.")
        for lesson in lessons.units:
            _unit(lesson)


def _unit(lesson: Lesson) -> None:
    unit = lesson.unit
    st.subheader(f"{unit.order}. {unit.title} ({unit.minutes} min)", anchor=False)
    st.caption(plain(f"{unit.learns} File: {lesson.file.name}"))
    for number, step in enumerate(unit.steps):
        with st.container(key=f"sheet_step_{lesson.name}_{step.id}", gap="xsmall"):
            optional = " (optional)" if step.optional else ""
            st.markdown(f"**{number + 1}. {plain(step.title)}{optional}.** {step.task}")
            parts = [f"Check: {check_words(step.check)}"]
            if step.view is not None:
                parts.append(f"View: {view_words(step.view)}.")
            st.caption(plain(" ".join(parts)))
            st.caption(f"{plain('Show me:')} {step.hints.show_me}")
