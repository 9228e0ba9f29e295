"""Several runs over each other: where their specs differ, curves, and figures with the split that made them."""

import time
from functools import partial
from typing import NamedTuple

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from engine.exports.comparison.write import comparison_text
from engine.figures.curves import RunCurves, compare_figures
from engine.records.errors import RunError
from engine.records.runs import ACTIVE, Run, Status, open_run
from engine.records.tables import content_differences, spec_differences
from workbench.kit.downloads import file_button
from workbench.kit.frame import catching, places
from workbench.kit.records import exists, known_record
from workbench.kit.state import RUN, queue, settings
from workbench.kit.where import status_of
from workbench.kit.words import duration, plain
from workbench.runs.follow import follow
from workbench.runs.header import SPLITS
from workbench.runs.live_figures import draw_anew, live_charts
from workbench.runs.missing import missing_words
from workbench.runs.times import MEANING, WHOLE, run_times

# As the address says them.
STEP, SHARE = "step", "share of the run"


class View(NamedTuple):
    """How the curves are drawn; it is in the address."""

    smoothing: float
    axis: str


def compare_view(run_ids: list[str]) -> None:
    st.page_link(places()["runs"], label="All runs", icon=":material/arrow_back:")
    st.title("Compare runs", anchor=False)
    runs = []
    for run_id in dict.fromkeys(run_ids):
        try:
            runs.append(open_run(settings().runs, run_id))
        except RunError:
            st.warning(missing_words(run_id), icon=":material/search_off:")
    if len(runs) < 2:
        _too_few(runs)
        return
    draw_anew()
    _differences(runs)
    view = _view()
    drawn = _statuses(runs)
    st.fragment(_curves, run_every=3 if any(one in ACTIVE for one in drawn) else None)(runs, view, drawn)
    _figures(runs)
    _report(runs)


def _too_few(runs: list[Run]) -> None:
    st.info(
        "A comparison needs two runs or more: tick them in the list, then press Compare.",
        icon=":material/compare_arrows:",
    )
    for run in runs:
        st.page_link(
            places()["runs"], label=f"Open {plain(run.name)} alone", icon=":material/monitoring:",
            query_params={RUN: run.id},
        )  # fmt: skip
    st.page_link(places()["runs"], label="To the list of runs", icon=":material/list:")


def _view() -> View:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="large"):
        smoothing = st.slider(
            "Smoothing of the losses",
            0.0,
            0.95,
            0.0,
            0.05,
            key="smooth",
            bind="query-params",
            width=260,
            help="Weight of what was before in an exponential moving average; the measured curve stays faint behind "
            "it. Held-out figures are means over many prompts and stay as they are.",
        )
        axis = st.segmented_control(
            "Across",
            [STEP, SHARE],
            default=STEP,
            required=True,
            key="across",
            bind="query-params",
            help="By the share of the run, runs of different lengths lie over each other.",
        )
    return View(float(smoothing), str(axis or STEP))


@catching
def _curves(runs: list[Run], view: View, drawn: list[Status]) -> None:
    if not all(exists(run) for run in runs) or _statuses(runs) != drawn:
        # One was deleted while this page is open, began or ended: the page says so when it is drawn anew.
        st.rerun()
    followed = [follow(run, beside=len(runs)) for run in runs]

    def figures() -> dict[str, go.Figure]:
        curves = [
            RunCurves(name, one.tables, run.record().steps)
            for run, name, one in zip(runs, _names(runs), followed, strict=True)
        ]
        return compare_figures(curves, smoothing=view.smoothing, share=view.axis == SHARE)

    version = tuple(one.version for one in followed)
    live_charts(f"compare_{view.axis}_" + "_".join(run.id for run in runs), version, figures, drawn_as=view)


def _statuses(runs: list[Run]) -> list[Status]:
    return [run.record().status for run in runs]


def _figures(runs: list[Run]) -> None:
    st.subheader("Held-out figures", anchor=False, help=SPLITS)
    worker = queue().worker()
    rows = []
    for run, name in zip(runs, _names(runs), strict=True):
        record, changed = known_record(run)
        status = status_of(run, record, worker, changed=changed)
        times = run_times(record, status, changed=changed, now=time.time())
        followed = follow(run, beside=len(runs))
        test, validation = followed.heldout("test"), followed.heldout("validation")
        rows.append(
            {
                "run": name,
                "status": status,
                "step": f"{record.step} of {record.steps}",
                "cosine, test": record.figures.get("heldout_cosine"),
                "cosine, validation": record.figures.get("validation_cosine"),
                "drift, test": record.figures.get("heldout_drift"),
                "drift, validation": record.figures.get("validation_drift"),
                "borderline drift, test": record.figures.get("heldout_borderline_drift"),
                "n test": f"{test.harmful_rows} + {test.benign_rows}" if test else "–",
                "n validation": f"{validation.harmful_rows} + {validation.benign_rows}" if validation else "–",
                WHOLE.lower(): duration(times.whole),
                "training steps alone": duration(times.training) if times.training else "–",
            }
        )
    three = st.column_config.NumberColumn(format="%.3f", help=SPLITS)
    counted = st.column_config.TextColumn(help="Harmful + benign rows.")
    figures = ("cosine, test", "cosine, validation", "drift, test", "drift, validation", "borderline drift, test")
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        column_config={
            **dict.fromkeys(figures, three),
            **dict.fromkeys(("n test", "n validation"), counted),
            WHOLE.lower(): st.column_config.TextColumn(help=MEANING),
            "training steps alone": st.column_config.TextColumn(
                help="Without answers, measuring, the test and pauses."
            ),
        },
    )


def _report(runs: list[Run]) -> None:
    """The comparison as a file; it is made when the button is pressed."""
    st.subheader("Report", anchor=False)
    st.caption("Where the specs differ, curves, fronts, and paired differences of what was answered, with intervals.")
    here = settings()
    with st.container(horizontal=True, gap="small"):
        for ending, mime in ((".html", "text/html"), (".md", "text/markdown")):
            file_button(
                ending.removeprefix(".").upper().replace("MD", "Markdown"),
                partial(comparison_text, runs, here, ending=ending),
                f"comparison-{'-'.join(run.id for run in runs)[:80]}{ending}",
                mime,
            )


def _differences(runs: list[Run]) -> None:
    st.subheader("Where the specs differ", anchor=False)
    contents = content_differences([run.record().sources for run in runs])
    table = pd.concat([spec_differences([run.spec() for run in runs]), contents])
    if table.empty:
        st.caption("They do not: these runs were started with the same spec, on the same prompts.")
        return
    table.columns = _names(runs)
    st.dataframe(table.astype(str))


def _names(runs: list[Run]) -> list[str]:
    """Names for legends and columns; two runs of one name are told apart by their id."""
    names = [run.name for run in runs]
    return [name if names.count(name) == 1 else f"{name} ({run.id})" for name, run in zip(names, runs, strict=True)]
