"""Whether a call fits the tools that were offered: its name, and its arguments under the tool's JSON schema. Knows
nothing of models, and carries nothing out.

Read as JSON Schema 2020-12. `pattern`, `patternProperties` and `format` are not checked, nor `unevaluatedProperties`
beside patterns of names: a regular expression from a file of tools may take for ever. References stay within the
schema; nothing is fetched.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, Literal, NamedTuple

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012

from engine.records.conversation import Call, Tool
from engine.records.errors import DataError
from engine.records.json_values import Unreadable, need_plain

# As many problems of one call as anybody reads.
MOST_PROBLEMS = 20
TOO_DEEP = "it is nested too deep"

Kind = Literal["unknown tool", "missing", "type", "choice", "additional", "other"]


class Problem(NamedTuple):
    """path: of the argument, such as "to[0].name"; '' for the call itself.  text: a sentence that says it all."""

    kind: Kind
    path: str
    text: str


def check_call(call: Call, tools: Sequence[Tool]) -> tuple[Problem, ...]:
    """What is wrong with a call, at most MOST_PROBLEMS; nothing where it fits. Where a schema lists properties and does
    not say whether there may be others, there may be none: an argument that the tool does not know is made up.

    Raises DataError where the schema of the tool that is called is none.
    """
    tool = tool_named(call.name, tools)
    if tool is None:
        offered = ", ".join(tool.name for tool in tools[:MOST_PROBLEMS]) or "none"
        more = f" and {len(tools) - MOST_PROBLEMS} more" if len(tools) > MOST_PROBLEMS else ""
        said = f"There is no tool {call.name[:80]!r}: call one of those that are offered ({offered}{more})."
        return (Problem("unknown tool", "", said),)
    need_schema(tool)
    try:
        need_plain(call.arguments)
    except Unreadable as error:
        return (Problem("other", "", f"The call cannot be checked, since {error}."),)
    try:
        errors = _validator(tool).iter_errors(call.arguments)
        return tuple(islice(_problems(errors), MOST_PROBLEMS))
    except RecursionError as error:
        raise _no_schema(tool, "it refers to itself without end") from error
    except Unresolvable as error:
        raise _no_schema(tool, f"it refers to {_shown(error.ref)}, and holds no schema there") from error
    except OverflowError:
        return (Problem("other", "", "The call cannot be checked, since it holds a number too large to compare."),)


def kept_texts(tool: Tool, written: Mapping[str, tuple[str, Any]]) -> set[str]:
    """Of arguments as they were written and as the values that can be read there, those whose own schema takes the text
    and not the value. None where the tool's schema is none."""
    try:
        need_schema(tool)
    except DataError:
        return set()
    validator = _validator(tool)
    known = validator.schema.get("properties", {})

    def takes(name: str, value: Any) -> bool:
        try:
            return bool(validator.evolve(schema=known[name]).is_valid(value))
        except (RecursionError, Unresolvable, OverflowError):
            return False

    return {
        name
        for name, (text, value) in written.items()
        if name in known and takes(name, text) and not takes(name, value)
    }


def need_schema(tool: Tool) -> None:
    """Raises DataError where a tool's parameters are no JSON schema of an object."""
    try:
        text = json.dumps(tool.parameters)
    except RecursionError as error:
        raise _no_schema(tool, TOO_DEEP) from error
    if problem := _problem_of_schema(text):
        raise _no_schema(tool, problem)


@lru_cache(maxsize=4096)
def _problem_of_schema(text: str) -> str:
    """'' for a schema of an object. Files name few tools in many rows, and one takes a millisecond."""
    try:
        schema = json.loads(text)
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        where = "".join(f".{part}" for part in error.absolute_path).lstrip(".")
        at = f" at {where}" if where else ""
        return f"{_shown(error.instance)}{at} is not what JSON Schema has there"
    except RecursionError:
        return TOO_DEEP
    resolver = Registry().with_resource("", DRAFT202012.create_resource(schema)).resolver()
    for reference in _references(schema):
        try:
            Draft202012Validator.check_schema(resolver.lookup(reference).contents)
        except (Unresolvable, SchemaError, ValueError, TypeError, KeyError):
            return f"it refers to {_shown(reference)}, and holds no schema there"
    kind = schema.get("type", "object")
    return "" if kind == "object" else f"its type is {_shown(kind)}, and arguments are an object"


def _references(schema: Any) -> Iterator[str]:
    """All that a schema refers to. Its nesting was looked at before."""
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for one in schema.values():
            yield from _references(one)
    elif isinstance(schema, list):
        for one in schema:
            yield from _references(one)


def tool_named(name: str, tools: Sequence[Tool]) -> Tool | None:
    """The first tool of this name."""
    return next((tool for tool in tools if tool.name == name), None)


