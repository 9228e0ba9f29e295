"""Parameters of a tool as sets of function calling write them, as JSON Schema: `dict`, `float`, `tuple`, lists of named
parameters, `required` at the parameter itself. Knows nothing of files, tools or models."""

import re
from collections.abc import Mapping
from typing import Any

from engine.records.errors import DataError

# The type words of Python, Java and JavaScript in such sets; None: any value.
_TYPES: dict[str, str | None] = {
    **dict.fromkeys(("string", "str", "char", "text", "date", "datetime"), "string"),
    **dict.fromkeys(("integer", "int", "long", "short", "byte", "bigint"), "integer"),
    **dict.fromkeys(("number", "float", "double", "decimal"), "number"),
    **dict.fromkeys(("boolean", "bool"), "boolean"),
    **dict.fromkeys(("array", "list", "tuple", "set", "arraylist", "queue", "stack"), "array"),
    **dict.fromkeys(("object", "dict", "dictionary", "hashmap", "hashtable", "map"), "object"),
    **dict.fromkeys(("null", "none"), "null"),
    **dict.fromkeys(("any", ""), None),
}
# list[str], List<String>: what is inside says the items.
_HOLDING = re.compile(r"\s*(\w+)\s*[\[<(]\s*(.*?)\s*[\])>]\s*", re.DOTALL)
# How a type word may end: the parameter need not be given.
_OPTIONAL = re.compile(r"\s*(?:\(\s*optional\s*\)|,\s*optional)\s*\Z", re.IGNORECASE)
# Schemas under a name, a schema or several of them, and lists of schemas.
_BY_NAME = ("properties", "$defs", "definitions", "patternProperties")
_ONE_OR_MORE = ("items", "additionalProperties", "not", "contains", "anyOf", "oneOf", "allOf", "prefixItems")
# Nobody nests arguments deeper, and Python's own limit lies not far behind.
DEEPEST = 32


def json_schema(parameters: Any, where: str) -> dict[str, Any]:
    """The JSON Schema of an object with these parameters; names, descriptions and all else stay as they are.

    Read are a JSON Schema with type words of Python, Java or JavaScript; a list of parameters, each with its name; an
    object of `required` and `optional` lists of them; and parameters by their names alone. Raises DataError with the
    place and the value for a type that none of these knows, and for what has no such form.
    """
    if parameters is None or parameters == {} or parameters == []:
        return {"type": "object", "properties": {}}
    if isinstance(parameters, list):
        return _of_named(parameters, True, where)
    if not isinstance(parameters, Mapping):
        raise DataError(f"{where} is {_shown(parameters)}: it must be a JSON Schema or a list of named parameters.")
    lists = [parameters.get(name) for name in ("required", "optional")]
    if parameters.keys() <= {"required", "optional"} and any(
        isinstance(one, list) and any(isinstance(each, Mapping) for each in one) for one in lists
    ):
        needed = _of_named(lists[0] or [], True, f"{where}.required")
        other = _of_named(lists[1] or [], False, f"{where}.optional")
        return {**needed, "properties": other["properties"] | needed["properties"]}
    if "properties" not in parameters and not isinstance(parameters.get("type"), str):
        if not all(isinstance(one, Mapping) for one in parameters.values()):
            raise DataError(f"{where} is {_shown(dict(parameters))}: it must be a JSON Schema with 'properties'.")
        parameters = {"type": "object", "properties": parameters}
    return {"type": "object", "properties": {}} | _schema(parameters, where, 0)


def _schema(given: Any, where: str, depth: int) -> Any:
    if depth > DEEPEST:
        raise DataError(f"{where} is nested deeper than {DEEPEST} levels: no tool takes that.")
    if not isinstance(given, Mapping):
        return given
    found = {name: value for name, value in given.items() if name != "type"}
    if "type" in given:
        found = _typed(given["type"], where) | found
    for name in _BY_NAME:
        if isinstance(found.get(name), Mapping):
            found[name] = {each: _schema(one, f"{where}.{name}.{each}", depth + 1) for each, one in found[name].items()}
    for name in _ONE_OR_MORE:
        if isinstance(found.get(name), list):
            found[name] = [_schema(one, f"{where}.{name}", depth + 1) for one in found[name]]
        elif name in found:
            found[name] = _schema(found[name], f"{where}.{name}", depth + 1)
    if isinstance(found.get("items"), list):
        # A schema for each place, as it was written before 2020.
        found["prefixItems"] = found.pop("items")
    return _with_required(found)


def _with_required(schema: dict[str, Any]) -> dict[str, Any]:
    """`required: true` at a parameter says it of that parameter; JSON Schema says it around them."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return schema
    needed = [name for name, one in properties.items() if isinstance(one, Mapping) and one.get("required") is True]
    schema["properties"] = {
        name: {key: value for key, value in one.items() if key != "required" or not isinstance(value, bool)}
        if isinstance(one, Mapping)
        else one
        for name, one in properties.items()
    }
    listed = schema.get("required")
    if needed and (listed is None or isinstance(listed, list)):
        schema["required"] = list(dict.fromkeys([*(listed or []), *needed]))
    return schema


def _of_named(given: list[Any], needed: bool, where: str) -> dict[str, Any]:
    """An object of parameters that each say their own name. needed: whether one that does not say so is required."""
    properties: dict[str, Any] = {}
    required = []
    for number, one in enumerate(given):
        name = one.get("name") if isinstance(one, Mapping) else None
        if not isinstance(name, str) or not name:
            raise DataError(f"{where}[{number}] is {_shown(one)}: give the parameter a name.")
        if name in properties:
            raise DataError(f"{where}[{number}] is a second parameter {name!r}: leave one of the two out.")
        says_optional = isinstance(one.get("type"), str) and _OPTIONAL.search(one["type"]) is not None
        is_required = one.get("required", needed and not says_optional)
        rest = {key: value for key, value in one.items() if key not in ("name", "required")}
        if isinstance(is_required, bool):
            required += [name] if is_required else []
        else:
            rest["required"] = is_required
        properties[name] = _schema(rest, f"{where}.{name}", 1)
    schema = {"type": "object", "properties": properties}
    return schema | ({"required": required} if required else {})


def _typed(word: Any, where: str) -> dict[str, Any]:
    """What a type word comes to: its type, and its items where it holds some."""
    if isinstance(word, list):
        types = list(dict.fromkeys(_typed(one, where).get("type") for one in word))
        return {} if None in types else {"type": types}
    if not isinstance(word, str):
        raise DataError(f"{where}.type is {_shown(word)}: write a type such as string, or leave it out.")
    plain = _OPTIONAL.sub("", word).strip()
    if plain.lower() in _TYPES:
        kind = _TYPES[plain.lower()]
        return {} if kind is None else {"type": kind}
    holding = _HOLDING.fullmatch(plain)
    kind = _TYPES.get(holding[1].lower()) if holding else None
    if holding is None or kind not in ("array", "object"):
        raise DataError(
            f"{where}.type is {_shown(word)}, which is no type that is known here: write string, integer, "
            "number, boolean, array or object."
        )
    if kind == "object" or "," in holding[2]:
        return {"type": kind}
    return {"type": kind, "items": _typed(holding[2], where)}


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
