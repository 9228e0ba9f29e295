"""A call as a card: its function, its arguments tinted by token, what is wrong with it, and its canned result. Pure:
makes HTML and knows nothing of Streamlit."""

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from html import escape
from itertools import accumulate, groupby
from typing import Any, NamedTuple

from engine.records.argument_places import ArgumentPlace, argument_places, letters
from engine.records.call_schemas import tool_named
from engine.records.calls import read_calls
from engine.records.chats.replies import Called
from engine.records.conversation import Call, Tool
from workbench.chat.tint import PlacedText, first_below, tinted_stretch
from workbench.kit.blur import stand_in
from workbench.kit.empty_lines import empty_lines

# What is drawn of one value, result or problem, in letters, of a call in arguments, and of an answer in calls.
MOST_LETTERS = 2_000
MOST_ARGUMENTS = 40
MOST_CARDS = 12

STYLE = """
.call { border: 1px solid rgba(128, 140, 150, 0.45); border-left: 4px solid #0072B2; border-radius: 6px;
  padding: 0.5rem 0.7rem; margin-bottom: 0.5rem; overflow-wrap: anywhere; }
.call.unfit { border-left-color: #D55E00; }
.call .function { font-weight: 650; font-family: monospace; font-size: 0.95rem; }
.call .count, .call .note { opacity: 0.72; font-size: 0.8rem; font-weight: 400; }
.call .count { float: right; padding-left: 0.6rem; font-family: sans-serif; }
.call table { width: 100%; border-collapse: collapse; margin: 0.35rem 0 0.2rem 0; table-layout: auto; }
.call th { text-align: left; vertical-align: top; font-weight: 500; opacity: 0.8; padding: 0.25rem 0.7rem 0.25rem 0;
  font-size: 0.85rem; max-width: 11rem; white-space: nowrap; overflow: hidden; text-overflow: ellipsis; }
.call td { padding: 0.25rem 0; vertical-align: top; width: 99%; }
.call tr + tr > * { border-top: 1px solid rgba(128, 140, 150, 0.22); }
.call .answer { line-height: 1.6; max-height: 14rem; }
.call .wrong { margin: 0.3rem 0; padding-left: 0.6rem; border-left: 3px solid #D55E00; font-size: 0.88rem; }
.call .result { margin-top: 0.4rem; padding-top: 0.4rem; border-top: 1px dashed rgba(128, 140, 150, 0.55);
  font-size: 0.88rem; }
.call .result .text { white-space: pre-wrap; font-family: monospace; font-size: 0.82rem; max-height: 10rem;
  overflow-y: auto; }
.call .blurred-part { filter: blur(5px); opacity: 0.6; user-select: none; pointer-events: none; }
"""


class Tint(NamedTuple):
    """What tints an answer's tokens: each token's cosine, and below which one is marked. No cosines: no tint."""

    cosines: Sequence[float] = ()
    threshold: float = 0.5


class _Written(NamedTuple):
    """An answer as it was written: its letters, where each token begins, each token's cosine, and the token that is
    marked in the cards."""

    text: str
    starts: Sequence[int]
    cosines: Sequence[float]
    mark: int | None

    def token(self, letter: int) -> int:
        return bisect_right(self.starts, letter) - 1


def call_cards(called: Called, tools: Sequence[Tool], tint: Tint, *, hidden: bool = False) -> str:
    """HTML of all calls of an answer, one card each. The first token of an argument below the threshold is marked.

    hidden: a function and an argument that a tool defines can be read, nothing else can.
    """
    answer = called.answer
    written = _written(called, tint)
    places = argument_places(written.text, answer.calls)
    cards = []
    for number, call in enumerate(answer.calls[:MOST_CARDS]):
        own = {place.name: place for place in places[number]}
        tool = tool_named(call.name, tools)
        rows = "".join(
            _row(name, value, own.get(name), written, tool, hidden=hidden)
            for name, value in list(call.arguments.items())[:MOST_ARGUMENTS]
        )
        count = f"call {number + 1} of {len(answer.calls)}" if len(answer.calls) > 1 else ""
        result = answer.results[number].text if number < len(answer.results) else ""
        problems = answer.problems[number] if number < len(answer.problems) else ()
        cards.append(_card(call, rows, count, problems, result, tool, hidden=hidden))
    left = len(answer.calls) - MOST_CARDS
    more = f"<div class='note'>{left} more calls are in the download.</div>" if left > 0 else ""
    return f"<div>{''.join(cards)}{more}</div>"


def tinted_words(called: Called, tint: Tint, *, hidden: bool = False) -> str:
    """HTML of what an answer says beside its calls, each token by its cosine, the first below the threshold marked; ''
    where there are no cosines, where the answer as it was written does not hold these words in one piece outside its
    calls, and where they hold runs of empty lines."""
    words = called.answer.text
    if not tint.cosines or empty_lines(words):
        return ""
    written = _written(called, tint)
    start = _outside(written.text, words)
    if start is None:
        return ""
    shown, note = cut(words)
    tokens = [(letter, written.token(start + place)) for place, letter in enumerate(shown)]
    first, last = tokens[0][1], tokens[-1][1]
    below = first_below(tint.cosines[first : last + 1], tint.threshold)
    mark = None if below is None else first + below
    spans = tinted_stretch(_stretches(tokens), written.cosines, mark=mark, hidden=hidden)
    aria = " aria-hidden='true'" if hidden else ""
    told = f"<div class='note'>{note}</div>" if note else ""
    return f"<div class='answer'{aria}><div>{spans}</div></div>{told}"


