"""The list of runs: filter, open, rename, note, delete, choose for comparison. Reads records, never events."""

import time
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import streamlit as st

from engine.desk.cluster import at_work
from engine.figures.labels import figure
from engine.records.blocks import format_blocks
from engine.records.errors import WorkbenchError
from engine.records.names import derived_name
from engine.records.outcome import Outcome
from engine.records.outcome_rates import change
from engine.records.runs import ACTIVE, Record, Run, RunLabel, delete_run, list_runs
from workbench.kit.frame import catching, caught, places
from workbench.kit.outcome import outcome_badge, run_outcome
from workbench.kit.records import known_record
from workbench.kit.state import COMPARE, LIKE, RUN, queue, settings
from workbench.kit.status import BADGES
from workbench.kit.where import look_at, status_of
from workbench.kit.words import duration, moment, plain
from workbench.runs.header import SPLITS
from workbench.runs.line import Waiting, waiting_line
from workbench.runs.name_form import name_form
from workbench.runs.place import place_words
from workbench.runs.sorting import ORDER_HELP, ORDERS, in_order
from workbench.runs.times import MEANING, run_times

PAGE = 25
TICK = 2.0
WIDTHS = (0.35, 2.4, 1.25, 1.75, 2.1, 1.3, 1.3, 0.8, 0.8, 0.9)
HEADINGS = ("", "Run", "Status", "Outcome", "Model and preset", "Target, adapted blocks", "Time", "Cosine", "Drift", "")
# Left out of a narrow window: the run's page has them.
WIDE = ("Model and preset", "Target, adapted blocks")
_WHICH = f"Of the test split, or of the validation split (val.) while there is no other. {SPLITS}"
HELP = {
    "Outcome": "By the evaluation of the final weights that asked most requests; the run's page says which. Worst "
    "author: other people's harmful requests answered by base and circuit-broken model, of the author and the attack "
    "that leave most.",
    "Time": f"When the run was created, and its whole time. {MEANING}",
    "Cosine": f"Harmful prompts, mean over target blocks; 1: nothing moved. {_WHICH}",
    "Drift": f"Benign prompts, as a share of the mean norm. {_WHICH}",
}


class RunRow(NamedTuple):
    """One run as the list shows it. error: why its record cannot be read.  waiting: its place in the line.  changed:
    when its record was last written.  cluster: the job that has it, with Slurm's words."""

    run: Run
    record: Record | None
    label: RunLabel
    status: str
    model: str
    error: str = ""
    outcome: Outcome | None = None
    waiting: Waiting | None = None
    changed: float = 0.0
    cluster: str = ""

    @property
    def name(self) -> str:
        if self.label.name or self.record is None:
            return self.label.name or self.run.id
        return derived_name(self.record.preset, self.record.created)


