"""Which tools there are: those that ship, the user's own of this session, and those that a request or a chat brings
along; and which of them are offered."""

from collections.abc import Iterable, Sequence

import streamlit as st

from engine.records.conversation import Tool
from engine.records.tool_prompts import ToolDefinition, sample_tools

# A widget's key: the names of the tools that are offered.
OFFERED = "tools_offered"
_OWN, _BROUGHT = "tools_own", "tools_brought"
OWN_DOMAIN, BROUGHT_DOMAIN = "own", "this chat"
MOST_TOOLS = 256


def known_tools() -> dict[str, ToolDefinition]:
    """All tools by name, domain after domain; an own one takes the place of one that ships, what a request or a chat
    brings along that of both, as long as it is the last."""
    found = {**sample_tools(), **own_tools(), **st.session_state.get(_BROUGHT, {})}
    return dict(sorted(found.items(), key=lambda item: (item[1].domain, item[0])))


def own_tools() -> dict[str, ToolDefinition]:
    return dict(st.session_state.get(_OWN, {}))


def add_own(tools: Iterable[Tool]) -> None:
    """Know these tools too."""
    added = {tool.name: ToolDefinition(tool=tool, domain=OWN_DOMAIN) for tool in tools}
    st.session_state[_OWN] = {**own_tools(), **added}
    brought = st.session_state.get(_BROUGHT, {})
    st.session_state[_BROUGHT] = {name: one for name, one in brought.items() if name not in added}


def offered_tools() -> tuple[Tool, ...]:
    """The tools that are chosen, in the order in which they were."""
    known = known_tools()
    return tuple(known[name].tool for name in st.session_state.get(OFFERED, ()) if name in known)


def offer(tools: Sequence[Tool]) -> None:
    """Offer these and no others. Those that are known otherwise, or not at all, are known as they are here until others
    are offered in this way; the user's own stay."""
    st.session_state[_BROUGHT] = {}
    known = known_tools()
    st.session_state[_BROUGHT] = {
        tool.name: ToolDefinition(tool=tool, domain=BROUGHT_DOMAIN)
        for tool in tools
        if tool.name not in known or known[tool.name].tool != tool
    }
    st.session_state[OFFERED] = [tool.name for tool in tools]
