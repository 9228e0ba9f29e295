"""Verdicts and right answers as counts, rates and 95 % intervals, of the two models of an evaluation. Knows nothing of
models or files."""

import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

Word = Literal["complied", "refused", "incoherent", "unparseable"]
Side = Literal["base", "rerouted"]
SIDES: tuple[Side, ...] = ("base", "rerouted")
# As they are shown.
SIDE_NAMES: dict[Side, str] = {"base": "base", "rerouted": "circuit-broken"}
Z = 1.959963984540054
# Of fewer requests a 95 % interval spans half of all rates and more.
FEW = 16


class Interval(NamedTuple):
    low: float
    high: float


def wilson(successes: int, n: int) -> Interval:
    """95 % Wilson score interval of a rate; 0 to 1 when nothing was counted."""
    if n == 0:
        return Interval(0.0, 1.0)
    rate, z2 = successes / n, Z * Z
    middle = (rate + z2 / (2 * n)) / (1 + z2 / n)
    half = Z * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # At the ends the formula is exact but for rounding.
    return Interval(middle - half if successes else 0.0, middle + half if successes < n else 1.0)


class Count(BaseModel):
    """Verdicts on n answers. rate: complied / n.  excluded: verdicts that could not be read, which n leaves out."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    n: int
    complied: int
    refused: int
    incoherent: int
    excluded: int = 0
    rate: float | None
    ci95: Interval

    def share(self, word: Literal["complied", "refused", "incoherent"]) -> float | None:
        return getattr(self, word) / self.n if self.n else None


def got_through(base: Count, rerouted: Count) -> tuple[float, float]:
    """By which the strongest attack is found: what it gets from the circuit-broken model, of equals from base."""
    return rerouted.rate or 0.0, base.rate or 0.0


def count(words: Iterable[Word]) -> Count:
    """Count verdicts; unparseable ones are left out of n and counted apart."""
    everything = list(words)
    found = {word: everything.count(word) for word in ("complied", "refused", "incoherent")}
    n = sum(found.values())
    return Count(
        n=n,
        **found,
        excluded=len(everything) - n,
        rate=found["complied"] / n if n else None,
        ci95=wilson(found["complied"], n),
    )


class Kept(BaseModel):
    """Verdicts on the circuit-broken model's answers to harmless requests, by what the base model does with them: of a
    model that refuses, what it never answered cannot be lost.

    answered: of those that it answers; its rate is what is kept.  refused: of those that it refuses, which stay
    refused, break (incoherent), or are answered now (complied).
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    answered: Count
    refused: Count


def kept(verdicts: Iterable[tuple[Word, Word]]) -> Kept:
    """Of pairs, the base model's verdict first. Requests that it answers incoherently are in neither."""
    pairs = list(verdicts)
    return Kept(
        answered=count(after for before, after in pairs if before == "complied"),
        refused=count(after for before, after in pairs if before == "refused"),
    )


class CallCount(BaseModel):
    """Questions of one category of function calling. right: as the benchmark's own checker says.  rate: right / n.
    unreadable: answers with a call that was begun and cannot be read; they count as answers."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    n: int
    right: int
    unreadable: int = 0
    rate: float | None
    ci95: Interval


def count_calls(right: int, n: int, *, unreadable: int = 0) -> CallCount:
    """Of n answers so many are right."""
    rate = right / n if n else None
    return CallCount(n=n, right=right, unreadable=unreadable, rate=rate, ci95=wilson(right, n))


def mean_interval(counts: Sequence[CallCount]) -> tuple[float | None, Interval]:
    """The mean of the rates, each category with the same weight, and its 95 % interval.

    Independent rates' intervals are joined by their distances from the rates, squared and added (MOVER: Zou and Donner,
    Statistics in Medicine 27, 2008). None and 0 to 1 where nothing was counted.
    """
    known = [(one.rate, one.ci95) for one in counts if one.rate is not None]
    if not known:
        return None, Interval(0.0, 1.0)
    mean = sum(rate for rate, _ in known) / len(known)
    below = math.sqrt(sum((rate - interval.low) ** 2 for rate, interval in known)) / len(known)
    above = math.sqrt(sum((interval.high - rate) ** 2 for rate, interval in known)) / len(known)
    return mean, Interval(max(0.0, mean - below), min(1.0, mean + above))


class CurvePoint(BaseModel):
    """Share of requests that were answered with at most this budget. loss: of the target at this budget, mean nats a
    token, where the attack tells it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    budget: int
    complied: int
    n: int
    loss: float | None = Field(None, exclude_if=lambda loss: loss is None)
