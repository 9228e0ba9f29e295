"""Where to intervene: how well each block of the base model tells harmful from benign, and the blocks that suggests."""

import streamlit as st

from engine.figures.blocks import separation_figure
from engine.records.blocks import parse_blocks
from engine.records.captures.capture import BASE, Capture
from engine.records.captures.projections import Examination, ExaminationRequest, examination_file, read_examination
from engine.records.captures.tables import examination_table
from engine.records.errors import SpecError
from workbench.kit.charts import on_screen
from workbench.kit.downloads import file_buttons, picture_config
from workbench.kit.frame import catching, places
from workbench.kit.state import TAKE
from workbench.kit.waiting import awaited
from workbench.kit.words import plain
from workbench.representations.block_words import separation_finding
from workbench.representations.choices import choose_tokens, open_map

CHART = "chart_separation"


def separation_view(capture: Capture) -> None:
    tokens = choose_tokens(capture)
    request = ExaminationRequest(
        run_id=capture.index.run_id, key=capture.index.key, digest=capture.index.digest, tokens=tokens, checkpoint=BASE
    )
    file = examination_file(capture, request)
    if not awaited(
        "examine",
        request.model_dump(mode="json"),
        what="Separation at each block",
        ready=lambda: read_examination(file) is not None,
        place="separation",
    ):
        return
    examination = read_examination(file)
    assert examination is not None
    _suggestion(capture, examination)
    table = examination_table(examination)
    targets = _numbers(examination.targets, capture.index.block_count)
    figure = separation_figure(table, targets, finding=separation_finding(examination))
    st.caption("The base model, before any training. Click a point to see the map of its block.")
    st.plotly_chart(
        on_screen(figure),
        key=CHART,
        config=picture_config("separation-by-block"),
        on_select=lambda: _open_clicked(capture),
        selection_mode="points",
        alt="Separation of harmful and benign prompts at each block",
    )
    file_buttons(figure, table.dropna(axis=1, how="all"), file="separation-by-block")
    with st.expander("Table"):
        st.dataframe(table.dropna(axis=1, how="all"), hide_index=True)


def _suggestion(capture: Capture, examination: Examination) -> None:
    if not examination.targets:
        st.info(plain(examination.reason or "No block is suggested."), icon=":material/help:")
        return
    with st.container(border=True, horizontal=True, vertical_alignment="center", key="suggestion", gap="medium"):
        with st.container():
            st.markdown(
                f":material/lightbulb: **Reroute block {plain(examination.targets)}, "
                f"adapt blocks {plain(examination.adapted)}**"
            )
            st.caption(plain(examination.reason))
        st.page_link(
            places()["train"],
            label="Take into the Train form",
            icon=":material/model_training:",
            query_params={
                TAKE: "blocks",
                "model.name": capture.index.model,
                "blocks.targets": examination.targets,
                "blocks.adapted": examination.adapted,
            },
        )


@catching
def _open_clicked(capture: Capture) -> None:
    points = st.session_state[CHART].selection.points
    if points:
        open_map(capture, block=int(points[0]["customdata"][0]))


def _numbers(text: str, block_count: int) -> tuple[int, ...]:
    try:
        return parse_blocks(text, block_count)
    except SpecError:
        return ()
