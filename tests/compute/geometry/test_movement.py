"""The plane made for movement: fitted on half of the prompts, shown for the others, in deviations of the base."""

import numpy as np
import pytest

from engine.compute.geometry.projection import movement_plane, project
from engine.compute.geometry.separation import Groups
from engine.records.captures.capture import BASE

LAST = "step-000020"
HARMFUL, PLAIN, BORDERLINE = 24, 16, 9


def groups() -> Groups:
    harmful = np.arange(HARMFUL + PLAIN + BORDERLINE) < HARMFUL
    return Groups(harmful, ~harmful, np.arange(len(harmful)) >= HARMFUL + PLAIN)


def vectors(*, moves: np.ndarray | None = None, seed: int = 0) -> dict[str, np.ndarray]:
    """Base vectors with deviation 2 along the first dimension and 1 elsewhere; harmful ones move by `moves` there."""
    generator = np.random.default_rng(seed)
    base = generator.normal(size=(HARMFUL + PLAIN + BORDERLINE, 8)) * np.array([2.0, *[1.0] * 7])
    after = base.copy()
    after[:HARMFUL, 0] += 6.0 if moves is None else moves
    half_way = (base + after) / 2
    return {BASE: base, "step-000010": half_way, LAST: after}


def plane(found: dict[str, np.ndarray]):
    return movement_plane(found, groups(), dimensions=2, seed=0)


def test_harmful_prompts_move_by_their_way_divided_by_the_base_deviation_and_others_stay():
    """6 along a dimension in which the fitted base prompts deviate by s: 6 / s deviations."""
    found = vectors()
    points, fitted, moved = plane(found)
    ways = points[LAST] - points[BASE]
    expected = 6 / found[BASE][fitted, 0].std()
    assert moved
    np.testing.assert_allclose(ways[:HARMFUL, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(ways[HARMFUL:], 0, atol=1e-5)
    np.testing.assert_allclose(points["step-000010"] - points[BASE], ways / 2, atol=1e-5)
    np.testing.assert_allclose(points[BASE][fitted].std(axis=0), 1, rtol=1e-5)


def test_half_of_each_label_makes_the_plane_the_same_half_for_the_same_seed():
    _, fitted, _ = plane(vectors())
    labels = groups()
    assert fitted[labels.harmful].sum() == 12 and fitted[labels.borderline].sum() == 4
    assert fitted[labels.plain].sum() == 8
    again, other = plane(vectors())[1], movement_plane(vectors(), groups(), dimensions=2, seed=1)[1]
    assert (fitted == again).all() and (fitted != other).any()


def test_what_is_held_out_does_not_make_the_plane():
    _, fitted, _ = plane(vectors())
    changed = vectors()
    for found in changed.values():
        found[~fitted] += 100.0
    before, after = plane(vectors())[0], plane(changed)[0]
    for checkpoint in before:
        np.testing.assert_allclose(before[checkpoint][fitted], after[checkpoint][fitted], atol=1e-4)


def test_movement_without_a_common_way_is_not_carried_over_to_prompts_that_are_held_out():
    """Each harmful prompt goes its own way: the plane of one half says nothing of the other."""
    found = vectors(moves=np.zeros(HARMFUL))
    found[LAST][:HARMFUL] += np.random.default_rng(1).normal(size=(HARMFUL, 8)) * 3
    points, fitted, _ = plane(found)
    ways = (points[LAST] - points[BASE])[:HARMFUL, 0]
    assert abs(ways[~fitted[:HARMFUL]].mean()) < ways[fitted[:HARMFUL]].mean()


def test_without_movement_or_without_a_step_it_is_said():
    still = project(vectors(moves=np.zeros(HARMFUL)), groups(), method="movement", dimensions=2, seed=0)
    assert any("No harmful prompt has moved" in note for note in still.notes)
    assert still.fitted is not None and still.figures[LAST].map_auc is not None
    with pytest.raises(ValueError, match="base model alone"):
        project({BASE: vectors()[BASE]}, groups(), method="movement", dimensions=2, seed=0)
