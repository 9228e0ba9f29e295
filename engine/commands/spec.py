"""`python -m engine spec`: all fields of a spec, or one spec whole, as a file that can be trained."""

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import Any

from engine.records.presets import named_spec
from engine.records.settings import Settings
from engine.records.spec import RunSpec, field_description, flat
from engine.records.spec_text import read_assignments, with_fields

HEAD = """# The fields of a spec

What `python -m engine spec` prints. `python -m engine spec SPEC` prints one spec whole, as a file to change and train;
`--set FIELD=VALUE` changes a field of it. What a file leaves out has the default.
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "spec", metavar="SPEC.json", nargs="?", default="", help="print this one: a spec file, or a preset's name"
    )
    add_changes(command)


def add_changes(command: argparse.ArgumentParser) -> None:
    """What a command takes that reads a spec: see `spec_of`."""
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a field, such as optimizer.steps=80; may be given several times",
    )


def spec_of(options: argparse.Namespace) -> RunSpec:
    """A spec file or a preset, with the fields that --set changes."""
    spec = named_spec(options.spec) if options.spec else RunSpec()
    return with_fields(spec, read_assignments(options.set), name="--set")


def show(options: argparse.Namespace, settings: Settings) -> int:
    """Print the spec that is named or changed; with neither the table of fields."""
    if options.spec or options.set:
        print(spec_of(options).to_json(), end="")
    else:
        print(fields_table(), end="")
    return 0


def fields_table() -> str:
    """All fields in Markdown, a table for each part: values, default, what it is."""
    schema = RunSpec.model_json_schema()
    rows: dict[str, list[str]] = {}
    for name, default in flat(RunSpec()).items():
        part = name.rpartition(".")[0]
        values = _values(_property(schema, name), schema)
        cells = (f"`{name}`", values, f"`{json.dumps(default)}`", field_description(name))
        rows.setdefault(part, []).append("| " + " | ".join(cells) + " |")
    lines = [HEAD]
    for part, of in rows.items():
        lines += [f"## `{part}`", "", field_description(part)] if part else ["## Of the whole"]
        lines += ["", "| field | values | default | what it is |", "|---|---|---|---|", *of, ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _property(schema: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """What the schema says of a field."""
    found: Mapping[str, Any] = schema
    for name in path.split("."):
        found = _resolved(found["properties"][name], schema)
    return found


def _resolved(found: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = found.get("$ref")
    return schema["$defs"][reference.rpartition("/")[2]] if reference else found


def _values(field: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """What a field may hold, in words."""
    if choices := field.get("enum"):
        return ", ".join(f"`{json.dumps(choice)}`" for choice in choices)
    kind = field["type"]
    if kind == "array":
        item = _resolved(field["items"], schema)
        if item["type"] == "object":
            parts = (f"`{name}` ({_values(one, schema)})" for name, one in item["properties"].items())
            return f"a list of objects: {', '.join(parts)}"
        return "a list of texts"
    if kind in ("integer", "number"):
        return ", ".join((f"{kind}", *_bounds(field)))
    return {"boolean": "`true`, `false`", "string": "text"}[kind]


def _bounds(field: Mapping[str, Any]) -> Iterator[str]:
    for bound, words in (
        ("minimum", "from {:,}"),
        ("exclusiveMinimum", "above {:,}"),
        ("maximum", "to {:,}"),
        ("exclusiveMaximum", "below {:,}"),
    ):
        if bound in field:
            yield words.format(field[bound])
