"""Requests to an agent: the tools that are defined in a file, joined to the rows that offer them by name. Knows nothing
of models; no tool is ever executed."""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.records.call_schemas import check_call, need_schema
from engine.records.conversation import Call, Label, Tool
from engine.records.errors import DataError
from engine.records.picture_rows import with_pictures
from engine.records.prompts import Prompt, prompt_from_row, refuse_half_characters, row_label
from engine.records.row_files import file_rows
from engine.records.settings import SAMPLE_DATA, given_path
from engine.records.shown import short, shown
from engine.records.sources import TOOLS
from engine.records.tool_forms import own_form

FOLDER = SAMPLE_DATA / "tools"
DEFINITIONS = FOLDER / "tools.jsonl"
TOOL_FIELDS = ("name", "description", "parameters", "results")


class ToolDefinition(BaseModel):
    """A tool, with what it answers, and what it is about."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tool: Tool
    domain: str = ""


class ExpectedCall(BaseModel):
    """The call that a compliant agent makes. arguments: None where any will do that the schema takes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    arguments: dict[str, Any] | None = None


class ToolPrompt(Prompt):
    """A request that offers tools. call: None where none of them should be called, or where the row does not say:
    expects_call tells."""

    call: ExpectedCall | None = None
    expects_call: bool | None = None


def expected_call(prompt: Prompt) -> str:
    """The name of the function that a compliant agent calls, '' where none, or nobody says which."""
    return prompt.call.name if isinstance(prompt, ToolPrompt) and prompt.call is not None else ""


def tools_key(prompt: Prompt) -> str:
    """The same for prompts that offer the same tools, '' for those without any."""
    offered = prompt.conversation.offered
    return hashlib.sha256(json.dumps(offered).encode()).hexdigest()[:16] if offered else ""


def read_tools(path: Path | str = DEFINITIONS) -> dict[str, ToolDefinition]:
    """The tools that a file defines, by name. Raises DataError naming file, row and value."""
    place = given_path(str(path), error=DataError)
    found: dict[str, ToolDefinition] = {}
    for number, row in file_rows(place):
        where = f"{place.name}, row {number}"
        definition = definition_from(row, where)
        name = definition.tool.name
        if name in found:
            raise DataError(f"{where}: a tool named {name!r} was defined before: give each tool its own name.")
        found[name] = definition
    if not found:
        raise DataError(f"{place.name} defines no tool: give a file with at least one.")
    return found


@lru_cache(maxsize=1)
def sample_tools() -> Mapping[str, ToolDefinition]:
    """The tools that ship, by name."""
    return read_tools()


def read_tool_prompts(
    source: str, *, tools: Mapping[str, ToolDefinition] | None = None, label: Label | None = None
) -> list[ToolPrompt]:
    """The requests of `tools:harmful`, `tools:benign` or a file, with their tools. tools: those that rows may name,
    the ones that ship if none are given.  label: of rows that do not say theirs. Rows may have other people's forms
    (engine.records.tool_forms). Raises DataError naming file, row and value; nothing is half-read."""
    path = tool_set_file(source) if source.startswith(TOOLS) else given_path(source, error=DataError)
    known = sample_tools() if tools is None else tools
    prompts: list[ToolPrompt] = []
    rows_by_id: dict[str, int] = {}
    for number, row in file_rows(path):
        where = f"{path.name}, row {number}"
        prompt = tool_prompt_from(with_pictures(own_form(row, where), where, path.parent), where, known, label)
        if prompt.id in rows_by_id and isinstance(row, dict) and row.get("id"):
            raise DataError(
                f"{path.name}, row {number}: the id {prompt.id!r} is that of row {rows_by_id[prompt.id]} too: "
                "give each row its own."
            )
        rows_by_id[prompt.id] = number
        prompts.append(prompt)
    if not prompts:
        raise DataError(f"{path.name} has no rows: give a file with at least one request.")
    return prompts


def tool_set_file(source: str) -> Path:
    """Where a set that ships lies, of `tools:NAME`. Raises DataError for one that does not."""
    path = FOLDER / f"{source.removeprefix(TOOLS)}.jsonl"
    names = sorted(file.stem for file in FOLDER.glob("*.jsonl") if file != DEFINITIONS)
    if path.stem not in names or path.parent != FOLDER:
        raise DataError(f"There is no sample set of tools '{source}': choose tools:{' or tools:'.join(names)}.")
    return path


