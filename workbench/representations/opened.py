"""Which run, capture and block the page looks at, and how. On arrival the address says it, then the session does.

The address is written all the while, and not read again: a browser that is busy sends the one that it had a moment ago,
and what was just chosen would be undone by it.
"""

from collections.abc import Callable, Collection

import streamlit as st

from workbench.kit.state import CAPTURE, CHOICES, PLAYING, RUN, SELECTED

PICKED_RUN = "pick_run"
BLOCK = "block"
_OPENED = "representations_opened"
TOKENS = "tokens"
AVERAGED = "averaged"
METHOD, DIMENSIONS, SPACE, PLANE, LAYOUT = "method", "dimensions", "space", "plane", "layout"
NAMES = (RUN, CAPTURE, BLOCK, TOKENS, AVERAGED, METHOD, DIMENSIONS, SPACE, PLANE, LAYOUT)


def arrive(*, first: Callable[[], str]) -> None:
    """Read the address when the page opens: its widgets are not there yet. first: finds the run where none is named."""
    if PICKED_RUN not in st.session_state or _OPENED not in st.session_state:
        found = {name: st.query_params[name] for name in NAMES if name in st.query_params}
        st.session_state[_OPENED] = found if RUN in found else {RUN: first(), **found}
        if RUN in found:
            # A link shows the view that it names: what it leaves out is as usual, and not as it was chosen elsewhere.
            for name in (TOKENS, AVERAGED, METHOD, DIMENSIONS, SPACE, PLANE, LAYOUT):
                st.session_state.get(CHOICES, {}).pop(name, None)
    _say()


def opened(name: str) -> str:
    """What a link, a choice or a new capture named; '' where nothing did."""
    return st.session_state.get(_OPENED, {}).get(name, "")


def show(name: str, value: str, *, instead_of: Collection[str] = ()) -> None:
    """Look at this one from now on, and forget what was named of the others."""
    st.session_state[_OPENED] = {n: v for n, v in st.session_state.get(_OPENED, {}).items() if n not in instead_of}
    if value:
        st.session_state[_OPENED][name] = value
    else:
        st.session_state[_OPENED].pop(name, None)
    _say()


def turn_to(name: str, value: str, *, instead_of: Collection[str] = ()) -> None:
    """As `show`, of another run or capture: what was selected or played of the one before ends."""
    show(name, value, instead_of=instead_of)
    st.query_params.pop(SELECTED, None)
    st.session_state[PLAYING] = ""


def _say() -> None:
    for name in NAMES:
        value = opened(name)
        if not value:
            st.query_params.pop(name, None)
        elif st.query_params.get(name) != value:
            st.query_params[name] = value
