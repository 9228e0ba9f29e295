"""The two models of an evaluation, and one attack on one of them with its progress. Knows nothing of reports."""

from collections.abc import Generator, Sequence
from typing import NamedTuple

from engine.compute.evaluation.attacks.attempt import CANDIDATES, CANDIDATES_ON_A_PROCESSOR, Options
from engine.compute.evaluation.outcomes import Outcome
from engine.compute.evaluation.runner import Judge, Memory, memory_file, run_attack
from engine.compute.model.harmfulness import Probe
from engine.compute.model.loaded import LoadedModel
from engine.compute.steps import told
from engine.records.evaluation.attacks import ATTACKS
from engine.records.evaluation.counts import SIDE_NAMES, Side
from engine.records.evaluation.plan import AttackChoice, EvaluationPlan
from engine.records.evaluation.rows import EvaluationRow
from engine.records.events import Event, Progress
from engine.records.settings import Settings


class Subject(NamedTuple):
    """One of the two models, with what it answered before."""

    side: Side
    model: LoadedModel
    adapter: str | None
    memory: Memory


def subject_of(side: Side, model: LoadedModel, adapter: str | None, settings: Settings) -> Subject:
    name = adapter if side == "rerouted" else None
    return Subject(side, model, name, Memory(memory_file(settings.cache / "evaluations", model, name)))


def attacked(
    plan: EvaluationPlan,
    choice: AttackChoice,
    rows: Sequence[EvaluationRow],
    subject: Subject,
    judge: Judge,
    *,
    what: str = "",
    packages: str = "",
    probe: Probe | None = None,
) -> Generator[Event, None, list[Outcome]]:
    """Ask and judge all rows. what: the words of the progress bar, the attack's title unless given.  probe: what a
    search aims past."""
    options = options_of(plan, choice, subject.model, packages=packages, probe=probe)
    title = what or ATTACKS[choice.name].title + (" past the probe" if probe else "")
    steps = run_attack(subject.model, subject.adapter, rows, choice.name, options, judge=judge, memory=subject.memory)

    def progress(done: float) -> Progress:
        return Progress(phase=f"{title}, {SIDE_NAMES[subject.side]}", done=min(int(done), len(rows)), total=len(rows))

    return (yield from told(steps, progress))


def options_of(
    plan: EvaluationPlan, choice: AttackChoice, model: LoadedModel, *, packages: str = "", probe: Probe | None = None
) -> Options:
    """What an attack of a plan is given."""
    count = _candidates(model)
    return Options(choice.spent, plan.seed, plan.new_tokens, packages, probe, plan.pixels, candidates=count)


def candidates_of(attack: str, model: LoadedModel) -> int:
    """That an attack tries a step; 0 of one that tries none."""
    return _candidates(model) if attack == "gcg" else 0


def _candidates(model: LoadedModel) -> int:
    return CANDIDATES_ON_A_PROCESSOR if model.device.type == "cpu" else CANDIDATES