def run_list() -> None:
    st.title("Runs", anchor=False)
    rows = run_rows()
    _watch(_signature(rows), time.monotonic())
    if not rows:
        _empty()
        return
    shown = _filtered(rows)
    _compare_bar(rows)
    with st.container(gap="xsmall", key="run_table"):
        for number, (column, heading) in enumerate(zip(st.columns(WIDTHS, gap="small"), HEADINGS, strict=True)):
            with column, st.container(key=f"{'wide' if heading in WIDE else 'head'}_{number}"):
                st.caption(heading or " ", help=HELP.get(heading))
        pages = max(1, -(-len(shown) // PAGE))
        page = min(st.session_state.get("run_page", 1), pages)
        for row in shown[(page - 1) * PAGE : page * PAGE]:
            _row(row)
    if not shown:
        st.info("No run fits the filter: clear it to see all.", icon=":material/filter_alt_off:")
    if pages > 1:
        st.pagination(pages, key="run_page")


def run_rows() -> list[RunRow]:
    worker = queue().worker()
    rows = []
    runs = list_runs(settings().runs)
    look_at(runs)
    for run in runs:
        try:
            record, changed = known_record(run)
            status = status_of(run, record, worker, changed=changed)
            row = RunRow(run, record, run.label(), status, _model_of(run), outcome=run_outcome(run), changed=changed)
            place = at_work(run)
            rows.append(row._replace(cluster=place_words(place, status)) if place else row)
        except (WorkbenchError, OSError) as error:
            rows.append(RunRow(run, None, run.label(), "failed", "", str(error)))
    if any(row.status == "queued" for row in rows):
        line = waiting_line(worker)
        rows = [row._replace(waiting=line.get(row.run.id)) for row in rows]
    return rows


@st.fragment(run_every=TICK)
@catching
def _watch(drawn: str, at: float) -> None:
    """Draw the list again when a run appeared, moved by a percent, or lost its worker; otherwise cost nothing."""
    # It also runs with the drawing itself, which has just read all runs.
    if time.monotonic() - at > TICK / 2 and _signature(run_rows()) != drawn:
        st.rerun()


def _signature(rows: list[RunRow]) -> str:
    return repr(
        [
            (
                row.run.id,
                row.status,
                row.label,
                row.waiting and row.waiting.short,
                row.cluster,
                row.record and (100 * row.record.step // max(1, row.record.steps), row.record.figures),
                row.record and row.record.evaluation,
                row.outcome and row.outcome.sentence,
            )
            for row in rows
        ]
    )


def _empty() -> None:
    with st.container(border=True, key="no_runs"):
        st.markdown(
            "**No run yet.** A run trains a circuit breaker and keeps all that happened: curves, answers, adapter."
        )
        st.page_link(places()["train"], label="Set up the first run", icon=":material/model_training:")


def _filtered(rows: list[RunRow]) -> list[RunRow]:
    text, order, pills = st.columns([1.2, 0.9, 2], vertical_alignment="bottom")
    words = text.text_input(
        "Filter", key="q", bind="query-params", placeholder="name, note, model, preset or id", icon=":material/search:"
    )
    # Without words of its own for each option: those would stand in the address.
    by = order.selectbox("Sort by", ORDERS, key="sort", bind="query-params", help=ORDER_HELP)
    present = [status for status in BADGES if any(row.status == status for row in rows)]
    chosen = pills.pills("Status", present, selection_mode="multi", key="status", bind="query-params")
    fitting = [
        row
        for row in rows
        if (not chosen or row.status in chosen)
        and all(word in _searchable(row) for word in (words or "").lower().split())
    ]
    return in_order(fitting, by or "")


def _searchable(row: RunRow) -> str:
    preset = row.record.preset if row.record else ""
    return f"{row.run.id} {row.name} {row.label.note} {row.model} {preset}".lower()


def _compare_bar(rows: list[RunRow]) -> None:
    chosen = [row.run.id for row in rows if st.session_state.get(f"pick_{row.run.id}")]
    with st.container(horizontal=True, vertical_alignment="center"):
        if len(chosen) >= 2:
            st.page_link(
                places()["runs"],
                label=f"Compare {len(chosen)} runs",
                icon=":material/compare_arrows:",
                query_params={COMPARE: ",".join(chosen)},
            )
        else:
            st.caption("Tick two or more runs to lay their curves over each other.")


def _row(row: RunRow) -> None:
    with st.container(key=f"row_{row.run.id}"):
        cells = st.columns(WIDTHS, gap="small", vertical_alignment="center")
        cells[0].checkbox(
            f"Compare {row.name}",
            key=f"pick_{row.run.id}",
            # Also while another filter or another page of the list hides the row.
            persist_state="session",
            label_visibility="collapsed",
            disabled=row.record is None,
        )
        with cells[1]:
            st.page_link(places()["runs"], label=f"**{plain(row.name)}**", query_params={RUN: row.run.id})
            if row.label.note:
                st.caption(plain(row.label.note))
            if row.waiting:
                st.caption(plain(row.waiting.reason))
            if row.cluster:
                st.caption(f":material/dns: {plain(row.cluster)}")
        badge = BADGES[row.status]
        cells[2].badge(badge.word, icon=badge.icon, color=badge.colour)
        if row.record is None:
            cells[4].caption(plain(row.error))
        else:
            _facts(row, row.record, cells)
        with cells[9]:
            _menu(row)


def _facts(row: RunRow, record: Record, cells: list) -> None:
    shipped = " · ships with the workbench" if row.run.read_only else ""
    if row.outcome is not None and record.status not in ACTIVE:
        outcome_badge(row.outcome, record, place=cells[3])
        if row.outcome.others is not None:
            cells[3].caption(f"worst author {change(row.outcome.others.harmful)}")
    with cells[4], st.container(key=f"wide_model_{row.run.id}"):
        st.caption(f"{plain(row.model.rpartition('/')[2])}  \n{plain(record.preset or 'own settings')}{shipped}")
    targets = format_blocks(record.targets) if record.targets else "–"
    adapted = format_blocks(record.adapted) if record.adapted else "–"
    with cells[5], st.container(key=f"wide_blocks_{row.run.id}"):
        st.caption(f"{targets} / {adapted}")
    if row.waiting:
        progress = row.waiting.short
    elif row.status in ACTIVE or row.status == "interrupted":
        progress = f"step {record.step} of {record.steps}"
    else:
        progress = duration(run_times(record, row.status, changed=row.changed).whole)
    cells[6].caption(f"{moment(record.created)}  \n{progress}")
    cells[7].caption(_split_figure(record, "cosine"))
    cells[8].caption(_split_figure(record, "drift"))


def _split_figure(record: Record, name: str) -> str:
    """The test split's figure; before there is one that of the validation split, which says so."""
    test, validation = record.figures.get(f"heldout_{name}"), record.figures.get(f"validation_{name}")
    if test is None and validation is not None:
        return f"{figure(validation)}  \nval."
    return figure(test)


def _menu(row: RunRow) -> None:
    menu = st.popover("More", type="tertiary", key=f"menu_{row.run.id}", on_change="rerun")
    if not menu.open:
        return
    with menu, caught():
        if row.record is not None:
            st.page_link(
                places()["train"],
                label="Start another like this",
                icon=":material/content_copy:",
                query_params={LIKE: row.run.id},
            )
        if row.run.read_only:
            st.caption("This run ships with the workbench: it cannot be renamed or deleted.")
            return
        name_form(row.run, row.label)
        _delete(row)


def _delete(row: RunRow) -> None:
    if row.record is not None and row.record.status in ACTIVE - {"queued"}:
        if row.status == "interrupted":
            st.caption(
                "Its worker ended in the midst of it: start the worker, which sets the record right, and delete."
            )
        else:
            st.caption("An active run cannot be deleted: stop it first.")
        return
    if row.cluster and row.status not in ACTIVE:
        st.caption(plain(f"A cluster's job {row.cluster}: wait until it has ended, or cancel it in Slurm."))
        return
    if row.cluster:
        st.caption("A cluster's job has this run: take it back on its page first.")
        return
    sure = st.checkbox("Delete this run with its adapter and curves", key=f"sure_{row.run.id}")
    if st.button("Delete for good", key=f"delete_{row.run.id}", icon=":material/delete:", disabled=not sure):
        delete_run(row.run)
        st.toast(f"{plain(row.name)} is deleted.")
        st.rerun()


def _model_of(run: Run) -> str:
    return _model_name(str(run.folder), (run.folder / "spec.json").stat().st_mtime_ns)


@lru_cache(maxsize=2000)
def _model_name(folder: str, stamp: int) -> str:
    """A spec is written once, so its model is read once."""
    return Run(Path(folder)).spec().model.name
