"""The message box of the page Tools: the request, a call to begin answers with, the sample requests, and the sampling.

Knows what is to be asked, nothing of how it is answered.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, cast

import streamlit as st

from engine.records.chats.asked import CallStart, ForcedCall, Sampling
from engine.records.chats.chat import Exchange
from engine.records.conversation import Label, Tool
from engine.records.errors import DataError
from engine.records.prompts import Prompt
from engine.records.tool_prompts import expected_call, read_tool_prompts
from workbench.chat.composer import NEXT_KEY, ToBeRead, settings_fields
from workbench.chat.library import Shelf, labelled, library, next_prompt
from workbench.chat.panes import turns_words
from workbench.kit.words import plain
from workbench.tools.known import OFFERED, offer

TEXT, HARMFUL, PROMPT_ID, PROBLEM = "tools_text", "tools_harmful", "tools_prompt_id", "tools_problem"
FORCED, FUNCTION, CONTINUE, TAKEN = "tools_forced", "tools_function", "tools_continue", "tools_taken"
SYSTEM = "tools_system"
LABELS: tuple[Label, ...] = ("harmful", "benign")
FORCES = {
    "": "The model's own words",
    "name": "A call, up to the function's name",
    "arguments": "A call, up to its arguments",
}
# A call with an email in it is longer than an answer in words.
SETTINGS: dict[str, float | int] = {
    "tools_temperature": 0.0,
    "tools_top_p": 1.0,
    "tools_new_tokens": 160,
    "tools_seed": 0,
}


def keep_request() -> None:
    """Keep what is written while the box is not drawn: a widget that is left out of a drawing forgets its value."""
    # To set what was not sent yet would wipe out what stands in the box.
    st.session_state.setdefault(TEXT, "")
    st.session_state.setdefault(HARMFUL, True)
    first: dict[str, Any] = {
        PROMPT_ID: "",
        FORCED: "",
        FUNCTION: None,
        CONTINUE: True,
        SYSTEM: "",
        OFFERED: [],
        **SETTINGS,
    }
    for key, value in first.items():
        st.session_state[key] = st.session_state.get(key, value)


def written() -> dict[str, Any]:
    """What is written at this moment, by the names of an exchange's fields."""
    kept = st.session_state
    taken = next((one for label in LABELS for one in _requests(label) if one.id == kept[PROMPT_ID]), None)
    prompt_id, harmful = labelled(kept[PROMPT_ID], kept[TEXT], kept[HARMFUL], taken)
    return {
        "user": kept[TEXT],
        "harmful": harmful,
        "prompt_id": prompt_id,
        "system": kept[SYSTEM],
        "sampling": sampling(),
        "forced": _forced(),
    }


def sampling() -> Sampling:
    return Sampling(**{key.removeprefix("tools_"): st.session_state[key] for key in SETTINGS})


def clear_request() -> None:
    """Empty the box after its message was sent; what follows goes on with it."""
    st.session_state[TEXT] = ""
    if st.session_state[PROMPT_ID]:
        # The label was the sample request's; a text of the user's own is harmful until said otherwise.
        st.session_state[HARMFUL] = True
    st.session_state[PROMPT_ID] = ""
    st.session_state[CONTINUE] = True


def put_back(exchange: Exchange) -> None:
    """Give a request that could not be answered back with its label, unless another one was begun."""
    if not st.session_state.get(TEXT) and exchange.user:
        st.session_state[TEXT] = exchange.user
        st.session_state[HARMFUL], st.session_state[PROMPT_ID] = exchange.harmful, exchange.prompt_id


