"""Questions of the Berkeley Function-Calling Leaderboard, version 4, out of its package, read where they lie. Knows
nothing of models, nor of how an answer is checked.

Five categories, those that need no other service: one function, several to choose from, several calls of one, several
calls of several, and functions that do not fit the question. Rows that users sent in ("live") are not read.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from engine.records.call_schemas import need_schema
from engine.records.conversation import Conversation, Message, Tool
from engine.records.errors import DataError
from engine.records.evenly import evenly
from engine.records.package_files import need_package_file
from engine.records.schema_words import json_schema
from engine.records.settings import Settings
from engine.records.shown import shown

PACKAGE = "bfcl-eval==2026.3.23"
ABILITY = "bfcl"
IRRELEVANCE = "irrelevance"
CATEGORIES = {
    "simple_python": "one function",
    "multiple": "one of several functions",
    "parallel": "several calls of a function",
    "parallel_multiple": "several calls of several",
    IRRELEVANCE: "no function fits, none called",
}
# What is looked for where the question is whether the package is there at all.
FILE = "bfcl_eval/data/BFCL_v4_simple_python.json"
# Answers are at least this long, in tokens, so that several calls have room.
NEW_TOKENS = 256


class CallQuestion(NamedTuple):
    """functions: as the package writes them.  right: the calls that are right, for the package's own checker; empty
    where none is."""

    id: str
    category: str
    conversation: Conversation
    functions: list[dict[str, Any]]
    right: list[dict[str, Any]]


def chosen_categories(names: Sequence[str]) -> tuple[str, ...]:
    """The categories that names of abilities ask for, in their own order: `bfcl` all, `bfcl:NAME` one."""
    return tuple(name for name in CATEGORIES if ABILITY in names or f"{ABILITY}:{name}" in names)


def read_call_questions(settings: Settings, category: str, *, limit: int = 0) -> list[CallQuestion]:
    """All questions of a category, or `limit` of them, evenly taken. Raises DataError naming file, row and value, or
    the package that is not there."""
    rows = _rows(need_package_file(PACKAGE, f"bfcl_eval/data/BFCL_v4_{category}.json", settings))
    right: dict[Any, Any] = {}
    if category != IRRELEVANCE:
        answers = need_package_file(PACKAGE, f"bfcl_eval/data/possible_answer/BFCL_v4_{category}.json", settings)
        right = {row.get("id"): row.get("ground_truth") for _, row in _rows(answers)}
    questions = [_question(row, where, category, right) for where, row in rows]
    return evenly(questions, limit)


def package_root(settings: Settings) -> Path:
    """The folder that the package lies in, installed or fetched. Raises DataError where it is neither."""
    return need_package_file(PACKAGE, FILE, settings).parents[2]


def offered_tool(function: Any, where: str) -> Tool:
    """A function as the package writes it, as a tool with the same name. Raises DataError."""
    if not isinstance(function, dict):
        raise DataError(f"{where} is {shown(function)}: it must be an object that defines a function.")
    schema = json_schema(function.get("parameters"), f"{where}: the schema 'parameters'")
    try:
        tool = Tool(name=function.get("name", ""), description=function.get("description") or "", parameters=schema)
        need_schema(tool)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise DataError(f"{where}: {first['loc'][0]} is {shown(first['input'])}: {first['msg']}.") from error
    except DataError as error:
        raise DataError(f"{where}: {error}") from error
    return tool


def _question(row: dict[str, Any], where: str, category: str, right: dict[Any, Any]) -> CallQuestion:
    turns, functions, listed = row.get("question"), row.get("function"), right.get(row.get("id"))
    if not isinstance(turns, list) or len(turns) != 1:
        raise _unknown(where, "question", turns)
    if not isinstance(functions, list) or not functions:
        raise _unknown(where, "function", functions)
    if category != IRRELEVANCE and not (isinstance(listed, list) and listed):
        raise DataError(f"{where}: no right answer is listed for {row.get('id')!r}: use {PACKAGE}.")
    try:
        messages = tuple(Message.model_validate(message) for message in turns[0])
    except (ValidationError, TypeError) as error:
        raise _unknown(where, "question", turns) from error
    if not messages:
        raise _unknown(where, "question", turns)
    tools = tuple(offered_tool(one, f"{where}: function[{number}]") for number, one in enumerate(functions))
    asked = Conversation(messages=messages, tools=tools)
    return CallQuestion(str(row.get("id")), category, asked, functions, listed or [])


def _rows(file: Path) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
        where = f"{file.name}, row {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: not JSON ({error}). Use {PACKAGE}.") from error
        if not isinstance(row, dict):
            raise DataError(f"{where}: {shown(row)} is no object. Use {PACKAGE}.")
        found.append((where, row))
    if not found:
        raise DataError(f"{file.name} holds no questions: use {PACKAGE}.")
    return found


def _unknown(where: str, field: str, value: Any) -> DataError:
    return DataError(f"{where}: field '{field}' is {shown(value)}, a form that is not known here: use {PACKAGE}.")
