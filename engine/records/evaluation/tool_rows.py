"""Requests that offer tools, to evaluate on: the own test split, a file of both labels, and a set inside an installed
package, read where it lies.

Knows nothing of models or tokens.
"""

import json
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from engine.records.call_schemas import need_schema
from engine.records.conversation import Conversation, Tool, say
from engine.records.errors import DataError
from engine.records.evaluation.rows import EvaluationRow
from engine.records.evaluation.sides import SidedRows, limited, sided_prompts
from engine.records.package_files import fetched_anew, need_package_file
from engine.records.prompts import fraction, refuse_half_characters
from engine.records.settings import Settings
from engine.records.shown import shown
from engine.records.sources import TOOLS
from engine.records.tool_prompts import ExpectedCall, read_tool_prompts, sample_tools

GUARD, SAMPLE = "guard", "sample"
GUARD_PACKAGE = "agent-action-guard==1.2.1"
GUARD_FILE = "agent_action_guard/harmactions_dataset.json"
# Beside the tool that a row of the package is about, so that there is a choice.
DISTRACTORS = 3
# JSON Schema's word for what a value is; a bool is no number there.
_TYPES: tuple[tuple[type, str], ...] = (
    (bool, "boolean"),
    (int, "integer"),
    (float, "number"),
    (str, "string"),
    (list, "array"),
    (dict, "object"),
)


def read_tool_rows(source: str, *, settings: Settings, limit: int = 0) -> SidedRows:
    """Rows of `sample` (the test split of both sets that ship; `tools:NAME`: of one of them), of `guard` (the harmful
    rows of agent-action-guard), or of a file as read_tool_prompts reads it; `limit` takes at most so many of each side,
    evenly; 0: all.

    Raises DataError naming file, row and value, or the package that is not installed.
    """
    if source == GUARD:
        found = SidedRows(_guard_rows(settings), [], [])
    elif source == SAMPLE or source.startswith(TOOLS):
        names = [f"{TOOLS}harmful", f"{TOOLS}benign"] if source == SAMPLE else [source]
        found = sided_prompts(prompt for name in names for prompt in read_tool_prompts(name) if prompt.split == "test")
    else:
        found = sided_prompts(read_tool_prompts(source))
    return limited(found, limit)


def schema_of(arguments: dict[str, Any]) -> dict[str, Any]:
    """A JSON schema that these arguments fit: the type of each, and all of them required."""
    return {"type": "object", "properties": {name: _type(value) for name, value in arguments.items()}} | (
        {"required": list(arguments)} if arguments else {}
    )


def _type(value: Any) -> dict[str, Any]:
    kind = next((name for python, name in _TYPES if isinstance(value, python)), "")
    if not kind:
        # null says nothing of what else may stand there.
        return {}
    if kind == "array" and value and all(_type(one) == _type(value[0]) for one in value):
        return {"type": kind, "items": _type(value[0])}
    return {"type": "number" if kind == "integer" else kind}


def _guard_rows(settings: Settings) -> list[EvaluationRow]:
    """The rows that their authors call harmful. They define no tools: each gets one that its own call fits, between
    tools that ship, which the prompt chooses."""
    file = need_package_file(GUARD_PACKAGE, GUARD_FILE, settings)
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file.name} cannot be read as JSON ({error}): {fetched_anew(GUARD_PACKAGE)}.") from error
    others = [definition.tool for definition in sample_tools().values()]
    rows: list[EvaluationRow] = []
    for number, row in enumerate(content if isinstance(content, list) else [], start=1):
        where = f"{file.name}, row {number}"
        refuse_half_characters(row, where)
        if isinstance(row, dict) and row.get("classification") == "harmful":
            rows.append(_guard_row(row, where, others))
    if not rows:
        raise DataError(f"{file.name} holds no harmful rows in a form that is known here: use {GUARD_PACKAGE}.")
    return rows


def _guard_row(row: dict[str, Any], where: str, others: Sequence[Tool]) -> EvaluationRow:
    prompt, action = row.get("prompt"), row.get("action")
    function = action.get("function") if isinstance(action, dict) else None
    if not isinstance(prompt, str) or not prompt.strip() or not isinstance(function, dict):
        raise DataError(f"{where}: has no prompt or no call ({shown(function)}): use {GUARD_PACKAGE}.")
    try:
        call = ExpectedCall(name=function.get("name"), arguments=function.get("arguments"))  # type: ignore[arg-type]
        tool = Tool(
            name=call.name,
            description=f"Carries out: {call.name.replace('_', ' ')}.",
            parameters=schema_of(call.arguments or {}),
        )
        need_schema(tool)
    except ValidationError as error:
        raise DataError(
            f"{where}: the call, {shown(function)}, has no name or no arguments: use {GUARD_PACKAGE}."
        ) from (error)
    tools = _between(tool, prompt, others)
    conversation = Conversation(messages=(say("user", prompt.strip()),), tools=tools)
    return EvaluationRow(conversation, call=call, expects_call=True)


def _between(tool: Tool, prompt: str, others: Sequence[Tool]) -> tuple[Tool, ...]:
    """The tool at a place among distractors: all drawn by the prompt, so that they are the same each time."""
    known = {tool.name}
    drawn: list[Tool] = []
    for other in sorted(others, key=lambda one: fraction(f"{prompt}:{one.name}")):
        if other.name not in known and len(drawn) < DISTRACTORS:
            drawn.append(other)
    place = int(fraction(f"place:{prompt}") * (len(drawn) + 1))
    return (*drawn[:place], tool, *drawn[place:])
