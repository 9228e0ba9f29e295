"""Representations: harmful and benign activations before and after rerouting
(?run=ID&capture=KEY&tab=...&block=...).
"""

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from engine.records.blocks import format_blocks
from engine.records.captures.capture import (
    FINAL,
    TRAINING,
    Capture,
    capture_folder,
    fullest,
    read_capture,
    run_captures,
)
from engine.records.errors import RunError
from engine.records.runs import ACTIVE, Run, list_runs
from workbench.kit.fetching import model_is_here
from workbench.kit.frame import catching, page_frame, places
from workbench.kit.state import CAPTURE, RUN, WARMED, open_tab, queue, settings
from workbench.kit.words import counted, plain
from workbench.representations.capture import capture_form, captured_steps
from workbench.representations.capture_words import expected_words, strength_words
from workbench.representations.choices import MAPS, TAB
from workbench.representations.deleting import damaged_captures, delete_button, say_what_was_deleted
from workbench.representations.map import map_view
from workbench.representations.movement import movement_view
from workbench.representations.opened import BLOCK, PICKED_RUN, arrive, opened, turn_to
from workbench.representations.separation import separation_view
from workbench.representations.tokens import tokens_view

ALONE = "base"
TICK = 3.0


def representations() -> None:
    _warm()
    say_what_was_deleted()
    st.title("Representations", anchor=False)
    run_place, capture_place = st.columns(2, gap="medium", vertical_alignment="bottom")
    with run_place:
        run = _choose_run()
    captures, damaged = _captures(run)
    damaged_captures(run, damaged, others=len(captures))
    with capture_place:
        capture = _choose_capture(run, captures)
    capture_form(run, opened=not captures)
    if capture is None:
        _empty(run)
        return
    if run is not None and run.record().status in ACTIVE and capture.index.key == TRAINING:
        _watch(capture)
    if run is not None and (told := strength_words(run, capture)):
        st.caption(told)
    views: dict[str, Callable[[], None]] = {
        MAPS: lambda: map_view(capture, run),
        "Where to intervene": lambda: separation_view(capture),
        "What rerouting did": lambda: movement_view(capture),
        "Tokens": lambda: tokens_view(capture),
    }
    open_tab(TAB, MAPS, RUN, CAPTURE, anew=False)
    tabs = st.tabs(list(views), key=TAB, bind="query-params", on_change="rerun")
    for tab, draw in zip(tabs, views.values(), strict=True):
        if tab.open:
            with tab:
                draw()


def _warm() -> None:
    """The libraries for maps take seconds to load: the worker begins when the page opens, once a session."""
    if not st.session_state.get(WARMED):
        st.session_state[WARMED] = True
        queue().submit("warm_projection", payload={})


def _choose_run() -> Run | None:
    runs = {run.id: run for run in list_runs(settings().runs)}

    def first_captured() -> str:
        for can in (model_is_here, lambda _: True):
            for run_id in runs:
                if can(run_id) and run_captures(settings(), run_id):
                    return run_id
        return next(iter(runs), ALONE)

    arrive(first=first_captured)
    wanted = opened(RUN)
    if wanted != ALONE and wanted not in runs:
        said = f"There is no run '{wanted}': it was deleted, or the address is wrong. Another one is shown."
        st.warning(plain(said), icon=":material/link_off:")
        wanted = first_captured()
    options = [ALONE, *runs]
    chosen = st.selectbox(
        "Model",
        options,
        index=options.index(wanted),
        key=PICKED_RUN,
        format_func=lambda name: "Base model alone" if name == ALONE else _run_name(runs[name]),
        on_change=_take_run,
        help="A run is shown beside its base model. The base model alone shows where to intervene before training.",
    )
    return None if chosen == ALONE else runs[chosen]


def _take_run() -> None:
    turn_to(RUN, st.session_state[PICKED_RUN], instead_of=(CAPTURE, BLOCK))


