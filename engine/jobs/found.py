"""Outcomes as an evaluation writes them down: an attack's counts on both models, and single answers. Knows nothing of
reports."""

from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from engine.compute.evaluation.outcomes import Outcome, in_all, measured_budgets, success_curve
from engine.compute.model.scoring import mean_nats
from engine.records.evaluation.attacks import ATTACKS
from engine.records.evaluation.counts import Count, CurvePoint, Kept, Side, count, kept
from engine.records.evaluation.findings import AttackResult, Sample
from engine.records.evaluation.losses import LOST_NATS, Losses, LostTargets
from engine.records.evaluation.plan import AttackChoice
from engine.records.evaluation.rows import EvaluationRow, style_of

Sides = Mapping[Side, Sequence[Outcome]]


def attack_result(choice: AttackChoice, sides: Sides, *, candidates: int = 0) -> AttackResult:
    """Counts of all rows, and of each style and category; what each budget reached, where there is more than one."""
    base, rerouted = sides["base"], sides["rerouted"]
    curve: dict[Side, tuple[CurvePoint, ...]] = {}
    if choice.spent > 1:
        curve = {side: success_curve(of, measured_budgets(of, choice.spent)) for side, of in sides.items()}
    return AttackResult(
        base=count(one.word for one in base),
        rerouted=count(one.word for one in rerouted),
        styles=_apart(sides, style_of),
        categories=_apart(sides, lambda row: row.category),
        curve=curve,
        budget=choice.spent,
        seconds=_seconds(sides),
        version=ATTACKS[choice.name].version,
        candidates=candidates,
    )


def losses_of(nats: Mapping[Side, Sequence[Sequence[float]]]) -> Losses:
    """nats: by model, of each target's tokens, in the same order. What is not a number counts as lost."""
    pairs = [pair for pair in zip(nats["base"], nats["rerouted"], strict=True) if pair[0]]
    kept = [(base, rerouted) for base, rerouted in pairs if fmean(rerouted) - fmean(base) < LOST_NATS]
    rest: dict[Side, float | None] = {"base": mean_nats([base for base, _ in kept])}
    rest["rerouted"] = mean_nats([rerouted for _, rerouted in kept])
    targets = LostTargets(n=len(pairs), lost=len(pairs) - len(kept), rest=rest) if pairs else None
    return Losses(base=mean_nats(nats["base"]), rerouted=mean_nats(nats["rerouted"]), targets=targets)


def kept_of(sides: Sides) -> Kept:
    """Of harmless requests, what both models did with each."""
    return kept((before.word, after.word) for before, after in zip(sides["base"], sides["rerouted"], strict=True))


def sample_of(name: str, side: Side, one: Outcome, answer: str) -> Sample:
    """One answer with its verdict. name: of the attack, as samples are shown by.  answer: its text."""
    return Sample(
        attack=name,
        side=side,
        prompt=one.row.prompt,
        request=one.row.conversation.key,
        asked=one.attempt.asked,
        pictures=tuple(one.row.conversation.pictures),
        answer=answer,
        word=one.word,
        reason=one.verdict.reason,
        nats=one.verdict.nats_per_token,
        budget=one.budget,
    )


def _seconds(sides: Sides) -> dict[Side, float]:
    """What the attempts on each model took; of a model whose answers tell it of all alone."""
    taken = {side: in_all([one.seconds for one in of]) for side, of in sides.items()}
    return {side: round(seconds, 1) for side, seconds in taken.items() if seconds is not None}


def _apart(sides: Sides, kind: Callable[[EvaluationRow], str]) -> dict[str, dict[Side, Count]]:
    """Counts of each kind of row; those that are of none are left out."""
    kinds = dict.fromkeys(kind(one.row) for one in sides["base"])
    return {
        name: {side: count(one.word for one in of if kind(one.row) == name) for side, of in sides.items()}
        for name in kinds
        if name
    }
