"""The ways on from Home: look at the run that ships, or train one at once. A third one, to learn, fits beside them."""

import streamlit as st

from engine.desk.launch import ensure_worker
from engine.records.errors import SpecError
from engine.records.runs import Run, create_run
from engine.records.settings import SAMPLE_DATA
from engine.records.spec_text import read_spec
from workbench.kit.frame import places
from workbench.kit.state import RUN, queue, settings
from workbench.kit.words import moment, plain

PRESET = "quick"


def doors(shipped: Run | None, *, training: str) -> None:
    """training: the name of the run that trains at this moment, '' where none does."""
    with st.container(horizontal=True, gap="small", vertical_alignment="center", key="doors"):
        if shipped is not None:
            st.page_link(
                places()["representations"],
                label="Look",
                icon=":material/scatter_plot:",
                query_params={RUN: shipped.id},
                width="content",
            )
        if st.button(
            "Train one next" if training else "Train one in four minutes",
            key="train_quick",
            type="primary",
            icon=":material/play_arrow:",
        ):
            run = _start_preset(PRESET)
            st.switch_page(places()["runs"], query_params={RUN: run.id})
    look = "**Look** opens the run that ships, before and after. " if shipped is not None else ""
    waits = f" It waits until {plain(training)} has ended: one run trains at a time." if training else ""
    st.caption(f"{look}**Train** starts the preset {PRESET} on the bundled model, without a form.{waits}")


def _start_preset(name: str) -> Run:
    """A run of a preset that ships, handed to the worker. Raises SpecError where there is no such preset."""
    file = SAMPLE_DATA / "presets" / f"{name}.json"
    if not file.is_file():
        raise SpecError(f"There is no preset '{name}' in {file.parent}: restore it, or set up a run in Train.")
    run = create_run(settings().runs, read_spec(file), preset=name)
    run.set_label(name=f"{name}, {moment(run.record().created)}", note="")
    queue().submit("train", run_id=run.id)
    ensure_worker(settings())
    return run
