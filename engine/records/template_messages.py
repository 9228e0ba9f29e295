"""A conversation in the shape that chat templates read: the messages and tools of OpenAI's interface. Knows nothing of
templates."""

import json
import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from engine.records.conversation import Call, Conversation, Message, Picture, Result, Text

_SAID = (Text, Picture)
_ID = re.compile(r"[A-Za-z0-9]{9}")
_OFFERED = "Functions that you can call:"
# Definitions that are JSON in the shape of a call were said again by models, in the place of one.
_HOW = (
    'To call one, answer with one line of JSON: its name and arguments, as in {"name": "add", "arguments": {"first": '
    '1, "second": 2}}. Several calls take a line each. Where no function is of use, answer in words.'
)


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


def in_words(
    messages: Sequence[dict[str, Any]], tools: Sequence[dict[str, Any]] | None, *, system_turn: bool
) -> list[dict[str, Any]]:
    """The messages for a template that takes no tools: what is offered stands in the system turn, or in the user's
    first where the template has none (not system_turn); a call is a line of JSON, and a result is said by the user, in
    one turn with what the user says behind it, since many templates want the turns to alternate."""
    found: list[dict[str, Any]] = []
    if tools and system_turn and (not messages or messages[0]["role"] != "system"):
        found.append({"role": "system", "content": ""})
    goes_on = False
    for message in messages:
        role, said, is_result = message["role"], message["content"], "tool_call_id" in message
        if is_result:
            role, said = "user", f"Result of {message['name']}:\n{said}"
        for call in message.get("tool_calls", ()):
            called = {name: call["function"][name] for name in ("name", "arguments")}
            said = _behind(said, json.dumps(called, ensure_ascii=False))
        if goes_on and role == "user":
            said = _behind(found.pop()["content"], said)
        found.append({"role": role, "content": said})
        goes_on = is_result or (goes_on and role == "user")
    if tools:
        offer = "\n".join([_OFFERED, *(_definition(tool["function"]) for tool in tools), _HOW])
        place = next((at for at, one in enumerate(found) if one["role"] in ("system", "user")), None)
        if place is not None:
            role, said = found[place]["role"], found[place]["content"]
            words = _behind(said, offer) if role == "system" else _behind(offer, said)
            found[place] = {"role": role, "content": words}
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


def _definition(function: dict[str, Any]) -> str:
    schema = json.dumps(function["parameters"], ensure_ascii=False)
    return f'- "{function["name"]}": {function["description"]}\n  Its arguments, as a JSON schema: {schema}'


def _behind(first: Any, second: Any) -> Any:
    """Two contents as one: texts with a line between, or lists of parts."""
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n{second}" if first else second
    parts = [one if isinstance(one, list) else [{"type": "text", "text": one}] for one in (first, second) if one]
    return [part for one in parts for part in one]


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
