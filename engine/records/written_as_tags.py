"""Calls whose arguments have a tag each, <parameter=key>value</parameter>, as Qwen3-Coder's templates write them."""

import re
from collections.abc import Sequence
from typing import Any

from engine.records.call_schemas import kept_texts, tool_named
from engine.records.call_values import call_of
from engine.records.conversation import Call, Tool
from engine.records.json_values import Unreadable, read_value

_FIRST = re.compile(r"\s*(?:<parameter=|</function>)")
_PARAMETER = re.compile(r"\s*<parameter=([^<>\s]{1,200})>\n?(.*?)\n?</parameter>", re.DOTALL)
_END = re.compile(r"\s*(?=</function>)")


def is_tagged(text: str, start: int) -> bool:
    """Whether what stands behind a function's name are such arguments, or none."""
    return _FIRST.match(text, start) is not None


def tagged_call(text: str, start: int, name: str, tools: Sequence[Tool]) -> tuple[Call, int]:
    """The call, and where its closing tag begins. What stands in a tag is text where the tool's schema says so or
    takes nothing else that it can be, and where it is no JSON. Raises Unreadable where it breaks off."""
    tool = tool_named(name, tools)
    properties = tool.parameters.get("properties") if tool else None
    schemas = properties if isinstance(properties, dict) else {}
    written: dict[str, tuple[str, Any]] = {}
    place = start
    while found := _PARAMETER.match(text, place):
        schema = schemas.get(found[1])
        is_text = isinstance(schema, dict) and schema.get("type") == "string"
        written[found[1]] = (found[2], found[2] if is_text else _value_of(found[2]))
        place = found.end()
    end = _END.match(text, place)
    if end is None:
        raise Unreadable("it breaks off within its arguments")
    texts = kept_texts(tool, written) if tool else ()
    arguments = {key: text if key in texts else value for key, (text, value) in written.items()}
    return call_of({"name": name, "arguments": arguments}), end.end()


def _value_of(text: str) -> Any:
    try:
        value, end = read_value(text.strip(), 0)
    except Unreadable:
        return text
    return value if end == len(text.strip()) else text
