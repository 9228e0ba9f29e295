"""Pictures, calls and results of a message as plain cards, and as Markdown. Knows nothing of chats."""

import json
from pathlib import Path

import streamlit as st

from engine.records.conversation import Call, Part, Picture, Result, Text
from workbench.kit.blur import harmful_text
from workbench.kit.pictures import harmful_picture
from workbench.kit.words import plain

HASH_LETTERS = 12
# Of a picture in a conversation, in pixels.
SHOWN_EDGE = 320


def part_card(part: Part, *, hidden: bool = False) -> None:
    """One part in a frame that names what it is; a text as it is. hidden: its name alone can be read, and of a call not
    that: a model may name what nobody offers."""
    if isinstance(part, Text):
        harmful_text(part.text, hidden=hidden)
        return
    with st.container(border=True):
        is_hidden_call = hidden and isinstance(part, Call)
        st.caption("Call" if is_hidden_call else plain(part_name(part)))
        if is_hidden_call:
            harmful_text(part_name(part), hidden=True)
        if isinstance(part, Picture):
            if part.file:
                harmful_picture(part, hidden=hidden, edge=SHOWN_EDGE)
            if part.alt or not part.file:
                harmful_text(part.alt or "(not described)", hidden=hidden)
        elif isinstance(part, Call):
            arguments = json.dumps(part.arguments)
            harmful_text(arguments, hidden=hidden, draw=lambda _: st.json(part.arguments))
        else:
            harmful_text(part.text, hidden=hidden)


def part_name(part: Part) -> str:
    """What kind of part it is, and which one."""
    if isinstance(part, Picture):
        name = Path(part.file).name
        # A kept one is called by its digest.
        return f"Picture {part.sha256[:HASH_LETTERS] if part.sha256 in name else name or part.sha256[:HASH_LETTERS]}"
    if isinstance(part, Call):
        return f"Call of {part.name}" + (f" ({part.id})" if part.id else "")
    return f"Result of {part.call}" if isinstance(part, Result) else "Text"


def part_markdown(part: Part) -> str:
    """One part as a paragraph, or as its name and a block of what it holds."""
    if isinstance(part, Text):
        return part.text
    if isinstance(part, Picture):
        return f"[{part_name(part)}: {part.alt or 'not described'}]"
    if isinstance(part, Call):
        return f"[{part_name(part)}]\n{json.dumps(part.arguments, indent=1, ensure_ascii=False)}"
    return f"[{part_name(part)}]\n{part.text}"
