"""The cluster's job that has a run, on the run's page: what Slurm says, and taking the run back."""

import streamlit as st

from engine.desk.cluster import Place, at_work
from engine.records.runs import ACTIVE, Run
from workbench.kit.words import plain


def place_line(run: Run, status: str) -> None:
    """Nothing for a run of this machine, or for one whose job has ended."""
    place = at_work(run)
    if place is None:
        return
    asked = place.job.asked
    node = f"{asked.gpus} GPU{'s' if asked.gpus != 1 else ''}" if asked.gpus else f"{asked.cpus} cores"
    asked_for = f"{asked.partition}, {node}, {asked.hours:g} h"
    st.caption(f":material/dns: {plain(place_words(place, status))} · {plain(asked_for)}")
    if place.problem and not place.said:
        st.caption(f":material/help: {plain(place.problem)}")
    elif place.problem:
        st.warning(plain(f"{place.problem} The job is shown as it was said last."), icon=":material/cloud_off:")


def place_words(place: Place, status: str) -> str:
    """'a100, job 12: RUNNING'; of a run whose training has ended 'evaluates it on a100, job 12: RUNNING'."""
    return place.words if status in ACTIVE else f"evaluates it on {place.words}"
