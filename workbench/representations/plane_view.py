"""Where harmful answers went: the finding as a title, the picture, each prompt's cosine, a random adapter.

Knows captures and maps on disk; nothing of how they are made.
"""

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from engine.figures.drawing import CONFIG, with_ranges
from engine.figures.labels import escaped
from engine.records.captures.capture import Capture, TokenChoice, checkpoint_name
from engine.records.captures.projections import Projection, ProjectionRequest
from engine.records.captures.tables import MEASURED_TOKENS
from engine.records.runs import Run
from workbench.kit.charts import on_screen
from workbench.kit.downloads import file_buttons, picture_config
from workbench.kit.plane import Plane, deviations, finding, plane_of, random_plane
from workbench.kit.plane_figures import arrows_figure, panels_figure, small_figure
from workbench.kit.strip_figure import strip_figure
from workbench.kit.words import plain
from workbench.kit.zoom import zoom_memory
from workbench.representations.selection import (
    CHART,
    remember_selection,
    selected_prompts,
    selected_rows,
    selections_made,
)
from workbench.representations.slide_button import slide_button

LAYOUTS = ("Arrows", "Before and after")


def plane_view(
    capture: Capture, run: Run | None, request: ProjectionRequest, projection: Projection, step: int, layout: str
) -> None:
    """The picture of one step, its companions, and what was selected in it."""
    plane = plane_of(capture, projection, step, request.tokens)
    title = finding(plane)
    st.subheader(plain(title), anchor=False)
    # In a narrow window its companions go below the picture: see the frame's style.
    with st.container(key="plane_panels"):
        left, right = st.columns([2.3, 1], gap="medium")
    selected = selected_rows(capture)
    with left:
        figure = _picture(capture, request, plane, layout, selected)
    with right:
        _cosines(capture, request, plane)
        _random(capture, projection, request)
    st.caption(plain(_caption(projection, request.tokens)))
    name = f"movement-block-{request.block}-step-{step}"
    titled = go.Figure(figure).update_layout(
        title={"text": f"<b>{escaped(title)}</b>", "x": 0, "xref": "paper", "y": 0.98}, margin={"t": 110}
    )
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        slide_button(capture, run, request, projection, plane)
        file_buttons(titled, plane.table, file=name)
    selected_prompts(capture, run, checkpoint_name(step) if step else "base", selected)


def _picture(
    capture: Capture, request: ProjectionRequest, plane: Plane, layout: str, selected: frozenset[int]
) -> go.Figure:
    what = (capture.index.run_id, capture.folder.name, request.block, request.space, request.tokens, layout)
    ranges = zoom_memory("_".join(("plane", *map(str, what))))
    made = selections_made()
    draw = arrows_figure if layout == LAYOUTS[0] else panels_figure
    figure = draw(plane, selected=selected).update_layout(meta=made)
    st.plotly_chart(
        on_screen(with_ranges(figure, ranges.get("map"))),
        key=CHART,
        config=picture_config(f"movement-block-{request.block}-step-{plane.step}"),
        on_select=lambda: remember_selection(capture, drawn=made),
        selection_mode=("box", "lasso"),
        alt=finding(plane),
    )
    return figure


def _cosines(capture: Capture, request: ProjectionRequest, plane: Plane) -> None:
    """The same prompts as in the picture: how far each has turned away at this block."""
    rows = plane.table.drop_duplicates("row")
    places = rows["row"].to_numpy()
    cosines = np.ones(len(capture.index.prompts))
    if plane.step:
        cosines = capture.measure(checkpoint_name(plane.step), "cosine", request.block).astype(float)
    st.markdown(f"**Cosine of each prompt, block {request.block}**", help=MEASURED_TOKENS)
    st.plotly_chart(
        on_screen(strip_figure(rows["group"].tolist(), cosines[places].tolist(), rows["prompt"].tolist())),
        key="chart_strip",
        config=CONFIG | {"displayModeBar": False},
        alt="Cosine between base and circuit-broken activations, a dot a prompt, by label",
    )


def _random(capture: Capture, projection: Projection, request: ProjectionRequest) -> None:
    """What nothing looks like."""
    plane = random_plane(capture, projection, request.tokens)
    st.markdown(
        "**A random adapter of the same size**",
        help="Every LoRA matrix replaced by noise, each module's update as large as the trained one. Its plane is made "
        "in the same way from its own movement; the scale is that of the picture.",
    )
    if plane is None:
        st.caption(
            "This capture has none: capture the run's last step again to see what nothing looks like.",
        )
        return
    moved = ", ".join(f"{group} {deviations(way)}" for group, way in plane.moved.items())
    st.caption(plain(f"It moved {moved} deviations."))
    st.plotly_chart(
        on_screen(small_figure(plane)),
        key="chart_random",
        config=CONFIG | {"displayModeBar": False},
        alt=f"Random adapter: moved {moved} deviations",
    )


def _caption(projection: Projection, tokens: TokenChoice) -> str:
    fitted = 0 if projection.fitted is None else int(projection.fitted.sum())
    unit = "tokens" if tokens == "every" else "prompts"
    notes = [note for note in projection.notes if not note.startswith("The plane")]
    return " ".join(
        [
            f"The plane is fitted on the other half of each label ({fitted} {unit}), at the last captured step; 1 "
            "deviation is how far base activations spread along an axis. Draw around points to list their "
            "prompts with what they show.",
            *notes,
        ]
    )
