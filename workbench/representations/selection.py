"""Prompts that were selected on a map: in the URL, lit up in both maps, and listed with what happened to them."""

import re
from collections.abc import Container, Iterable, Sequence
from pathlib import Path

import pandas as pd
import streamlit as st

from engine.figures.labels import figure
from engine.records.blocks import format_blocks
from engine.records.captures.capture import Capture, CapturedPrompt, checkpoint_step
from engine.records.captures.tables import prompt_movements, prompt_table
from engine.records.captures.thumbnails import thumbnails
from engine.records.conversation import Label
from engine.records.errors import DataError
from engine.records.events import ProbeResult, effective
from engine.records.pictures import picture_at
from engine.records.runs import Run
from workbench.kit.blur import blurred, harmful_text, reveal_button
from workbench.kit.downloads import file_buttons
from workbench.kit.frame import catching
from workbench.kit.pictures import THUMBNAIL, harmful_picture
from workbench.kit.state import SELECTED, SELECTIONS
from workbench.kit.words import counted, plain

LISTED = 12
# A link longer than this is no link: a larger selection lives in the session alone.
LONGEST = 1500
CHART = "chart_map"
# Label, id and text tell prompts of several files apart.
ProbeKey = tuple[Label, str, str]
BADGES = {"harmful": "orange", "benign": "blue", "borderline": "green"}


def selected_rows(capture: Capture) -> frozenset[int]:
    """Places of the selected prompts, of the session or of the URL."""
    kept: dict[str, frozenset[int]] = st.session_state.setdefault(SELECTED, {})
    name = str(capture.folder)
    if name not in kept:
        kept[name] = frozenset(_parsed(st.query_params.get(SELECTED, ""), len(capture.index.prompts)))
    # A capture that was made anew may have fewer prompts.
    kept[name] = frozenset(row for row in kept[name] if row < len(capture.index.prompts))
    # At each drawing: a run that the browser asked for before it heard of a selection carries the address of then.
    _link(kept[name])
    return kept[name]


def selections_made() -> int:
    """How often the selection changed. A chart that is drawn as it was before would bring its old lasso back, so the
    map carries this number."""
    return int(st.session_state.get(SELECTIONS, 0))


@catching
def remember_selection(capture: Capture, *, drawn: int) -> None:
    """Take over what was drawn around in the map that was drawn after `drawn` changes. For the map's callback.

    The browser still sends the lasso of a map whose successor it has not met: the key then names the new map, in which
    nothing is selected.
    """
    if drawn != selections_made():
        return
    points = st.session_state[CHART].selection.points
    _keep(capture, {int(point["customdata"][0]) for point in points if point.get("customdata")})


def selected_prompts(capture: Capture, run: Run | None, checkpoint: str, selected: frozenset[int]) -> None:
    """The list of the selected prompts, harmful ones first."""
    if not selected:
        # Takes the list's place: the browser leaves what a fragment no longer draws when another fragment runs at once.
        st.empty()
        return
    with st.container():
        _list(capture, run, checkpoint, selected)


