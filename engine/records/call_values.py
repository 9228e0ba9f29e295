"""What a value that a model wrote says as a call. Knows nothing of how it was written."""

from typing import Any

from engine.records.conversation import Call
from engine.records.json_values import Unreadable, need_plain, read_value

# An object that only has these is a call; with others, such as a description, it is something else with a name.
_OF_A_CALL = {"name", "arguments", "parameters", "id", "type"}


def is_like_a_call(value: Any) -> bool:
    value = _unwrapped(value)
    if not isinstance(value, dict) or not isinstance(value.get("name"), str) or not value.keys() <= _OF_A_CALL:
        return False
    given = value.get("arguments", value.get("parameters", ""))
    defines = isinstance(given, dict) and "arguments" not in value and isinstance(given.get("properties"), dict)
    return value.keys() >= {"arguments"} or (value.keys() >= {"parameters"} and not defines)


def call_of(value: Any) -> Call:
    """Raises Unreadable."""
    value = _unwrapped(value)
    if not isinstance(value, dict):
        raise Unreadable(f"it is {_kind(value)} and no JSON object", is_of_a_call=True)
    name = value.get("name")
    if not isinstance(name, str) or not name.strip():
        raise Unreadable("it has no name of a function", is_of_a_call=True)
    given = value.get("arguments", value.get("parameters"))
    if isinstance(given, str) and given.lstrip().startswith("{"):
        # Some write the arguments as a text that is JSON, as they travel between programs.
        given, _ = read_value(given.strip(), 0)
    given = {} if given is None else given
    if not isinstance(given, dict):
        raise Unreadable(f"the arguments of {name[:80]!r} are {_kind(given)} and no object", is_of_a_call=True)
    id = value.get("id")
    call = {"name": name.strip(), "arguments": given, "id": id if isinstance(id, str) else ""}
    need_plain(call)
    return Call(**call)


def _unwrapped(value: Any) -> Any:
    """{"type": "function", "function": {...}}, or a function's name under that word, as the call alone."""
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        return {**value["function"], "id": value.get("id")}
    if isinstance(value, dict) and isinstance(value.get("function"), str) and "name" not in value:
        return {"name": value["function"], **{key: one for key, one in value.items() if key != "function"}}
    return value


def _kind(value: Any) -> str:
    names = {str: "a text", list: "a list", bool: "a truth value", type(None): "nothing"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else "an object")
