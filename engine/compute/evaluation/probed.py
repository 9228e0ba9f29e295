"""What a harmfulness probe makes of answers: where it fires first in each, and what then becomes of a row.

An answer's tokens tell where the probe would have ended it: up to there it would have been the same. Knows nothing of
runs or plans.
"""

from collections.abc import Generator, Sequence
from typing import NamedTuple

import torch

from engine.compute.evaluation.attacks.attempt import Attempt, Options
from engine.compute.evaluation.judges import Verdict
from engine.compute.evaluation.outcomes import Outcome, outcome
from engine.compute.evaluation.runner import Judge, Memory, attempt_key
from engine.compute.model.activations import block_activations
from engine.compute.model.adapters import adapted
from engine.compute.model.harmfulness import Probe
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.padding import batch_of
from engine.compute.model.room import by_halves, tokens_at_once
from engine.compute.team import divided
from engine.records.evaluation.rows import EvaluationRow
from engine.records.harmfulness import ended_by_probe
from engine.records.room import reading_bytes

# Of a processor, in one pass.
GROUP_TOKENS = 2048


class Probed(NamedTuple):
    """What became of rows, and how many of their answers the probe ended."""

    outcomes: list[Outcome]
    fired: int


@divided("attempts")
def firings(
    model: LoadedModel, adapter: str | None, probe: Probe, attempts: Sequence[Attempt], new_tokens: int
) -> Generator[int, None, list[int]]:
    """For each attempt the token of its answer, from 1, at which the probe fires first, 0: at none; yields how many are
    read. The words that were put in the model's mouth are not its own: the probe passes over them, as over
    the very last of as many tokens as were asked for, which no model reads any more."""
    found = [attempt.fired or 0 for attempt in attempts]
    # As where they were asked: what leaves no room for an answer in the context is cut at its beginning.
    room = max(1, (model.card.context_length or 1_000_000) - new_tokens)
    texts = [((*one.prompt_ids, *one.prefill_ids)[-room:] + one.answer_ids) for one in attempts]
    unread = [place for place, one in enumerate(attempts) if one.fired is None and one.answer_ids]
    unread.sort(key=lambda place: len(texts[place]), reverse=True)

    def read(group: Sequence[int]) -> Generator[int, None, list[int]]:
        with torch.no_grad(), adapted(model, adapter):
            batch = batch_of(model, [texts[place] for place in group])
            outputs = block_activations(model, batch, [probe.block]).outputs[probe.block]
        above = (probe.scores(outputs) > probe.threshold).tolist()
        yield start + len(group)
        ends = []
        for place in group:
            length, said = len(texts[place]), len(attempts[place].answer_ids)
            ends.append((length - said, length - (said >= new_tokens)))
        return [
            row[first:end].index(True) + 1 if True in row[first:end] else 0
            for row, (first, end) in zip(above, ends, strict=True)
        ]

    start = 0
    while start < len(unread):
        tokens = tokens_at_once(model, on_a_processor=GROUP_TOKENS)
        group = unread[start : start + max(1, tokens // len(texts[unread[start]]))]
        row_bytes = reading_bytes(model.card, len(texts[group[0]]))
        for place, fired in zip(group, (yield from by_halves(model, group, read, row_bytes=row_bytes)), strict=True):
            found[place] = fired
        start += len(group)
    return found


def probed_outcomes(
    model: LoadedModel,
    adapter: str | None,
    rows: Sequence[EvaluationRow],
    name: str,
    options: Options,
    probe: Probe,
    *,
    judge: Judge,
    memory: Memory,
) -> Generator[int, None, Probed]:
    """What became of rows that were asked and judged before, with the probe beside the model."""
    keys = [attempt_key(name, options, row) for row in rows]
    attempts = [attempt for key in keys for attempt in memory.attempts[key]]
    fired = yield from firings(model, adapter, probe, attempts, options.new_tokens)
    found, places = [], iter(fired)
    for row, key in zip(rows, keys, strict=True):
        verdicts = memory.verdicts[f"{key}:{judge.identity}"]
        read = [ended(verdict, at) if (at := next(places)) else verdict for verdict in verdicts]
        found.append(outcome(row, memory.attempts[key], read))
    return Probed(found, sum(at > 0 for at in fired))


def ended(verdict: Verdict, tokens: int) -> Verdict:
    """Of an answer that the probe ended: a message stands in its place."""
    return Verdict("refused", ended_by_probe(tokens), verdict.nats_per_token)
