"""A conversation with functions that is written as one text, as Glaive's function-calling set has it. Nothing is ever
carried out.

    SYSTEM: words {a function} {another}
    USER: words  ASSISTANT: <functioncall> {a call} <|endoftext|>  FUNCTION RESPONSE: {a result}
"""

import re
from typing import Any, NamedTuple

from engine.records.json_values import Unreadable, read_value

_MARK, _END = "<functioncall>", "<|endoftext|>"
_TURN = re.compile(r"(?:\A|\n|<\|endoftext\|>)[ \t]*(USER|ASSISTANT|FUNCTION RESPONSE):")
# Arguments as a text between single quotes, which is no JSON and what these sets have.
_QUOTED = re.compile(r"""\{\s*"name"\s*:\s*"([^"\n]*)"\s*,\s*"arguments"\s*:\s*'(.*)'\s*\}""", re.DOTALL)
_BETWEEN = re.compile(r"[\s,\]]*")


class Turn(NamedTuple):
    """role: user, assistant or tool.  call: the text behind the mark of a call, None where there is none."""

    role: str
    words: str
    call: str | None = None


def turns_of(chat: str) -> list[Turn]:
    """Who says what, in order. Raises Unreadable for a text that does not begin with a speaker."""
    pieces = _TURN.split(chat)
    if pieces[0].strip() or len(pieces) == 1:
        raise Unreadable("it does not begin with USER: or ASSISTANT:")
    turns = []
    for speaker, text in zip(pieces[1::2], pieces[2::2], strict=True):
        words, mark, call = text.replace(_END, "").partition(_MARK)
        role = "tool" if speaker == "FUNCTION RESPONSE" else speaker.lower()
        turns.append(Turn(role, words.strip(), call.strip() if mark else None))
    return turns


def functions_in(system: str) -> tuple[str, list[Any]]:
    """What a system text says around the functions that it defines, and those, as they are written. Raises Unreadable
    for one that is no JSON."""
    text = system.strip().removeprefix("SYSTEM:").strip()
    start = place = text.find("{")
    if start < 0:
        return text, []
    functions = []
    while text[place : place + 1] == "{":
        value, end = read_value(text, place)
        functions.append(value)
        between = _BETWEEN.match(text, end)
        place = between.end() if between else end
    before, behind = text[:start].rstrip(" \t\r\n[-"), text[place:].strip()
    return "\n".join(words for words in (before, behind) if words), functions


def call_in(text: str) -> Any:
    """The call behind a mark, its arguments perhaps still a text. Raises Unreadable."""
    try:
        return read_value(text, 0)[0]
    except Unreadable:
        quoted = _QUOTED.match(text)
        if not quoted:
            raise
    return {"name": quoted[1], "arguments": quoted[2].replace("\\'", "'")}
