"""What was measured of a curve of successes by budget. Knows nothing of how searches go."""

from collections.abc import Mapping

from engine.records.evaluation.attacks import ATTACKS, looks_of
from engine.records.evaluation.counts import CurvePoint, Side
from engine.records.evaluation.findings import AttackResult

# Of a search that is answered half-way and at its end.
SEARCHED = "step"


def measured_curves(attack: str, result: AttackResult) -> Mapping[Side, tuple[CurvePoint, ...]]:
    """The points of each model that its own answers made: older files have at each budget at which either model first
    complied a point of both. attack: its name."""
    if ATTACKS[attack].unit != SEARCHED:
        return result.curve
    answered = {look for most in (ATTACKS[attack].brief, result.budget) if most for look in _looks(attack, most)}
    return {
        side: tuple(
            point
            for place, point in enumerate(points)
            if point.budget in answered or point.complied > (points[place - 1].complied if place else 0)
        )
        for side, points in result.curve.items()
    }


def _looks(attack: str, budget: int) -> set[int]:
    return {max(1, budget // 2), *looks_of(attack, budget)}
