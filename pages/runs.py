"""Runs: the list, one run (?run=ID), or several over each other (?compare=ID,ID)."""

import streamlit as st

from workbench.kit.frame import page_frame
from workbench.kit.state import COMPARE, RUN, show_in_url
from workbench.runs.compare import compare_view
from workbench.runs.overview import run_list
from workbench.runs.run import run_view

with page_frame():
    show_in_url(RUN, COMPARE)
    if st.query_params.get(RUN):
        run_view(st.query_params[RUN])
    elif st.query_params.get(COMPARE):
        compare_view(st.query_params[COMPARE].split(","))
    else:
        run_list()