def _list(capture: Capture, run: Run | None, checkpoint: str, selected: frozenset[int]) -> None:
    st.subheader("Selected prompts", anchor=False)
    prompts = capture.index.prompts
    moved = prompt_movements(capture, checkpoint)
    counts = pd.Series([prompts[row].group for row in selected]).value_counts()
    with st.container(horizontal=True, vertical_alignment="center"):
        told = ", ".join(f"{count} {group}" for group, count in counts.items())
        st.caption(f"{counted(len(selected), 'prompt')}: {told}.", width="content")
        st.button("Clear", key="clear_selection", icon=":material/close:", on_click=_keep, args=(capture, ()))
    rows = sorted(selected, key=lambda row: (prompts[row].group != "harmful", row))
    table = prompt_table(capture).join(moved).iloc[rows]
    file_buttons(None, table, file="selected-prompts")
    answers, probes = capture.answers(), _probe_answers(run, checkpoint_step(checkpoint))
    pages = -(-len(rows) // LISTED)
    page = 1
    if pages > 1:
        page = int(st.number_input(f"Page, of {pages}", 1, pages, key="selection_page", width=140))
    for row in rows[(page - 1) * LISTED : page * LISTED]:
        prompt = prompts[row]
        with st.container(border=True, key=f"selected_{row}"):
            shown = thumbnails(capture, prompt)
            missing = "A picture of which this capture kept no copy"
            missing += "." if run and run.is_fixed(capture.folder) else ": capture again to see it here."
            _prompt(
                prompt, shown, missing, moved.iloc[row], answers.get(prompt.id, ""), probes.get(_key(prompt, probes))
            )


def _prompt(
    prompt: CapturedPrompt,
    shown: Sequence[Path | None],
    missing: str,
    moved: pd.Series,
    answer: str,
    probe: tuple[int, str] | None,
) -> None:
    name = f"selected_{prompt.id}"
    with st.container(horizontal=True, vertical_alignment="center"):
        st.badge(prompt.group, color=BADGES[prompt.group])  # type: ignore[arg-type]
        facts = [prompt.id, prompt.category, prompt.style, f"{prompt.split} split"]
        st.caption(plain(" · ".join(fact for fact in facts if fact)), width="content")
        st.caption(_movement(prompt, moved), width="content")
        what = "picture, prompt and answers" if shown else "prompt and answers"
        hidden = prompt.label == "harmful" and reveal_button(name, of=prompt.text, what=what)
    with blurred(name, hidden=hidden):
        if shown:
            _pictures(shown, missing, hidden=hidden)
        harmful_text(prompt.text, hidden=hidden)
        if answer or probe:
            base, broken = st.columns(2, gap="medium")
            with base:
                st.caption("Base, as captured")
                harmful_text(answer or "(not kept)", hidden=hidden)
            with broken:
                st.caption(f"Circuit-broken, step {probe[0]}" if probe else "Circuit-broken")
                if probe:
                    harmful_text(probe[1], hidden=hidden)
                else:
                    st.text("(this run kept no answer of it: ask in Side by side)")


def _pictures(shown: Sequence[Path | None], missing: str, *, hidden: bool) -> None:
    with st.container(horizontal=True, gap="small"):
        for file in shown:
            if file is None:
                st.caption(missing)
            else:
                try:
                    harmful_picture(picture_at(file), hidden=hidden, edge=THUMBNAIL)
                except DataError as error:
                    st.caption(plain(str(error)))


def _movement(prompt: CapturedPrompt, moved: pd.Series) -> str:
    def known(name: str) -> str:
        return figure(None if pd.isna(moved[name]) else float(moved[name]), 2)

    if prompt.label == "harmful":
        return f"cosine **{known('cosine')}** · drift {known('drift')}"
    return f"drift **{known('drift')}** · cosine {known('cosine')}"


def _key(prompt: CapturedPrompt, known: Container[ProbeKey]) -> ProbeKey:
    """An id that stands for two prompts has a number here, and none where answers were kept."""
    key = prompt.label, prompt.id, prompt.text
    return key if key in known else (prompt.label, re.sub(r" \(\d+\)$", "", prompt.id), prompt.text)


def _probe_answers(run: Run | None, step: int) -> dict[ProbeKey, tuple[int, str]]:
    """The newest probe answer of each prompt up to a step, with its step. The base model's own is no such answer."""
    if run is None or step == 0:
        return {}
    found: dict[ProbeKey, tuple[int, str]] = {}
    for event in effective(run.events()[0]):
        if isinstance(event, ProbeResult) and 0 < event.step <= step:
            found |= {
                (answer.label, answer.prompt_id, answer.prompt): (event.step, answer.answer) for answer in event.answers
            }
    return found


def _keep(capture: Capture, rows: Iterable[int]) -> None:
    chosen = frozenset(rows)
    st.session_state[SELECTIONS] = selections_made() + 1
    st.session_state.setdefault(SELECTED, {})[str(capture.folder)] = chosen
    _link(chosen)


def _link(chosen: frozenset[int]) -> None:
    """Make the address say what is selected."""
    text = format_blocks(list(chosen)).replace(" ", "") if chosen else ""
    if text and len(text) <= LONGEST:
        if st.query_params.get(SELECTED) != text:
            st.query_params[SELECTED] = text
    elif SELECTED in st.query_params:
        del st.query_params[SELECTED]


def _parsed(text: str, count: int) -> set[int]:
    """'0-4,9' to places below `count`; pieces of another form are passed over: a link may be mistyped."""
    rows: set[int] = set()
    for piece in text.split(","):
        match = re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", piece.strip())
        if match:
            rows |= set(range(int(match[1]), min(count, int(match[2] or match[1]) + 1)))
    return rows
