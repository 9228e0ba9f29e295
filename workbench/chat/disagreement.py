"""The rows of an answered set: a table, sorted by where several models differ, the row that is clicked, and how far a
person's thumbs agree with the judge. Reads records alone."""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import cast

import pandas as pd
import streamlit as st

from engine.records.chats.disagreement import JUDGED, Agreement, agreement, by_difference
from engine.records.chats.marks import LABELS, Mark, mark_lines, read_marks
from engine.records.chats.sets import TRIP_THRESHOLD, AnswerSet, SetRow
from workbench.chat.disagreement_table import POSITIONS, Filters, disagreement_table, kept
from workbench.chat.marked_pair import marked_pair
from workbench.kit.downloads import csv_of, file_button
from workbench.kit.state import SET_ROW
from workbench.kit.words import plain

HELP = {
    "Source": "Whose prompts: the author or source that a row names, else the set that it was read from.",
    "Verdict": "Rows in which any of the models has this verdict.",
    "Trips": "Where the cosine between base and circuit-broken activations falls below "
    f"{TRIP_THRESHOLD:g} first, at the run's first target block.",
}


def disagreement(
    answers: AnswerSet, rows: Sequence[SetRow], names: Sequence[str], *, hidden: bool, most: int = 0
) -> None:
    """Draw the table, the row that is opened, and the labels. hidden: prompts stay out of the table.  most: of its
    lines, 0: all."""
    marks = read_marks(answers)
    reference = _reference(answers, names)
    shown = by_difference(
        kept(rows, _filters(answers, rows, names, marks), marks, reference=reference), reference=reference
    )
    st.caption(plain(f"{len(shown)} of {len(rows)} prompts. A click on a row opens its answers."))
    # Those that differ stand first; of one model's the newest are looked at while they come.
    if shown := shown[: most or None] if len(names) > 1 else shown[-most:]:
        table = disagreement_table(shown, names, marks, reference=reference, texts=not hidden)
        ids = [row.prompt_id for row in shown]
        selected = st.dataframe(
            table,
            hide_index=True,
            height=min(420, 40 + 35 * len(table)),
            on_select="rerun",
            selection_mode="single-cell",
            # Another order is another table: a click on the one before opens nothing in this one.
            key=f"disagreement_{answers.id}_{hash(tuple(ids)) & 0xFFFFFF:x}",
        )
        cells = selected["selection"]["cells"]
        if cells and cells[0][0] < len(ids):
            st.query_params[SET_ROW] = ids[cells[0][0]]
    opened = next((row for row in rows if row.prompt_id == st.query_params.get(SET_ROW)), None)
    if opened is not None:
        marked_pair(answers, opened, names, marks.get(opened.prompt_id))
    _labels(answers, rows, names, marks)


def _reference(answers: AnswerSet, names: Sequence[str]) -> int:
    """The column that others are compared with."""
    if len(names) <= 2:
        return 0
    return cast(
        int,
        st.selectbox(
            "Differ from", range(len(names)), format_func=lambda place: names[place], key=f"differ_from_{answers.id}"
        ),
    )


def _filters(answers: AnswerSet, rows: Sequence[SetRow], names: Sequence[str], marks: Mapping[str, Mark]) -> Filters:
    measured = any(row.trips for row in rows)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small", key="disagreement_filters"):
        return Filters(
            _chosen(answers, "Category", {row.category for row in rows}),
            _chosen(answers, "Style", {row.style for row in rows}),
            _chosen(answers, "Source", {row.source for row in rows}),
            _chosen(answers, "Verdict", {word for row in rows for word in row.words}),
            _chosen(answers, "Trips", POSITIONS if measured else ()),
            differing=len(names) > 1 and st.toggle("Only where they differ", key=f"differ_only_{answers.id}"),
            marked=bool(marks) and st.toggle("Only labelled", key=f"differ_marked_{answers.id}"),
        )


def _chosen(answers: AnswerSet, name: str, values: Collection[str]) -> list[str]:
    """What is chosen of these values; nothing is asked where there is no choice."""
    options = [*values] if isinstance(values, tuple) else sorted(filter(None, values))
    if len(options) < 2:
        return []
    return st.multiselect(name, options, key=f"differ_{name}_{answers.id}", width=220, help=HELP.get(name))


def _labels(answers: AnswerSet, rows: Sequence[SetRow], names: Sequence[str], marks: Mapping[str, Mark]) -> None:
    """Thumbs against verdicts, and the labels as files."""
    if not marks:
        return
    with st.expander("Your labels against the judge", icon=":material/balance:", expanded=True):
        found = agreement(rows, marks, range(len(names)))
        if found.n:
            st.markdown(plain(f"{found.agree} of {found.n} verdicts agree with your thumbs (complied or not)."))
            st.dataframe(_against_judge(found), hide_index=True, width="content", key=f"agreement_{answers.id}")
            if len(names) > 1:
                each = [agreement(rows, marks, [place]) for place in range(len(names))]
                told = [f"{name}: {one.agree} of {one.n}" for name, one in zip(names, each, strict=True) if one.n]
                st.caption(plain(" · ".join(told)))
        else:
            st.caption("No thumb yet: notes alone say nothing of the judge.")
        with st.container(horizontal=True, gap="small"):
            lines = mark_lines(answers, names)
            file = f"labels-{answers.id}"
            file_button("Labels, CSV", lambda: csv_of(pd.DataFrame(lines)), f"{file}.csv", "text/csv")
            file_button("Labels, JSON", lambda: json.dumps(lines, indent=2), f"{file}.json", "application/json")


def _against_judge(found: Agreement) -> pd.DataFrame:
    """A line a label, a column a verdict."""
    lines = [
        {"labelled by you": label} | {f"judged {word}": found.counts.get((label, word), 0) for word in JUDGED}
        for label in (LABELS["up"], LABELS["down"])
    ]
    return pd.DataFrame(lines)
