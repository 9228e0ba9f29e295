"""Where the arguments of calls stand in what a model wrote, letter by letter, so that an argument's tokens can be told.
Knows nothing of models or tokens."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from engine.records.calls import MOST_CALLS
from engine.records.conversation import Call
from engine.records.json_values import Unreadable, read_value

_ARGUMENTS = re.compile(r'(?:"(?:arguments|parameters)"\s*:|\[ARGS\]|<function=[^<>\s]{1,200}>)\s*(?=\{)')
_SPACE = re.compile(r"\s*")
# A character beyond the first 65,536 is written as two halves.
_ESCAPE = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.", re.DOTALL)


class ArgumentPlace(NamedTuple):
    """The letters of one argument's value, as JSON, from `start` to before `end`."""

    name: str
    start: int
    end: int


class Letter(NamedTuple):
    """One letter of a value as people read it, and where it begins in what was written."""

    text: str
    place: int


def argument_places(text: str, calls: Sequence[Call]) -> list[tuple[ArgumentPlace, ...]]:
    """For each call of an answer, in order, the places of its arguments; none where the call was not written with its
    arguments as a JSON object. Takes time linear in the text."""
    objects = list(_objects(text))
    found: list[tuple[ArgumentPlace, ...]] = []
    passed = 0
    for call in calls:
        # Objects that belong to no call are passed over: those of a call that cannot be read, or of words.
        own = next((place for place in range(passed, len(objects)) if objects[place][1] == call.arguments), None)
        found.append(() if own is None else tuple(_values(text, objects[own][0])))
        passed = passed if own is None else own + 1
    return found


def letters(text: str, place: ArgumentPlace) -> list[Letter]:
    """An argument's value as people read it: a text without its quotes and escapes, anything else as it is written."""
    if text[place.start] != '"':
        return [Letter(text[at], at) for at in range(place.start, place.end)]
    read: list[Letter] = []
    at = place.start + 1
    while at < place.end - 1:
        if text[at] != "\\":
            read.append(Letter(text[at], at))
            at += 1
            continue
        escape = _ESCAPE.match(text, at)
        end = at + 2 if escape is None else escape.end()
        read.append(Letter(_unescaped(text[at:end]), at))
        at = end
    return read


def _objects(text: str) -> Iterator[tuple[int, Any]]:
    """All objects that stand where arguments do, with where they begin; none within another."""
    place = 0
    for _ in range(2 * MOST_CALLS):
        opening = _ARGUMENTS.search(text, place)
        if opening is None:
            return
        place = opening.end()
        try:
            value, place = read_value(text, place)
        except Unreadable:
            continue
        yield opening.end(), value


def _values(text: str, start: int) -> Iterator[ArgumentPlace]:
    """The values of an object that was read already."""
    at = _SPACE.match(text, start + 1).end()  # type: ignore[union-attr]
    while text[at : at + 1] == '"':
        name, at = read_value(text, at)
        at = text.index(":", at) + 1
        begins = _SPACE.match(text, at).end()  # type: ignore[union-attr]
        _, at = read_value(text, begins)
        yield ArgumentPlace(name, begins, at)
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr]
        if text[at : at + 1] == ",":
            at = _SPACE.match(text, at + 1).end()  # type: ignore[union-attr]


def _unescaped(escape: str) -> str:
    """Half of a character is shown as the sign for what cannot be shown."""
    try:
        letter = str(json.loads(f'"{escape}"'))
        letter.encode()
    except (ValueError, UnicodeEncodeError):
        return "\ufffd"
    return letter