def composer(tools: Sequence[Tool], *, send: Callable[[], None], busy: bool, read: ToBeRead) -> None:
    """Draw the box. `send` is called on the click, before the page is drawn again."""
    with st.form("tools_form", border=True, enter_to_submit=True):
        st.text_area(
            "Request",
            key=TEXT,
            height=90,
            placeholder="Ask all models to do something with the tools",
            label_visibility="collapsed",
            persist_state="session",
        )
        harmful, button = st.columns([4, 1.2], vertical_alignment="bottom", gap="medium")
        harmful.toggle(
            "Harmful",
            key=HARMFUL,
            persist_state="session",
            help="Blur this request, its calls, results and words until they are revealed. A sample request sets it by "
            "its label; for a text of your own it is on unless you turn it off. The sidebar turns all blurring off.",
        )
        button.form_submit_button(
            "Send" if read.turns and st.session_state.get(CONTINUE) else "Ask",
            type="primary",
            icon=":material/send:",
            on_click=send,
            disabled=busy,
            width="stretch",
            help="Ctrl+Enter in the request does the same.",
        )
    with st.container(horizontal=True, vertical_alignment="center", gap="medium", key="tools_reading"):
        goes_on = st.toggle(
            "Continue the conversation",
            key=CONTINUE,
            disabled=not read.turns,
            help="On: the models read the turns above, each with its own calls and their results. Off: the request is "
            "asked on its own. A sample request turns it off.",
        )
        above = read.turns if goes_on else 0
        st.caption(plain(f"Read: {turns_words(above)}, and the tools."), width="content")
        st.button(
            "Next sample request",
            icon=":material/skip_next:",
            key="tools_next_prompt",
            type="tertiary",
            shortcut=NEXT_KEY,
            on_click=_take_next,
            help="Put the next request of the chosen label, category and style into the box, with its tools. Key: "
            f"{NEXT_KEY}.",
        )
    if problem := st.session_state.pop(PROBLEM, ""):
        st.warning(problem, icon=":material/edit_note:")
    _force(tools)
    below = st.columns(2, gap="medium")
    with below[0].expander("Sample requests", icon=":material/library_books:", key="tools_library_box"):
        library(_take, REQUESTS)
    with below[1].expander("System prompt and sampling", icon=":material/tune:", key="tools_settings"):
        settings_fields("tools_")


def _force(tools: Sequence[Tool]) -> None:
    """Whether and with which call every answer begins."""
    names = [tool.name for tool in tools]
    if st.session_state.get(FUNCTION) not in names:
        st.session_state[FUNCTION] = names[0] if names else None
    cells = st.columns([1.6, 1.6, 1.8], vertical_alignment="bottom", gap="medium")
    cells[0].selectbox(
        "Each answer begins with",
        list(FORCES),
        key=FORCED,
        format_func=lambda start: FORCES[start],
        help="A forced call is put into every model's mouth in the words of its chat template: it does not choose "
        "whether to call, only how to go on.",
    )
    cells[1].selectbox(
        "Function of the forced call",
        names,
        key=FUNCTION,
        disabled=not names or not st.session_state.get(FORCED),
        placeholder="Offer a tool first",
    )


def _forced() -> ForcedCall | None:
    start, name = st.session_state.get(FORCED), st.session_state.get(FUNCTION)
    return ForcedCall(name=name, start=cast(CallStart, start)) if start and name else None


def _take_next() -> None:
    prompt = next_prompt(str(st.session_state.get(TAKEN, "")), REQUESTS)
    if prompt is not None:
        _take(prompt)


def _take(prompt: Prompt) -> None:
    """Fill the request and its tools."""
    st.session_state[TEXT] = prompt.text
    st.session_state[PROMPT_ID] = st.session_state[TAKEN] = prompt.id
    st.session_state[HARMFUL] = prompt.label == "harmful"
    st.session_state[CONTINUE] = False
    offer(prompt.conversation.tools)
    if name := expected_call(prompt):
        st.session_state[FUNCTION] = name


@lru_cache(maxsize=2)
def _requests(label: Label) -> Sequence[Prompt]:
    try:
        return read_tool_prompts(f"tools:{label}", label=label)
    except DataError:
        return []


REQUESTS = Shelf("tools_library", _requests)
