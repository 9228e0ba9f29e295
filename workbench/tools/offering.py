"""Which tools are offered: chosen by domain and name, or the user's own, with what they take and how long they are."""

import json
from collections.abc import Sequence

import streamlit as st

from engine.records.conversation import Conversation, Tool
from engine.records.errors import DataError
from engine.records.model_files import context_length
from engine.records.spec_parts import ModelSpec
from engine.records.template_messages import template_tools
from workbench.kit.frame import catching
from workbench.kit.state import settings
from workbench.kit.words import plain
from workbench.tools.definitions import tools_from
from workbench.tools.known import MOST_TOOLS, OFFERED, OWN_DOMAIN, add_own, known_tools, offered_tools
from workbench.tools.models import warn_without_tools
from workbench.tools.tool_cards import STYLE, tool_cards

DOMAIN = "tools_domain"
ALL = "All domains"
PASTED, UPLOADED, SAID = "tools_pasted", "tools_uploaded", "tools_own_said"
# Of JSON under a tokenizer: measured under Qwen's template, where it is a little more.
LETTERS_A_TOKEN = 4


def offering(model: ModelSpec) -> tuple[Tool, ...]:
    """Draw the choice and return the tools that are offered. model: the base model that reads them."""
    st.html(f"<style>{STYLE}</style>")
    known = known_tools()
    kept = [name for name in st.session_state.get(OFFERED, []) if name in known]
    st.session_state[OFFERED] = kept
    domains = [ALL, *dict.fromkeys(one.domain for one in known.values())]
    if st.session_state.get(DOMAIN) not in domains:
        st.session_state[DOMAIN] = ALL
    with st.container(border=True, key="tools_offering"):
        filters = st.columns([1.3, 4], vertical_alignment="bottom", gap="medium")
        domain = filters[0].selectbox("Domain", domains, key=DOMAIN, help="Which tools the list beside it shows.")
        shown = [name for name, one in known.items() if domain in (ALL, one.domain)]
        filters[1].multiselect(
            "Tools on offer",
            [name for name in known if name in shown or name in kept],
            key=OFFERED,
            persist_state="session",
            format_func=lambda name: f"{known[name].domain} · {name}",
            max_selections=MOST_TOOLS,
            placeholder="Search by domain or name",
            help="What the models may call. None is ever carried out: what a tool gives back is a text that belongs "
            "to it.",
        )
        tools = offered_tools()
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.caption(plain(_size_words(tools, model.name)), width="content")
            st.button(
                f"Offer all {len(shown)}" + ("" if domain == ALL else f" of {domain}"),
                key="tools_all",
                type="tertiary",
                icon=":material/playlist_add:",
                on_click=_offer_all,
                args=(shown,),
            )
            if tools:
                st.button(
                    "Offer none", key="tools_none", type="tertiary", icon=":material/close:", on_click=_offer_none
                )
        unplaced = set(shown) - {tool.name for tool in tools}
        if unplaced and len(tools) >= MOST_TOOLS:
            st.caption(plain(_left_out(len(unplaced))))
        _warn(tools, model)
        below = st.columns(2, gap="medium")
        with below[0].expander("What they take", icon=":material/checklist:", key="tools_cards"):
            if tools:
                st.html(tool_cards([known[tool.name] for tool in tools]))
            else:
                st.caption("The description and the arguments of each tool stand here once one is offered.")
        with below[1].expander("Tools of your own", icon=":material/upload_file:", key="tools_own_box"):
            _own()
    return tools


def tokens_of_tools(tools: Sequence[Tool]) -> int:
    """About how many tokens they are in a prompt."""
    offered = template_tools(Conversation(messages=(), tools=tuple(tools)))
    return len(json.dumps(offered or [], ensure_ascii=False)) // LETTERS_A_TOKEN if offered else 0


def _size_words(tools: Sequence[Tool], model: str) -> str:
    if not tools:
        return "No tool is offered."
    tokens = tokens_of_tools(tools)
    limit = context_length(settings().models, model)
    read = f" of the {limit:,} that the model reads" if limit else ""
    return f"{len(tools)} {'tool' if len(tools) == 1 else 'tools'}, about {tokens:,} tokens{read}."


def _warn(tools: Sequence[Tool], model: ModelSpec) -> None:
    """Say what the worker would refuse, before anything is asked."""
    warn_without_tools(model)
    limit = context_length(settings().models, model.name)
    if limit and tokens_of_tools(tools) > limit:
        st.warning(
            plain(
                f"These {len(tools)} tools are longer than the {limit:,} tokens that {model.name} reads: offer fewer."
            ),
            icon=":material/straighten:",
        )


def _own() -> None:
    st.caption(
        "A JSON object with name, description and parameters (a JSON Schema), perhaps with results; several as a "
        "list, or one on each line of a JSONL file."
    )
    st.text_area(
        "Definition",
        key=PASTED,
        height=130,
        placeholder='{"name": "water_plants", "description": "Waters plants.", "parameters": {"type": "object", '
        '"properties": {"minutes": {"type": "integer"}}, "required": ["minutes"]}}',
    )
    st.button("Add it", key="tools_add", icon=":material/add:", on_click=_paste)
    st.file_uploader("Or a file of tools", type=["jsonl", "json"], key=UPLOADED, on_change=_upload, max_upload_size=2)
    said, is_wrong = st.session_state.get(SAID, ("", False))
    if said:
        (st.warning if is_wrong else st.success)(plain(said))


@catching
def _paste() -> None:
    if _add(str(st.session_state.get(PASTED, "")), "The definition"):
        st.session_state[PASTED] = ""


@catching
def _upload() -> None:
    file = st.session_state.get(UPLOADED)
    if file is None:
        return
    try:
        text = file.getvalue().decode("utf-8-sig")
    except UnicodeDecodeError:
        st.session_state[SAID] = (f"{file.name} is no UTF-8 text: save it as UTF-8, then give it again.", True)
        return
    _add(text, file.name)


def _add(text: str, name: str) -> bool:
    """Know and offer the tools of a text, or keep why they cannot be."""
    try:
        tools = tools_from(text, name)
    except DataError as error:
        st.session_state[SAID] = (str(error), True)
        return False
    offered = list(st.session_state.get(OFFERED, []))
    new = [tool.name for tool in tools if tool.name not in offered]
    added = new[: max(0, MOST_TOOLS - len(offered))]
    left_out = len(new) - len(added)
    replaced = [tool.name for tool in tools if tool.name in known_tools()]
    add_own(tools)
    st.session_state[OFFERED] = [*offered, *added]
    st.session_state[DOMAIN] = ALL
    said = f"Added to the domain {OWN_DOMAIN} and offered: {', '.join(added[:8]) or 'nothing new'}"
    said += f" and {len(added) - 8} more" if len(added) > 8 else ""
    said += f". They take the place of tools of these names: {', '.join(replaced[:8])}" if replaced else ""
    st.session_state[SAID] = (f"{said}. {_left_out(left_out)}".strip(), False)
    return True


def _left_out(count: int) -> str:
    """What is said of tools for which the offer has no place; '' of none."""
    if not count:
        return ""
    return (
        f"Known but not offered: {count} more, since {MOST_TOOLS} are the most that are offered at once. Take some "
        "off the offer to choose others."
    )


def _offer_all(names: Sequence[str]) -> None:
    offered = st.session_state.get(OFFERED, [])
    st.session_state[OFFERED] = list(dict.fromkeys([*offered, *names]))[:MOST_TOOLS]


def _offer_none() -> None:
    st.session_state[OFFERED] = []
