"""Wait for what the worker makes: ask for it, show how far it is, cancel it, say why it failed. Knows the queue."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import streamlit as st

from engine.desk.queue import Job, JobKind
from engine.records.events import Progress
from workbench.kit.doing import doing_words
from workbench.kit.frame import catching
from workbench.kit.state import AWAITED, queue
from workbench.kit.words import phase_words, plain

POLL = 0.3
# A wait that is longer says how long it has been.
SHORT = 2.0


@dataclass(frozen=True)
class _Wish:
    """What is waited for. place: the spot on the page that waits."""

    kind: JobKind
    payload: str
    what: str
    place: str


class _Asked(NamedTuple):
    """A wish, the number of its job, and when it was asked for."""

    wish: _Wish
    job: int
    since: float


def awaited(
    kind: JobKind,
    payload: dict[str, Any],
    *,
    what: str,
    ready: Callable[[], bool],
    place: str,
    leave: Callable[[], None] | None = None,
    seconds: float = POLL,
) -> bool:
    """Whether the result is there. If not, it is asked for, and what the worker does about it is drawn here until it
    is; the page is then drawn again.

    place: names the spot on the page, and tells two runs apart there. What this spot waited for before is cancelled;
    who waits for the same in another tab asks anew.  leave: forgets the wish when it
    failed; without it the only way on is to try again.  seconds: between two looks at how far it is.
    """
    jobs = _jobs()
    wish = _Wish(kind, json.dumps(payload, sort_keys=True), what, place)
    known = jobs.get(place)
    if known is not None and replace(known.wish, what=what) == wish:
        # It may be told in other words by now.
        jobs[place] = known._replace(wish=wish)
    elif known is not None:
        if _job(known) is not None:
            queue().cancel(known.job, left=True)
        del jobs[place]
    if ready():
        jobs.pop(place, None)
        return True
    if place not in jobs:
        _submit(wish)
    st.fragment(_wait, run_every=seconds)(wish, ready, leave)
    return False


@catching
def _wait(wish: _Wish, ready: Callable[[], bool], leave: Callable[[], None] | None) -> None:
    asked = _jobs().get(wish.place, _Asked(wish, 0, time.time()))
    job = _job(asked)
    # A result is written before its job is done: looking in the other order could miss both.
    if ready():
        st.rerun()
    if job is not None and job.status == "cancelled" and queue().was_left(job.id):
        # Another tab asked for the same and went on to something else.
        _submit(wish)
        asked = _jobs()[wish.place]
        job = _job(asked)
    if job is not None and job.status in ("queued", "running"):
        _under_way(asked)
    elif job is not None and job.status == "cancelled":
        _ended(wish, "it was cancelled.", leave)
    else:
        _ended(wish, job.error if job is not None and job.error else "the worker gave no answer.", leave)


def _under_way(asked: _Asked) -> None:
    wish, job_id, since = asked
    worker = queue().worker()
    bar, button = st.columns([7, 1], vertical_alignment="center")
    if worker.alive:
        text, share = progress_words(queue().progress(job_id), doing_words(worker))
        waited = time.time() - since
        spent = f" · {waited:.0f} s" if waited >= SHORT else ""
        bar.progress(share, text=plain(f"{wish.what}: {text}{spent}"))
    else:
        bar.info(
            plain(f"{wish.what}: the worker is not running. Start it in the sidebar."), icon=":material/power_off:"
        )
    button.button(
        "Cancel",
        key=f"cancel_{wish.place}",
        on_click=catching(queue().cancel),
        args=(job_id,),
        icon=":material/close:",
        width="stretch",
    )


def _ended(wish: _Wish, reason: str, leave: Callable[[], None] | None) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f":red[:material/error: {plain(wish.what)}: {plain(reason)}]", width="content")
        st.button(
            "Try again",
            key=f"again_{wish.place}",
            on_click=catching(_submit),
            args=(wish,),
            type="tertiary",
            icon=":material/refresh:",
        )
        if leave is not None and st.button("Dismiss", key=f"leave_{wish.place}", type="tertiary"):
            # Asked for once more, it begins once more.
            _jobs().pop(wish.place, None)
            leave()
            st.rerun()


def progress_words(progress: Progress | None, doing: str) -> tuple[str, float]:
    """What a job does, in words, and which share of it is done. doing: what the worker does now."""
    if progress is None:
        return "waits for its turn" + (f"; the worker does: {doing}" if doing else ""), 0.0
    if progress.unit == "%":
        return f"{progress.message} ({100 * progress.share:.0f} %)", progress.share
    said = f"{phase_words(progress.phase)}{progress.counted}" + (f": {progress.message}" if progress.message else "")
    return said, progress.share


def _submit(wish: _Wish) -> None:
    job = queue().submit(wish.kind, payload=json.loads(wish.payload))
    _jobs()[wish.place] = _Asked(wish, job, time.time())


def _job(asked: _Asked) -> Job | None:
    return queue().job(asked.job, of=json.loads(asked.wish.payload))


def _jobs() -> dict[str, _Asked]:
    """What each place of this session waits for."""
    return st.session_state.setdefault(AWAITED, {})
