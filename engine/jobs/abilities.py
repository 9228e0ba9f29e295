"""Kept abilities of both models: borderline requests, other people's benchmarks, function calling, naming of pictures,
speed. Knows nothing of attacks."""

from collections.abc import Generator, Sequence
from typing import TypeVar

from engine.compute.evaluation.call_checker import call_checker
from engine.compute.evaluation.calls import call_counts, need_room
from engine.compute.evaluation.capability import SPEED_ROWS, chosen_words, tokens_per_second
from engine.compute.evaluation.outcomes import Outcome
from engine.compute.evaluation.runner import Judge
from engine.compute.model.loaded import LoadedModel
from engine.compute.steps import told
from engine.jobs.benchmarks import BENCHMARKS, change_of, measured_benchmark, need_benchmark
from engine.jobs.found import kept_of
from engine.jobs.subjects import Subject, attacked
from engine.records.errors import ModelError
from engine.records.evaluation.bfcl import (
    ABILITY,
    NEW_TOKENS,
    CallQuestion,
    chosen_categories,
    package_root,
    read_call_questions,
)
from engine.records.evaluation.counts import (
    SIDE_NAMES,
    SIDES,
    CallCount,
    Count,
    Side,
    Word,
    count,
    count_calls,
    mean_interval,
)
from engine.records.evaluation.differences import mean_difference, paired_difference, paired_rates
from engine.records.evaluation.findings import Ability, Change
from engine.records.evaluation.naming import ABILITY as NAMING
from engine.records.evaluation.naming import BEGUN, DESIGN, NAMES, WORDS, Naming, read_namings
from engine.records.evaluation.naming import CATEGORIES as NAMING_CATEGORIES
from engine.records.evaluation.plan import AttackChoice, EvaluationPlan
from engine.records.evaluation.rows import EvaluationRow, read_rows
from engine.records.events import Event, Progress
from engine.records.settings import Settings

# What naming is the mean of; the others are controls.
SEEN = (NAMES, DESIGN)
# What speed is measured on where no harmless requests are asked.
HARMLESS = "sample:benign"
Result = TypeVar("Result")
Measured = Generator[Event, None, Ability]


def need_abilities(plan: EvaluationPlan, model: LoadedModel, settings: Settings) -> None:
    """Raises DataError or ModelError where an ability is asked for and cannot be measured: better said before the
    attacks than behind them."""
    if NAMING in plan.abilities:
        if model.sight is None:
            raise ModelError(f"{model.spec.name} sees no pictures: leave the ability '{NAMING}' out.")
        read_namings(settings, limit=plan.most_questions)
    for name in plan.abilities:
        if name in BENCHMARKS:
            need_benchmark(name, settings, limit=plan.most_questions)
    questions = _call_questions(plan, settings)
    if questions:
        call_checker(package_root(settings))
        need_room(model, questions, new_tokens=_call_tokens(plan))


def measure_abilities(
    plan: EvaluationPlan,
    benign: Sequence[EvaluationRow],
    subjects: Sequence[Subject],
    judge: Judge,
    settings: Settings,
    answered: dict[tuple[str, Side], list[Outcome]],
) -> Generator[Event, None, tuple[Ability, ...]]:
    """The abilities that the plan names, in its order; categories of function calling are one. Answers to requests are
    added to `answered`, by ability. benign: what speed is measured on; where empty, harmless requests that ship."""
    found = []
    for name in dict.fromkeys(name.partition(":")[0] for name in plan.abilities):
        if name in BENCHMARKS:
            found.append((yield from measured_benchmark(name, subjects, settings, limit=plan.most_questions)))
        elif name == ABILITY:
            found.append((yield from _calls(plan, subjects, settings)))
        elif name == NAMING:
            found.append((yield from naming(subjects, settings, limit=plan.most_questions)))
        elif name == "speed":
            rows = benign or read_rows(HARMLESS, label="benign", settings=settings, limit=SPEED_ROWS)
            found.append((yield from _speed(rows, subjects)))
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
    words: dict[Side, dict[str, Word]] = {}
    for subject in subjects:
        outcomes = yield from attacked(plan, AttackChoice(name="direct"), rows, subject, judge, what=f"{name} requests")
        answered[name, subject.side] = outcomes
        counts[subject.side] = count(one.word for one in outcomes)
        words[subject.side] = {str(place): one.word for place, one in enumerate(outcomes)}
    difference = paired_difference(words["base"], words["rerouted"])
    return Ability(
        name=name,
        base=counts["base"].rate,
        rerouted=counts["rerouted"].rate,
        n=counts["rerouted"].n,
        ci95={side: one.ci95 for side, one in counts.items()},
        counts=counts,
        change=change_of(difference) if difference else None,
        kept=kept_of({side: answered[name, side] for side in SIDES}),
    )


