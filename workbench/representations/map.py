"""Maps of one block: base and circuit-broken side by side or as arrows, a film over the steps, what was selected."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine.figures.drawing import with_ranges
from engine.figures.labels import figure as number
from engine.figures.maps import ARROWS, axis_titles, one_map, two_maps
from engine.records.captures.capture import BASE, Capture, checkpoint_name
from engine.records.captures.projections import (
    MapFigures,
    Projection,
    ProjectionRequest,
    projection_file,
    read_projection,
)
from engine.records.captures.tables import POINTS, map_ranges, map_table, sampled
from engine.records.runs import Run
from workbench.kit.charts import on_screen
from workbench.kit.downloads import file_buttons, picture_config
from workbench.kit.frame import catching
from workbench.kit.state import PLAYING
from workbench.kit.waiting import awaited
from workbench.kit.words import plain
from workbench.kit.zoom import zoom_memory
from workbench.representations.choices import STEP, choose, choose_block, choose_step, choose_tokens
from workbench.representations.hovered import hovered_pictures
from workbench.representations.map_words import map_sentences
from workbench.representations.opened import DIMENSIONS, LAYOUT, METHOD, PLANE, SPACE
from workbench.representations.plane_view import LAYOUTS as PLANE_LAYOUTS
from workbench.representations.plane_view import plane_view
from workbench.representations.selection import (
    CHART,
    remember_selection,
    selected_prompts,
    selected_rows,
    selections_made,
)

METHODS = {
    "movement": "Where harmful answers went",
    "pca": "PCA",
    "umap": "UMAP",
    "difference": "Mean difference",
    "probe": "Linear probe",
}
SPACES = {"standardised": "Standardised", "raw": "Raw"}
LAYOUTS = ("Two maps", "Arrows")
FRAME_SECONDS = 0.9


def map_view(capture: Capture, run: Run | None) -> None:
    frame_seconds = FRAME_SECONDS if st.session_state.get(PLAYING) else None
    st.fragment(_view, run_every=frame_seconds)(capture, run)


@catching
def _view(capture: Capture, run: Run | None) -> None:
    """All of it is one fragment: a lasso, a step of the film, another block draw this and nothing else."""
    shares = [1.3, 0.4, 1.5] if capture.steps else [1, 1]
    where, *when = st.columns(shares, gap="medium", vertical_alignment="bottom")
    with where:
        block = choose_block(capture)
    step = _scrubber(capture, *when) if capture.steps else 0
    request, layout = _choices(capture, block)
    file = projection_file(capture, request)
    if awaited(
        "project",
        request.model_dump(mode="json"),
        what=f"{METHODS[request.method]} of block {block}",
        ready=lambda: read_projection(file) is not None,
        place="map",
    ):
        projection = _read_once(file, file.stat().st_mtime_ns)
        if request.method == "movement":
            plane_view(capture, run, request, projection, step, layout)
        else:
            _map(capture, run, request, projection, step, layout == LAYOUTS[1])
        hovered_pictures(capture)


def _scrubber(capture: Capture, button: DeltaGenerator, slider: DeltaGenerator) -> int:
    """The step that is shown. While the film plays each drawing goes one step on, and the last one ends it."""
    steps = [0, *capture.steps]
    playing = bool(st.session_state.get(PLAYING))
    if playing:
        _advance(steps)
    with button:
        label, icon = ("Halt", ":material/pause:") if playing else ("Play", ":material/play_arrow:")
        if st.button(label, key="play_film", icon=icon, width="stretch"):
            st.session_state[PLAYING] = "" if playing else "begins"
            st.rerun()
    with slider:
        help_text = "Step 0 is the base model. All steps share one frame: nothing is fitted anew."
        return choose_step(steps, help_text=help_text)


def _advance(steps: list[int]) -> None:
    """The next step; from the last one the film begins anew, and where it ends it stays."""
    shown = st.session_state.get(STEP, steps[-1])
    if st.session_state[PLAYING] == "begins" and shown == steps[-1]:
        shown = -1
    following = [step for step in steps if step > shown]
    if not following:
        st.session_state[PLAYING] = ""
        st.rerun()
    st.session_state[PLAYING] = "goes on"
    st.session_state[STEP] = following[0]


def _choices(capture: Capture, block: int) -> tuple[ProjectionRequest, str]:
    """What is asked for, and in which layout it is drawn."""
    layout, dimensions = LAYOUTS[0], 2
    # The base model alone went nowhere.
    methods = {name: words for name, words in METHODS.items() if capture.steps or name != "movement"}
    with st.container(horizontal=True, gap="small"):
        tokens = choose_tokens(capture)
        method = _choose(
            "Method",
            methods,
            METHOD,
            "Where harmful answers went: across, the way in which they moved, fitted on half of the prompts and shown "
            "for the others. PCA and directions are fitted on base activations and applied to all; UMAP is fitted on "
            "both together. "
            "Directions: the x axis separates harmful from benign, y is the first component orthogonal to it.",
        )
        if method != "movement":
            dimensions = _choose("Axes", {2: "2D", 3: "3D"}, DIMENSIONS)
        space = _choose(
            "Space",
            SPACES,
            SPACE,
            "Standardised: each dimension by the base model's mean and deviation, so that a few huge ones do not hide "
            "the others.",
        )
        if method == "movement":
            layout = _choose("Shown as", {layout: layout for layout in PLANE_LAYOUTS}, PLANE)
        elif capture.steps:
            layout = _choose("Shown as", {layout: layout for layout in LAYOUTS}, LAYOUT)
    index = capture.index
    return ProjectionRequest(
        run_id=index.run_id,
        key=index.key,
        digest=index.digest,
        checkpoints=index.checkpoints,
        tokens=tokens,
        block=block,
        method=method,
        dimensions=dimensions,
        space=space,
    ), layout


def _choose(label: str, words: dict[Any, str], name: str, help_text: str | None = None) -> Any:
    return choose(label, words, name, usual=next(iter(words)), help_text=help_text)


def _map(
    capture: Capture, run: Run | None, request: ProjectionRequest, projection: Projection, step: int, arrows: bool
) -> None:
    checkpoint = checkpoint_name(step) if step else BASE
    table = map_table(capture, projection, checkpoint, request.tokens)
    drawn = table.iloc[sampled(table["group"], limit=ARROWS if arrows else POINTS // 2, seed=request.seed)]
    selected = selected_rows(capture)
    what = (capture.index.run_id, capture.folder.name, request.block, request.method, request.space, request.tokens)
    view = "_".join(("map", *map(str, what)))
    made = selections_made()
    figure = _figure(capture, projection, drawn, step, arrows, selected).update_layout(meta=made)
    name = f"map-block-{request.block}-{request.method}-step-{step}"
    ranges = zoom_memory(view)
    if request.dimensions == 2:
        st.plotly_chart(
            on_screen(with_ranges(figure, ranges.get("map"))),
            key=CHART,
            config=picture_config(name),
            on_select=lambda: remember_selection(capture, drawn=made),
            selection_mode=("box", "lasso"),
            alt=f"Map of block {request.block}",
        )
    else:
        st.plotly_chart(
            on_screen(with_ranges(figure, ranges.get("map_3d"))),
            key="chart_map_3d",
            config=picture_config(name),
            alt=f"Map of block {request.block} in 3D",
        )
    _caption(table, drawn, projection, request, arrows)
    file_buttons(figure, table, file=name)
    _honesty(projection, checkpoint, capture)
    selected_prompts(capture, run, checkpoint, selected)


def _figure(
    capture: Capture,
    projection: Projection,
    table: pd.DataFrame,
    step: int,
    arrows: bool,
    selected: frozenset[int],
) -> go.Figure:
    ranges = map_ranges(projection)
    # The axes of a cube have no room for more than a name.
    axes = axis_titles(projection.axes, projection.explained if len(ranges) == 2 else ())
    broken = f"Circuit-broken, step {step}" if step else "Circuit-broken, step 0: the base model itself"
    if not capture.steps:
        return one_map(table, axes=axes, ranges=ranges, title="Base", arrows=False, selected=selected)
    if arrows:
        title = f"From base to circuit-broken, step {step}"
        return one_map(table, axes=axes, ranges=ranges, title=title, arrows=step > 0, selected=selected)
    return two_maps(table, axes=axes, ranges=ranges, titles=("Base", broken), selected=selected)


def _caption(
    table: pd.DataFrame, drawn: pd.DataFrame, projection: Projection, request: ProjectionRequest, arrows: bool
) -> None:
    parts = []
    if len(drawn) < len(table):
        what = "arrows" if arrows else "points"
        parts.append(f"{len(drawn):,} of {len(table):,} {what} are drawn, sampled by class; the table below has all.")
    if request.dimensions == 3:
        parts.append("Drag to turn. A 3D map has no box or lasso: select in 2D, the selection stays marked here.")
    else:
        light_up = "" if arrows else ": the same prompts light up in both maps"
        parts.append(f"Draw around points with the lasso or the box{light_up}.")
    parts += projection.notes
    st.caption(plain(" ".join(parts)))


def _honesty(projection: Projection, checkpoint: str, capture: Capture) -> None:
    """What can be read from each map, beside its figures."""
    shown = [("Base", BASE)] + ([("Circuit-broken", checkpoint)] if capture.steps else [])
    for column, (title, name) in zip(st.columns(len(shown), gap="large"), shown, strict=True):
        figures = projection.figures.get(name)
        if figures is None:
            continue
        with column, st.container(border=True):
            st.markdown(f"**How far to trust the {title.lower()} map**")
            _figures(figures, projection)
            for said in map_sentences(figures, rerouted=name != BASE):
                st.caption(f":material/{said.sign}: {plain(said.text)}")


def _figures(figures: MapFigures, projection: Projection) -> None:
    explained = f"{100 * sum(projection.explained):.0f} %" if projection.explained else "–"
    cells = (
        ("Probe AUC", number(figures.auc, 2), "Held-out linear probe on the activations, harmful against benign."),
        (
            "Map AUC",
            number(figures.map_auc, 2),
            "Held-out, on the map's coordinates alone: of a map along a direction its first axis, else a linear probe.",
        ),
        ("Shuffled", number(figures.shuffled_auc, 2), "95th percentile of the map AUC when labels are dealt."),
        (
            "Trustworthiness",
            number(figures.trustworthiness, 2),
            "Share of map neighbours that are neighbours in the activations too (Venna & Kaski 2001); 1: all.",
        ),
        ("Explained", explained, "Share of the base activations' variance on the map's axes; PCA only."),
    )
    with st.container(horizontal=True, gap="small"):
        for label, value, help_text in cells:
            st.metric(label, value, help=help_text, width="content")


@lru_cache(maxsize=16)
def _read_once(file: Path, stamp: int) -> Projection:
    projection = read_projection(file)
    assert projection is not None
    return projection
