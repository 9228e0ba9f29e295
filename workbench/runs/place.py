"""The cluster's job that has a run, on the run's page: what Slurm says, and taking the run back."""

import streamlit as st

from engine.desk.cluster import place_of
from engine.records.runs import ACTIVE, Run
from workbench.kit.words import plain


def place_line(run: Run, status: str) -> None:
    """Nothing for a run of this machine, or for one whose job has ended."""
    place = place_of(run)
    if place is None or status not in ACTIVE:
        return
    asked = place.job.asked
    node = f"{asked.gpus} GPU{'s' if asked.gpus != 1 else ''}" if asked.gpus else f"{asked.cpus} cores"
    st.caption(f":material/dns: {plain(place.words)} · {plain(f'{asked.partition}, {node}, {asked.hours:g} h')}")
    if place.problem and not place.said:
        st.caption(f":material/help: {plain(place.problem)}")
    elif place.problem:
        st.warning(plain(f"{place.problem} The job is shown as it was said last."), icon=":material/cloud_off:")
