"""The server as a process: what Streamlit offers no setting for."""

import gc

import streamlit as st
import uvicorn

GRACE = 5
"""Seconds."""


@st.cache_resource(show_spinner=False)
def end_in_time() -> None:
    """Once a server: when it is told to stop, wait at most `GRACE` seconds for connections to close.

    By default uvicorn waits without end: a connection accepted in that very moment, which it does not close, or a
    browser that reads no further keeps the server alive after Ctrl+C, and a second Ctrl+C changes nothing.
    """
    for config in [found for found in gc.get_objects() if type(found) is uvicorn.Config]:
        config.timeout_graceful_shutdown = GRACE


@st.cache_resource(show_spinner=False)
def pass_over_libraries(page: str) -> None:
    """Once a page: the collector of garbage looks at what is loaded by then no more.

    Streamlit has it look at everything after each run of a page or of a part of one, and nearly all there is are
    libraries: seven eighths of the processor time that an open page took.
    """
    gc.collect()
    gc.freeze()
