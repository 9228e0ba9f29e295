"""Tools out of what a user gives: a JSON definition, a list of them, or a line each. Pure: draws and keeps nothing."""

import json
from typing import Any

from engine.records.conversation import Tool
from engine.records.errors import DataError
from engine.records.tool_prompts import definition_from, short

MOST_BYTES = 2_000_000


def tools_from(text: str, name: str) -> list[Tool]:
    """The tools of a text. name: what it is called in what is said of it. Each may also be wrapped as in OpenAI's
    interface: {"type": "function", "function": {...}}. Raises DataError naming the row and the value; nothing is
    half-read."""
    if len(text) > MOST_BYTES:
        raise DataError(
            f"{name} has {len(text):,} letters, more than {MOST_BYTES:,}: give a file of the tools you mean to offer."
        )
    found: dict[str, Tool] = {}
    for number, row in enumerate(_rows(text, name), start=1):
        where = f"{name}, row {number}"
        tool = definition_from(_unwrapped(row), where).tool
        if tool.name in found:
            raise DataError(f"{where}: a tool named {tool.name!r} was defined before: give each tool its own name.")
        found[tool.name] = tool
    if not found:
        raise DataError(f"{name} defines no tool: give at least one JSON object with name, description, parameters.")
    return list(found.values())


def _rows(text: str, name: str) -> list[Any]:
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        return [_line(line, f"{name}, row {number}") for number, line in _lines(text)]
    return whole if isinstance(whole, list) else [whole]


def _lines(text: str) -> list[tuple[int, str]]:
    return [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]


def _line(line: str, where: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{where}: {short(line.strip())} is not JSON ({error}). Give one JSON object, or one on each line."
        ) from error


def _unwrapped(row: Any) -> Any:
    if not isinstance(row, dict):
        return row
    inner = row.get("function")
    if isinstance(inner, dict) and "name" not in row:
        row = inner
    # Fields of an interface that say nothing of the tool.
    return {name: value for name, value in row.items() if name not in ("type", "strict")}
