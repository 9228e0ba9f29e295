"""A conversation in the shape that chat templates read: the messages and tools of OpenAI's interface. Knows nothing of
templates."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from engine.records.conversation import Call, Conversation, Message, Picture, Result, Text

_SAID = (Text, Picture)
_ID = re.compile(r"[A-Za-z0-9]{9}")


def template_messages(conversation: Conversation, *, picture: str = "", as_parts: bool = False) -> list[dict[str, Any]]:
    """A message for each, and one for each result, which names its call by id.

    as_parts: what a message says is a list of texts and images, in their order; else one text, in which `picture`
    stands for each picture.

    Every call has an id of nine letters, as Mistral's templates want them: its own, where that is one. A result belongs
    to the first call of its id, or of its tool's name, that has none yet; without such a call it keeps what it says.
    """
    waiting: list[tuple[str, Call]] = []
    messages: list[dict[str, Any]] = []
    count = 0
    for message in conversation.messages:
        messages += [_result(part, waiting) for part in message.parts if isinstance(part, Result)]
        calls = [part for part in message.parts if isinstance(part, Call)]
        named = [
            (call.id if _ID.fullmatch(call.id) else f"call{count + number:05d}", call)
            for number, call in enumerate(calls, 1)
        ]
        count += len(calls)
        waiting += named
        messages += _words(message, named, _parts_of(message) if as_parts else _text_of(message, picture))
    return messages


def one_call_each(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The messages, each of several calls as one a call, its result behind it."""
    left, found = list(messages), []
    while left:
        message = left.pop(0)
        calls = message.get("tool_calls", ())
        if len(calls) < 2:
            found.append(message)
            continue
        for number, call in enumerate(calls):
            found.append({**message, "content": message["content"] if number == 0 else "", "tool_calls": [call]})
            results = [one for one in left if one.get("tool_call_id") == call["id"]]
            found += results
            left = [one for one in left if one not in results]
    return found


def template_tools(conversation: Conversation) -> list[dict[str, Any]] | None:
    """None where no tools are offered. Canned results are for no model to read."""
    tools = [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                # Templates walk through the properties, also where there are none.
                "parameters": tool.parameters or {"type": "object", "properties": {}},
            },
        }
        for tool in conversation.tools
    ]
    return tools or None


def _text_of(message: Message, picture: str) -> str:
    """Its texts and pictures, a line each."""
    lines = [part.text if isinstance(part, Text) else picture for part in message.parts if isinstance(part, _SAID)]
    return "\n".join(lines)


def _parts_of(message: Message) -> list[dict[str, Any]]:
    """Texts that follow one another are one, a line each."""
    parts: list[dict[str, Any]] = []
    for kind, alike in groupby((part for part in message.parts if isinstance(part, _SAID)), key=type):
        if kind is Picture:
            parts += [{"type": "image"} for _ in alike]
        else:
            parts.append({"type": "text", "text": "\n".join(part.text for part in alike if isinstance(part, Text))})
    return parts


def _words(message: Message, named: list[tuple[str, Call]], said: Any) -> Iterator[dict[str, Any]]:
    """What a message holds beside results."""
    if all(isinstance(part, Result) for part in message.parts):
        return
    content: dict[str, Any] = {"role": message.role, "content": said}
    if named:
        content["tool_calls"] = [
            {"id": id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for id, call in named
        ]
    yield content


def _result(result: Result, waiting: list[tuple[str, Call]]) -> dict[str, Any]:
    id = name = result.call
    for place, (called, call) in enumerate(waiting):
        if result.call == (call.id or call.name):
            id, name = called, call.name
            del waiting[place]
            break
    return {"role": "tool", "tool_call_id": id, "name": name, "content": result.text}
