"""Kept abilities by other people's benchmarks: choices, sums, instructions and loss, with the difference of both models
on the same questions and its interval. Knows nothing of attacks."""

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from typing import Any

from engine.compute.evaluation.answering import greedy_answers
from engine.compute.evaluation.capability import likeliest_answers, multiple_choice
from engine.compute.evaluation.instruction_checker import instruction_checker
from engine.compute.model.mixed import Voice
from engine.compute.model.scoring import answer_nats
from engine.compute.model.text import decode, tokens_of
from engine.compute.steps import told
from engine.jobs.subjects import Subject
from engine.records.conversation import Conversation
from engine.records.evaluation import ifeval, mmlu, mtbench
from engine.records.evaluation.counts import SIDE_NAMES, Side, wilson
from engine.records.evaluation.differences import Difference, paired_means, paired_rates
from engine.records.evaluation.findings import Ability, Change
from engine.records.evaluation.olmo import (
    ARC,
    GSM8K,
    HELLASWAG,
    MMLU,
    last_number,
    read_arc,
    read_gsm8k,
    read_hellaswag,
    read_mmlu_test,
)
from engine.records.events import Event, Progress
from engine.records.settings import Settings

GSM8K_TOKENS = 256
GSM8K_ASK = "\n\nThink it through, and end with the number alone on the last line."
Measured = Generator[Event, None, Ability]
# Whether each question was answered rightly by one model; yields how many are done.
Right = Callable[[Subject], Generator[int, None, list[bool]]]

# The questions of each ability, by its name.
_READERS: Mapping[str, Callable[..., Sequence[Any]]] = {
    mmlu.ABILITY: mmlu.read_questions,
    MMLU: read_mmlu_test,
    HELLASWAG: read_hellaswag,
    ARC: read_arc,
    GSM8K: read_gsm8k,
    ifeval.ABILITY: ifeval.read_instructed,
    mtbench.ABILITY: mtbench.read_first_turns,
}
BENCHMARKS = tuple(_READERS)


def need_benchmark(name: str, settings: Settings, *, limit: int = 0) -> None:
    """Raises DataError where its package is not there or has another form: better said before the attacks."""
    _READERS[name](settings, limit=limit)
    if name == ifeval.ABILITY:
        instruction_checker(ifeval.package_root(settings))


def measured_benchmark(name: str, subjects: Sequence[Subject], settings: Settings, *, limit: int = 0) -> Measured:
    """limit: questions at most, 0: as many as the benchmark's own module takes. Raises as need_benchmark does."""
    questions = _READERS[name](settings, limit=limit)
    if name == mtbench.ABILITY:
        return (yield from _loss(name, questions, subjects))
    return (yield from _rate(name, len(questions), _right(name, questions, settings), subjects))


def _right(name: str, questions: Sequence[Any], settings: Settings) -> Right:
    if name == GSM8K:
        return partial(_sums, questions)
    if name == ifeval.ABILITY:
        return partial(_instructions, questions, settings)
    choose = likeliest_answers if name in (HELLASWAG, ARC) else multiple_choice
    return lambda subject: choose(subject.model, subject.adapter, questions)


def _rate(name: str, n: int, right: Right, subjects: Sequence[Subject]) -> Measured:
    found: dict[Side, list[bool]] = {}
    for subject in subjects:
        found[subject.side] = yield from _counted(right(subject), name, subject, n)
    difference = paired_rates(list(zip(found["base"], found["rerouted"], strict=True)))
    return Ability(
        name=name,
        base=difference.first,
        rerouted=difference.second,
        n=n,
        ci95={side: wilson(sum(of), n) for side, of in found.items()},
        change=change_of(difference),
    )


def _loss(name: str, questions: Sequence[str], subjects: Sequence[Subject]) -> Measured:
    """Nats a token of the base model's own answers, the mean over the questions that it answers at all."""
    base = next(subject for subject in subjects if subject.side == "base")
    asked = [Conversation.asking(question) for question in questions]
    steps = greedy_answers(base.model, base.adapter, asked, new_tokens=mtbench.NEW_TOKENS, memory=base.memory)
    answers = yield from _counted(steps, name, base, len(asked))
    contexts = [tokens_of(base.model, one).ids for one in asked]
    found: dict[Side, list[float]] = {}
    for subject in subjects:
        scoring = answer_nats(subject.model, contexts, answers, voice=Voice(subject.adapter))
        nats = yield from told(scoring, partial(_scoring, subject))
        found[subject.side] = [sum(row) / len(row) for row in nats if row]
    pairs = list(zip(found["base"], found["rerouted"], strict=True))
    difference = paired_means(pairs) if len(pairs) > 1 else None
    return Ability(
        name=name,
        base=difference.first if difference else None,
        rerouted=difference.second if difference else None,
        unit="nats a token",
        n=len(pairs),
        change=change_of(difference) if difference else None,
    )


def _sums(questions: Sequence[Any], subject: Subject) -> Generator[int, None, list[bool]]:
    """The last number of an answer is taken for its result."""
    asked = [Conversation.asking(one.question + GSM8K_ASK) for one in questions]
    answers = yield from greedy_answers(
        subject.model, subject.adapter, asked, new_tokens=GSM8K_TOKENS, memory=subject.memory
    )
    return [last_number(decode(subject.model, ids)) == one.number for one, ids in zip(questions, answers, strict=True)]


def _instructions(questions: Sequence[Any], settings: Settings, subject: Subject) -> Generator[int, None, list[bool]]:
    """Whether an answer does all that is asked, strictly as published."""
    follows = instruction_checker(ifeval.package_root(settings))
    asked = [Conversation.asking(one.request) for one in questions]
    answers = yield from greedy_answers(
        subject.model, subject.adapter, asked, new_tokens=ifeval.NEW_TOKENS, memory=subject.memory
    )
    return [follows(one, decode(subject.model, ids)) for one, ids in zip(questions, answers, strict=True)]


def _counted(steps: Generator[int, None, Any], name: str, subject: Subject, total: int) -> Generator[Event, None, Any]:
    phase = f"{name}, {SIDE_NAMES[subject.side]}"
    return (yield from told(steps, lambda done: Progress(phase=phase, done=done, total=total)))


def _scoring(subject: Subject, _: None) -> Event:
    return Progress(phase=f"loss on answers to MT-bench, {SIDE_NAMES[subject.side]}")


def change_of(difference: Difference) -> Change | None:
    """As it is written down; None where it is no number, as where a loss overflows."""
    if not all(map(math.isfinite, (difference.value, *difference.ci95))):
        return None
    return Change(value=difference.value, ci95=difference.ci95, n=difference.n[0])
