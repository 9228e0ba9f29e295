"""Several runs over each other: curves, figures, and where their specs differ."""

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from engine.records.errors import RunError
from engine.records.runs import Run, open_run
from engine.records.tables import spec_differences
from workbench.kit.frame import catching, places
from workbench.kit.state import FIGURES, queue, settings
from workbench.kit.status import MOVING, shown_status
from workbench.kit.words import plain
from workbench.runs.figures import RunCurves, compare_figures
from workbench.runs.follow import follow
from workbench.runs.live_figures import live_charts


def compare_view(run_ids: list[str]) -> None:
    st.page_link(places()["runs"], label="All runs", icon=":material/arrow_back:")
    st.title("Compare runs", anchor=False)
    runs = []
    for run_id in dict.fromkeys(run_ids):
        try:
            runs.append(open_run(settings().runs, run_id))
        except RunError as error:
            st.warning(plain(str(error)))
    if len(runs) < 2:
        st.info("Choose two or more runs in the list.", icon=":material/compare_arrows:")
        return
    st.session_state.pop(FIGURES, None)
    moving = any(run.record().status in MOVING for run in runs)
    st.fragment(_curves, run_every=3 if moving else None)(runs)
    _figures(runs)
    _differences(runs)


@catching
def _curves(runs: list[Run]) -> None:
    followed = [follow(run) for run in runs]

    def figures() -> dict[str, go.Figure]:
        curves = [RunCurves(name, one.tables) for name, one in zip(_names(runs), followed, strict=True)]
        return compare_figures(curves)

    live_charts("compare_" + "_".join(run.id for run in runs), tuple(one.version for one in followed), figures)


def _figures(runs: list[Run]) -> None:
    st.subheader("Held-out figures", anchor=False)
    worker = queue().worker()
    records = [run.record() for run in runs]
    table = pd.DataFrame(
        [
            {
                "run": name,
                "status": shown_status(record, worker, changed=(run.folder / "record.json").stat().st_mtime),
                "step": record.step,
                "cosine": record.figures.get("heldout_cosine"),
                "drift": record.figures.get("heldout_drift"),
                "borderline drift": record.figures.get("heldout_borderline_drift"),
                "seconds": record.seconds,
            }
            for run, name, record in zip(runs, _names(runs), records, strict=True)
        ]
    )
    three = st.column_config.NumberColumn(format="%.3f")
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            "cosine": three,
            "drift": three,
            "borderline drift": three,
            "seconds": st.column_config.NumberColumn("training, s", format="%.0f"),
        },
    )


def _differences(runs: list[Run]) -> None:
    st.subheader("Where the specs differ", anchor=False)
    table = spec_differences([run.spec() for run in runs])
    if table.empty:
        st.caption("They do not: these runs were started with the same spec.")
        return
    table.columns = _names(runs)
    st.dataframe(table.astype(str))


def _names(runs: list[Run]) -> list[str]:
    """Names for legends and columns; two runs of one name are told apart by their id."""
    names = [run.label().name or run.id for run in runs]
    return [name if names.count(name) == 1 else f"{name} ({run.id})" for name, run in zip(names, runs, strict=True)]
