"""Choose whose words are asked beside the requests of the form: a half of the authors, and how many rows of each."""

from typing import Any

import streamlit as st

from engine.records.others.authors import AUTHORS, HALVES, authors_of
from engine.records.others.reading import ROWS

NONE = "none"


def others_choice() -> dict[str, Any]:
    """Fields of a plan, {} for none."""
    left, right = st.columns([2, 1], vertical_alignment="top")
    half = left.selectbox(
        "Other people's words",
        ["", *HALVES],
        key="evaluate_others",
        persist_state="session",
        format_func=lambda one: _title(one) if one else NONE,
        help="Requests that nobody here wrote, each author apart, beside the run's own held-out rows. Choose settings "
        "by the worst author of the development half; look at the test half when the choice is made.",
    )
    if not half:
        return {}
    rows = right.number_input(
        "Rows of an author",
        0,
        10_000,
        ROWS,
        key="evaluate_others_rows",
        persist_state="session",
        help="Of each of its harmful, borderline and benign requests, evenly taken; 0: all.",
    )
    return {"others": half, "others_rows": rows}


def _title(half: str) -> str:
    return f"{half}: {', '.join(AUTHORS[name].title for name in authors_of(half))}"  # type: ignore[arg-type]
