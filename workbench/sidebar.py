"""The sidebar: the worker's status with its button, and settings of this screen."""

import streamlit as st

from engine.desk.cluster import Place
from engine.desk.endpoints import sweep_endpoints
from engine.desk.launch import ensure_worker, restart_worker
from engine.desk.worker_job import call_worker_back, worker_place
from engine.records.files import read_tail
from engine.records.installed import sources_digest
from workbench.kit.blank import come_back
from workbench.kit.doing import doing_words
from workbench.kit.frame import catching
from workbench.kit.keyboard import pass_by_question_marks
from workbench.kit.state import BLUR, PROJECTOR, queue, settings
from workbench.kit.status import WORKER_BADGES
from workbench.kit.words import plain


def sidebar() -> None:
    _start_worker_once(str(settings().runs))
    _worker_status()
    st.toggle(
        "Blur harmful text",
        value=True,
        key=BLUR,
        persist_state="session",
        help="Harmful prompts that were asked and their answers stay blurred until you reveal them. What you are about "
        "to ask stays legible in its box.",
    )
    st.toggle(
        "Projector",
        key=PROJECTOR,
        persist_state="session",
        help="Larger text, and larger dots and lines in figures, for a room. F1 in a field opens its help.",
    )
    pass_by_question_marks()
    come_back()


@st.cache_resource(show_spinner=False)
def _start_worker_once(runs: str) -> None:
    """Once a server: a worker that dies later is shown as dead, and its button starts it. What killed endpoints left is
    swept before."""
    sweep_endpoints(settings())
    ensure_worker(settings())


@st.fragment(run_every=2)
@catching
def _worker_status() -> None:
    worker = queue().worker()
    badge = WORKER_BADGES.get(worker.status, WORKER_BADGES["dead"])
    with st.container(key="worker_status", gap="small"):
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown("**Worker**", width="content")
            st.badge(badge.word, icon=badge.icon, color=badge.colour)
            if worker.device:
                count = worker.machine.get("processes", 1)
                # Several work at each thing together, one for each GPU.
                several = f"{count} × " if isinstance(count, int) and count > 1 else ""
                st.badge(plain(several + worker.device), icon=":material/memory:", color="gray")
        if worker.doing and worker.status in ("busy", "starting", "hung"):
            st.caption(plain(doing_words(worker)))
        if worker.status == "dead":
            if worker.reason:
                st.error(plain(worker.reason), icon=":material/memory_alt:")
            if (place := worker_place(settings())) is not None:
                st.caption(f"It is to run on {plain(place.words)}.")
                _end_button(place)
                return
            st.caption("Nothing trains until it runs. Interrupted runs can be resumed.")
            st.button("Start the worker", key="start_worker", on_click=_start, icon=":material/power:", width="stretch")
        elif worker.status == "hung":
            st.caption("It is alive but has not taken a step for a while.")
            _end_button(worker_place(settings()))
        elif worker.status != "starting":
            if worker.sources and worker.sources != sources_digest():
                st.caption(
                    ":orange[:material/update: It was started by another version of the workbench: restart it, or this "
                    "app, whichever is older.]"
                )
            place = worker_place(settings())
            word, icon = ("Restart", "refresh") if place is None else ("Call back", "undo")
            with st.popover(word, icon=f":material/{icon}:", type="tertiary", key="restart_popover"):
                frees = "Frees the device." if place is None else f"It runs on {plain(place.words)}: ends that job."
                st.caption(f"{frees} The run under way is interrupted and can be resumed where it was.")
                _end_button(place)
        if worker.status in ("dead", "hung"):
            _log_tail()


def _end_button(place: Place | None) -> None:
    """place: the cluster's job that the worker is; called back, it begins no other one."""
    if place is not None:
        st.button("Call it back", key="call_back", on_click=_call_back, icon=":material/undo:", width="stretch")
        return
    st.button("Restart the worker", key="restart_worker", on_click=_restart, icon=":material/refresh:", width="stretch")


@catching
def _start() -> None:
    ensure_worker(settings())


@catching
def _call_back() -> None:
    call_worker_back(settings())


@catching
def _restart() -> None:
    restart_worker(settings())


def _log_tail() -> None:
    text = read_tail(settings().worker_log)
    if text:
        with st.popover("Its last words", icon=":material/terminal:", width="stretch"):
            st.code(text, language=None, wrap_lines=True, height=300)
