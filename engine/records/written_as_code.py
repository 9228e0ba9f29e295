"""Calls that a model wrote as code: [name(argument=1), other(argument="x")]. Nothing is ever carried out."""

import ast
import re
import warnings
from typing import Any

from engine.records.conversation import Call
from engine.records.json_values import DEEPEST, Unreadable, need_plain

# A text in quotes, closed or not, or a bracket: possessive, so that no text takes more than linear time.
_TEXT_OR_BRACKET = re.compile(
    r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|\'[^\'\\]*+(?:\\.[^\'\\]*+)*+(?:\'|\\?\Z)|[\[\](){}]', re.DOTALL
)
_WORDS = {"true": True, "false": False, "null": None, "none": None}


def end_of_code(text: str, start: int) -> int | None:
    """Behind the bracket that closes the one at `start`; None where none does."""
    depth = 0
    for found in _TEXT_OR_BRACKET.finditer(text, start):
        if found[0] in "[({":
            depth += 1
        elif found[0] in "])}":
            depth -= 1
            if depth == 0:
                return found.end()
    return None


def calls_in_code(code: str, *, drop: str = "") -> tuple[Call, ...]:
    """The calls of a list of them, their arguments named and plain values. drop: an ending that is no part of a
    function's name. Raises Unreadable."""
    _need_shallow(code)
    try:
        with warnings.catch_warnings():
            # Of escapes that Python does not know, as in "C:\data".
            warnings.simplefilter("ignore")
            tree = ast.parse(code.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise Unreadable("it is no list of functions with named arguments") from None
    calls = tree.elts if isinstance(tree, ast.List) else []
    if not calls:
        raise Unreadable("it is no list of functions with named arguments")
    return tuple(_call_of(call, drop) for call in calls)


def _call_of(node: ast.expr, drop: str) -> Call:
    name = _name(node.func) if isinstance(node, ast.Call) else ""
    if not isinstance(node, ast.Call) or not name:
        raise Unreadable("it is no list of functions with named arguments")
    if node.args or any(keyword.arg is None for keyword in node.keywords):
        raise Unreadable(f"the arguments of {name[:80]!r} have no names")
    try:
        arguments = {str(keyword.arg): _value(keyword.value) for keyword in node.keywords}
    except RecursionError:
        raise Unreadable(f"it is nested deeper than {DEEPEST} levels") from None
    call = {"name": name.removesuffix(drop), "arguments": arguments}
    need_plain(call)
    return Call(**call)


def _name(node: ast.expr) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=str() | bool() | int() | float() | None as value):
            return value
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return [_value(element) for element in elements]
        case ast.Dict(keys=keys, values=values):
            pairs = [
                (None if key is None else _value(key), _value(value)) for key, value in zip(keys, values, strict=True)
            ]
            if all(isinstance(key, str) for key, _ in pairs):
                return dict(pairs)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.Name(id=word) if word in _WORDS:
            return _WORDS[word]
    raise Unreadable("an argument of it is no plain value")


def _need_shallow(code: str) -> None:
    depth = 0
    for found in _TEXT_OR_BRACKET.finditer(code):
        depth += (found[0] in "[({") - (found[0] in "])}")
        if depth > DEEPEST:
            raise Unreadable(f"it is nested deeper than {DEEPEST} levels")
