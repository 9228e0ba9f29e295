"""Naming of held-out pictures, each kind apart, as a table. HTML for the page and the report. No Streamlit."""

from collections.abc import Sequence

from engine.figures.evaluation.table import MatrixColumn, call_cell, heads, table, table_row
from engine.records.evaluation.naming import ABILITY, WORDS

ABOUT = "Held-out names of all designs together. Of a kind there are few pictures, so its intervals are wide."


def kinds_html(shown: Sequence[MatrixColumn]) -> str:
    """Kind x model: how often the right one of all kinds was named; '' where naming was not measured."""
    found = [next((one.kinds for one in column.evaluation.abilities if one.name == ABILITY), {}) for column in shown]
    rows = [
        table_row(
            kind, "", [call_cell(kinds.get(kind, {}), column.side) for kinds, column in zip(found, shown, strict=True)]
        )
        for kind in WORDS
        if any(kind in kinds for kinds in found)
    ]
    return table(["Kind of picture", *heads(shown)], [], rows) if rows else ""
