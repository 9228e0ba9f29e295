"""The outcome under the header of a run's page: measuring with its progress, the sentence, and what to do next."""

import streamlit as st

from engine.desk.launch import ensure_worker
from engine.desk.queue import Job
from engine.records.cluster_jobs import is_on_cluster
from engine.records.errors import WorkbenchError
from engine.records.evaluation.own import ROWS, is_pending, own_plan
from engine.records.evaluation.plan import EvaluationPlan
from engine.records.outcome import LIMITS, Outcome
from engine.records.runs import Record, Run
from workbench.kit.frame import catching, places
from workbench.kit.outcome import outcome_sentence, run_outcome
from workbench.kit.state import RUN, SAID, queue, settings
from workbench.kit.words import plain

ENDED = ("finished", "stopped")


def outcome_part(run: Run, record: Record, status: str) -> None:
    """Nothing while the run moves, and nothing for one that kept nothing."""
    if status not in ENDED or not record.step:
        return
    outcome = run_outcome(run)
    with st.container(key="run_outcome", gap="xsmall"):
        st.markdown(outcome_sentence(outcome, record))
        if outcome.source:
            st.caption(plain(outcome.source), help=LIMITS if outcome.is_measured else None)
    if outcome.better is not None:
        _better(run, outcome.better.step)
    if not outcome.is_measured:
        _measure(run, record, outcome)


def _better(run: Run, step: int) -> None:
    checkpoint = {RUN: f"{run.id}@{step}"}
    if not run.checkpoint_folder(step).is_dir():
        st.caption(f"The checkpoint of step {step} is not in the run's folder any more.")
        return
    with st.container(horizontal=True, gap="medium", key="better_checkpoint"):
        st.page_link(
            places()["side_by_side"],
            label=f"Ask step {step}",
            icon=":material/compare_arrows:",
            query_params=checkpoint,
        )
        st.page_link(
            places()["evaluate"],
            label=f"Evaluate step {step}",
            icon=":material/shield_question:",
            query_params=checkpoint,
        )


def _measure(run: Run, record: Record, outcome: Outcome) -> None:
    plan = _plan(run, record)
    job = _under_way(run, plan)
    if job is not None:
        _progress(job)
        return
    if is_pending(record) and is_on_cluster(run):
        st.caption(":material/dns: The small evaluation follows in the cluster's job.")
        return
    if is_pending(record) and not queue().worker().alive:
        st.info("The small evaluation waits for the worker: start it in the sidebar.", icon=":material/power_off:")
        return
    if outcome.evaluation:
        # It was asked, and the figures cannot tell.
        return
    with st.container(horizontal=True, vertical_alignment="center", key="measure_outcome"):
        if record.evaluation == "failed":
            st.caption(plain(f"The small evaluation did not succeed: {record.evaluation_error}"), width="content")
        elif record.evaluation == "cancelled":
            st.caption("The small evaluation was cancelled.", width="content")
        st.button(
            "Measure answers",
            key="measure_run",
            icon=":material/rule:",
            on_click=_start,
            args=(run.id, plan),
            help=f"Asks both models {plan.limit} held-out requests a side, directly and with a prefilled answer.",
        )


def _progress(job: Job) -> None:
    progress, worker = queue().progress(job.id), queue().worker()
    bar, button = st.columns([7, 1], vertical_alignment="center")
    if not worker.alive:
        bar.info("Measuring waits for the worker: start it in the sidebar.", icon=":material/power_off:")
    elif progress is None:
        bar.progress(0.0, text="Measuring: waits for its turn")
    else:
        bar.progress(
            progress.share, text=plain(f"Measuring answers: {progress.message or progress.phase}{progress.counted}")
        )
    button.button(
        "Cancel",
        key="cancel_measuring",
        on_click=catching(queue().cancel),
        args=(job.id,),
        icon=":material/close:",
        width="stretch",
        help="The run stays as it is; its answers can be measured later.",
    )


def _plan(run: Run, record: Record) -> EvaluationPlan:
    """Of the last checkpoint, or of the adapter where that was deleted."""
    step = record.step if run.checkpoint_folder(record.step).is_dir() else None
    return own_plan(run.id, step, run.spec().captures.evaluation_rows or ROWS)


def _under_way(run: Run, plan: EvaluationPlan) -> Job | None:
    payload = plan.model_dump(mode="json")
    jobs = queue().under_way("evaluate")
    return next((job for job in jobs if job.run_id == run.id and job.payload == payload), None)


def _start(run_id: str, plan: EvaluationPlan) -> None:
    try:
        queue().submit("evaluate", run_id=run_id, payload=plan.model_dump(mode="json"))
        ensure_worker(settings())
    except WorkbenchError as error:
        # A callback must not draw.
        st.session_state[SAID] = (plain(str(error)), ":material/error:")
