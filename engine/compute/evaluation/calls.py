"""Function calling as a kept ability: the questions are asked greedily, the calls in the answers read and counted.

Knows nothing of where questions come from, nor of what makes a call right: a checker is given. No function is ever
carried out.
"""

from collections.abc import Generator, Sequence
from heapq import nlargest

from engine.compute.evaluation.answering import greedy_answers, letters
from engine.compute.evaluation.call_checker import Checker
from engine.compute.evaluation.runner import Memory
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.text import calls_in, tokens_of
from engine.records.calls import ReadCalls
from engine.records.evaluation.bfcl import IRRELEVANCE, CallQuestion
from engine.records.evaluation.counts import CallCount, count_calls

# Letters tell nearly which question has the most tokens: so many are looked at.
_LONGEST = 8


def need_room(model: LoadedModel, questions: Sequence[CallQuestion], *, new_tokens: int) -> None:
    """Raises ModelError where the chat template takes no tools, or where one of the longest questions and an answer of
    so many tokens are more than the model can read."""
    for question in nlargest(_LONGEST, questions, key=lambda question: letters(question.conversation)):
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
    asked = [question.conversation for question in questions]
    answers = yield from greedy_answers(model, adapter, asked, new_tokens=new_tokens, memory=memory)
    # By the schemas of its tools: a number that is written as text is one or the other.
    answered = [
        (question, calls_in(model, ids, question.conversation.tools))
        for question, ids in zip(questions, answers, strict=True)
    ]
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
