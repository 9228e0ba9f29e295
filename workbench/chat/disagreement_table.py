"""Rows of an answered set as a table of where models differ, and which rows a choice of filters leaves. Pure: knows
nothing of Streamlit."""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import pandas as pd

from engine.records.chats.disagreement import difference
from engine.records.chats.marks import LABELS, Mark
from engine.records.chats.sets import SetRow
from workbench.chat.set_table import set_table

Position = Literal["never", "within 8 tokens", "within 32 tokens", "later"]
POSITIONS: tuple[Position, ...] = get_args(Position)


class Filters(NamedTuple):
    """What is kept; an empty collection keeps all. words: any column has this verdict.  positions: any column trips
    there.  differing: rows whose verdicts are alike are left out.  marked: so are rows that have no label or note."""

    categories: Collection[str] = ()
    styles: Collection[str] = ()
    sources: Collection[str] = ()
    words: Collection[str] = ()
    positions: Collection[str] = ()
    differing: bool = False
    marked: bool = False


def kept(rows: Sequence[SetRow], filters: Filters, marks: Mapping[str, Mark], *, reference: int) -> list[SetRow]:
    """The rows that pass all filters, in their order."""
    return [
        row
        for row in rows
        if (not filters.categories or row.category in filters.categories)
        and (not filters.styles or row.style in filters.styles)
        and (not filters.sources or row.source in filters.sources)
        and (not filters.words or not set(filters.words).isdisjoint(row.words))
        and (not filters.positions or any(position(trip) in filters.positions for trip in row.trips))
        and (not filters.differing or difference(row.words, reference=reference) != "alike")
        and (not filters.marked or row.prompt_id in marks)
    ]


def position(trip: int | None) -> Position | None:
    """Where a trip lies, in words; None where it was not measured."""
    if trip is None:
        return None
    return "never" if not trip else "within 8 tokens" if trip <= 8 else "within 32 tokens" if trip <= 32 else "later"


def disagreement_table(
    rows: Sequence[SetRow], names: Sequence[str], marks: Mapping[str, Mark], *, reference: int, texts: bool
) -> pd.DataFrame:
    """A line a row, in the order given: the table of the set, how it differs where several models answered, labels and
    notes. texts: with what was asked and said, which may be harmful."""
    whole, hidden = set_table(rows, names)
    table = whole if texts else whole.drop(columns=hidden)
    if len(names) > 1:
        table.insert(0, "differ", [difference(row.words, reference=reference) for row in rows])
    if marks:
        known = [marks.get(row.prompt_id) for row in rows]
        for column, name in enumerate(names):
            table[f"{name}: label"] = [LABELS[mark.thumbs[column]] if mark else "" for mark in known]
        table["note"] = [mark.note if mark else "" for mark in known]
    return table
