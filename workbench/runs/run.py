"""One run, live: header, curves, probe answers, log, spec. Parts that change poll the record.

Knows nothing of how a run is made.
"""

import streamlit as st

from engine.records.errors import WorkbenchError
from engine.records.files import read_tail
from engine.records.runs import ACTIVE, Record, Run, open_run
from workbench.kit.frame import catching, places
from workbench.kit.state import FIGURES, RUN, queue, settings
from workbench.kit.status import BADGES, MOVING, phase_text, remaining_in_phase, remaining_seconds, shown_status
from workbench.kit.words import amount, duration, event_line, figure, moment, plain
from workbench.runs.controls import controls
from workbench.runs.figures import run_figures
from workbench.runs.follow import Followed, follow
from workbench.runs.live_figures import live_charts
from workbench.runs.live_map import live_map
from workbench.runs.probes import probes

VIEWS = ("Curves", "Map", "Probe answers", "Log", "Spec")
LOG_LINES = 400
TICK = 2.0


def run_view(run_id: str) -> None:
    with st.container(horizontal=True, gap="medium"):
        st.page_link(places()["runs"], label="All runs", icon=":material/arrow_back:")
        st.page_link(
            places()["side_by_side"], label="Side by side", icon=":material/compare_arrows:", query_params={RUN: run_id}
        )
        st.page_link(
            places()["evaluate"], label="Evaluate", icon=":material/shield_question:", query_params={RUN: run_id}
        )
    run = open_run(settings().runs, run_id)
    st.session_state.pop(FIGURES, None)
    status = _status(run, run.record())
    _header(run, status)
    tabs = st.tabs(VIEWS, key="view", bind="query-params", on_change="rerun")
    tick = TICK if status in ACTIVE else None
    for tab, draw in zip(tabs, (_curves, live_map, _probes, _log, _spec), strict=True):
        if tab.open:
            with tab:
                # A map is drawn at each capture, not at each tick.
                draw(run) if draw in (live_map, _spec) else st.fragment(draw, run_every=tick)(run)


def _status(run: Run, record: Record) -> str:
    changed = (run.folder / "record.json").stat().st_mtime
    return shown_status(record, queue().worker(), changed=changed)


@st.fragment(run_every=TICK)
@catching
def _header(run: Run, drawn_status: str) -> None:
    record, followed, label = run.record(), follow(run), run.label()
    status = _status(run, record)
    if status != drawn_status:
        st.rerun()
    badge = BADGES[status]
    with st.container(horizontal=True, vertical_alignment="center", key="run_header"):
        st.title(plain(label.name or run.id), anchor=False, width="content")
        st.badge(badge.word, icon=badge.icon, color=badge.colour)
        st.caption(plain(_about(run, record)), width="content")
    if label.note:
        st.text(label.note)
    other = _waits_for(run, status)
    controls(run, status, followed.controls, waits=bool(other))
    _progress(record, status, followed, other)
    _figures(record, followed)
    _messages(run, record, status, followed)


def _about(run: Run, record: Record) -> str:
    parts = [
        run.id if run.label().name else "",
        record.preset,
        run.spec().model.name,
        record.device,
        moment(record.created),
    ]
    if record.trained_parameters:
        parts.append(f"{amount(record.trained_parameters)} trained")
    return " · ".join(part for part in parts if part)


def _waits_for(run: Run, status: str) -> str:
    """The run that this one waits for, in words; '' where it waits for none."""
    other_id = queue().worker().waiting.get(run.id, "") if status == "queued" else ""
    if not other_id:
        return ""
    try:
        other = open_run(settings().runs, other_id)
        record = other.record()
    except WorkbenchError:
        return f"run {other_id}"
    return f"{other.label().name or f'run {other_id}'} (step {record.step} of {record.steps})"


def _progress(record: Record, status: str, followed: Followed, other: str) -> None:
    last = followed.last
    phase = phase_text(record, status, last, other=other)
    share = record.step / max(1, record.steps)
    if status in MOVING and last is not None and last.kind == "progress" and last.total and record.step == 0:
        share = last.done / last.total
    left = None
    if status in ("running", "paused"):
        left = remaining_in_phase(followed.events)
        if left is None:
            left = remaining_seconds(followed.tables.steps, record.steps - record.step)
    eta = f", about {duration(left)} left" if left is not None else ""
    steps = "" if phase.startswith("step ") or not record.step else f" (step {record.step} of {record.steps})"
    st.progress(min(1.0, share), text=plain(f"{phase[:1].upper()}{phase[1:]}{steps}{eta}"))