def _outside(text: str, words: str) -> int | None:
    """Where words stand in an answer outside its calls, whose arguments may hold the same."""
    calls = read_calls(text).spans
    found = (one.start() for one in re.finditer(re.escape(words), text))
    return next((at for at in found if all(at + len(words) <= start or at >= end for start, end in calls)), None)


def first_in_arguments(called: Called, tint: Tint) -> int | None:
    """The first token of an argument whose cosine lies below the threshold."""
    return _written(called, tint).mark


def _written(called: Called, tint: Tint) -> _Written:
    text = "".join(called.pieces)
    written = _Written(text, [0, *accumulate(map(len, called.pieces))], tint.cosines, None)
    for place in (place for places in argument_places(text, called.answer.calls) for place in places):
        # A text's quotes are no part of it.
        quote = int(text[place.start] == '"')
        first = written.token(place.start + quote)
        own = tint.cosines[first : written.token(place.end - 1 - quote) + 1]
        if (below := first_below(own, tint.threshold)) is not None:
            return written._replace(mark=first + below)
    return written


def cut(text: str) -> tuple[str, str]:
    """What is drawn of a text, and a note where that is not all of it."""
    return text[:MOST_LETTERS], _left(len(text))


def _card(
    call: Call,
    rows: str,
    count: str,
    problems: Sequence[str],
    result: str,
    tool: Tool | None,
    *,
    hidden: bool,
) -> str:
    # What nobody offered is the model's own word.
    name = _shown(call.name, hidden=hidden and tool is None)
    table = f"<table>{rows}</table>" if rows else "<div class='note'>No arguments.</div>"
    left = len(call.arguments) - MOST_ARGUMENTS
    more = f"<div class='note'>{left} more arguments are in the download.</div>" if left > 0 else ""
    wrong = "".join(f"<div>{_shown(problem, hidden=hidden)}</div>" for problem in problems)
    verdict = f"<div class='wrong'><b>Does not fit its tool</b>{wrong}</div>" if problems else ""
    kind = "call unfit" if problems else "call"
    # The result of a call that does not fit says the same once more.
    given = "" if problems else f"<div class='text'>{_shown(result, hidden=hidden)}</div>"
    told = "The model is told so as an error." if problems else "Canned result; nothing was carried out"
    return (
        f"<div class='{kind}'><span class='count'>{count}</span><span class='function'>{name}</span>{table}{more}"
        f"{verdict}<div class='result'><span class='note'>{told}</span>{given}</div></div>"
    )


def _row(
    name: str, value: Any, place: ArgumentPlace | None, written: _Written, tool: Tool | None, *, hidden: bool
) -> str:
    defined = tool is not None and name in tool.parameters.get("properties", {})
    aria = " aria-hidden='true'" if hidden else ""
    shown, note = _value(value, place, written, hidden=hidden)
    told = f"<div class='note'>{note}</div>" if note else ""
    whole = f" title='{escape(cut(name)[0])}'" if defined or not hidden else ""
    return (
        f"<tr><th scope='row'{whole}>{_shown(name, hidden=hidden and not defined)}</th>"
        f"<td><div class='answer{' blurred-part' if hidden else ''}'{aria}>{shown}</div>{told}</td></tr>"
    )


def _value(value: Any, place: ArgumentPlace | None, written: _Written, *, hidden: bool) -> tuple[str, str]:
    """HTML of a value, and a note where it was cut."""
    if place is None:
        plain_text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        shown, note = cut(plain_text)
        return escape(stand_in(shown) if hidden else shown), note
    read = letters(written.text, place)
    tokens = ((letter.text, written.token(letter.place)) for letter in read[:MOST_LETTERS])
    return tinted_stretch(_stretches(tokens), written.cosines, mark=written.mark, hidden=hidden), _left(len(read))


def _stretches(letters_of: Iterable[tuple[str, int]]) -> list[PlacedText]:
    """Letters with the token of each, joined to one stretch a token."""
    return [
        PlacedText("".join(letter for letter, _ in group), token)
        for token, group in groupby(letters_of, key=lambda pair: pair[1])
    ]


def _left(letters: int) -> str:
    left = letters - MOST_LETTERS
    return f"{left:,} more letters are in the download." if left > 0 else ""


def _shown(text: str, *, hidden: bool) -> str:
    shown, note = cut(text)
    if hidden:
        return f"<span class='blurred-part' aria-hidden='true'>{escape(stand_in(shown))}</span>"
    return escape(shown) + (f" <span class='note'>… {note}</span>" if note else "")
