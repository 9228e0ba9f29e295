"""What a page says when the run of its address is not there. Knows nothing of runs."""

import streamlit as st

from workbench.kit.frame import places
from workbench.kit.words import plain

SHOWN_CHARACTERS = 60


def missing_run(run_id: str) -> None:
    """A sentence and a way back."""
    st.title("No such run", anchor=False)
    st.markdown(f"{missing_words(run_id)} The list shows the runs that there are.")
    st.page_link(places()["runs"], label="To the list of runs", icon=":material/arrow_back:")


def missing_words(run_id: str) -> str:
    shown = run_id if len(run_id) <= SHOWN_CHARACTERS else run_id[:SHOWN_CHARACTERS] + "…"
    return f"There is no run **{plain(shown)}**: it was deleted, or the address is mistyped."
