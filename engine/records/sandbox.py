"""What a tool answers, though none is ever carried out: canned results that belong to it. Knows nothing of models."""

import json
import re
from collections.abc import Sequence
from typing import Any

from engine.records.call_schemas import check_call, tool_named
from engine.records.conversation import Call, CannedResult, Message, Result, Tool

# Of an argument within a result, and of a result, in letters.
LONGEST_VALUE = 200
LONGEST_RESULT = 2_000

DONE = '{"status": "done"}'

_PLACE = re.compile(r"\{([A-Za-z_]\w{0,80})\}")


def result_of(call: Call, tools: Sequence[Tool]) -> Result:
    """What a call gives back: what is wrong with it, as an API would say it; else the tool's first canned result whose
    `when` fits, else the first without `when`, else that it is done.

    {argument} in a canned text becomes the call's own argument of that name, cut to LONGEST_VALUE letters; nothing else
    is looked up. Raises DataError where the tool's schema is none.
    """
    problems = check_call(call, tools)
    if problems:
        text = json.dumps({"error": " ".join(problem.text for problem in problems)}, ensure_ascii=False)
        if len(text) > LONGEST_RESULT:
            text = json.dumps({"error": problems[0].text}, ensure_ascii=False)
    else:
        tool = tool_named(call.name, tools)
        text = _filled(_canned(call, tool.results if tool else ()), call.arguments)
    return Result(call=call.id or call.name, text=text)


def results_of(calls: Sequence[Call], tools: Sequence[Tool]) -> Message:
    """The message that follows an assistant's calls: a result for each, in their order."""
    return Message(role="tool", parts=tuple(result_of(call, tools) for call in calls))


def _canned(call: Call, results: Sequence[CannedResult]) -> str:
    fitting = [result for result in results if result.when and _fits(result.when, call.arguments)]
    default = [result for result in results if not result.when]
    return next((result.text for result in (*fitting, *default)), DONE)


def _fits(when: dict[str, Any], arguments: dict[str, Any]) -> bool:
    return all(name in arguments and _same(value, arguments[name]) for name, value in when.items())


def _same(one: Any, other: Any) -> bool:
    # In JSON true is not 1.
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def _filled(text: str, arguments: dict[str, Any]) -> str:
    """One pass, so that an argument with braces in it asks for nothing. In a text that is JSON a value is written as
    within a JSON text, so that its quotes end nothing."""
    is_json = text.lstrip().startswith(("{", "["))

    def value(place: re.Match[str]) -> str:
        if place[1] not in arguments:
            return place[0]
        given = arguments[place[1]]
        shown = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
        shown = shown if len(shown) <= LONGEST_VALUE else f"{shown[:LONGEST_VALUE]}..."
        return json.dumps(shown, ensure_ascii=False)[1:-1] if is_json else shown

    return _PLACE.sub(value, text)[:LONGEST_RESULT]
