"""How likely an answer is, token by token, under one voice. Knows nothing of what the figures are for."""

from collections.abc import Generator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from engine.compute.model.grouped_queries import without_copies
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.mixed import Voice
from engine.compute.model.openings import answered_together, opening_lengths
from engine.compute.model.padding import batch_of
from engine.compute.model.reading import read_inputs, read_prompts
from engine.compute.model.room import MOST_ROWS, answer_bytes, by_halves, logit_bytes, rows_at_once
from engine.compute.team import divided
from engine.records.room import reading_bytes

# Of a processor. Logits are the memory: rows x answer tokens x vocabulary.
LOGITS_PER_BATCH = 120_000_000
ROWS_PER_BATCH = 32


@divided("contexts", "answers")
def answer_nats(
    model: LoadedModel,
    contexts: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    *,
    voice: Voice,
) -> Generator[None, None, list[list[float]]]:
    """Nats (negative log-likelihood) of each answer's tokens, each given its context and the tokens before it.

    An empty answer gives an empty list. What contexts open with alike is read once. A context that leaves no room for
    its answer in the model's own context is cut at its beginning, as where it was asked.
    """
    limit = model.card.context_length or 1_000_000
    # A token of the context is left, whatever the answer's length.
    answers = [answer[: max(1, limit - 1)] for answer in answers]
    contexts = [
        context[max(0, len(context) + len(answer) - limit) :] for context, answer in zip(contexts, answers, strict=True)
    ]
    found: list[list[float]] = [[] for _ in answers]
    order = _order(contexts, answers)
    vocabulary = model.causal_lm.get_output_embeddings().weight.shape[0]

    def scored(group: Sequence[int]) -> Generator[None, None, list[list[float]]]:
        return _batch_nats(model, voice, [contexts[i] for i in group], [answers[i] for i in group])

    while order:
        following = order[:ROWS_PER_BATCH] if model.device.type == "cpu" else order[:MOST_ROWS]
        longest = max(len(answers[index]) for index in following)
        tokens = max(len(contexts[index]) + len(answers[index]) for index in following)
        logits = logit_bytes(model, longest)
        row_bytes = logits + reading_bytes(model.card, tokens) + answer_bytes(model, tokens)
        processor = min(ROWS_PER_BATCH, LOGITS_PER_BATCH // (vocabulary * longest))
        rows = rows_at_once(model, row_bytes, on_a_processor=processor)
        rows = min(rows, answered_together(model, [contexts[index] for index in following], longest, most=rows))
        group, order = order[:rows], order[rows:]
        for index, nats in zip(group, (yield from by_halves(model, group, scored, row_bytes=row_bytes)), strict=True):
            found[index] = nats
    return found


def mean_nats(nats: Sequence[Sequence[float]]) -> float | None:
    """Mean over all tokens of all rows; None when there is no token."""
    tokens = sum(len(row) for row in nats)
    return sum(sum(row) for row in nats) / tokens if tokens else None


def _order(contexts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]) -> list[int]:
    """Places of the answers that are not empty: those whose contexts share an opening together, and then by length."""
    places = [place for place, answer in enumerate(answers) if answer]
    if not places:
        return []
    openings = opening_lengths([contexts[place] for place in places], [None] * len(places))
    opened = {place: tuple(contexts[place][:length]) for place, length in zip(places, openings, strict=True)}
    return sorted(places, key=lambda place: (opened[place], len(contexts[place]) + len(answers[place])))


def _batch_nats(
    model: LoadedModel, voice: Voice, contexts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]]
) -> Generator[None, None, list[list[float]]]:
    """Contexts end together, so that all answers begin in one column; yields between the parts that are read."""
    batch, cache, attention, ahead = yield from read_prompts(
        model, contexts, [voice] * len(contexts), to_come=max(map(len, answers))
    )
    # The last token of an answer foretells nothing of it.
    behind = batch_of(model, [answer[:-1] for answer in answers])
    columns = torch.cat([ahead, behind.ids], dim=1)
    seen = torch.cat([attention, behind.attention], dim=1)
    with torch.no_grad(), batch.active(), without_copies(model, columns):
        inputs = read_inputs(columns, seen, cache)
        logits = model.causal_lm(**inputs, logits_to_keep=behind.ids.shape[1] + 1).logits
    yield None
    # Row by row: all logits at once in float32 would take as much memory again.
    return [_nats(row[: len(answer)], answer).tolist() for row, answer in zip(logits, answers, strict=True)]


def _nats(logits: Float[Tensor, "answer_token vocabulary"], answer: Sequence[int]) -> Float[Tensor, " answer_token"]:
    wanted = torch.tensor(answer, device=logits.device)
    return torch.nn.functional.cross_entropy(logits.float(), wanted, reduction="none").cpu()
