"""A probe of our prompts on other people's: figures by hand, and that it separates what separates."""

import numpy as np
import pytest

from engine.compute.geometry.reach import Reach, probe_scores, reach, worst


def test_auc_and_lost_by_hand():
    """Ten harmful scores 1 to 10: nine of them are found down to 2. Of borderline 0, 1.5, 2 and 9 two score no less:
    lost 0.5. Pairs in which the harmful one is higher: 0 loses to all 10; 1.5 to 9; 2 to 8 and ties with one; 9 to 1
    and ties with one: (10 + 9 + 8.5 + 1.5) / 40 = 0.725. Where nine are found half of the borderline ones are kept and
    a tenth of harm is left; at the lowest threshold nothing is kept and nothing left."""
    found = reach(np.arange(1.0, 11.0), np.array([0.0, 1.5, 2.0, 9.0]))
    assert found[:4] == (pytest.approx(0.725), 0.5, 10, 4)
    assert found.front[0] == (1.0, 1.0) and found.front[-1] == (0.0, 0.0)
    assert (0.5, pytest.approx(0.1)) in found.front


def test_a_single_harmful_prompt_must_be_found():
    assert reach(np.array([1.0]), np.array([0.0, 2.0])).lost == 0.5


def test_equal_scores_lose_everything_and_are_chance():
    found = reach(np.zeros(5), np.zeros(4))
    assert (found.auc, found.lost) == (0.5, 1.0)


def test_a_probe_reaches_a_group_that_lies_as_ours_do_and_not_one_that_lies_across():
    draw = np.random.default_rng(0)
    fitted = draw.normal(size=(4000, 4))
    harmful = np.arange(4000) < 2000
    fitted[harmful, 0] += 4
    along, across = draw.normal(size=(200, 4)), draw.normal(size=(200, 4))
    along[:, 0] += 4
    across[:, 1] += 4
    scores = probe_scores(
        fitted, harmful, {"along": along, "across": across, "plain": draw.normal(size=(200, 4)), "none": along[:0]}
    )
    assert set(scores) == {"along", "across", "plain"}
    assert reach(scores["along"], scores["plain"]).auc > 0.95
    assert reach(scores["across"], scores["plain"]).auc < 0.7


def test_the_worst_group_loses_most_and_of_equals_has_the_lower_area():
    groups = {"a": Reach(0.9, 0.2, 9, 9), "b": Reach(0.8, 0.5, 9, 9), "c": Reach(0.7, 0.5, 9, 9)}
    assert worst(groups) == "c"
