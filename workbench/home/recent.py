"""What trains at this moment, and the latest runs. Reads records and the ends of event files, never whole ones."""

from collections.abc import Sequence
from typing import NamedTuple

import streamlit as st
from pydantic import ValidationError

from engine.desk.cluster import place_of
from engine.figures.labels import figure
from engine.records.cluster_jobs import is_on_cluster
from engine.records.errors import WorkbenchError
from engine.records.events import AnyEvent, Progress, StepResult, effective, parse_event
from engine.records.files import read_tail
from engine.records.runs import ACTIVE, Record, Run, list_runs, open_run
from workbench.kit.frame import catching, places
from workbench.kit.outcome import outcome_badge, run_outcome
from workbench.kit.records import known_record
from workbench.kit.state import RUN, queue, settings
from workbench.kit.status import BADGES, remaining_seconds
from workbench.kit.where import look_at, status_of
from workbench.kit.words import duration, moment, phase_words, plain

LATEST = 5
TICK = 2.0
TAIL = 40_000
WIDTHS = (2.6, 1.2, 1.4, 0.9, 1.5)
HEADINGS = ("Run", "Status", "Outcome", "Cosine, test", "Begun")


class Row(NamedTuple):
    """One run of the list. record: None where it cannot be read, and then what is wrong in `error`."""

    run: Run
    name: str
    status: str
    record: Record | None
    error: str = ""


def training_now() -> str:
    """The name of the run that this machine trains, or of the first that waits to; '' where there is none."""
    active = [row for row in _rows(_active_runs()) if row.status in ACTIVE and not is_on_cluster(row.run)]
    active.sort(key=lambda row: row.status == "queued")
    return active[0].name if active else ""


@st.fragment(run_every=TICK)
@catching
def now_and_latest() -> None:
    runs = list_runs(settings().runs)
    latest = _rows(runs[:LATEST])
    active = [row for row in _rows(_active_runs()) if row.status in ACTIVE]
    with st.container(key="runs_now", gap="small"):
        st.subheader("Running now", anchor=False)
        for row in active:
            _active(row)
        if not active:
            st.caption("Nothing trains at this moment. What does is shown here, with its stage.")
    with st.container(key="runs_latest", gap="xsmall"):
        with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
            st.subheader("Latest runs", anchor=False, width="content")
            if len(runs) > LATEST:
                st.page_link(places()["runs"], label=f"All {len(runs)} runs", icon=":material/monitoring:")
        if latest:
            with st.container(key="head_home"):
                for column, heading in zip(st.columns(WIDTHS, gap="small"), HEADINGS, strict=True):
                    column.caption(heading)
        for row in latest:
            _row(row)
        if all(row.run.read_only for row in latest):
            st.caption("Your own runs will be listed here, the newest first.")


def last_events(run: Run) -> list[AnyEvent]:
    """The newest events, the last one last: enough for the stage and its pace. A torn line is left out."""
    events: list[AnyEvent] = []
    for line in reversed(read_tail(run.events_file, size=TAIL).splitlines()):
        try:
            events.insert(0, parse_event.validate_json(line))
        except ValidationError:
            continue
    return events


def _active(row: Row) -> None:
    assert row.record is not None
    doing = _doing(row.run, row.record, row.status)
    with st.container(key=f"row_now_{row.run.id}", gap="xsmall"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.page_link(places()["runs"], label=f"**{plain(row.name)}**", query_params={RUN: row.run.id})
            badge = BADGES[row.status]
            st.badge(badge.word, icon=badge.icon, color=badge.colour)
        share = row.record.step / max(1, row.record.steps)
        st.progress(min(1.0, share), text=plain(f"{doing[:1].upper()}{doing[1:]}"))


def _doing(run: Run, record: Record, status: str) -> str:
    """'step 40 of 150', 'generating training answers 120 of 700', 'waits for quick, 26 Nov 06:20'."""
    place = place_of(run)
    if place is not None and status == "queued":
        return f"waits on {place.words}"
    if status == "queued":
        other = _waits_for(run)
        return f"waits for {other}" if other else "waits for its turn"
    events = last_events(run)
    last = events[-1] if events else None
    words = f"step {record.step} of {record.steps}" if record.step else ""
    if isinstance(last, Progress):
        words = ", ".join(part for part in (words, f"{phase_words(last.phase)}{last.counted}") if part)
    words = words or "beginning"
    left = time_left(record, events)
    words += f", about {duration(left)} left" if left is not None else ""
    return f"paused: {words}" if status == "paused" else words


def time_left(record: Record, events: Sequence[AnyEvent]) -> float | None:
    """Seconds until training ends: by the pace of the newest steps, as on the run's page; before the first one by the
    estimate that the worker made when the run began. None where neither is known. events: the newest ones."""
    times = [event.time for event in effective(events) if isinstance(event, StepResult)]
    if record.step and len(times) > 1:
        return remaining_seconds(times, record.steps - record.step)
    if record.step or not record.expected:
        return None
    last = events[-1] if events else None
    if isinstance(last, Progress) and last.phase == "eliciting":
        answers = record.expected.get("answer", 0.0) * (1 - last.share)
    else:
        answers = 0.0
    return answers + record.expected.get("train", 0.0)


def _row(row: Row) -> None:
    with st.container(key=f"row_home_{row.run.id}"):
        cells = st.columns(WIDTHS, gap="small", vertical_alignment="center")
        cells[0].page_link(places()["runs"], label=f"**{plain(row.name)}**", query_params={RUN: row.run.id})
        badge = BADGES[row.status]
        cells[1].badge(badge.word, icon=badge.icon, color=badge.colour)
        if row.record is None:
            cells[2].caption(plain(row.error))
            return
        if row.status not in ACTIVE:
            outcome_badge(run_outcome(row.run), row.record, place=cells[2])
        cells[3].caption(figure(row.record.figures.get("heldout_cosine")))
        shipped = "  \nships with the workbench" if row.run.read_only else ""
        cells[4].caption(f"{moment(row.record.created)}{shipped}")


def _rows(runs: list[Run]) -> list[Row]:
    worker = queue().worker()
    look_at(runs)
    rows = []
    for run in runs:
        name = run.name
        try:
            record, changed = known_record(run)
            rows.append(Row(run, name, status_of(run, record, worker, changed=changed), record))
        except (WorkbenchError, OSError) as error:
            rows.append(Row(run, name, "failed", None, str(error)))
    return rows


def _active_runs() -> list[Run]:
    """Runs that claim to be active, of all there are: a long one may be older than the latest."""
    active = []
    for run in list_runs(settings().runs):
        try:
            if known_record(run).record.status in ACTIVE:
                active.append(run)
        except (WorkbenchError, OSError):
            continue
    return active


def _waits_for(run: Run) -> str:
    """The run that a queued one waits for, in words; '' where it waits for none."""
    other = queue().worker().waiting.get(run.id, "")
    if not other:
        return ""
    try:
        return open_run(settings().runs, other).name
    except WorkbenchError:
        return f"run {other}"