# Schemas of the same object beside `properties`, one or several, and those under the name of an argument.
_PARTS = ("allOf", "anyOf", "oneOf", "if", "then", "else", "dependentSchemas")
# What may name arguments that are not seen at once.
_OPEN = ("$ref", "$dynamicRef", "patternProperties", "additionalProperties", "unevaluatedProperties")
# Values that a schema holds, which are no schemas.
_DATA = ("const", "enum", "default", "examples")


def _validator(tool: Tool) -> Any:
    schema = _without_dialects(tool.parameters)
    parts = list(_parts(schema))
    if "properties" in schema and not any(name in part for part in (schema, *parts) for name in _OPEN):
        named = {name: True for part in parts for name in part.get("properties", {})}
        schema = {**schema, "properties": named | schema["properties"], "additionalProperties": False}
    kind = _PatternedValidator if _has_patterns(schema) else _Validator
    return kind(schema, registry=Registry())


def _has_patterns(schema: Any) -> bool:
    if isinstance(schema, dict):
        return bool(schema.get("patternProperties")) or any(map(_has_patterns, schema.values()))
    return isinstance(schema, list) and any(map(_has_patterns, schema))


def _parts(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All schemas of the same object within one."""
    for name in _PARTS:
        given = schema.get(name, [])
        within = given if isinstance(given, list) else given.values() if name == "dependentSchemas" else [given]
        for part in within:
            if isinstance(part, dict):
                yield part
                yield from _parts(part)


def _without_dialects(schema: Any) -> Any:
    """Without `$schema`: by that word the library would go over to a validator of its own within a schema."""
    if isinstance(schema, dict):
        return {
            name: one if name in _DATA else _without_dialects(one)
            for name, one in schema.items()
            if name != "$schema" or not isinstance(one, str)
        }
    return [_without_dialects(one) for one in schema] if isinstance(schema, list) else schema


def _unchecked(*_: Any) -> Iterator[ValidationError]:
    return iter(())


def _additional(validator: Any, allowed: Any, given: Any, schema: dict[str, Any]) -> Iterator[ValidationError]:
    """As the library's own, but where there are patterns of names any name may fit."""
    if not isinstance(given, dict) or schema.get("patternProperties"):
        return
    for name in given:
        if name in schema.get("properties", {}):
            continue
        if allowed is False:
            yield ValidationError(name)
        elif isinstance(allowed, dict):
            yield from validator.descend(given[name], allowed, path=name)


def _required(_validator: Any, names: Sequence[str], given: Any, _schema: Any) -> Iterator[ValidationError]:
    if isinstance(given, dict):
        yield from (ValidationError(name) for name in names if name not in given)


_Validator = extend(
    Draft202012Validator,
    {
        "pattern": _unchecked,
        "patternProperties": _unchecked,
        "additionalProperties": _additional,
        "required": _required,
    },
)
# Which names are left over there is told by patterns of this schema and of all that it refers to.
_PatternedValidator = extend(_Validator, {"unevaluatedProperties": _unchecked})


def _problems(errors: Iterator[ValidationError]) -> Iterator[Problem]:
    for error in errors:
        path = _path(error.absolute_path)
        wanted, given = error.validator_value, error.instance
        argument = f"Argument {path}" if path else "The arguments as a whole"
        match error.validator:
            case "required":
                path = _path([*error.absolute_path, error.message])
                yield Problem("missing", path, f"Argument {path} is missing: the tool requires it.")
            case "additionalProperties":
                path = _path([*error.absolute_path, error.message])
                known = ", ".join(islice(error.schema.get("properties", {}), MOST_PROBLEMS)) or "none"
                yield Problem("additional", path, f"Argument {path} is unknown to the tool: it takes {known[:300]}.")
            case "type":
                kinds = wanted if isinstance(wanted, str) else " or ".join(wanted)
                yield Problem("type", path, f"{argument} is {_shown(given)} where the tool takes {kinds}.")
            case "enum" | "const":
                choices = wanted if error.validator == "enum" else [wanted]
                named = ", ".join(_shown(choice) for choice in choices[:MOST_PROBLEMS])
                yield Problem("choice", path, f"{argument} is {_shown(given)}: choose one of {named[:300]}.")
            case rule:
                said = f"{argument} is {_shown(given)}, against the tool's rule {rule}: {_shown(wanted)}."
                yield Problem("other", path, said)


def _path(parts: Any) -> str:
    """to[0].name"""
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".")
    return path if len(path) <= 120 else f"{path[:120]}..."


def _shown(value: Any) -> str:
    try:
        # A long text is cut before it is written, a long list behind.
        text = json.dumps(value[:100] if isinstance(value, str) else value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:80]} ..."


def _no_schema(tool: Tool, reason: str) -> DataError:
    return DataError(
        f"The parameters of the tool {tool.name!r} are no JSON schema of its arguments: {reason}. Mend them."
    )
