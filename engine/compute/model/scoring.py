"""How likely an answer is, token by token, under one adapter or none. Knows nothing of what the figures are for."""

from collections.abc import Generator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from engine.compute.model.adapters import adapted
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.padding import batch_of
from engine.compute.model.room import by_halves, logit_bytes, rows_at_once
from engine.compute.team import divided
from engine.records.room import reading_bytes

# Of a processor. Logits are the memory: rows x answer tokens x vocabulary.
LOGITS_PER_BATCH = 60_000_000
ROWS_PER_BATCH = 32
TOKENS_PER_BATCH = 16_384


@divided("contexts", "answers")
def answer_nats(
    model: LoadedModel,
    contexts: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    *,
    adapter: str | None = None,
) -> Generator[None, None, list[list[float]]]:
    """Nats (negative log-likelihood) of each answer's tokens, each given its context and the tokens before it.

    An empty answer gives an empty list. Rows of similar length go through together. A context that leaves no room for
    its answer in the model's own context is cut at its beginning, as where it was asked.
    """
    limit = model.card.context_length or 1_000_000
    contexts = [
        context[max(0, len(context) + len(answer) - limit) :] for context, answer in zip(contexts, answers, strict=True)
    ]
    found: list[list[float]] = [[] for _ in answers]
    order = sorted((i for i, answer in enumerate(answers) if answer), key=lambda i: len(contexts[i]) + len(answers[i]))
    vocabulary = model.causal_lm.get_output_embeddings().weight.shape[0]

    def scored(group: Sequence[int]) -> Generator[None, None, list[list[float]]]:
        with torch.no_grad(), adapted(model, adapter):
            nats = _batch_nats(model, [contexts[i] for i in group], [answers[i] for i in group]).tolist()
        yield None
        return [row[len(row) - len(answers[i]) :] for i, row in zip(group, nats, strict=True)]

    while order:
        longest = max(len(answers[index]) for index in order)
        processor = min(ROWS_PER_BATCH, LOGITS_PER_BATCH // (vocabulary * (longest + 1)))
        logits = logit_bytes(model, longest + 1)
        rows = rows_at_once(model, logits, on_a_processor=processor)
        # Sorted by length, so the last row of the group is its longest.
        last = order[min(rows, len(order)) - 1]
        tokens = len(contexts[last]) + len(answers[last])
        row_bytes = logits + reading_bytes(model.card, tokens)
        rows = rows_at_once(model, row_bytes, on_a_processor=min(rows, TOKENS_PER_BATCH // tokens), most=rows)
        group, order = order[:rows], order[rows:]
        for index, nats in zip(group, (yield from by_halves(model, group, scored, row_bytes=row_bytes)), strict=True):
            found[index] = nats
    return found


def mean_nats(nats: Sequence[Sequence[float]]) -> float | None:
    """Mean over all tokens of all rows; None when there is no token."""
    tokens = sum(len(row) for row in nats)
    return sum(sum(row) for row in nats) / tokens if tokens else None


def _batch_nats(
    model: LoadedModel, contexts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]
) -> Float[Tensor, "prompt answer_token"]:
    """Right-aligned nats; columns left of a shorter answer belong to its context and mean nothing."""
    longest = max(len(answer) for answer in answers)
    rows = [[*context, *answer] for context, answer in zip(contexts, answers, strict=True)]
    ids, attention, positions, *_ = batch_of(model, rows, side="left")
    logits = model.causal_lm(
        input_ids=ids,
        attention_mask=attention,
        position_ids=positions,
        use_cache=False,
        logits_to_keep=min(longest + 1, ids.shape[1]),
    ).logits
    wanted = ids[:, ids.shape[1] - (logits.shape[1] - 1) :]
    return torch.nn.functional.cross_entropy(logits[:, :-1].float().transpose(1, 2), wanted, reduction="none").cpu()
