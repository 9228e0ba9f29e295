"""Specs as text: read, checked, and what is wrong with one in sentences. Knows nothing of what a field means."""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from engine.records.errors import SpecError
from engine.records.spec import RunSpec


def parse_spec(text: str, *, name: str = "the spec") -> RunSpec:
    """A spec from JSON text. Raises SpecError with the field, the value and what is allowed."""
    try:
        content = json.loads(text)
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
        return parse_spec(path.read_text(), name=path.name)
    except (OSError, ValueError) as error:
        raise SpecError(f"The spec file {path} cannot be read: {error}. Give the path of a JSON file.") from error


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
