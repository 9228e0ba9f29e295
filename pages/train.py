"""Train: choose model, data, blocks and schedule, see what it will cost, start."""

import streamlit as st

from workbench.kit.frame import page_frame
from workbench.train.data import data_part
from workbench.train.fields import open_form
from workbench.train.launch import launch_panel
from workbench.train.parts import (
    adapter_part,
    blocks_part,
    capture_part,
    loss_part,
    model_part,
    optimizer_part,
    origin_part,
    schedule_part,
)

with page_frame():
    st.title("Train a circuit breaker", anchor=False)
    form = open_form()
    origin_part(form.draft)
    settings_column, launch_column = st.columns([3.4, 1], gap="large")
    with settings_column:
        for part in (
            model_part,
            data_part,
            blocks_part,
            adapter_part,
            loss_part,
            schedule_part,
            optimizer_part,
            capture_part,
        ):
            with st.container(border=True, key=part.__name__):
                part(form)
    with launch_column, st.container(key="launch_panel"):
        launch_panel(form)
