"""Learning rate and loss weights of a step, live changes included. Pure arithmetic."""

import math
from collections.abc import Sequence

from engine.records.events import ControlEvent
from engine.records.schedules import Weights, weights
from engine.records.spec import RunSpec


def learning_rate_at(spec: RunSpec, step: int, controls: Sequence[ControlEvent] = ()) -> float:
    """Learning rate of an optimizer step: warm-up, decay and live changes included."""
    optimizer = spec.optimizer
    rate = _live(controls, "learning_rate", step, optimizer.learning_rate)
    if step < optimizer.warmup_steps:
        return rate * (step + 1) / optimizer.warmup_steps
    left = 1 - (step - optimizer.warmup_steps) / max(1, optimizer.steps - optimizer.warmup_steps)
    shapes = {"constant": 1.0, "linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2}
    return rate * shapes[optimizer.decay]


def weights_at(spec: RunSpec, step: int, controls: Sequence[ControlEvent] = ()) -> Weights:
    """Both loss weights of an optimizer step, live changes of alpha included."""
    alpha = _live(controls, "alpha", step, spec.schedule.alpha)
    return weights(spec.schedule.model_copy(update={"alpha": alpha}), step, spec.optimizer.steps)


def _live(controls: Sequence[ControlEvent], name: str, step: int, value: float) -> float:
    for control in controls:
        if control.control == name and control.step <= step and control.value is not None:
            value = control.value
    return value
