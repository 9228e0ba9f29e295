"""How sure a held-out AUC is: intervals by published figures, and what shuffled labels reach."""

import numpy as np
import pytest

from engine.compute.geometry.certainty import auc_interval, chance_level, prompts_needed
from engine.compute.geometry.separation import probe_auc


def noise(count: int, *, width: int = 40, seed: int = 0):
    """Vectors of which none knows its label."""
    vectors = np.random.default_rng(seed).normal(size=(2 * count, width)).astype(np.float32)
    return vectors, np.arange(2 * count) < count


def test_the_interval_holds_the_aucs_whose_own_error_reaches_the_measured_one():
    """At the low end A of 0.8 with 20 + 30 prompts: 0.8 - A = 1.96 sqrt(A (1 - A) / 600 (1 + 24 (...)))."""
    low, high = auc_interval(0.8, 20, 30)
    for end in (low, high):
        more = 1 + 24 * ((1 - end) / (2 - end) + end / (1 + end))
        error = 1.959964 * np.sqrt(end * (1 - end) / 600 * more)
        assert abs(0.8 - end) == pytest.approx(error, rel=1e-4)
    assert low < 0.8 < high


def test_few_prompts_make_wide_intervals_even_where_all_are_told_apart():
    assert auc_interval(1.0, 8, 8)[0] < 0.82 and auc_interval(1.0, 8, 8)[1] == 1
    assert auc_interval(0.0, 8, 8)[1] > 0.18 and auc_interval(0.0, 8, 8)[0] == 0
    assert auc_interval(1.0, 96, 96)[0] > 0.95
    few, many = auc_interval(0.7, 8, 8), auc_interval(0.7, 96, 96)
    assert few[0] < many[0] < 0.7 < many[1] < few[1]


def test_an_auc_of_noise_stays_below_what_shuffled_labels_reach_19_times_of_20():
    beyond = 0
    for seed in range(60):
        vectors, harmful = noise(12, seed=seed)
        beyond += probe_auc(vectors, harmful, ~harmful, seed=0) > chance_level(vectors, harmful, ~harmful, seed=0)
    assert beyond <= 9


def test_shuffled_labels_reach_less_with_more_prompts_and_nothing_is_made_up_of_too_few():
    levels = [chance_level(*(lambda v, h: (v, h, ~h))(*noise(count)), seed=0) for count in (8, 24, 96)]
    assert 0.5 < levels[2] < levels[1] < levels[0] < 0.9
    vectors, harmful = noise(7)
    assert chance_level(vectors, harmful, ~harmful, seed=0) is None


def test_tokens_of_one_prompt_get_one_dealt_label():
    """Ten tokens a prompt make the level of as many prompts, not of ten times as many."""
    vectors, harmful = noise(10)
    owners = np.repeat(np.arange(20), 10)
    level = chance_level(vectors[owners], harmful[owners], ~harmful[owners], seed=0, prompt=owners)
    assert level > 0.62


def test_the_closer_to_chance_the_more_prompts_are_needed():
    needed = [prompts_needed(auc) for auc in (0.95, 0.75, 0.6, 0.5, 0.26)]
    assert needed == sorted(needed) and needed[0] == 16 and needed[-1] == 400
