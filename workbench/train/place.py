"""Where to run: this machine, or a cluster, with what its job asks for. Nothing where no cluster is described."""

from typing import NamedTuple

import streamlit as st

from engine.records.clusters import MAX_HOURS, Resources
from engine.records.errors import ClusterError
from workbench.kit.where import clusters
from workbench.kit.words import plain

HERE = "This machine"


class Choice(NamedTuple):
    """cluster: '' for this machine.  problem: why what is asked cannot be."""

    cluster: str = ""
    asked: Resources | None = None
    problem: str = ""


THIS_MACHINE = Choice()


def place_part() -> Choice:
    known, problem = clusters()
    if problem:
        st.warning(plain(problem), icon=":material/dns:")
    if not known:
        return THIS_MACHINE
    name = st.selectbox(
        "Where to run",
        [HERE, *known],
        key="where_to_run",
        persist_state="session",
        format_func=lambda one: one if one == HERE else f"Cluster {one}",
        help="A cluster's job trains the run alone; it is in the list of runs from its queueing on.",
    )
    if name == HERE or name not in known:
        return THIS_MACHINE
    cluster = known[name]
    partition = st.text_input(
        "Partition", cluster.partition, key=f"partition_{name}", persist_state="session", max_chars=80
    )
    hours_field, gpus_field = st.columns(2)
    hours = hours_field.number_input(
        "Hours",
        min_value=min(0.1, float(cluster.hours)),
        max_value=MAX_HOURS,
        value=float(cluster.hours),
        step=1.0,
        format="%g",
        key=f"hours_{name}",
        persist_state="session",
        help="After them the job is queued again, and the run goes on exactly from where it was.",
    )
    gpus = gpus_field.number_input(
        "GPUs", min_value=0, max_value=64, value=cluster.gpus, key=f"gpus_{name}", persist_state="session"
    )
    st.caption(f"{cluster.cpus} cores, {cluster.memory_gb:g} GB")
    try:
        return Choice(name, cluster.asked(partition=partition.strip(), hours=hours, gpus=int(gpus)))
    except ClusterError as error:
        return Choice(name, problem=str(error))
