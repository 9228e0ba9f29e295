"""Adapter strength against loss: what more or less of the adapter costs on harmful and on benign answers."""

from typing import Any

import plotly.graph_objects as go
import streamlit as st

from engine.desk.launch import ensure_worker
from engine.figures.colours import BASE, BENIGN, HARMFUL
from engine.figures.drawing import CONFIG, blank_figure
from engine.records.chats.asked import Column
from engine.records.chats.doses import DoseCurve, dose_payload, read_dose_curve
from engine.records.checkpoints import Checkpoint
from engine.records.errors import WorkbenchError
from engine.records.runs import ACTIVE, open_run
from workbench.kit.charts import on_screen
from workbench.kit.frame import catching
from workbench.kit.state import queue, settings
from workbench.kit.words import plain

JOB = "dose_job"


def dose_chart(columns: tuple[Column, ...]) -> None:
    """A popover with the chart of the first circuit breaker that is asked; nothing where only the base model is."""
    asked = [column for column in columns if not column.checkpoint.is_base]
    if asked:
        with st.popover("Adapter strength and loss", icon=":material/show_chart:", type="tertiary", key="chat_doses"):
            st.fragment(_content, run_every=None)(asked[0].checkpoint, tuple(c.dose for c in asked[:1]))


def dose_figure(curve: DoseCurve, dose: float) -> go.Figure:
    """Both losses over the dose, with a line at the strength that is chosen."""
    figure = blank_figure("", "nats per token", x_title="adapter strength", height=250)
    for values, name, colour in ((curve.harmful, "harmful", HARMFUL), (curve.benign, "benign", BENIGN)):
        figure.add_scatter(
            x=curve.doses,
            y=values,
            name=name,
            mode="lines+markers",
            line={"color": colour, "width": 2},
            hovertemplate="%{y:.2f}",
        )
    figure.add_vline(x=dose, line={"dash": "dot", "width": 1, "color": BASE})
    figure.update_xaxes(autorangeoptions={"include": [0, 1.5]})
    figure.update_yaxes(rangemode="tozero")
    return figure


@catching
def _content(checkpoint: Checkpoint, doses: tuple[float, ...]) -> None:
    st.caption(
        "Loss of the base model's own answers to a few held-out prompts. A good circuit breaker lifts the harmful "
        "line and leaves the benign one."
    )
    try:
        payload = dose_payload(open_run(settings().runs, checkpoint.run_id), checkpoint)
    except WorkbenchError as error:
        st.error(plain(str(error)))
        return
    key = f"{JOB}_{checkpoint}"
    asked: tuple[int, dict[str, Any]] | None = st.session_state.get(key)
    curve = read_dose_curve(settings().cards, payload)
    if curve is None and asked and open_run(settings().runs, checkpoint.run_id).record().status in ACTIVE:
        # It trains, and has moved on since it was measured: what was asked for then is what is shown.
        curve = read_dose_curve(settings().cards, asked[1])
    if curve is not None:
        st.plotly_chart(on_screen(dose_figure(curve, doses[0])), key="dose_figure", config=CONFIG)
        return
    job = queue().job(asked[0], of=asked[1]) if asked else None
    if job is not None and job.status in ("queued", "running"):
        st.fragment(_wait, run_every=1)(job.id)
        return
    if job is not None and job.error:
        st.error(plain(job.error))
    if st.button("Measure it", key="dose_measure", icon=":material/straighten:", help="About half a minute."):
        st.session_state[key] = (queue().submit("dose_curve", run_id=checkpoint.run_id, payload=payload), payload)
        ensure_worker(settings())
        st.rerun(scope="fragment")


@catching
def _wait(job_id: int) -> None:
    job, progress = queue().job(job_id), queue().progress(job_id)
    if job is None or job.status not in ("queued", "running"):
        st.rerun()
    st.progress(
        progress.share if progress else 0.0,
        text="Measuring: about half a minute" if progress else "Waiting for the worker",
    )
