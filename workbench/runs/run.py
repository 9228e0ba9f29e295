"""One run, live: header, curves, probe answers, log, spec. Parts that change poll the record.

Knows nothing of how a run is made.
"""

import streamlit as st

from engine.figures.curves import run_figures
from engine.records.errors import RunError
from engine.records.files import read_tail
from engine.records.runs import ACTIVE, Run, open_run
from workbench.kit.downloads import spec_button
from workbench.kit.frame import catching, places
from workbench.kit.records import exists, known_record
from workbench.kit.state import queue, settings
from workbench.kit.status import BADGES
from workbench.kit.where import job_log, look_at, status_of
from workbench.kit.words import counted, event_line, plain
from workbench.runs.controls import controls
from workbench.runs.follow import follow
from workbench.runs.harmfulness import harmfulness_part
from workbench.runs.header import about, header_figures, messages
from workbench.runs.line import waiting_line
from workbench.runs.live_figures import draw_anew, live_charts
from workbench.runs.live_map import live_map
from workbench.runs.missing import missing_run
from workbench.runs.next_steps import next_steps
from workbench.runs.notify import notify_when_ended
from workbench.runs.outcome import outcome_part
from workbench.runs.place import place_line
from workbench.runs.probes import probes
from workbench.runs.stages import progress, samples

VIEWS = ("Curves", "Map", "Probe answers", "Log", "Spec")
LOG_LINES = 400
TICK = 2.0


def run_view(run_id: str) -> None:
    try:
        run = open_run(settings().runs, run_id)
    except RunError:
        missing_run(run_id)
        return
    st.page_link(places()["runs"], label="All runs", icon=":material/arrow_back:")
    draw_anew()
    status = _status(run)
    _header(run, status)
    tabs = st.tabs(VIEWS, key="view", bind="query-params", on_change="rerun")
    tick = TICK if status in ACTIVE else None
    for tab, draw in zip(tabs, (_curves, live_map, _probes, _log, _spec), strict=True):
        if tab.open:
            with tab:
                # A map is drawn at each capture, not at each tick.
                draw(run) if draw in (live_map, _spec) else st.fragment(draw, run_every=tick)(run)


def _status(run: Run) -> str:
    look_at([run])
    record, changed = known_record(run)
    return status_of(run, record, queue().worker(), changed=changed)


@st.fragment(run_every=TICK)
@catching
def _header(run: Run, drawn_status: str) -> None:
    if not exists(run):
        # Deleted while this page is open: the page says so when it is drawn anew.
        st.rerun()
    status = _status(run)
    record, followed = run.record(), follow(run)
    if status != drawn_status:
        st.rerun()
    badge = BADGES[status]
    with st.container(horizontal=True, vertical_alignment="center", key="run_header"):
        st.title(plain(run.name), anchor=False, width="content")
        st.badge(badge.word, icon=badge.icon, color=badge.colour)
        st.caption(plain(about(run, record)), width="content")
    # What comes and goes stands in one place that is always there. Controls that changed theirs would be drawn anew: an
    # open popover loses what was typed.
    with st.container():
        if note := run.label().note:
            st.text(note)
        outcome_part(run, record, status)
        next_steps(run, status)
    waiting = waiting_line(queue().worker()).get(run.id) if status == "queued" else None
    controls(run, status, followed.controls, waits=bool(waiting and waiting.other))
    if waiting:
        st.info(plain(f"{waiting.sentence} One run trains at a time."), icon=":material/hourglass_empty:")
    notify_when_ended(run, status)
    place_line(run, status)
    progress(run, record, status, followed)
    header_figures(run, record, status, followed)
    messages(run, record, status, followed)


@catching
def _curves(run: Run) -> None:
    if not exists(run):
        return
    followed = follow(run)
    if followed.tables.steps.empty and followed.tables.heldout.empty:
        st.info(
            "Curves begin with the first step. Before it the model is loaded, it answers the prompts that it will be "
            "trained on, and its activations are measured.",
            icon=":material/show_chart:",
        )
        samples(run)
        return
    live_charts(run.id, followed.version, lambda: run_figures(followed.tables, followed.controls))


@catching
def _probes(run: Run) -> None:
    probes(follow(run).tables.probes)


@catching
def _log(run: Run) -> None:
    events = follow(run).events
    if events:
        st.caption(f"Newest first; {counted(len(events), 'event')} in all.")
        lines = [event_line(event) for event in reversed(events[-LOG_LINES:])]
        st.code("\n".join(lines), language=None, height=420)
    else:
        st.info("Nothing has happened yet.", icon=":material/receipt_long:")
    of_job = job_log(run)
    with st.expander("Worker log" if of_job is None else "The job's log, as Slurm wrote it down", key="worker_log"):
        st.code(
            of_job or read_tail(settings().worker_log) or "The worker has written nothing yet.",
            language=None,
            height=300,
            wrap_lines=True,
        )


def _spec(run: Run) -> None:
    spec = run.spec()
    record = run.record()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.caption(
            f"What this run was started with; digest {record.digest or spec.digest}. Later changes of the form do not "
            "touch it.",
            width="content",
        )
        spec_button(spec, key="run_spec_download")
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
        harmfulness_part(run)
        if record.versions:
            st.markdown("**Made with**")
            st.code("\n".join(f"{name} {version}" for name, version in record.versions.items()), language=None)
