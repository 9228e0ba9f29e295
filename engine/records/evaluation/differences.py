"""Differences of two rates with 95 % intervals: of the same requests, asked of both, or of different ones.

Newcombe's hybrid of Wilson intervals: Statistics in Medicine 17, 873 (1998), method 10, for independent rates; 17,
2635 (1998), method 10, for paired ones. Of means of the same questions the plain paired one. Numbers in, numbers out.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from engine.records.evaluation.counts import Count, Interval, Word, Z, wilson


class Difference(NamedTuple):
    """second - first, in rates from -1 to 1.  n: of each side.  paired: whether the same requests were counted."""

    first: float
    second: float
    ci95: Interval
    n: tuple[int, int]
    paired: bool

    @property
    def value(self) -> float:
        return self.second - self.first

    @property
    def is_told(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.ci95.low > 0 or self.ci95.high < 0


def independent_difference(first: Count, second: Count) -> Difference | None:
    """Of the rates of two counts; None where either counted nothing."""
    if not first.n or not second.n:
        return None
    return _difference(first.complied, first.n, second.complied, second.n, correlation=0.0, paired=False)


def paired_difference(first: Mapping[str, Word], second: Mapping[str, Word]) -> Difference | None:
    """Of verdicts by request, over the requests that both were asked and whose verdicts could be read; None where there
    is none."""
    shared = [key for key in first if "unparseable" not in (first[key], second.get(key, "unparseable"))]
    if not shared:
        return None
    return paired_rates([(first[key] == "complied", second[key] == "complied") for key in shared])


def paired_rates(pairs: Sequence[tuple[bool, bool]]) -> Difference:
    """Of what both did with the same questions, at least one: done or not."""
    both, neither = pairs.count((True, True)), pairs.count((False, False))
    one, other = pairs.count((True, False)), pairs.count((False, True))
    n = len(pairs)
    return _difference(both + one, n, both + other, n, correlation=_correlation(both, one, other, neither), paired=True)


def paired_means(pairs: Sequence[tuple[float, float]]) -> Difference:
    """Of two figures of the same questions, at least two: by the mean of their differences and its standard error, with
    the normal distribution's quantile. first, second: the means."""
    n = len(pairs)
    changes = [after - before for before, after in pairs]
    mean = sum(changes) / n
    half = Z * math.sqrt(sum((change - mean) ** 2 for change in changes) / (n - 1) / n)
    first, second = (sum(side) / n for side in zip(*pairs, strict=True))
    return Difference(first, second, Interval(mean - half, mean + half), (n, n), paired=True)


def mean_difference(apart: Sequence[Difference]) -> Difference:
    """Of paired differences of other questions each, at least one, their mean: the distances to the ends of their
    intervals add up by their squares."""
    count = len(apart)
    first, second = (sum(side) / count for side in zip(*((one.first, one.second) for one in apart), strict=True))
    low = math.hypot(*(one.value - one.ci95.low for one in apart)) / count
    high = math.hypot(*(one.ci95.high - one.value for one in apart)) / count
    ends = Interval(max(-1.0, second - first - low), min(1.0, second - first + high))
    n = (sum(one.n[0] for one in apart), sum(one.n[1] for one in apart))
    return Difference(first, second, ends, n, paired=True)


def _correlation(both: int, one: int, other: int, neither: int) -> float:
    """Phi of the fourfold table; a positive one corrected for continuity, as Newcombe does."""
    sizes = (both + one) * (other + neither) * (both + other) * (one + neither)
    if not sizes:
        return 0.0
    product: float = both * neither - one * other
    if product > 0:
        product = max(product - (both + one + other + neither) / 2, 0)
    return product / math.sqrt(sizes)


def _difference(
    first: int, first_n: int, second: int, second_n: int, *, correlation: float, paired: bool
) -> Difference:
    before, after = first / first_n, second / second_n
    known, found = wilson(first, first_n), wilson(second, second_n)
    below = _joined(after - found.low, known.high - before, correlation)
    above = _joined(found.high - after, before - known.low, correlation)
    interval = Interval(max(-1.0, after - before - below), min(1.0, after - before + above))
    return Difference(before, after, interval, (first_n, second_n), paired)


def _joined(one: float, other: float, correlation: float) -> float:
    return math.sqrt(max(0.0, one * one - 2 * correlation * one * other + other * other))
