"""Directions point towards harmful, and are as long as the means lie apart."""

import numpy as np
import pytest

from engine.compute.geometry.directions import label_direction, steering_direction

HARMFUL = np.array([True, True, True, False, False, False])


def vectors(gap: float = 4.0) -> np.ndarray:
    """Six prompts in three dimensions: harmful ones lie `gap` further along the first, all spread along the second."""
    found = np.zeros((6, 3), dtype=np.float32)
    found[HARMFUL, 0] = gap
    found[:, 1] = [-1, 0, 1, -1, 0, 1]
    return found


@pytest.mark.parametrize("kind", ["difference", "probe"])
def test_a_direction_leads_from_the_benign_mean_to_the_harmful_one_whatever_its_kind(kind):
    """The means are (4, 0, 0) and (0, 0, 0): 4 apart, along the first dimension."""
    np.testing.assert_allclose(steering_direction(vectors(), HARMFUL, kind), [4, 0, 0], atol=1e-3)
    np.testing.assert_allclose(label_direction(vectors(), HARMFUL, kind), [1, 0, 0], atol=1e-3)


def test_a_prompt_without_an_answer_is_left_out():
    found = vectors()
    found[0] = np.nan
    np.testing.assert_allclose(steering_direction(found, HARMFUL, "difference"), [4, 0.5, 0], atol=1e-6)


def test_one_side_alone_or_equal_sides_give_no_direction():
    assert steering_direction(vectors(), np.ones(6, dtype=bool), "difference") is None
    assert steering_direction(vectors(0.0), HARMFUL, "difference") is None
