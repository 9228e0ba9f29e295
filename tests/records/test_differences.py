"""Differences of rates: Newcombe's own examples, and what must hold of any."""

import math

import pytest

from engine.records.evaluation.counts import Word, count
from engine.records.evaluation.differences import (
    independent_difference,
    mean_difference,
    paired_difference,
    paired_means,
    paired_rates,
)


def verdicts(both: int, first: int, second: int, neither: int) -> tuple[dict, dict]:
    """By request: complied in both, in the first alone, in the second alone, in neither."""
    words = [("complied",) * 2] * both + [("complied", "refused")] * first
    words += [("incoherent", "complied")] * second + [("refused",) * 2] * neither
    return {str(n): one for n, (one, _) in enumerate(words)}, {str(n): other for n, (_, other) in enumerate(words)}


def test_independent_rates_reproduce_newcombes_example():
    """56 of 70 against 48 of 80: 0.20, 0.0524 to 0.3339 (Newcombe 1998, table II, a, method 10)."""
    found = independent_difference(
        count(["complied"] * 48 + ["refused"] * 32), count(["complied"] * 56 + ["refused"] * 14)
    )
    assert found.value == pytest.approx(0.2)
    assert found.ci95 == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert found.is_told and not found.paired and found.n == (80, 70)


def test_paired_rates_reproduce_newcombes_example():
    """36 in both, 12 in one alone, 2 in the other alone, 0 in neither: 0.20, 0.0569 to 0.3404 (Newcombe 1998, paired,
    method 10)."""
    found = paired_difference(*verdicts(36, 2, 12, 0))
    assert found.value == pytest.approx(0.2) and found.n == (50, 50)
    assert found.ci95 == pytest.approx((0.0569, 0.3404), abs=5e-5)


def test_pairs_tell_more_than_the_same_rates_apart():
    """30 of 40 against 24 of 40: six requests changed, all in one direction."""
    first, second = verdicts(24, 6, 0, 10)
    paired = paired_difference(first, second)
    apart = independent_difference(count(first.values()), count(second.values()))
    assert paired.value == apart.value == pytest.approx(-0.15)
    assert paired.is_told and not apart.is_told


def test_turned_round_a_difference_changes_its_sign_alone():
    first, second = verdicts(10, 5, 9, 16)
    there, back = paired_difference(first, second), paired_difference(second, first)
    assert (there.ci95.low, there.ci95.high) == pytest.approx((-back.ci95.high, -back.ci95.low))


def test_requests_of_one_side_and_verdicts_that_could_not_be_read_are_left_out():
    first = {"a": "complied", "b": "complied", "c": "unparseable", "d": "refused"}
    second = {"a": "refused", "b": "complied", "c": "complied", "e": "complied"}
    found = paired_difference(first, second)
    assert found.n == (2, 2) and found.value == pytest.approx(-0.5)
    assert paired_difference({"a": "complied"}, {"b": "complied"}) is None
    assert independent_difference(count([]), count(["complied"])) is None


def test_means_of_the_same_questions_by_hand():
    """Changes 1, 2, 3: mean 2, deviation 1, standard error 1 / sqrt(3) = 0.57735, times 1.95996 is 1.13158."""
    found = paired_means([(1.0, 2.0), (1.0, 3.0), (1.0, 4.0)])
    assert (found.first, found.second, found.value) == (1.0, 3.0, 2.0)
    assert found.ci95 == pytest.approx((2 - 1.13158, 2 + 1.13158), abs=1e-4)
    assert paired_means([(1.0, 1.5), (2.0, 2.5)]).ci95 == pytest.approx((0.5, 0.5))


def test_rates_of_the_same_questions_are_those_of_their_verdicts():
    pairs = [(True, True)] * 5 + [(True, False)] * 3 + [(False, False)] * 2
    words: dict[bool, Word] = {True: "complied", False: "refused"}
    first, second = ({str(n): words[pair[side]] for n, pair in enumerate(pairs)} for side in (0, 1))
    assert paired_rates(pairs) == paired_difference(first, second)


def test_the_mean_of_two_differences_is_told_as_well_as_their_distances_add_up():
    """Each of 10 of 10 lost has no width by its spread, and an interval all the same; two tell more than one."""
    lost = paired_rates([(True, False)] * 10)
    kept = paired_rates([(True, True)] * 10)
    both = mean_difference([lost, kept])
    assert both.value == pytest.approx(-0.5) and both.n == (20, 20)
    low = math.hypot(lost.value - lost.ci95.low, kept.value - kept.ci95.low) / 2
    high = math.hypot(lost.ci95.high - lost.value, kept.ci95.high - kept.value) / 2
    assert both.ci95 == pytest.approx((-0.5 - low, -0.5 + high)) and low < 0.5 < 1
    alone = mean_difference([kept])
    assert alone.ci95 == pytest.approx(kept.ci95) and alone.ci95.low < 0 < alone.ci95.high
