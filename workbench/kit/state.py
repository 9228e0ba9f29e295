"""Names of what this screen looks at, in the session and in the URL, and the way to the records."""

from functools import lru_cache

import streamlit as st

from engine.desk.queue import Queue
from engine.records.settings import Settings, read_settings

# URL parameters.
RUN = "run"
COMPARE = "compare"
LIKE = "like"
PRESET = "preset"
CAPTURE = "capture"
TAKE = "take"
SELECTED = "selected"
CHAT = "chat"
MODEL = "model"
ANSWER_SET = "set"
ATTACK = "attack"
SET_ROW = "row"

# Session keys that are no widget's.
DRAFT = "draft"
DRAFT_ERROR = "draft_error"
LOADED_SPEC = "loaded_spec"
ASKED = "asked_jobs"
FOLLOWED = "followed_runs"
RANGES = "chart_ranges"
MOUSE = "mouse_on_chart"
HOVERED = "hovered_point"
FIGURES = "drawn_figures"
FROZEN = "frozen_charts"
SAID = "said"
AWAITED = "awaited_jobs"
WARMED = "warmed_projection"
CAPTURING = "asked_capture"
PLAYING = "film_plays"
SELECTIONS = "selections_made"
CHOICES = "choices_made"
LIVE_MAP = "live_maps_drawn"
BLOCKS = "blocks_of_runs"
PAGE = "page_drawn"
ARRIVED = "page_arrived_at"

# Widget keys that more than one module reads.
BLUR = "blur_harmful"
PROJECTOR = "projector"
CHAT_TEXT, CHAT_HARMFUL, CHAT_PROMPT = "chat_text", "chat_harmful", "chat_prompt_id"


@lru_cache(maxsize=1)
def settings() -> Settings:
    return read_settings()


def queue() -> Queue:
    return Queue(settings().desk)


def blurs() -> bool:
    """Whether harmful text is blurred until it is revealed."""
    return bool(st.session_state.get(BLUR, True))


def projects() -> bool:
    """Whether text and figures are larger, for a room that looks at a projector."""
    return bool(st.session_state.get(PROJECTOR, False))


def show_in_url(*names: str) -> None:
    """Say the view again: a link from a page to itself reaches the server, but not the browser's address."""
    for name in names:
        if name in st.query_params:
            st.query_params[name] = st.query_params[name]
            return
    if not st.query_params:
        st.query_params.clear()


def note_arrival(page: str) -> None:
    """Remember which page is drawn, and whether it was another one before. For the app, at each drawing."""
    st.session_state[ARRIVED] = st.session_state.get(PAGE) != page
    st.session_state[PAGE] = page


def arrived() -> bool:
    """Whether this page was come to from another one."""
    return bool(st.session_state.get(ARRIVED))


def open_tab(key: str, tab: str, *names: str, anew: bool = True) -> None:
    """Where the address names one of these and no tab, a page that is come to opens this one, and not the one that was
    open when it was left; with `anew` also where the address names another than before. key: of the tabs, which are
    drawn behind this."""
    now = {name: st.query_params[name] for name in names if name in st.query_params}
    is_new = anew and now != st.session_state.get(f"{key}_named")
    st.session_state[f"{key}_named"] = now
    if now and key not in st.query_params and (is_new or arrived()):
        st.session_state[key] = tab
