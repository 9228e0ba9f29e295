"""The same requests under both models, and how an outcome says so. Knows nothing of verdicts."""

import re

from pydantic import BaseModel, ConfigDict

from engine.records.evaluation.counts import Count, Side
from engine.records.evaluation.findings import Evaluation


class Rates(BaseModel):
    """The same requests under both models; each count has its n and its 95 % interval."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    base: Count
    rerouted: Count


def source_of(found: Evaluation, step: int, harmful: Rates, benign: Rates | None) -> str:
    """What the rates rest on: one sentence."""
    sides: list[tuple[str, str, Rates]] = [("harmful", found.harmful, harmful)]
    if benign is not None:
        sides.append(("benign", found.benign, benign))
    said = "; ".join(
        f"{label}: {source or 'rows of a file'}, 95 % intervals {_interval(rates, 'base')} before and "
        f"{_interval(rates, 'rerouted')} after"
        for label, source, rates in sides
    )
    return f"Step {step}, answers of {found.new_tokens} tokens, judge {_judge(found.judge)}. {_capital(said)}."


def _judge(name: str) -> str:
    return re.sub(r"^rules-.*", "rules", name)


def _interval(rates: Rates, side: Side) -> str:
    low, high = getattr(rates, side).ci95
    return f"{100 * low:.0f} to {100 * high:.0f} %"


def change(rates: Rates) -> str:
    """Before and after, in percent."""
    return f"{percent(rates.base)} → {percent(rates.rerouted)} %"


def percent(count: Count) -> str:
    return f"{100 * (count.rate or 0.0):.0f}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
