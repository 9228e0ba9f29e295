"""The ways on from Home: look at the run that ships, train one at once, or learn what all this is."""

import streamlit as st

from engine.records.runs import Run
from workbench.kit.frame import places
from workbench.kit.starting import start_preset
from workbench.kit.state import RUN
from workbench.kit.words import plain

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
            run = start_preset(PRESET)
            st.switch_page(places()["runs"], query_params={RUN: run.id})
        st.page_link(places()["learn"], label="Learn how it works", icon=":material/school:", width="content")
    look = "**Look** opens the run that ships, before and after. " if shipped is not None else ""
    waits = f" It waits until {plain(training)} has ended: one run trains at a time." if training else ""
    st.caption(
        f"{look}**Train** starts the preset {PRESET} on the bundled model, without a form: four minutes on two idle "
        f"cores, more on busy ones.{waits}"
    )
