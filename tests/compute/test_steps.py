"""Generators that advance others pass on what is yielded and returned, and close what they advance."""

from contextlib import contextmanager

import pytest
from making import drain

from engine.compute.steps import drained, inside, part, told


def counting(closed: list[str], to: int = 3):
    try:
        yield from range(1, to + 1)
        return ["result"]
    finally:
        closed.append("closed")


def test_what_is_told_and_what_is_returned_are_passed_on():
    assert drain(told(counting([]), lambda count: 10 * count)) == ([10, 20, 30], ["result"])
    assert drain(part(counting([]), 1, 2)) == ([1.0, 1.5, 2.0], ["result"])


def test_closing_closes_what_is_advanced_at_once():
    closed: list[str] = []
    given = counting(closed)
    steps = told(given, lambda count: count)
    next(steps)
    steps.close()
    assert closed == ["closed"]


def test_a_failure_to_tell_closes_what_is_advanced():
    closed: list[str] = []
    given = counting(closed)
    with pytest.raises(ZeroDivisionError):
        drain(told(given, lambda count: 1 // (count - 2)))
    assert closed == ["closed"]


def test_the_context_is_entered_for_each_step_and_left_between():
    entered: list[str] = []

    @contextmanager
    def context():
        entered.append("in")
        yield
        entered.append("out")

    seen = [(count, entered.count("in") == entered.count("out")) for count in inside(context, counting([]))]
    assert seen == [(1, True), (2, True), (3, True)]
    assert entered.count("in") == 4


def test_drained_shows_every_step_and_returns_the_result():
    closed: list[str] = []
    seen: list[int] = []
    assert drained(counting(closed), seen.append) == ["result"]
    assert seen == [1, 2, 3] and closed == ["closed"]
    with pytest.raises(ZeroDivisionError):
        drained(counting(closed), lambda _: 1 // 0)
    assert closed == ["closed", "closed"]
