"""Requests by side: harmful ones, and harmless ones with the borderline among them apart. Knows nothing of models."""

from collections.abc import Iterable
from typing import NamedTuple

from engine.records.conversation import Label
from engine.records.evaluation.rows import EvaluationRow
from engine.records.evenly import evenly
from engine.records.prompts import Prompt
from engine.records.tool_prompts import ToolPrompt


class SidedRows(NamedTuple):
    """Requests of all sides. benign: without the borderline ones, which are counted apart."""

    harmful: list[EvaluationRow]
    benign: list[EvaluationRow]
    borderline: list[EvaluationRow]

    def __bool__(self) -> bool:
        return bool(self.harmful or self.benign or self.borderline)


def sided(rows: Iterable[tuple[Label, EvaluationRow]]) -> SidedRows:
    """Rows with their labels, by side."""
    found = SidedRows([], [], [])
    for label, row in rows:
        side = found.harmful if label == "harmful" else found.borderline if row.borderline else found.benign
        side.append(row)
    return found


def sided_prompts(prompts: Iterable[Prompt]) -> SidedRows:
    """Prompts as rows, by side."""
    return sided((prompt.label, row_of(prompt)) for prompt in prompts)


def row_of(prompt: Prompt) -> EvaluationRow:
    """A prompt as a row; one that says nothing of calls leaves open what is expected. That no call is due is said of
    benign requests alone: of a harmful one any call counts."""
    about = prompt if isinstance(prompt, ToolPrompt) else None
    is_open = about is None or (about.call is None and about.label == "harmful")
    return EvaluationRow(
        prompt.conversation,
        style=prompt.style,
        call=about.call if about else None,
        expects_call=None if is_open or about is None else about.expects_call,
        borderline=prompt.borderline,
        category=prompt.category,
    )


def limited(rows: SidedRows, limit: int) -> SidedRows:
    """At most so many rows a side, evenly taken; 0: all."""
    return SidedRows(*(evenly(side, limit) for side in rows))
