"""Where Learn is: a unit, its step, or the sheet. On arrival the address says it, then the session does.

The address is written all the while, and not read again: a browser that is busy sends the one that it had a moment ago,
and a step that was just chosen would be undone by it. Knows nothing of what units hold.
"""

import re
from typing import NamedTuple

import streamlit as st

from engine.records.lessons.lesson import SHIPPED, View
from engine.records.lessons.reading import Lesson
from engine.records.shipped import shipped_run
from workbench.kit.state import settings

_HERE = "learn_place"
# Settings of a link that name runs, several with commas, and with what is of the run behind a stroke.
_OF_RUNS = ("run", "compare", "like", "steer_capture")
_RUN_THAT_SHIPS = re.compile(rf"(?<![^,]){SHIPPED}(?![^,/])")


class Place(NamedTuple):
    """What is looked at, under the names of the address; all empty: the list of units."""

    unit: str = ""
    step: str = ""
    sheet: str = ""


def here() -> Place:
    """The place of this session, which the address then says."""
    if _HERE not in st.session_state:
        st.session_state[_HERE] = Place(*(st.query_params.get(name, "") for name in Place._fields))
    place: Place = st.session_state[_HERE]
    for name, value in place._asdict().items():
        if not value:
            st.query_params.pop(name, None)
        elif st.query_params.get(name) != value:
            st.query_params[name] = value
    return place


def go(unit: str = "", step: str = "", sheet: str = "") -> None:
    """Look at this from now on; nothing named: at the list. For callbacks."""
    st.session_state[_HERE] = Place(unit, step, sheet)


def step_number(lesson: Lesson, step: str) -> int:
    """Which step of a unit has this id, from 0; the first where none has."""
    ids = [one.id for one in lesson.unit.steps]
    return ids.index(step) if step in ids else 0


def link_settings(view: View) -> dict[str, str]:
    """What the link of a view says, with the id of the run that ships in its place."""
    shipped = shipped_run(settings().runs)
    return {
        name: _RUN_THAT_SHIPS.sub(shipped.id, value) if shipped and name in _OF_RUNS else value
        for name, value in view.settings.items()
    }
