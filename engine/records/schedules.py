"""The weights of both losses over the steps. Pure arithmetic; the form plots what training uses."""

import math
from typing import NamedTuple

from engine.records.spec_losses import ScheduleSpec


class Weights(NamedTuple):
    reroute: float
    retain: float


def weights(schedule: ScheduleSpec, step: int, steps: int) -> Weights:
    """Weights of the rerouting and the retain loss at an optimizer step (from 0) of a run of `steps`.

    linear is the paper's (section 3.2): alpha (1 - t/2T) and alpha t/2T, where the horizon 2T is twice the steps
    unless given and t counts from the schedule's `first_step` (the published code counts from 1). cosine follows half
    a cosine instead, constant keeps both at alpha, step swaps alpha from the one to the other, custom is straight
    between its key points and flat beyond them.
    """
    progress = min((step + schedule.first_step) / (schedule.horizon or 2 * steps), 1.0)
    alpha = schedule.alpha
    if schedule.kind == "linear":
        return Weights(alpha * (1 - progress), alpha * progress)
    if schedule.kind == "cosine":
        share = (1 + math.cos(math.pi * progress)) / 2
        return Weights(alpha * share, alpha * (1 - share))
    if schedule.kind == "constant":
        return Weights(alpha, alpha)
    if schedule.kind == "step":
        return Weights(alpha, 0.0) if progress < schedule.switch_at else Weights(0.0, alpha)
    return _between_key_points(schedule, progress)


def _between_key_points(schedule: ScheduleSpec, progress: float) -> Weights:
    points = schedule.points
    if progress <= points[0].progress:
        left = right = points[0]
    elif progress >= points[-1].progress:
        left = right = points[-1]
    else:
        index = next(index for index, point in enumerate(points) if point.progress >= progress)
        left, right = points[index - 1], points[index]
    width = right.progress - left.progress
    share = (progress - left.progress) / width if width else 0.0
    return Weights(
        schedule.alpha * (left.reroute + share * (right.reroute - left.reroute)),
        schedule.alpha * (left.retain + share * (right.retain - left.retain)),
    )
