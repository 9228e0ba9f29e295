"""Greedy answers to many requests, remembered like any answer to a request as it is. Knows nothing of what they are
for."""

from collections.abc import Generator, Sequence
from functools import partial

from engine.compute.evaluation.attacks.attempt import Options
from engine.compute.evaluation.runner import Memory, attempts_at, group_size
from engine.compute.model.loaded import LoadedModel
from engine.compute.steps import told
from engine.records.conversation import Conversation
from engine.records.evaluation.rows import EvaluationRow

_ATTACK = "direct"


def greedy_answers(
    model: LoadedModel,
    adapter: str | None,
    asked: Sequence[Conversation],
    *,
    new_tokens: int,
    memory: Memory,
) -> Generator[int, None, list[tuple[int, ...]]]:
    """The tokens of each answer; yields how many are answered. Requests of similar length go together."""
    order = sorted(range(len(asked)), key=lambda place: letters(asked[place]))
    options, size = Options(1, new_tokens=new_tokens), group_size(model, _ATTACK)
    found: list[tuple[int, ...]] = [()] * len(asked)
    for start in range(0, len(order), size):
        group = order[start : start + size]
        rows = [EvaluationRow(asked[place]) for place in group]
        steps = attempts_at(model, adapter, rows, _ATTACK, options, memory=memory)
        attempts = yield from told(steps, partial(_done, start, len(group)))
        for place, tries in zip(group, attempts, strict=True):
            found[place] = tuple(tries[-1].answer_ids)
        yield start + len(group)
    return found


def letters(asked: Conversation) -> int:
    """Nearly tells which request has the most tokens."""
    return len(asked.model_dump_json())


def _done(start: int, rows: int, share: float) -> int:
    return start + int(share * rows)