def _captures(run: Run | None) -> tuple[list[Capture], list[Path]]:
    """What can be looked at, and the folders of captures that cannot be read."""
    cached = settings().cache / "captures"
    if run is not None:
        captures = run_captures(settings(), run.id)
        known = {capture.folder for capture in captures}
        files = [*run.representations_folder.glob("*/capture.json"), *cached.glob(f"{run.id}-*/capture.json")]
        return captures, [file.parent for file in sorted(files) if file.parent not in known]
    captures, damaged = [], []
    for file in sorted(cached.glob("*/capture.json")):
        try:
            capture = read_capture(file.parent)
        except RunError:
            damaged.append(file.parent)
            continue
        if capture is not None and not capture.index.run_id:
            captures.append(capture)
    return captures, damaged


def _choose_capture(run: Run | None, captures: list[Capture]) -> Capture | None:
    if not captures and not opened(CAPTURE):
        return None
    by_key = {capture.index.key: capture for capture in captures}
    first = fullest(captures, kept=run.record().step if run else 0)
    wanted = opened(CAPTURE) or (first.index.key if first else "")
    if wanted not in by_key:
        # Says what is wrong with it, if it is there at all.
        read_capture(capture_folder(settings(), run.id if run else "", wanted))
        st.warning(f"There is no capture '{plain(wanted)}' here: choose another one.")
        if not by_key:
            return None
        wanted = first.index.key if first else next(iter(by_key))
    key = f"pick_capture_{run.id if run else ALONE}_{wanted}"
    options = list(by_key)
    with st.container(horizontal=True, vertical_alignment="bottom", key="choose_capture"):
        chosen = st.selectbox(
            "Capture",
            options,
            index=options.index(wanted),
            key=key,
            format_func=lambda name: _capture_name(by_key[name]),
            on_change=_take_capture,
            args=(key,),
        )
        delete_button(run, by_key[chosen], name=_capture_name(by_key[chosen]), others=len(options) - 1)
    return by_key[chosen]


def _take_capture(key: str) -> None:
    turn_to(CAPTURE, st.session_state[key])


def _run_name(run: Run) -> str:
    return f"{run.name} ({run.id})"


def _capture_name(capture: Capture) -> str:
    index = capture.index
    origin = {TRAINING: "while training", FINAL: "at the end"}.get(index.key, index.key)
    steps = f"steps {', '.join(map(str, capture.steps))}" if len(capture.steps) <= 4 else f"{len(capture.steps)} steps"
    model = "" if index.run_id else f" · {index.model.rpartition('/')[2]}"
    return (
        f"{origin} · {counted(len(index.prompts), 'prompt')} · blocks {format_blocks(list(index.blocks))} · "
        f"{steps if capture.steps else 'base alone'}{model}"
    )


def _empty(run: Run | None) -> None:
    with st.container(border=True, key="no_capture"):
        if run is None:
            st.markdown(
                "**Nothing is captured yet.** Capture the base model above: before any training it shows at which "
                "blocks harmful and benign prompts lie apart."
            )
            if not list_runs(settings().runs):
                st.page_link(places()["train"], label="Or set up the first run", icon=":material/model_training:")
        elif run.record().status in ACTIVE:
            st.markdown(f"**This run has captured nothing yet.** {expected_words(run)}")
            _await_first(run)
        elif captured_steps(run):
            st.markdown("**This run has no capture.** Its weights are kept: choose steps above and capture them.")
        else:
            st.markdown(
                "**This run has no capture, no checkpoint and no adapter.** It ended before it kept any: resume it, or "
                "capture the base model alone."
            )


@st.fragment(run_every=TICK)
@catching
def _await_first(run: Run) -> None:
    if run.record().status not in ACTIVE or run_captures(settings(), run.id):
        st.rerun()


@st.fragment(run_every=TICK)
@catching
def _watch(capture: Capture) -> None:
    """While a run trains its capture grows: say so, and leave it to the user when to draw anew."""
    newest = read_capture(capture.folder)
    more = len(newest.index.checkpoints) - len(capture.index.checkpoints) if newest else 0
    if more > 0 and st.button(
        f"{more} newer step{'s' * (more > 1)} captured: show", key="newer_steps", icon=":material/refresh:"
    ):
        st.rerun()


with page_frame():
    representations()
