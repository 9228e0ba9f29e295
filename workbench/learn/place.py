"""Where Learn is: a unit, its step, or the sheet. The session says it, and the address follows.

The address is read on arrival, and where it changes after the browser had followed: that is its Back or Forward. Until
then it is not: a browser that is busy sends the one that it had a moment ago, and a step that was just chosen would be
undone by it. Knows nothing of what units hold.
"""

import re
import time
from typing import NamedTuple

import streamlit as st

from engine.records.lessons.lesson import SHIPPED, View
from engine.records.lessons.reading import Lesson
from engine.records.shipped import shipped_run
from workbench.kit.state import arrived, settings

_HERE = "learn_place"
_SAID = "learn_place_said"
# Seconds after which a browser has surely followed: it says so itself only with the next question.
FOLLOWS = 3
# Settings of a link that name runs, several with commas, and with what is of the run behind a stroke.
_OF_RUNS = ("run", "compare", "like", "steer_capture")
_RUN_THAT_SHIPS = re.compile(rf"(?<![^,]){SHIPPED}(?![^,/])")


class Place(NamedTuple):
    """What is looked at, under the names of the address; all empty: the list of units."""

    unit: str = ""
    step: str = ""
    sheet: str = ""


class _Said(NamedTuple):
    """What the address was made to say, and when (monotonic clock, s); `followed`: the browser had it since."""

    place: Place
    moment: float
    followed: bool = False


def here() -> Place:
    """The place of this session, which the address then says."""
    told = Place(*(st.query_params.get(name, "") for name in Place._fields))
    place: Place = st.session_state.setdefault(_HERE, told)
    if told != place and _chosen_there(told, place):
        st.session_state[_HERE] = place = told
    if told == place:
        st.session_state[_SAID] = _Said(place, time.monotonic(), followed=True)
        return place
    others = {name: value for name, value in st.query_params.to_dict().items() if name not in Place._fields}
    # All at once: each change of the address is a step of the browser's Back.
    st.query_params.from_dict({**others, **{name: value for name, value in place._asdict().items() if value}})
    st.session_state[_SAID] = _Said(place, time.monotonic())
    return place


def _chosen_there(told: Place, place: Place) -> bool:
    """Whether an address that says another place was chosen in the browser, and is not one from before."""
    if arrived():
        # The page's own link names no place: it leads to where one was.
        return any(told)
    said: _Said | None = st.session_state.get(_SAID)
    return said is not None and said.place == place and (said.followed or time.monotonic() - said.moment > FOLLOWS)


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
