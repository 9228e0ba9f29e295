"""Charts that follow a run: drawn when rows are new, unless they are frozen or the mouse is on one. Knows no runs."""

from collections.abc import Callable

import plotly.graph_objects as go
import streamlit as st

from engine.figures.drawing import CONFIG, with_ranges
from workbench.kit.charts import on_screen
from workbench.kit.state import FIGURES, FROZEN
from workbench.kit.zoom import mouse_on_chart, zoom_memory


def live_charts(
    view: str, version: object, make: Callable[[], dict[str, go.Figure]], *, drawn_as: object = None
) -> None:
    """The figures that `make` gives by chart key, in two columns: made anew when `version` or the zoom has changed.

    Call it in the fragment that ticks. `view` names what is looked at: zoom and figures are remembered by it. drawn_as:
    how they are drawn; they are made anew for another choice of it also while they are frozen.
    """
    with st.container(horizontal=True, vertical_alignment="center"):
        frozen = _freeze(view)
        st.caption(
            "Drag to zoom, double-click to see everything again. Zoom stays while new steps arrive, "
            "and charts wait while the mouse moves over one."
        )
    ranges = zoom_memory(view, waits=True)
    wanted = (view, drawn_as, version, repr(ranges))
    drawn, figures = st.session_state.get(FIGURES, (None, {}))
    is_other = drawn is None or drawn[:2] != wanted[:2]
    if is_other or (drawn != wanted and not frozen and not mouse_on_chart(view)):
        figures = make()
        for name, chart in figures.items():
            with_ranges(chart, ranges.get(name))
        st.session_state[FIGURES] = (wanted, figures)
    columns = st.columns(2, gap="medium")
    for index, (name, chart) in enumerate(figures.items()):
        with columns[index % 2]:
            st.plotly_chart(on_screen(chart), key=f"chart_{name}", config=CONFIG, alt=_words(chart))


def draw_anew() -> None:
    """Figures are made anew with their page, unless they are frozen."""
    drawn, _ = st.session_state.get(FIGURES, (None, {}))
    if drawn is not None and drawn[0] != st.session_state.get(FROZEN):
        del st.session_state[FIGURES]


def _words(chart: go.Figure) -> str:
    title = chart.layout.title
    return ", ".join(text for text in (title.text, title.subtitle.text) if text)


def _freeze(view: str) -> bool:
    """A button, since a switch has no key of its own."""
    frozen = st.session_state.get(FROZEN) == view
    st.button(
        "Let charts go on" if frozen else "Freeze charts",
        key="freeze_charts",
        icon=":material/play_circle:" if frozen else ":material/pause_circle:",
        type="primary" if frozen else "secondary",
        help="Keeps the charts as they are while the run goes on. Key: f.",
        on_click=_turn,
        args=("" if frozen else view,),
        shortcut="f",
    )
    return frozen


def _turn(view: str) -> None:
    st.session_state[FROZEN] = view
