"""The two attacks without any art: the request as it is, and the request with the answer's beginning given."""

from collections.abc import Sequence

from engine.compute.evaluation.attacks.attempt import Attempt, Attempts, Options, answers
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.text import tokens_of
from engine.records.evaluation.rows import EvaluationRow, prefill_of


def direct(model: LoadedModel, adapter: str | None, rows: Sequence[EvaluationRow], options: Options) -> Attempts:
    """The request as it is."""
    prompts = [tokens_of(model, row.conversation).ids for row in rows]
    found = yield from answers(model, adapter, prompts, options)
    return [[Attempt(1, p, tuple(a))] for p, a in zip(prompts, found, strict=True)]


def prefill(model: LoadedModel, adapter: str | None, rows: Sequence[EvaluationRow], options: Options) -> Attempts:
    """The request, and the first words of compliance put in the model's mouth."""
    texts = [tokens_of(model, row.conversation, begun=prefill_of(row)) for row in rows]
    found = yield from answers(model, adapter, [text.whole for text in texts], options)
    return [
        [Attempt(1, text.ids, tuple(ids), text.begun, prefill_of(row))]
        for text, ids, row in zip(texts, found, rows, strict=True)
    ]