def definition_from(row: Any, where: str) -> ToolDefinition:
    """A tool's definition out of one row. Raises DataError."""
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected an object that defines a tool, got {short(row)}.")
    refuse_half_characters(row, where)
    if problem := _schema_problem(row):
        raise DataError(
            f"{where}: the schema 'parameters' of the tool {short(row.get('name'))} {problem}: "
            'give a JSON Schema such as {"type": "object", "properties": {}, "required": []}.'
        )
    rest = {name: value for name, value in row.items() if name not in TOOL_FIELDS}
    try:
        tool = Tool.model_validate({name: row[name] for name in TOOL_FIELDS if name in row})
        definition = ToolDefinition(tool=tool, **rest)
    except (ValidationError, TypeError) as error:
        raise DataError(
            f"{where}: {_wrong(error)} A tool has name, description, parameters, domain, results."
        ) from error
    for result in tool.results:
        unknown = [name for name in result.when if name not in tool.parameters.get("properties", {})]
        if unknown:
            raise DataError(
                f"{where}: a result of {tool.name} is meant for the argument {unknown[0]!r}, which the tool does "
                "not have: correct 'when'."
            )
    return definition


def tool_prompt_from(
    row: Any,
    where: str,
    known: Mapping[str, ToolDefinition],
    label: Label | None = None,
    *,
    answer_field: str = "",
) -> ToolPrompt:
    """A request out of one row. Raises DataError naming the place and the value."""
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected an object with 'prompt' and 'tools', got {shown(row)}.")
    refuse_half_characters(row, where)
    offered = _offered(row.get("tools"), where, known)
    rest = {name: value for name, value in row.items() if name != "tools"}
    prompt = prompt_from_row(rest, where, row_label(row, where, label), answer_field)
    call = _call(row.get("call"), where, offered)
    fields = {name: getattr(prompt, name) for name in Prompt.model_fields}
    conversation = prompt.conversation.model_copy(update={"tools": tuple(offered.values())})
    # The same words with other tools are another request.
    fields |= {"conversation": conversation, "id": prompt.id if row.get("id") else conversation.key[:12]}
    return ToolPrompt(**fields, call=call, expects_call=call is not None if "call" in row else None)


def _offered(given: Any, where: str, known: Mapping[str, ToolDefinition]) -> dict[str, Tool]:
    """The tools of a row by name: each is named or defined there."""
    if not isinstance(given, list) or not given:
        raise DataError(f"{where}: field 'tools' is {short(given)}: it must be a list of the tools that are offered.")
    found: dict[str, Tool] = {}
    for number, one in enumerate(given):
        if isinstance(one, str) and one not in known:
            raise DataError(
                f"{where}: tools[{number}] names {one!r}, which no tool is called: define it, or name one of the "
                f"{len(known)} that are known, such as {', '.join(list(known)[:3]) or 'none'}."
            )
        tool = known[one].tool if isinstance(one, str) else definition_from(one, f"{where}: tools[{number}]").tool
        if tool.name in found:
            raise DataError(f"{where}: tools[{number}] offers {tool.name!r} a second time: leave one of the two out.")
        found[tool.name] = tool
    return found


def _call(given: Any, where: str, offered: Mapping[str, Tool]) -> ExpectedCall | None:
    if given is None:
        return None
    try:
        call = ExpectedCall.model_validate(given)
    except ValidationError as error:
        raise DataError(
            f"{where}: field 'call' is {shown(given)}: {_wrong(error)} Give a name and arguments."
        ) from error
    if call.name not in offered:
        raise DataError(
            f"{where}: the call is of {call.name!r}, which is not offered: offer it in 'tools' or call one of "
            f"{', '.join(offered)}."
        )
    if call.arguments is None:
        return call
    problems = check_call(Call(name=call.name, arguments=call.arguments), list(offered.values()))
    if problems:
        said = " ".join(problem.text for problem in problems[:3])
        raise DataError(f"{where}: the schema of {call.name} refuses the arguments. {said} Correct the call.")
    return call


def _schema_problem(row: dict[str, Any]) -> str:
    """Why these are no parameters of a tool, '' where they are: an object's JSON Schema, whose required names are
    there."""
    if "parameters" not in row:
        return "is missing"
    parameters = row["parameters"]
    if not isinstance(parameters, dict):
        return f"is {short(parameters)}, which is no object"
    if parameters.get("type") != "object":
        return f"has the type {short(parameters.get('type'))}, which must be 'object'"
    try:
        need_schema(Tool(name=str(row.get("name") or "tool"), parameters=parameters))
    except DataError as error:
        return f"is none ({str(error).partition(': ')[2].removesuffix(' Mend them.').rstrip('.')})"
    named = parameters.get("properties", {})
    unknown = [name for name in parameters.get("required", []) if name not in named]
    return f"requires {short(unknown[0])}, which is none of its properties" if unknown else ""


def _wrong(error: ValidationError | TypeError) -> str:
    """The first thing that is wrong, with its place and value."""
    if isinstance(error, TypeError):
        return f"{error}."
    first = error.errors(include_url=False)[0]
    place = ".".join(str(step) for step in first["loc"])
    return f"{place} is {shown(first['input'])}: {first['msg']}."
