"""Train: choose a preset, change what matters, see what it will cost, start."""

import streamlit as st

from workbench.kit.frame import page_frame
from workbench.train.data import data_part
from workbench.train.draft import ADVANCED
from workbench.train.fields import open_form
from workbench.train.launch import launch_panel
from workbench.train.origin import count_presets, origin_part
from workbench.train.parts import (
    adapter_part,
    blocks_part,
    capture_part,
    harmfulness_part,
    loss_part,
    model_part,
    optimizer_part,
    schedule_part,
)
from workbench.train.simple import hidden_problems, simple_part

FOLDED = (
    model_part,
    data_part,
    blocks_part,
    adapter_part,
    loss_part,
    schedule_part,
    optimizer_part,
    capture_part,
    harmfulness_part,
)

with page_frame():
    st.title("Train a circuit breaker", anchor=False)
    form = open_form()
    with st.container(key="train_columns"):
        settings_column, launch_column = st.columns([3, 1.15], gap="large")
    with settings_column:
        origin_part(form.draft)
        with st.container(border=True, key="simple_form"):
            simple_part(form)
        advanced = st.expander(
            "Advanced: every field of the spec", key=ADVANCED, icon=":material/tune:", on_change="rerun"
        )
        with advanced:
            if advanced.open:
                for part in FOLDED:
                    with st.container(border=True, key=part.__name__):
                        part(form)
        if not advanced.open:
            hidden_problems(form)
    with launch_column, st.container(key="launch_panel"):
        launch_panel(form)
    count_presets()
