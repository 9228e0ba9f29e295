"""The message box with its prefill, the harmful switch, the library and the sampling settings.

Knows what is to be asked, nothing of how it is answered.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import streamlit as st

from engine.records.chats.asked import Sampling
from engine.records.chats.chat import Exchange
from engine.records.harmfulness import TITLES, ProbeChoice
from engine.records.prompts import Prompt
from workbench.chat import linked
from workbench.chat.library import Shelf, labelled, library, next_prompt, sample_prompt
from workbench.chat.panes import turns_words
from workbench.kit.frame import catching
from workbench.kit.words import plain

PROBE = "chat_probe"
PROBES: dict[str, str] = {
    "": "No harmfulness probe",
    **{str(kind): f"Probe: {title}" for kind, title in TITLES.items()},
}
TEXT, PREFILL, HARMFUL, SYSTEM = "chat_text", "chat_prefill", "chat_harmful", "chat_system"
SETTINGS: dict[str, float | int] = {
    "chat_temperature": 0.0,
    "chat_top_p": 1.0,
    "chat_new_tokens": 96,
    "chat_seed": 0,
}
PROMPT_ID = "chat_prompt_id"
PROBLEM = "chat_problem"
# Also the name in the address.
CONTINUE = "continue"
NEXT_KEY = "N"
# The sample prompt that was taken last, also after it was asked.
TAKEN = "library_taken"


class Written(NamedTuple):
    """What the box holds."""

    user: str
    prefill: str
    harmful: bool
    system: str
    prompt_id: str
    sampling: Sampling
    probe: ProbeChoice = ""


class ToBeRead(NamedTuple):
    """What the next message may be read with: how many models read it, the turns that can be continued, and about how
    many tokens these are (0: not known)."""

    models: int
    turns: int = 0
    tokens: int = 0


def keep_message() -> None:
    """Keep what is written while the box is not drawn: a widget that is left out of a drawing forgets its value."""
    for key, value in {SYSTEM: "", PROMPT_ID: "", PROBE: "", **SETTINGS}.items():
        st.session_state[key] = st.session_state.get(key, value)
    # To set what was not sent yet would wipe out what stands in the box.
    for key, first in {TEXT: "", PREFILL: "", HARMFUL: True}.items():
        st.session_state.setdefault(key, first)
    _take_link()


def written(*, has_probe: bool, shelf: Shelf | None = None) -> Written:
    """What is written at this moment. has_probe: whether the chosen models can be asked with one.  shelf: where its
    sample prompt may be from, beside those of texts."""
    kept = st.session_state
    taken = sample_prompt(kept[PROMPT_ID], shelf) if kept[PROMPT_ID] else None
    prompt_id, harmful = labelled(kept[PROMPT_ID], kept[TEXT], kept[HARMFUL], taken)
    return Written(
        user=kept[TEXT],
        prefill=kept[PREFILL].rstrip(),
        harmful=harmful,
        system=kept[SYSTEM],
        prompt_id=prompt_id,
        sampling=Sampling(**{key.removeprefix("chat_"): kept[key] for key in SETTINGS}),
        probe=kept[PROBE] if has_probe else "",
    )


def clear_message() -> None:
    """Empty the box after its message was sent; prefill and settings stay."""
    st.session_state[TEXT] = ""
    if st.session_state[PROMPT_ID]:
        # The label was the sample prompt's; a text of the user's own is harmful until said otherwise.
        st.session_state[HARMFUL] = True
    st.session_state[PROMPT_ID] = ""


def put_back(exchange: Exchange) -> None:
    """Give a message that could not be answered back with its label, unless another one was begun."""
    if not st.session_state.get(TEXT):
        st.session_state[TEXT] = exchange.user
        st.session_state[HARMFUL], st.session_state[PROMPT_ID] = exchange.harmful, exchange.prompt_id


def composer(
    *, send: Callable[[], None], busy: bool, read: ToBeRead, has_probe: bool, shelf: Shelf | None = None
) -> None:
    """Draw the box. `send` is called on the click, before the page is drawn again. has_probe: the chosen run has
    harmfulness probes.  shelf: the sample prompts that are offered, those of texts unless given."""
    with st.form("chat_form", border=True, enter_to_submit=True):
        st.text_area(
            "Message",
            key=TEXT,
            height=90,
            placeholder="Ask all models at once",
            label_visibility="collapsed",
            persist_state="session",
        )
        prefill, harmful, button = st.columns([2.5, 1.5, 1.2], vertical_alignment="bottom", gap="medium")
        prefill.text_input(
            "The answer begins with",
            key=PREFILL,
            placeholder="Optional first words",
            persist_state="session",
            help="Prefill: words put into every model's mouth; its answer goes on from there. Spaces at the end are "
            "dropped, since a model writes the space with its next word.",
        )
        harmful.toggle(
            "Harmful",
            key=HARMFUL,
            persist_state="session",
            help="Blur this message and its answers until they are revealed. The library sets it by the prompt's "
            "label; for a text of your own it is on unless you turn it off. The sidebar turns all blurring off.",
        )
        button.form_submit_button(
            "Send" if read.turns and st.session_state.get(CONTINUE) else "Ask",
            type="primary",
            icon=":material/send:",
            on_click=send,
            disabled=busy,
            width="stretch",
            help="Ctrl+Enter in the message does the same.",
        )
    with st.container(horizontal=True, vertical_alignment="center", gap="medium", key="chat_reading"):
        goes_on = st.toggle(
            "Continue the conversation",
            key=CONTINUE,
            persist_state="session",
            disabled=not read.turns,
            help="Off: each question is asked on its own, whatever stands above it. On: the models read the turns "
            "above, each with its own answers, back to the last question that was asked on its own.",
        )
        st.caption(plain(_reading(read, goes_on)), width="content")
        if has_probe:
            st.selectbox(
                "Harmfulness probe",
                list(PROBES),
                key=PROBE,
                persist_state="session",
                format_func=lambda kind: PROBES[kind],
                width=190,
                label_visibility="collapsed",
                help="Ends an answer at the first token where the run's harmfulness probe fires, and puts a message "
                "in its place.",
            )
        st.button(
            "Next sample prompt",
            icon=":material/skip_next:",
            key="chat_next_prompt",
            type="tertiary",
            shortcut=NEXT_KEY,
            on_click=_take_next,
            args=(shelf,),
            help=f"Put the next prompt of the chosen label, category and style into the box. Key: {NEXT_KEY}.",
        )
    problem = st.session_state.pop(PROBLEM, "")
    if problem:
        st.warning(problem, icon=":material/edit_note:")
    below = st.columns(2, gap="medium")
    with below[0].expander("Sample prompts", icon=":material/library_books:", key="chat_library"):
        library(partial(_take, shelf=shelf), shelf)
    with below[1].expander("System prompt and sampling", icon=":material/tune:", key="chat_settings"):
        settings_fields()


def _reading(read: ToBeRead, goes_on: bool) -> str:
    who = {1: "The model reads", 2: "Both models read"}.get(read.models, f"All {read.models} models read")
    above = read.turns if goes_on else 0
    tokens = f"; about {read.tokens} tokens stand before it" if above and read.tokens else ""
    return f"{who}: {turns_words(above)}{tokens}."


@catching
def _take_next(shelf: Shelf | None) -> None:
    prompt = next_prompt(str(st.session_state.get(TAKEN, "")), shelf)
    if prompt is not None:
        _take(prompt, shelf=shelf)


@catching
def _take(prompt: Prompt, *, shelf: Shelf | None = None) -> None:
    if shelf is not None and shelf.also is not None:
        shelf.also(prompt)
    st.session_state[TEXT] = prompt.text
    st.session_state[PROMPT_ID] = st.session_state[TAKEN] = prompt.id
    st.session_state[HARMFUL] = prompt.label == "harmful"


def _take_link() -> None:
    """Put what a link brings into the box."""
    told = linked.taken()
    if not told:
        return
    st.session_state[PREFILL] = told[linked.PREFILL]
    if prompt_id := told[linked.PROMPT]:
        prompt = sample_prompt(prompt_id)
        if prompt is None:
            st.session_state[PROBLEM] = plain(f"There is no sample prompt '{prompt_id}': choose one below.")
        else:
            _take(prompt)
    elif told[linked.MESSAGE]:
        st.session_state[TEXT], st.session_state[PROMPT_ID] = told[linked.MESSAGE], ""
        st.session_state[HARMFUL] = told[linked.HARMFUL] != "no"


def settings_fields(prefix: str = "chat_") -> None:
    """System prompt and sampling. prefix: of the widgets' keys."""
    st.text_area(
        "System prompt",
        key=f"{prefix}system",
        persist_state="session",
        height=80,
        placeholder="None",
        help="The first turn, for all models.",
    )
    cells = st.columns(4)
    cells[0].number_input(
        "Temperature",
        0.0,
        2.0,
        step=0.1,
        key=f"{prefix}temperature",
        persist_state="session",
        help="0: always the likeliest token. Higher: more varied.",
    )
    cells[1].number_input(
        "Top-p",
        0.05,
        1.0,
        step=0.05,
        key=f"{prefix}top_p",
        persist_state="session",
        help="Draw from the likeliest tokens that together have this share of the probability.",
    )
    cells[2].number_input(
        "New tokens",
        1,
        4096,
        step=16,
        key=f"{prefix}new_tokens",
        persist_state="session",
        help="Longest answer, in tokens.",
    )
    cells[3].number_input(
        "Seed",
        0,
        2**31 - 1,
        step=1,
        key=f"{prefix}seed",
        persist_state="session",
        help="The same seed gives the same answer. All columns draw with the same luck.",
    )
