"""The plane in which harmful answers moved, of a run as it trains: drawn anew at each capture, not at each tick.

Knows a run's captures; nothing of how they are made.
"""

from contextlib import suppress

import streamlit as st

from engine.figures.drawing import with_ranges
from engine.records.captures.capture import BASE, FINAL, TRAINING, Capture, checkpoint_name, fullest, read_capture
from engine.records.captures.projections import ProjectionRequest, projection_file, read_projection
from engine.records.errors import RunError
from engine.records.runs import ACTIVE, Run
from workbench.kit.charts import on_screen
from workbench.kit.downloads import picture_config
from workbench.kit.frame import catching, places
from workbench.kit.plane import finding, plane_of
from workbench.kit.plane_figures import arrows_figure
from workbench.kit.state import CAPTURE, LIVE_MAP, RUN
from workbench.kit.waiting import awaited
from workbench.kit.words import plain
from workbench.kit.zoom import zoom_memory

TICK = 3.0
TOKENS = "response_mean"


def live_map(run: Run) -> None:
    """The newest picture; while the run goes on, a look at whether there is a newer one."""
    shown = _newest(run)
    if run.record().status in ACTIVE:
        st.fragment(_watch, run_every=TICK)(run, shown.index.digest if shown else "")
    if shown is None or not shown.steps or TOKENS not in shown.index.tokens:
        _nothing_yet(run)
        return
    st.fragment(_draw)(run, shown)


def _newest(run: Run) -> Capture | None:
    """The capture at the end, which has most prompts, or what was captured while training."""
    found = []
    for key in (FINAL, TRAINING):
        with suppress(RunError):
            found.append(read_capture(run.representations_folder / key))
    return fullest([capture for capture in found if capture is not None], kept=run.record().step)


@catching
def _watch(run: Run, digest: str) -> None:
    newest = _newest(run)
    if newest is not None and newest.index.digest != digest:
        st.rerun()


@catching
def _draw(run: Run, capture: Capture) -> None:
    request, step = _request(capture)
    kept: dict[str, tuple[Capture, ProjectionRequest, int]] = st.session_state.setdefault(LIVE_MAP, {})
    ready = projection_file(capture, request)
    has_last = read_projection(ready) is None and run.id in kept
    if has_last:
        # The last picture stays until the next one is there.
        _picture(run, *kept[run.id])
    if awaited(
        "project",
        request.model_dump(mode="json"),
        what=f"Map of step {step}",
        ready=lambda: read_projection(ready) is not None,
        place="live_map",
    ):
        kept[run.id] = (capture, request, step)
        if has_last:
            # It came while the last one was drawn, asked for in another tab: two of one key cannot be.
            st.rerun()
        _picture(run, capture, request, step)


def _request(capture: Capture) -> tuple[ProjectionRequest, int]:
    """The plane is made for the newest step, from base and that step alone: soon done beside a training."""
    index, step = capture.index, capture.steps[-1]
    block = next((block for block in index.targets if block in index.blocks), index.blocks[-1])
    request = ProjectionRequest(
        run_id=index.run_id,
        key=index.key,
        digest=index.digest,
        checkpoints=(BASE, checkpoint_name(step)),
        tokens=TOKENS,
        block=block,
        method="movement",
    )
    return request, step


def _picture(run: Run, capture: Capture, request: ProjectionRequest, step: int) -> None:
    projection = read_projection(projection_file(capture, request))
    if projection is None:
        return
    plane = plane_of(capture, projection, step, request.tokens)
    st.subheader(plain(finding(plane)), anchor=False)
    ranges = zoom_memory(f"live_map_{run.id}")
    st.plotly_chart(
        on_screen(with_ranges(arrows_figure(plane).update_layout(dragmode="zoom"), ranges.get("live_map"))),
        key="chart_live_map",
        config=picture_config(f"{run.id}-block-{request.block}-step-{step}"),
        alt=finding(plane),
    )
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(
            f"Block {request.block} after step {step}, mean over answer tokens. The other half of the prompts set "
            "the axes at this step, so two steps cannot be compared by place; Representations has one frame for all.",
            width="stretch",
        )
        st.page_link(
            places()["representations"],
            label="Look closer",
            icon=":material/scatter_plot:",
            query_params={RUN: run.id, CAPTURE: capture.index.key},
        )


def _nothing_yet(run: Run) -> None:
    if run.record().status in ACTIVE:
        words = "The first picture comes with the first capture after a step; what is captured when, says the spec."
    else:
        words = "This run has captured no step: capture it in Representations."
    st.info(words, icon=":material/scatter_plot:")
