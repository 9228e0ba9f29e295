"""Kept abilities of both models: borderline requests, multiple-choice questions, speed. Knows nothing of attacks."""

from collections.abc import Generator, Sequence
from typing import TypeVar

from engine.compute.evaluation.capability import multiple_choice, tokens_per_second
from engine.compute.evaluation.runner import Judge, Outcome
from engine.compute.steps import told
from engine.jobs.subjects import Subject, attacked
from engine.records.evaluation.findings import Ability, Count, Side, count, wilson
from engine.records.evaluation.mmlu import read_questions
from engine.records.evaluation.plan import AttackChoice, EvaluationPlan
from engine.records.evaluation.rows import EvaluationRow, read_rows
from engine.records.events import Event, Progress
from engine.records.settings import Settings

Result = TypeVar("Result")
Measured = Generator[Event, None, Ability]


def measure_abilities(
    plan: EvaluationPlan,
    benign: Sequence[EvaluationRow],
    subjects: Sequence[Subject],
    judge: Judge,
    settings: Settings,
    answered: dict[tuple[str, Side], list[Outcome]],
) -> Generator[Event, None, tuple[Ability, ...]]:
    """The abilities that the plan names, in its order. Answers to requests are added to `answered`, by ability."""
    found = []
    for name in plan.abilities:
        if name == "mmlu":
            found.append((yield from _mmlu(plan, subjects, settings)))
        elif name == "speed":
            found.append((yield from _speed(benign, subjects)))
        else:
            found.append((yield from _answered(name, plan, subjects, judge, settings, answered)))
    return tuple(found)


def _answered(
    name: str,
    plan: EvaluationPlan,
    subjects: Sequence[Subject],
    judge: Judge,
    settings: Settings,
    answered: dict[tuple[str, Side], list[Outcome]],
) -> Measured:
    """Share of harmless requests that get a coherent answer and no refusal."""
    rows = read_rows(name, label="benign", settings=settings, limit=plan.limit)
    counts: dict[Side, Count] = {}
    for subject in subjects:
        outcomes = yield from attacked(plan, AttackChoice(name="direct"), rows, subject, judge, what=f"{name} requests")
        answered[name, subject.side] = outcomes
        counts[subject.side] = count(one.word for one in outcomes)
    return Ability(
        name=name,
        base=counts["base"].rate,
        rerouted=counts["rerouted"].rate,
        n=counts["rerouted"].n,
        ci95={side: one.ci95 for side, one in counts.items()},
        counts=counts,
    )


def _mmlu(plan: EvaluationPlan, subjects: Sequence[Subject], settings: Settings) -> Measured:
    questions = read_questions(settings, limit=plan.limit)
    correct: dict[Side, int] = {}
    for subject in subjects:
        steps = multiple_choice(subject.model, subject.adapter, questions)
        answered = yield from _reported(steps, f"MMLU, {subject.side}", len(questions))
        correct[subject.side] = answered.correct
    n = len(questions)
    return Ability(
        name="mmlu",
        base=correct["base"] / n,
        rerouted=correct["rerouted"] / n,
        n=n,
        ci95={side: wilson(right, n) for side, right in correct.items()},
    )


def _speed(rows: Sequence[EvaluationRow], subjects: Sequence[Subject]) -> Measured:
    speed: dict[Side, float] = {}
    for subject in subjects:
        steps = tokens_per_second(subject.model, subject.adapter, rows)
        speed[subject.side] = yield from _reported(steps, f"speed, {subject.side}", 0)
    return Ability(name="speed", base=speed["base"], rerouted=speed["rerouted"], unit="tokens/s")


def _reported(steps: Generator[int, None, Result], phase: str, total: int) -> Generator[Event, None, Result]:
    return (yield from told(steps, lambda done: Progress(phase=phase, done=done, total=total)))