def _figures(record: Record, followed: Followed) -> None:
    steps, newest, final = followed.tables.steps, followed.heldout, record.figures
    last = steps.iloc[-1] if len(steps) else None
    cosine = final.get("heldout_cosine", newest.mean_cosine if newest else None)
    drift = final.get("heldout_drift", newest.mean_drift if newest else None)
    borderline = final.get("heldout_borderline_drift", newest.borderline_drift if newest else None)
    cells = st.columns(7)
    cells[0].metric(
        "Held-out cosine", figure(cosine), help="Harmful prompts, mean over target blocks; 1: nothing moved."
    )
    cells[1].metric("Held-out drift", figure(drift), help="Benign prompts, as a share of the block's mean norm.")
    cells[2].metric("Borderline drift", figure(borderline))
    cells[3].metric("Rerouting loss", figure(last["reroute_loss"] if last is not None else None))
    cells[4].metric("Retain loss", figure(last["retain_loss"] if last is not None else None))
    cells[5].metric(
        "Tokens per second", f"{steps['tokens_per_second'].tail(10).mean():.0f}" if last is not None else "–"
    )
    cells[6].metric(
        "Trained for",
        duration(record.seconds) if record.seconds else "–",
        help=f"Eliciting took {duration(record.elicit_seconds)}." if record.elicit_seconds else None,
    )


def _messages(run: Run, record: Record, status: str, followed: Followed) -> None:
    worker = queue().worker()
    if status == "failed":
        st.error(plain(record.error or "The run failed; the log says where."), icon=":material/error:")
    elif status == "stopped" and record.error:
        st.info(plain(record.error), icon=":material/delete:")
    elif status == "interrupted":
        st.warning(
            "The worker ended while this run was going. Resume it: it goes on exactly from its last checkpoint.",
            icon=":material/power_off:",
        )
    elif status == "queued":
        if not worker.alive:
            st.warning("The worker is not running: start it in the sidebar.", icon=":material/power_off:")
        elif worker.run_id and worker.run_id != run.id:
            st.info("It begins when the run before it has ended.", icon=":material/hourglass_empty:")
    for alert in followed.alerts[-3:]:
        st.warning(
            plain(f"Step {alert.step}: {alert.message} {alert.advice}"), icon=":material/notification_important:"
        )


@catching
def _curves(run: Run) -> None:
    followed = follow(run)
    if followed.tables.steps.empty and followed.tables.heldout.empty:
        st.info(
            "Curves begin with the first step: the model is loaded and the prompts are answered before it.",
            icon=":material/show_chart:",
        )
        return
    live_charts(run.id, followed.version, lambda: run_figures(followed.tables, followed.controls))


@catching
def _probes(run: Run) -> None:
    probes(follow(run).tables.probes)


@catching
def _log(run: Run) -> None:
    events = follow(run).events
    if events:
        st.caption(f"Newest first; {len(events)} events in all.")
        lines = [event_line(event) for event in reversed(events[-LOG_LINES:])]
        st.code("\n".join(lines), language=None, height=420)
    else:
        st.info("Nothing has happened yet.", icon=":material/receipt_long:")
    with st.expander("Worker log", key="worker_log"):
        st.code(
            read_tail(settings().worker_log) or "The worker has written nothing yet.",
            language=None,
            height=300,
            wrap_lines=True,
        )


def _spec(run: Run) -> None:
    spec = run.spec()
    record = run.record()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(
            f"What this run was started with; digest {spec.digest}. Later changes of the form do not touch it.",
            width="content",
        )
        st.download_button(
            "Download",
            spec.to_json(),
            file_name=f"spec-{spec.digest}.json",
            mime="application/json",
            key="run_spec_download",
            icon=":material/download:",
            on_click="ignore",
        )
    code, facts = st.columns([2, 1], gap="large")
    code.code(spec.to_json(), language="json")
    with facts:
        st.markdown("**Adapter**")
        if (run.adapter_folder / "adapter_config.json").is_file():
            st.caption("A plain PEFT folder. Use it in any program:")
            folder = repr(str(run.adapter_folder))
            st.code(
                f"from peft import PeftModel\n\nmodel = PeftModel.from_pretrained(\n    base_model,\n    {folder},\n)",
                language="python",
                wrap_lines=True,
            )
            st.caption("or write it elsewhere, merged into the weights if you like:")
            st.code(f"python -m engine export {run.id} FOLDER --merged", language="bash", wrap_lines=True)
        else:
            st.caption("The adapter is written when the run finishes, or when it is stopped and kept.")
        if record.versions:
            st.markdown("**Made with**")
            st.code("\n".join(f"{name} {version}" for name, version in record.versions.items()), language=None)
