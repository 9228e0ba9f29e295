"""Schedules, by hand."""

import pytest

from engine.records.schedules import weights
from engine.records.spec_losses import KeyPoint, ScheduleSpec


def test_linear_is_the_papers():
    """150 steps, horizon 300, alpha 10. Step 0: 10, 0. Step 75: progress 1/4: 7.5, 2.5. Step 150: 5, 5."""
    schedule = ScheduleSpec(kind="linear", alpha=10)
    assert weights(schedule, 0, 150) == (10, 0)
    assert weights(schedule, 75, 150) == pytest.approx((7.5, 2.5))
    assert weights(schedule, 150, 150) == pytest.approx((5, 5))


def test_the_horizon_is_the_references_300_when_asked_for():
    """Step 30 of 60 with horizon 300: progress 0.1, whatever the number of steps."""
    assert weights(ScheduleSpec(alpha=10, horizon=300), 30, 60) == pytest.approx((9, 1))


def test_a_step_that_counts_itself_is_one_further():
    """The published code's first call: progress 1/300, so 10 (1 - 1/300) and 10/300; its 150th is half way."""
    schedule = ScheduleSpec(alpha=10, horizon=300, first_step=1)
    assert weights(schedule, 0, 150) == pytest.approx((10 - 1 / 30, 1 / 30))
    assert weights(schedule, 149, 150) == pytest.approx((5, 5))


def test_cosine_is_half_way_at_half_of_the_horizon():
    assert weights(ScheduleSpec(kind="cosine", alpha=4), 100, 100) == pytest.approx((2, 2))


def test_constant_keeps_both():
    assert weights(ScheduleSpec(kind="constant", alpha=3), 17, 20) == (3, 3)


def test_step_swaps_at_its_point():
    schedule = ScheduleSpec(kind="step", alpha=2, horizon=10, switch_at=0.5)
    assert [weights(schedule, step, 10) for step in (4, 5)] == [(2, 0), (0, 2)]


def test_custom_is_straight_between_key_points_and_flat_beyond():
    points = (KeyPoint(progress=0.2, reroute=1, retain=0), KeyPoint(progress=0.6, reroute=0, retain=2))
    schedule = ScheduleSpec(kind="custom", alpha=10, horizon=100, points=points)
    assert weights(schedule, 0, 100) == (10, 0)
    assert weights(schedule, 40, 100) == pytest.approx((5, 10))
    assert weights(schedule, 100, 100) == (0, 20)


@pytest.mark.parametrize("kind", ["linear", "cosine", "constant", "step"])
def test_weights_stay_within_alpha(kind):
    for step in range(0, 301, 7):
        assert all(-1e-9 <= weight <= 5 + 1e-9 for weight in weights(ScheduleSpec(kind=kind, alpha=5), step, 150))
