"""The two attacks without any art: the request as it is, and the request with the answer's beginning given."""

from collections.abc import Sequence

from engine.compute.evaluation.attacks.attempt import Attempt, Attempts, Options, answers
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.text import request_ids, text_ids
from engine.records.evaluation.rows import EvaluationRow, prefill_of


def direct(model: LoadedModel, adapter: str | None, rows: Sequence[EvaluationRow], options: Options) -> Attempts:
    """The request as it is."""
    prompts = [request_ids(model, row.prompt) for row in rows]
    found = yield from answers(model, adapter, prompts, options)
    return [[Attempt(1, tuple(p), tuple(a))] for p, a in zip(prompts, found, strict=True)]


def prefill(model: LoadedModel, adapter: str | None, rows: Sequence[EvaluationRow], options: Options) -> Attempts:
    """The request, and the first words of compliance put in the model's mouth."""
    prompts = [request_ids(model, row.prompt) for row in rows]
    begun = [text_ids(model, prefill_of(row)) for row in rows]
    found = yield from answers(model, adapter, [p + b for p, b in zip(prompts, begun, strict=True)], options)
    return [
        [Attempt(1, tuple(p), tuple(a), tuple(b), prefill_of(row))]
        for p, b, a, row in zip(prompts, begun, found, rows, strict=True)
    ]
