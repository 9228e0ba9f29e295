"""The part of an evaluation with a harmfulness probe beside both models. Knows nothing of reports."""

from collections.abc import Generator, Mapping, Sequence
from typing import Literal

from engine.compute.evaluation.attacks.attempt import Options
from engine.compute.evaluation.probed import Probed, probed_outcomes
from engine.compute.evaluation.runner import Judge
from engine.compute.model.harmfulness import Probe
from engine.compute.steps import told
from engine.jobs.subjects import Subject, attacked, options_of
from engine.records.evaluation.attacks import ATTACKS
from engine.records.evaluation.counts import SIDE_NAMES, Count, Side, count
from engine.records.evaluation.findings import WithProbe
from engine.records.evaluation.plan import AttackChoice, EvaluationPlan
from engine.records.evaluation.rows import EvaluationRow, read_rows
from engine.records.events import Event, Progress
from engine.records.harmfulness import HarmfulnessProbes
from engine.records.settings import Settings

DIRECT = AttackChoice(name="direct")


def evaluated_with_probe(
    plan: EvaluationPlan,
    known: HarmfulnessProbes,
    probes: Mapping[Side, Probe],
    harmful: Sequence[EvaluationRow],
    benign: Sequence[EvaluationRow],
    subjects: Sequence[Subject],
    judge: Judge,
    settings: Settings,
    *,
    packages: str,
) -> Generator[Event, None, WithProbe]:
    """All attacks of the plan that say something beside a probe, benign requests, and borderline ones, which tell what
    its false alarms cost. What was asked and judged before is read again; searches that can aim past the probe do."""
    assert plan.probe
    borderline = read_rows("borderline", label="benign", settings=settings, limit=plan.limit)
    attacks: dict[str, dict[Side, Count]] = {choice.name: {} for choice in plan.attacks if _is_told(choice)}
    kept: dict[Literal["benign", "borderline"], dict[Side, Count]] = {"benign": {}, "borderline": {}}
    fired: dict[Literal["benign", "borderline"], dict[Side, int]] = {"benign": {}, "borderline": {}}
    without: dict[Side, Count] = {}
    for subject in subjects:
        side, probe = subject.side, probes[subject.side]
        for choice in plan.attacks:
            if not _is_told(choice):
                continue
            known_to_it = probe if ATTACKS[choice.name].beside_probe == "aims past" else None
            if known_to_it:
                yield from attacked(plan, choice, harmful, subject, judge, packages=packages, probe=probe)
            options = options_of(plan, choice, subject.model, packages=packages, probe=known_to_it)
            found = yield from _read(subject, harmful, choice, options, probe, judge)
            attacks[choice.name][side] = count(one.word for one in found.outcomes)
        asked = yield from attacked(plan, DIRECT, borderline, subject, judge, what="borderline requests")
        without[side] = count(one.word for one in asked)
        options = Options(1, plan.seed, plan.new_tokens)
        sets: Mapping[Literal["benign", "borderline"], Sequence[EvaluationRow]]
        sets = {"benign": benign, "borderline": borderline}
        for label, rows in sets.items():
            found = yield from _read(subject, rows, DIRECT, options, probe, judge)
            kept[label][side] = count(one.word for one in found.outcomes)
            fired[label][side] = found.fired
    return WithProbe(
        kind=plan.probe,
        block=known.block,
        false_alarms=known.false_alarms if plan.false_alarms is None else plan.false_alarms,
        attacks=attacks,
        kept=kept,
        fired=fired,
        without=without,
    )


def _is_told(choice: AttackChoice) -> bool:
    return ATTACKS[choice.name].beside_probe != "none"


def _read(
    subject: Subject,
    rows: Sequence[EvaluationRow],
    choice: AttackChoice,
    options: Options,
    probe: Probe,
    judge: Judge,
) -> Generator[Event, None, Probed]:
    steps = probed_outcomes(
        subject.model, subject.adapter, rows, choice.name, options, probe, judge=judge, memory=subject.memory
    )
    reading = Progress(phase=f"harmfulness probe, {SIDE_NAMES[subject.side]}")
    return (yield from told(steps, lambda _: reading))
