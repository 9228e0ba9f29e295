"""The controls of one run: what its status allows, sent through the queue of whoever has it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import streamlit as st

from engine.desk.cluster import control as steer
from engine.desk.cluster import take_back, take_home
from engine.desk.launch import ensure_worker
from engine.desk.sending import send
from engine.records.cluster_jobs import is_on_cluster, read_job
from engine.records.clusters import MAX_HOURS, MAX_MEMORY_GB
from engine.records.errors import WorkbenchError
from engine.records.events import Control, ControlEvent
from engine.records.runs import RESUMABLE, Run, need_trainable, open_run
from workbench.kit.frame import caught, places
from workbench.kit.state import LIKE, SAID, queue, settings
from workbench.kit.where import status_of
from workbench.kit.words import plain
from workbench.runs.name_form import name_form

HOURS, MEMORY = "resume_hours", "resume_memory"
WORDS: dict[str, str] = {
    "pause": "Pause",
    "resume": "Resume",
    "first": "Train this first",
    "stop": "Stop and keep",
    "cancel": "Cancel",
    "alpha": "Alpha",
    "learning_rate": "Learning rate",
}


def controls(run: Run, status: str, given: Sequence[ControlEvent], *, waits: bool = False) -> None:
    """waits: another run trains, and this one waits in line."""
    if SAID in st.session_state:
        text, icon = st.session_state.pop(SAID)
        st.toast(text, icon=icon)
    with st.container(horizontal=True, vertical_alignment="center", key="run_controls"):
        if waits:
            _button(
                run,
                "first",
                ":material/vertical_align_top:",
                "Trains this run now. The other one gives way with a checkpoint, and goes on afterwards as if nothing "
                "had been.",
            )
        if status == "running":
            _button(
                run, "pause", ":material/pause:", "Halts after the step it is taking; nothing is lost. Key: p.", key="p"
            )
        if status == "paused":
            _button(
                run, "resume", ":material/play_arrow:", "Goes on with the next step. Key: p.", primary=True, key="p"
            )
        gave_way = status == "queued" and run.record().step > 0 and not is_on_cluster(run)
        if status in ("running", "paused") or gave_way:
            _button(run, "stop", ":material/stop:", "Ends now, writes the adapter and a checkpoint; can be resumed.")
        if status in ("running", "paused"):
            _adjust(run, given)
        if status in ("queued", "running", "paused"):
            _cancel(run)
        if status == "stopping":
            st.caption("Stopping: the adapter is being written.")
        if status == "queued" and is_on_cluster(run):
            st.button(
                "Take back",
                key="take_back",
                icon=":material/undo:",
                on_click=_take_back,
                args=(run.id,),
                help="Calls the job back from Slurm. Nothing is lost: the run can be resumed there or on this machine.",
            )
        if status in RESUMABLE and is_on_cluster(run):
            with st.popover("Resume on the cluster", icon=":material/dns:", key="ask_resume_cluster"), caught():
                _ask_resources(run)
        if status in RESUMABLE and not run.read_only:
            st.button(
                "Resume on this machine" if is_on_cluster(run) else "Resume",
                key="resume_run",
                icon=":material/play_arrow:",
                type="primary",
                on_click=_resume,
                args=(run.id,),
                help="Goes on from the last checkpoint as if it had not ended.",
            )
        st.page_link(
            places()["train"],
            label="Start another like this",
            icon=":material/content_copy:",
            query_params={LIKE: run.id},
        )
        if not run.read_only:
            with st.popover("Name and note", icon=":material/edit:", key="edit_label"), caught():
                name_form(run, run.label())


def _button(
    run: Run, control: Control, icon: str, help_text: str, *, primary: bool = False, key: str | None = None
) -> None:
    """key: the one that presses the button."""
    st.button(
        WORDS[control],
        key=f"control_{control}",
        icon=icon,
        help=help_text,
        type="primary" if primary else "secondary",
        on_click=_send,
        args=(run.id, control),
        shortcut=key,
    )


def _cancel(run: Run) -> None:
    with st.popover("Cancel", icon=":material/close:", key="cancel_popover"):
        st.caption("Ends the run and throws its adapter and checkpoints away. Its curves stay.")
        st.button("Cancel this run", key="control_cancel", on_click=_send, args=(run.id, "cancel"))


def _adjust(run: Run, given: Sequence[ControlEvent]) -> None:
    spec = run.spec()
    current = {"alpha": spec.schedule.alpha, "learning_rate": spec.optimizer.learning_rate}
    current |= {event.control: event.value for event in given if event.control in current and event.value}
    with st.popover("Adjust", icon=":material/tune:", key="adjust"):
        st.caption("Holds from the next step on and is written down with the run.")
        if spec.optimizer.warmup_steps or spec.optimizer.decay != "constant":
            st.caption("The learning rate is the one before warm-up and decay: a step takes its share of it.")
        for control, value in current.items():
            key = f"adjust_{control}"
            number, button = st.columns([1.4, 1], vertical_alignment="bottom")
            number.number_input(WORDS[control], min_value=0.0, value=value, step=value / 10, format="%g", key=key)
            button.button(
                f"Set {WORDS[control].lower()}",
                key=f"control_{control}",
                on_click=_send_value,
                args=(run.id, control, key),
            )


def _send_value(run_id: str, control: Control, key: str) -> None:
    value = float(st.session_state[key])
    if value <= 0:
        _say(f"{WORDS[control]} must be above 0.", ":material/error:")
        return
    with _saying():
        steer(open_run(settings().runs, run_id), settings(), control, value)
        _say(f"{WORDS[control]} {value:g} holds from the next step on.", ":material/tune:")


def _send(run_id: str, control: Control) -> None:
    with _saying():
        run = open_run(settings().runs, run_id)
        steer(run, settings(), control)
        if control == "cancel" and run.record().status == "stopped":
            _say("The run is cancelled: nothing was kept.", ":material/check:")
            return
        who = "the job" if is_on_cluster(run) else "the worker"
        _say(f"{WORDS[control]}: {who} does it after this step.", ":material/check:")


def _resume(run_id: str) -> None:
    with _saying():
        run = open_run(settings().runs, run_id)
        # As it is shown: the record of a run whose worker was killed still says that it runs.
        need_trainable(run, status_of(run, run.record(), queue().worker()))
        take_home(run, settings())
        queue().submit("train", run_id=run_id)
        ensure_worker(settings())
        _say("The run is queued to go on.", ":material/play_arrow:")


def _ask_resources(run: Run) -> None:
    """What the job asks of its cluster this time, as last time unless it is changed."""
    job = read_job(run)
    if job is None:
        return
    st.caption(plain(f"Sends it to {job.cluster} again; it goes on from the last checkpoint as if it had not ended."))
    st.number_input(
        "Hours",
        min_value=min(0.1, job.asked.hours),
        max_value=MAX_HOURS,
        value=job.asked.hours,
        step=1.0,
        format="%g",
        key=f"{HOURS}_{run.id}",
        help="After them the job is queued again, and the run goes on exactly from where it was.",
    )
    st.number_input(
        "Memory of the node, GB",
        min_value=min(1.0, job.asked.memory_gb),
        max_value=MAX_MEMORY_GB,
        value=job.asked.memory_gb,
        step=8.0,
        format="%g",
        key=f"{MEMORY}_{run.id}",
    )
    st.button(
        "Resume there",
        key="resume_cluster",
        icon=":material/dns:",
        type="primary",
        on_click=_resume_there,
        args=(run.id,),
    )


def _resume_there(run_id: str) -> None:
    with _saying():
        run = open_run(settings().runs, run_id)
        if (job := read_job(run)) is not None:
            # As the fields say now: what was drawn last may be older.
            changed = {"hours": f"{HOURS}_{run_id}", "memory_gb": f"{MEMORY}_{run_id}"}
            asked = job.asked.model_copy(update={name: st.session_state[key] for name, key in changed.items()})
            planned = {run.id: job.evaluations}
            (job,) = send([run], to=job.cluster, asked=asked, settings=settings(), evaluations=planned)
            _say(f"Job {job.job} on {job.cluster} goes on with the run.", ":material/dns:")


def _take_back(run_id: str) -> None:
    with _saying():
        take_back(open_run(settings().runs, run_id), settings())
        _say("The job is called back: resume the run where you like.", ":material/undo:")


@contextmanager
def _saying() -> Iterator[None]:
    try:
        yield
    except WorkbenchError as error:
        _say(str(error), ":material/error:")


def _say(text: str, icon: str) -> None:
    """A callback must not draw: what it has to say is shown by the next drawing of the controls."""
    st.session_state[SAID] = (plain(text), icon)