def _calls(plan: EvaluationPlan, subjects: Sequence[Subject], settings: Settings) -> Measured:
    """Share of questions that are answered by the right calls, the mean over the categories."""
    questions = _call_questions(plan, settings)
    checker = call_checker(package_root(settings))
    categories: dict[str, dict[Side, CallCount]] = {}
    for subject in subjects:
        steps = call_counts(
            subject.model,
            subject.adapter,
            questions,
            checker,
            new_tokens=_call_tokens(plan),
            memory=subject.memory,
        )
        counts = yield from _reported(steps, f"function calling, {SIDE_NAMES[subject.side]}", len(questions))
        for category, one in counts.items():
            categories.setdefault(category, {})[subject.side] = one
    means = {
        subject.side: mean_interval([sides[subject.side] for sides in categories.values()]) for subject in subjects
    }
    return Ability(
        name=ABILITY,
        base=means["base"][0],
        rerouted=means["rerouted"][0],
        n=len(questions),
        ci95={side: interval for side, (_, interval) in means.items()},
        categories=categories,
    )


def naming(subjects: Sequence[Subject], settings: Settings, *, limit: int = 0) -> Measured:
    """Share of held-out pictures whose kind is the likeliest word, the mean over held-out names and a held-out design;
    both controls stand beside them, and each kind apart. Raises DataError where the packages of pictures are not
    fetched."""
    rows = read_namings(settings, limit=limit)
    categories: dict[str, dict[Side, CallCount]] = {category: {} for category in NAMING_CATEGORIES}
    shown = {row.kind for row in rows if row.category in SEEN}
    kinds: dict[str, dict[Side, CallCount]] = {kind: {} for kind in WORDS if kind in shown}
    rights: dict[Side, list[tuple[Naming, bool]]] = {}
    for subject in subjects:
        asked = [row.conversation for row in rows]
        steps = chosen_words(subject.model, subject.adapter, asked, begun=BEGUN, words=WORDS)
        places = yield from _reported(steps, f"naming pictures, {SIDE_NAMES[subject.side]}", len(rows))
        rights[subject.side] = right = [
            (row, WORDS[place] == row.kind) for row, place in zip(rows, places, strict=True)
        ]
        for category, sides in categories.items():
            named = [is_right for row, is_right in right if row.category == category]
            sides[subject.side] = count_calls(sum(named), len(named))
        for kind, sides in kinds.items():
            named = [is_right for row, is_right in right if row.category in SEEN and row.kind == kind]
            sides[subject.side] = count_calls(sum(named), len(named))
    seen = [categories[category] for category in SEEN]
    means = {subject.side: mean_interval([sides[subject.side] for sides in seen]) for subject in subjects}
    return Ability(
        name=NAMING,
        base=means["base"][0] if "base" in means else None,
        rerouted=means["rerouted"][0] if "rerouted" in means else None,
        n=sum(next(iter(sides.values())).n for sides in seen),
        ci95={side: interval for side, (_, interval) in means.items()},
        categories=categories,
        kinds=kinds,
        change=_change_of_naming(rights),
    )


def _change_of_naming(rights: dict[Side, list[tuple[Naming, bool]]]) -> Change | None:
    """Of the mean over the categories that are no controls, by the pictures that both models were asked about."""
    if len(rights) < 2:
        return None
    pairs: dict[str, list[tuple[bool, bool]]] = {}
    for (row, before), (_, after) in zip(rights["base"], rights["rerouted"], strict=True):
        if row.category in SEEN:
            pairs.setdefault(row.category, []).append((before, after))
    return change_of(mean_difference([paired_rates(of) for of in pairs.values()])) if pairs else None


def _call_questions(plan: EvaluationPlan, settings: Settings) -> list[CallQuestion]:
    chosen = chosen_categories(plan.abilities)
    return [one for category in chosen for one in read_call_questions(settings, category, limit=plan.most_questions)]


def _call_tokens(plan: EvaluationPlan) -> int:
    return max(NEW_TOKENS, plan.new_tokens)


def _speed(rows: Sequence[EvaluationRow], subjects: Sequence[Subject]) -> Measured:
    speed: dict[Side, float] = {}
    for subject in subjects:
        steps = tokens_per_second(subject.model, subject.adapter, rows)
        speed[subject.side] = yield from _reported(steps, f"speed, {SIDE_NAMES[subject.side]}", 0)
    return Ability(name="speed", base=speed["base"], rerouted=speed["rerouted"], unit="tokens/s")


def _reported(steps: Generator[int, None, Result], phase: str, total: int) -> Generator[Event, None, Result]:
    return (yield from told(steps, lambda done: Progress(phase=phase, done=done, total=total)))
