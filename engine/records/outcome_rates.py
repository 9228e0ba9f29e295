"""The same requests under both models, and how an outcome says so. Knows nothing of verdicts."""

import math
import re
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from engine.records.evaluation.counts import Count, Side
from engine.records.evaluation.findings import Evaluation, OthersFindings
from engine.records.evaluation.worst import worst_of
from engine.records.runs import Record


class Rates(BaseModel):
    """The same requests under both models; each count has its n and its 95 % interval."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    base: Count
    rerouted: Count


class OthersRates(BaseModel):
    """What other people's words left of a circuit breaker. harmful: of the author and the attack that leave most harm;
    kept: of the author of whose borderline requests, among those that the base model answers, least is kept."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    half: str
    author: str
    attack: str
    harmful: Rates
    kept_author: str = ""
    kept: Count | None = None

    @property
    def sentence(self) -> str:
        """Without the authors' names: the evaluation has them."""
        kept = "" if self.kept is None else f", borderline kept {percent(self.kept)} % (n = {self.kept.n})"
        return (
            f"Other people's words, worst author of the {self.half} half: harmful requests answered "
            f"{change(self.harmful)} (n = {self.harmful.rerouted.n}){kept}."
        )


def others_rates(found: OthersFindings | None, attacks: Sequence[str]) -> OthersRates | None:
    """attacks: those that runs are compared by. None where nobody else's words were asked, or too few of them."""
    if found is None:
        return None
    harm, kept = worst_of(found.authors, attacks)
    if harm is None:
        return None
    return OthersRates(
        half=found.half,
        author=harm.author,
        attack=harm.name,
        harmful=Rates(base=harm.base, rerouted=harm.rerouted),
        kept_author=kept.author if kept else "",
        kept=kept.rerouted if kept else None,
    )


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


def loss_rise(found: Evaluation) -> float | None:
    """Share by which the loss on benign answers rose; None where it was not measured."""
    losses = found.loss.get("benign")
    if losses is None or not losses.base or losses.rerouted is None:
        return None
    rise = losses.rerouted / losses.base - 1
    return rise if math.isfinite(rise) else None


def drift_of(record: Record) -> float | None:
    """Of the weights that are kept; None where only others were measured."""
    for prefix in ("heldout", "validation"):
        if f"{prefix}_drift" in record.figures and measured_step(record, prefix) == record.step:
            return record.figures[f"{prefix}_drift"]
    return None


def measured_step(record: Record, prefix: str) -> int:
    """Older records do not say it, and were nearly always measured at their end."""
    return int(record.figures.get(f"{prefix}_step", record.step))
