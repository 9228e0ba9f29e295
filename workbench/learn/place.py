"""Where Learn is: the unit, its step and the sheet of the address. Knows nothing of what they hold."""

import streamlit as st

from engine.records.lessons.lesson import SHIPPED, View
from engine.records.lessons.reading import Lesson
from engine.records.runs import list_runs
from workbench.kit.state import settings

UNIT, STEP, SHEET = "unit", "step", "sheet"


def go(unit: str = "", step: str = "") -> None:
    """Look at a unit and a step from now on; nothing named: at the list. For callbacks."""
    for name, value in ((UNIT, unit), (STEP, step), (SHEET, "")):
        if value:
            st.query_params[name] = value
        else:
            st.query_params.pop(name, None)


def step_place(lesson: Lesson) -> int:
    """Which step the address names, from 0; the first where it names none that is there."""
    ids = [step.id for step in lesson.unit.steps]
    wanted = st.query_params.get(STEP, "")
    return ids.index(wanted) if wanted in ids else 0


def link_settings(view: View) -> dict[str, str]:
    """What the link of a view says, with the id of the run that ships in its place."""
    shipped = next((run.id for run in list_runs(settings().runs) if run.read_only), "")
    return {name: value.replace(SHIPPED, shipped) if shipped else value for name, value in view.settings.items()}
