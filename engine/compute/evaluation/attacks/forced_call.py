"""The forced call: the answer must begin with a call of the harmful function, which is put in the model's mouth.

Source: Zou et al. 2024 (arXiv:2406.04313), section 4.3: tool_choice of a function forces its name. Knows nothing of
verdicts.
"""

from collections.abc import Sequence

from engine.compute.evaluation.attacks.attempt import Attempt, Attempts, Options, answers
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.templates import CallStart
from engine.compute.model.text import begun_call, tokens_of
from engine.records.errors import DataError
from engine.records.evaluation.rows import EvaluationRow


def forced_call(model: LoadedModel, adapter: str | None, rows: Sequence[EvaluationRow], options: Options) -> Attempts:
    """Begun up to and with the function's name."""
    return (yield from _forced(model, adapter, rows, options, "name"))


def forced_arguments(
    model: LoadedModel, adapter: str | None, rows: Sequence[EvaluationRow], options: Options
) -> Attempts:
    """Begun up to where the arguments begin."""
    return (yield from _forced(model, adapter, rows, options, "arguments"))


def forced_name(row: EvaluationRow) -> str:
    """The function that the row expects to be called, else the first one that it offers. Raises DataError where it
    offers none."""
    if row.call is not None:
        return row.call.name
    if not row.conversation.tools:
        raise DataError(f"The request {row.prompt[:40]!r}... offers no tools, so no call of one can be forced.")
    return row.conversation.tools[0].name


def _forced(
    model: LoadedModel, adapter: str | None, rows: Sequence[EvaluationRow], options: Options, start: CallStart
) -> Attempts:
    begun = [begun_call(model, row.conversation, forced_name(row), start) for row in rows]
    texts = [tokens_of(model, row.conversation, begun=words) for row, words in zip(rows, begun, strict=True)]
    found = yield from answers(model, adapter, [text.whole for text in texts], options)
    return [
        [Attempt(1, text.ids, tuple(ids), text.begun, words)]
        for text, ids, words in zip(texts, found, begun, strict=True)
    ]
