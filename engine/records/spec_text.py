"""Specs as text: read, checked, changed field by field, and what is wrong in sentences. Knows nothing of what a field
means."""

import difflib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine.records.errors import SpecError
from engine.records.json_values import Unreadable, need_plain
from engine.records.spec import RunSpec, flat


def parse_spec(text: str, *, name: str = "the spec") -> RunSpec:
    """A spec from JSON text. Raises SpecError with the field, the value and what is allowed."""
    try:
        content = json.loads(text)
        need_plain(content)
    except Unreadable as error:
        raise SpecError(f"{name} cannot be read, since {error}. Load a file that this workbench wrote.") from error
    except ValueError as error:
        raise SpecError(f"{name} is not JSON: {error}. Load a file that this workbench wrote.") from error
    if isinstance(content, dict):
        # Specs of the first version did not say so.
        content = {"version": 1} | content
    return build_spec(content, name=name)


def build_spec(content: Any, *, name: str = "the spec") -> RunSpec:
    """A spec from nested dicts. Raises SpecError with the field, the value and what is allowed."""
    try:
        return RunSpec.model_validate(content)
    except ValidationError as error:
        raise SpecError(f"{name}: " + " ".join(_sentence(problem) for problem in error.errors())) from error


def read_spec(path: Path) -> RunSpec:
    """Read a spec file. Raises SpecError when it is missing, unreadable or wrong."""
    try:
        return parse_spec(path.read_text(encoding="utf-8"), name=path.name)
    except (OSError, ValueError) as error:
        raise SpecError(f"The spec file {path} cannot be read: {error}. Give the path of a JSON file.") from error


def with_fields(spec: RunSpec, changes: Mapping[str, Any], *, name: str = "the spec") -> RunSpec:
    """The spec with some fields, under dotted names, changed. Raises SpecError for a field that does not exist and for
    a value that it cannot have."""
    content = spec.model_dump(mode="json")
    for path, value in changes.items():
        _need_field(path)
        part, dot, field = path.partition(".")
        if dot:
            content[part][field] = value
        else:
            content[part] = value
    return build_spec(content, name=name)


def read_assignments(given: Iterable[str]) -> dict[str, Any]:
    """Fields and values from texts such as 'optimizer.steps=80': texts as they stand, all else as JSON. The last one
    counts. Raises SpecError for what is no such text or field."""
    standard = flat(RunSpec())
    found: dict[str, Any] = {}
    for text in given:
        path, equals, value = text.partition("=")
        if not equals:
            raise SpecError(f"'{text}' sets nothing: write a field and its value, such as optimizer.steps=80.")
        _need_field(path)
        try:
            found[path] = value if isinstance(standard[path], str) else json.loads(value)
        except ValueError as error:
            raise SpecError(
                f'{path} = {value!r} is no JSON value: write a number, true or false, or a list such as ["question"].'
            ) from error
    return found


def assignment(path: str, value: Any) -> str:
    """What read_assignments reads: 'optimizer.steps=80'."""
    return f"{path}={value if isinstance(value, str) else json.dumps(value)}"


def _need_field(path: str) -> None:
    known = flat(RunSpec())
    if path not in known:
        near = difflib.get_close_matches(path, known, n=1, cutoff=0.5)
        advice = f"did you mean '{near[0]}'?" if near else f"a field is written as '{next(iter(known))}'."
        raise SpecError(f"There is no field '{path}' in a spec: {advice}")


def _sentence(problem: Any) -> str:
    """One problem that pydantic found, as a sentence."""
    where = ".".join(str(part) for part in problem["loc"]) or "the whole"
    if problem["type"] == "extra_forbidden":
        return f"The key '{where}' is unknown: remove it or correct its spelling."
    message = problem["msg"].removeprefix("Value error, ").rstrip(".")
    value = problem["input"]
    if isinstance(value, str | int | float | None):
        return f"{where} = {value!r}: {message}."
    return f"{where}: {message}."
