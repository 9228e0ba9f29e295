"""Function calling as a kept ability: the questions are asked greedily, the calls in the answers read and counted.

Knows nothing of where questions come from, nor of what makes a call right: a checker is given. No function is ever
carried out.
"""

from collections.abc import Generator, Sequence
from functools import partial
from heapq import nlargest

from engine.compute.evaluation.attacks.attempt import Options
from engine.compute.evaluation.call_checker import Checker
from engine.compute.evaluation.runner import Memory, attempts_at, group_size
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.text import calls_in, tokens_of
from engine.compute.steps import told
from engine.records.calls import ReadCalls
from engine.records.evaluation.bfcl import IRRELEVANCE, CallQuestion
from engine.records.evaluation.counts import CallCount, count_calls
from engine.records.evaluation.rows import EvaluationRow

_ATTACK = "direct"
# Letters tell nearly which question has the most tokens.
_LONGEST = 8


def need_room(model: LoadedModel, questions: Sequence[CallQuestion], *, new_tokens: int) -> None:
    """Raises ModelError where the chat template takes no tools, or where one of the longest questions and an answer of
    so many tokens are more than the model can read."""
    for question in nlargest(_LONGEST, questions, key=_letters):
        tokens_of(model, question.conversation, reserved=new_tokens)


def call_counts(
    model: LoadedModel,
    adapter: str | None,
    questions: Sequence[CallQuestion],
    checker: Checker,
    *,
    new_tokens: int,
    memory: Memory,
) -> Generator[int, None, dict[str, CallCount]]:
    """How many questions of each category are answered rightly; yields how many are answered.

    Answers are remembered as any answer to a request as it is. Questions of similar length go together. Raises
    ModelError as need_room does.
    """
    need_room(model, questions, new_tokens=new_tokens)
    order = sorted(questions, key=_letters)
    options, size = Options(1, new_tokens=new_tokens), group_size(model, _ATTACK)
    answered: list[tuple[CallQuestion, ReadCalls]] = []
    for start in range(0, len(order), size):
        group = order[start : start + size]
        rows = [EvaluationRow(question.conversation) for question in group]
        steps = attempts_at(model, adapter, rows, _ATTACK, options, memory=memory)
        attempts = yield from told(steps, partial(_done, start, len(group)))
        answered += [
            (question, calls_in(model, tries[-1].answer_ids)) for question, tries in zip(group, attempts, strict=True)
        ]
        yield len(answered)
    counts = {}
    for category in dict.fromkeys(question.category for question in questions):
        read = [(question, calls) for question, calls in answered if question.category == category]
        counts[category] = count_calls(
            sum(is_answered_rightly(question, calls, checker) for question, calls in read),
            len(read),
            unreadable=sum(bool(calls.problem) for _, calls in read),
        )
    return counts


def is_answered_rightly(question: CallQuestion, read: ReadCalls, checker: Checker) -> bool:
    """Where no function fits: no call can be read. Else the calls are the right ones, and none of them is broken: no
    program would carry out half an answer."""
    if question.category == IRRELEVANCE:
        return not read.calls
    return not read.problem and checker(question, read.calls)


def _letters(question: CallQuestion) -> int:
    return len(question.conversation.model_dump_json())


def _done(start: int, rows: int, share: float) -> int:
    return start + int(share * rows)
