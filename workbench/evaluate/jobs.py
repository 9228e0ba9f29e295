"""Evaluations under way, whoever started them: progress, cancel, and which failed and why. Knows the queue."""

import json
from collections.abc import Container

import streamlit as st

from engine.desk.queue import Job, JobKind
from engine.records.errors import RunError
from engine.records.runs import open_run
from workbench.kit.frame import catching
from workbench.kit.state import queue, settings
from workbench.kit.words import plain

TICK = 1.0
MOVING = ("queued", "running")
KINDS: tuple[JobKind, ...] = ("evaluate", "fetch_package")
DISMISSED = "dismissed_evaluations"
# In this tab, and not yet shown: the id of each evaluation by its job.
BEGUN = "begun_evaluations"


def begun_here(job_id: int, evaluation: str) -> None:
    st.session_state[BEGUN] = {**st.session_state.get(BEGUN, {}), job_id: evaluation}


def just_ended(listed: Container[str]) -> list[str]:
    """Ids of evaluations that were begun in this tab and are done since this was last asked. listed: those that were
    read; one that ended behind that waits for the next drawing."""
    begun: dict[int, str] = st.session_state.get(BEGUN, {})
    states = {number: job.status for number in begun if (job := queue().job(number))}
    ended = [number for number, state in states.items() if state == "done" and begun[number] in listed]
    st.session_state[BEGUN] = {
        number: begun[number]
        for number, state in states.items()
        if state in MOVING or (state == "done" and number not in ended)
    }
    return [begun[number] for number in ended]


def evaluation_jobs() -> None:
    drawn = [job.id for job in _jobs() if job.status in MOVING]
    st.fragment(_watch, run_every=TICK if drawn else 3 * TICK)(drawn)


@catching
def _watch(drawn: list[int]) -> None:
    jobs = _jobs()
    moving = [job for job in jobs if job.status in MOVING]
    if [job.id for job in moving] != drawn:
        st.rerun()
    for job in moving:
        _under_way(job)
    for job in _failures(jobs):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.error(plain(f"{_name(job)}: {job.error}"), icon=":material/error:")
            st.button("Dismiss", key=f"dismiss_{job.id}", type="tertiary", on_click=_dismiss, args=(job.id,))


def _under_way(job: Job) -> None:
    progress, worker = queue().progress(job.id), queue().worker()
    bar, button = st.columns([7, 1], vertical_alignment="center")
    if not worker.alive:
        bar.info(plain(f"{_name(job)}: the worker is not running. Start it in the sidebar."))
    elif progress is None:
        bar.progress(0.0, text=plain(f"{_name(job)}: waits for its turn"))
    else:
        said = progress.message or progress.phase
        bar.progress(progress.share, text=plain(f"{_name(job)}: {said}{progress.counted}"))
    button.button(
        "Cancel",
        key=f"cancel_{job.id}",
        on_click=catching(queue().cancel),
        args=(job.id,),
        icon=":material/close:",
        width="stretch",
    )


def _failures(jobs: list[Job]) -> list[Job]:
    """Failed jobs, newest first, until the same is begun again or the message is dismissed."""
    newest: dict[tuple[str, str], Job] = {}
    for job in jobs:
        newest.setdefault((job.kind, json.dumps(job.payload, sort_keys=True)), job)
    dismissed = st.session_state.get(DISMISSED, set())
    return [job for job in newest.values() if job.status == "failed" and job.id not in dismissed]


def _jobs() -> list[Job]:
    """Newest first."""
    jobs = {job.id: job for kind in KINDS for job in (*queue().newest(kind), *queue().under_way(kind))}
    return [jobs[number] for number in sorted(jobs, reverse=True)]


def _name(job: Job) -> str:
    if job.kind == "fetch_package":
        return f"Fetching {job.payload.get('package', '')}"
    checkpoint = str(job.payload.get("state", ""))
    try:
        name = open_run(settings().runs, job.run_id).name
    except RunError:
        name = ""
    return f"Evaluating {checkpoint.replace(job.run_id, name) if name else checkpoint}"


def _dismiss(job_id: int) -> None:
    st.session_state[DISMISSED] = {*st.session_state.get(DISMISSED, ()), job_id}
