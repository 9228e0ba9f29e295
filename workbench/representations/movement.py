"""What rerouting did: how far harmful and benign activations turned away at each block and step, and a table per
block.
"""

from functools import lru_cache
from pathlib import Path

import pandas as pd
import streamlit as st

from engine.figures.blocks import movement_figure
from engine.records.captures.capture import Averaged, Capture, checkpoint_name, read_capture
from engine.records.captures.projections import ExaminationRequest, examination_file, read_examination
from engine.records.captures.tables import block_table, movement_table
from workbench.kit.charts import on_screen
from workbench.kit.downloads import file_buttons, picture_config
from workbench.kit.frame import catching
from workbench.kit.waiting import awaited
from workbench.representations.block_words import movement_finding
from workbench.representations.choices import choose_averaged, choose_step, choose_tokens, open_map

CHART = "chart_movement"
COMPARED = "compared"
COLUMNS = {
    "block": st.column_config.NumberColumn("Block", format="%d"),
    "cosine_harmful": st.column_config.NumberColumn("Cosine, harmful", format="%.3f", help="1: nothing moved."),
    "cosine_benign": st.column_config.NumberColumn("Cosine, benign", format="%.3f"),
    "cosine_borderline": st.column_config.NumberColumn("Cosine, borderline", format="%.3f"),
    "norm_ratio_harmful": st.column_config.NumberColumn(
        "Norm ratio, harmful",
        format="%.3f",
        help="Centred norm of the rerouted activations divided by the base model's.",
    ),
    "norm_ratio_benign": st.column_config.NumberColumn("Norm ratio, benign", format="%.3f"),
    "norm_ratio_borderline": st.column_config.NumberColumn("Norm ratio, borderline", format="%.3f"),
    "drift_harmful": st.column_config.NumberColumn("Drift, harmful", format="%.3f"),
    "drift_benign": st.column_config.NumberColumn(
        "Drift, benign", format="%.3f", help="Distance between base and rerouted, as a share of the mean centred norm."
    ),
    "drift_borderline": st.column_config.NumberColumn("Drift, borderline", format="%.3f"),
    "auc": st.column_config.NumberColumn("AUC before", format="%.3f", help="Held-out probe, harmful against benign."),
    "auc_after": st.column_config.NumberColumn("AUC after", format="%.3f"),
    "auc_borderline": st.column_config.NumberColumn(
        "AUC borderline, before", format="%.3f", help="Held-out probe, harmful against borderline."
    ),
    "auc_borderline_after": st.column_config.NumberColumn("AUC borderline, after", format="%.3f"),
}


def movement_view(capture: Capture) -> None:
    if not capture.steps:
        st.info(
            "This capture holds the base model alone. Choose a run above, and capture its checkpoints to see what "
            "rerouting did.",
            icon=":material/scatter_plot:",
        )
        return
    index = capture.index
    averaged = choose_averaged(capture)
    table = _movement_once(capture.folder, index.digest, index.checkpoints, averaged)
    figure = movement_figure(table, finding=movement_finding(table, averaged))
    st.caption(
        "Mean cosine between base and circuit-broken activations, standardised: 1, nothing moved; 0, turned away. "
        "Click a cell to see its map."
    )
    if averaged is None:
        st.caption(
            ":material/info: This capture holds harmful prompts over the tokens of their answers and benign ones over "
            "all tokens, as version 0.1 did: both columns are not of the same tokens. Capture again to compare those."
        )
    st.plotly_chart(
        on_screen(figure),
        key=CHART,
        config=picture_config("movement"),
        on_select=lambda: _open_clicked(capture),
        selection_mode="points",
        alt="Cosine between base and circuit-broken activations, by block and step",
    )
    file_buttons(figure, table, file="movement")
    _blocks(capture, averaged)


def _blocks(capture: Capture, averaged: Averaged | None) -> None:
    st.subheader("Block by block", anchor=False)
    left, right = st.columns(2, gap="large", vertical_alignment="bottom")
    with left:
        help_text = "The step that is compared with the base model."
        step = choose_step(capture.steps, help_text=help_text, key=COMPARED)
    with right:
        tokens = choose_tokens(capture)
    checkpoint = checkpoint_name(step)
    request = ExaminationRequest(
        run_id=capture.index.run_id,
        key=capture.index.key,
        digest=capture.index.digest,
        tokens=tokens,
        checkpoint=checkpoint,
    )
    file = examination_file(capture, request)
    there = awaited(
        "examine",
        request.model_dump(mode="json"),
        what="Probes before and after",
        ready=lambda: read_examination(file) is not None,
        place="movement",
    )
    table = block_table(capture, checkpoint, read_examination(file) if there else None, averaged=averaged)
    shown = table[[name for name in COLUMNS if name in table]]
    st.dataframe(shown, hide_index=True, column_config=COLUMNS, height=min(700, 38 + 35 * len(shown)))
    file_buttons(None, table, file=f"blocks-step-{step}")


@catching
def _open_clicked(capture: Capture) -> None:
    points = st.session_state[CHART].selection.points
    if points:
        block, step = points[0]["customdata"][:2]
        open_map(capture, block=int(block), step=int(step))


@lru_cache(maxsize=8)
def _movement_once(folder: Path, digest: str, checkpoints: tuple[str, ...], averaged: Averaged | None) -> pd.DataFrame:
    """A capture changes its digest when it grows, so it is read once."""
    capture = read_capture(folder)
    assert capture is not None
    return movement_table(capture, averaged=averaged)
