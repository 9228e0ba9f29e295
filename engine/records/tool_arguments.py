"""Whether a tool's parameters are a JSON Schema, and arguments what it asks for. By the package jsonschema where it is
installed; else the required names and the types of the first level are looked at."""

import importlib.util
from collections.abc import Mapping
from typing import Any

TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list, tuple),
    "object": (dict,),
    "null": (type(None),),
}


def schema_problem(parameters: Any) -> str:
    """Why these are no parameters of a tool, '' where they are: an object's JSON Schema."""
    if not isinstance(parameters, dict):
        return f"is {short(parameters)}, which is no object"
    if parameters.get("type") != "object":
        return f"has the type {short(parameters.get('type'))}, which must be 'object'"
    named = parameters.get("properties", {})
    if not isinstance(named, dict) or not all(isinstance(one, dict) for one in named.values()):
        return f"has the properties {short(named)}, which must be an object of schemas"
    required = parameters.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        return f"requires {short(required)}, which must be a list of names"
    unknown = [name for name in required if name not in named]
    if unknown:
        return f"requires {short(unknown[0])}, which is none of its properties"
    return _refused_schema(parameters) if _has_jsonschema() else ""


def argument_problems(parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[str]:
    """What is wrong with the arguments, each with the value; [] where the schema takes them. A name that the schema
    does not know is wrong too."""
    named = parameters.get("properties", {})
    found = [f"the argument {short(name)} is none of {_listed(named)}" for name in arguments if name not in named]
    if _has_jsonschema():
        return found + _refused_arguments(parameters, arguments)
    found += [f"the argument {name!r} is missing" for name in parameters.get("required", []) if name not in arguments]
    for name, value in arguments.items():
        wanted = named.get(name, {}).get("type")
        if isinstance(wanted, str) and wanted in TYPES and not _has_type(value, wanted):
            found.append(f"{name}: {short(value)} is not of type {wanted!r}")
        choices = named.get(name, {}).get("enum")
        if isinstance(choices, list) and value not in choices:
            found.append(f"{name}: {short(value)} is not one of {choices}")
    return found


def short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _has_jsonschema() -> bool:
    return importlib.util.find_spec("jsonschema") is not None


def _refused_schema(parameters: dict[str, Any]) -> str:
    import jsonschema

    try:
        jsonschema.Draft202012Validator.check_schema(parameters)
    except jsonschema.SchemaError as error:
        place = ".".join(str(step) for step in error.absolute_path)
        return f"is no JSON Schema at {place or 'its top'}: {error.message[:200]}"
    except RecursionError:
        return "is nested too deeply"
    return ""


def _refused_arguments(parameters: Mapping[str, Any], arguments: Mapping[str, Any]) -> list[str]:
    import jsonschema
    import referencing

    # An empty registry: a reference to another place is never fetched.
    validator = jsonschema.Draft202012Validator(dict(parameters), registry=referencing.Registry())
    try:
        errors = sorted(validator.iter_errors(dict(arguments)), key=lambda error: list(map(str, error.absolute_path)))
    except (referencing.exceptions.Unresolvable, RecursionError) as error:
        return [f"the schema cannot be followed ({type(error).__name__})"]
    return [_sentence(error.absolute_path, error.message) for error in errors]


def _sentence(path: Any, message: str) -> str:
    place = ".".join(str(step) for step in path)
    text = message if len(message) <= 160 else message[:157] + "..."
    return f"{place}: {text}" if place else text


def _has_type(value: Any, wanted: str) -> bool:
    if isinstance(value, bool):
        return wanted == "boolean"
    return isinstance(value, TYPES[wanted])


def _listed(names: Mapping[str, Any]) -> str:
    return ", ".join(names) or "its parameters, which are none"
