"""Maps: one frame for all states, the same from the same seed, figures that chance cannot fake."""

import numpy as np
import pytest

from engine.compute.geometry import projection
from engine.compute.geometry.projection import project
from engine.compute.geometry.separation import Groups, area, centroid_distance, map_figures, probe_auc, top_energy

METHODS = ("pca", "umap", "difference", "probe")


def clouds(count=40, width=20, gap=3.0, seed=0):
    """Harmful and benign clouds that are `gap` deviations apart along the first dimension; a third is borderline."""
    randomness = np.random.default_rng(seed)
    found = randomness.normal(size=(2 * count, width)).astype(np.float32)
    harmful = np.arange(2 * count) < count
    found[harmful, 0] += gap
    borderline = ~harmful & (np.arange(2 * count) % 3 == 0)
    return found, Groups(harmful, ~harmful, borderline)


def made(vectors, groups, method, *, dimensions=2, seed=0):
    return project(vectors, groups, method=method, dimensions=dimensions, seed=seed)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dimensions", [2, 3])
def test_a_map_is_the_same_from_the_same_seed_and_has_a_point_for_each_prompt(method, dimensions):
    base, groups = clouds(count=20)
    vectors = {"base": base, "step-000010": base + 1, "step-000020": base * 2}
    first = made(vectors, groups, method, dimensions=dimensions)
    again = made(vectors, groups, method, dimensions=dimensions)
    assert first.points.keys() == vectors.keys() and len(first.axes) == dimensions
    for state, points in first.points.items():
        assert points.shape == (40, dimensions) and np.isfinite(points).all()
        np.testing.assert_array_equal(points, again.points[state])


@pytest.mark.parametrize("method", ["pca", "difference", "probe"])
def test_the_frame_is_fitted_on_base_alone_and_stays_when_states_are_added(method):
    base, groups = clouds()
    alone = made({"base": base}, groups, method)
    more = made({"base": base, "step-000010": base[::-1] * 5}, groups, method)
    np.testing.assert_array_equal(alone.points["base"], more.points["base"])


def test_a_state_that_did_not_move_lies_where_base_lies_and_one_that_moved_lies_there():
    base, groups = clouds()
    shift = np.zeros(base.shape[1], dtype=np.float32)
    shift[0] = 10
    found = made({"base": base, "step-000001": base.copy(), "step-000002": base + shift}, groups, "pca").points
    np.testing.assert_array_equal(found["base"], found["step-000001"])
    moved = found["step-000002"] - found["base"]
    np.testing.assert_allclose(moved, moved[:1].repeat(len(moved), 0), atol=1e-3)
    assert np.linalg.norm(moved[0]) > 5


def test_pca_equals_the_textbook():
    """Components of centred data by singular values, up to sign."""
    base, groups = clouds()
    found = made({"base": base}, groups, "pca")
    centred = base - base.mean(0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(found.points["base"]), np.abs(left[:, :2] * values[:2]), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found.explained, (values**2 / (values**2).sum())[:2], rtol=1e-4)


def test_directions_point_towards_harmful_and_second_axes_are_orthogonal():
    base, groups = clouds(gap=6)
    for method in ("difference", "probe"):
        points = made({"base": base}, groups, method).points["base"]
        assert points[groups.harmful, 0].mean() > points[groups.benign, 0].mean() + 2
        centred = points - points.mean(0)
        assert abs(np.corrcoef(base[:, 0], centred[:, 0])[0, 1]) > 0.7


@pytest.mark.parametrize("method", METHODS)
def test_separated_clouds_beat_chance_and_equal_ones_do_not(method):
    base, groups = clouds(gap=5)
    apart = made({"base": base}, groups, method).figures["base"]
    assert apart.auc > 0.85 and apart.map_auc > apart.shuffled_auc
    same, groups = clouds(gap=0, seed=3)
    equal = made({"base": same}, groups, method).figures["base"]
    assert abs(equal.auc - 0.5) < 0.25 and equal.map_auc <= equal.shuffled_auc + 0.1


def test_a_direction_that_only_remembers_its_prompts_is_not_taken_for_a_separation():
    """More dimensions than prompts: any labels can be separated on the prompts a direction was fitted on."""
    base, groups = clouds(count=20, width=400, gap=0, seed=1)
    figures = made({"base": base}, groups, "probe").figures["base"]
    assert figures.map_auc < 0.8 and figures.map_auc <= figures.shuffled_auc + 0.15


def test_too_few_prompts_of_a_class_are_said_and_no_auc_is_made_up():
    base, groups = clouds(count=10)
    keep = np.r_[0:2, 10:20]
    few = Groups(groups.harmful[keep], groups.benign[keep], groups.borderline[keep])
    found = made({"base": base[keep]}, few, "difference")
    assert found.figures["base"].auc is None and found.figures["base"].map_auc is None
    assert any("2 prompts" in note for note in found.notes)


@pytest.mark.parametrize("method", ["pca", "probe"])
def test_tokens_of_one_prompt_stay_together(method):
    """16 prompts of 30 nearly equal tokens each, labels at random: told apart by their tokens they would separate
    perfectly; told apart by prompts they do no better than chance, and chance is as wide as 8 + 8 prompts make it."""
    randomness = np.random.default_rng(0)
    owners = np.repeat(np.arange(16), 30)
    found = randomness.normal(size=(16, 12))[owners] + 0.01 * randomness.normal(size=(480, 12))
    harmful = owners % 2 == 0
    groups = Groups(harmful, ~harmful, np.zeros(480, dtype=bool), owners)
    figures = made({"base": found.astype(np.float32)}, groups, method).figures["base"]
    assert figures.auc < 0.9 and figures.shuffled_auc > 0.6
    assert figures.map_auc <= figures.shuffled_auc + 0.1
    alone = made({"base": found.astype(np.float32)}, groups._replace(prompt=None), method).figures["base"]
    assert alone.auc > 0.99


def test_two_prompts_of_many_tokens_are_two_prompts():
    owners = np.repeat(np.arange(4), 50)
    found = np.random.default_rng(0).normal(size=(200, 6)).astype(np.float32)
    groups = Groups(owners < 2, owners >= 2, np.zeros(200, dtype=bool), owners)
    made_map = made({"base": found}, groups, "pca")
    assert made_map.figures["base"].auc is None and any("2 prompts" in note for note in made_map.notes)


@pytest.mark.parametrize("method", ["difference", "probe"])
@pytest.mark.parametrize("count", [8, 9, 12, 15])
def test_chance_is_known_wherever_the_map_is_judged(method, count):
    """Dealt at random over all prompts, some deals would leave too few of a side in the judged half."""
    base, groups = clouds(count=count)
    figures = made({"base": base}, groups._replace(borderline=groups.borderline & False), method).figures["base"]
    assert figures.map_auc is not None and figures.shuffled_auc is not None


@pytest.mark.parametrize("method", METHODS)
def test_equal_states_everywhere_make_a_point_and_a_note(method):
    base, groups = clouds(count=20)
    found = made({"base": np.ones_like(base), "step-000001": np.ones_like(base)}, groups, method)
    assert any("single point" in note for note in found.notes)
    assert all(np.isfinite(points).all() for points in found.points.values())


def test_states_that_are_not_finite_and_too_few_prompts_are_refused():
    base, groups = clouds(count=20)
    base[3, 3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        made({"base": base}, groups, "pca")
    two = Groups(groups.harmful[:2], groups.benign[:2], groups.borderline[:2])
    with pytest.raises(ValueError, match="at least 3"):
        made({"base": np.ones((2, 4), dtype=np.float32)}, two, "pca")


def test_umap_places_states_beyond_its_limit_between_their_neighbours(monkeypatch):
    base, groups = clouds(count=20)
    monkeypatch.setattr("engine.compute.geometry.projection.JOINT_POINTS", 80)
    found = made({"base": base, "step-000010": base.copy(), "step-000020": base + 0.01}, groups, "umap")
    gaps = np.linalg.norm(found.points["step-000010"] - found.points["base"], axis=1)
    assert np.median(gaps) < 0.5 * np.ptp(found.points["base"])


@pytest.mark.parametrize("method", ["pca", "umap", "probe"])
def test_a_map_says_what_it_is_at_and_how_far_and_umap_its_epochs(method):
    base, groups = clouds(count=20)
    said = []
    vectors = {"base": base, "step-000010": base + 1}
    project(vectors, groups, method=method, dimensions=2, seed=0, say=lambda *one: said.append(one))
    phases, shares = zip(*said, strict=True)
    assert list(shares) == sorted(shares) and 0 <= shares[0] < shares[-1] < 1
    assert phases[-2:] == ("judging map 1 of 2", "judging map 2 of 2")
    epochs = [phase for phase in phases if "epoch" in phase]
    assert bool(epochs) == (method == "umap") and ("looking for neighbours" in phases) == (method == "umap")


def test_the_area_counts_pairs_in_order():
    """Positives 3 and 1, negatives 2 and 0: of four pairs, three are in order."""
    assert area(np.array([3.0, 1.0, 2.0, 0.0]), np.array([True, True, False, False])) == 0.75
    assert area(np.zeros(4), np.array([True, True, False, False])) == 0.5


def test_a_probe_finds_what_is_there_and_nothing_where_nothing_is():
    base, groups = clouds(gap=4)
    assert probe_auc(base, groups.harmful, groups.plain, seed=0) > 0.85
    shuffled = np.random.default_rng(0).permutation(groups.harmful)
    assert abs(probe_auc(base, shuffled, ~shuffled, seed=0) - 0.5) < 0.25
    assert probe_auc(base, groups.harmful & (np.arange(80) < 7), groups.plain, seed=0) is None


def test_distance_and_energy_worked_out_by_hand():
    """Centroids (1, 0) and (-1, 0), deviation 1 along x and 0 along y: root mean square of (2, 0) is sqrt(2)."""
    found = np.array([[1.0, 5.0], [1.0, 5.0], [-1.0, 5.0], [-1.0, 5.0]])
    harmful = np.array([True, True, False, False])
    assert centroid_distance(found, harmful, ~harmful) == pytest.approx(np.sqrt(2))
    assert top_energy(np.array([[3.0, 1.0, 1.0, 1.0, 2.0]])) == pytest.approx((9 + 4 + 1) / 16)


def test_a_map_that_keeps_neighbours_is_more_trustworthy_than_one_at_random():
    base, groups = clouds(width=2)
    everyone = np.ones(len(base), dtype=bool)
    kept = map_figures(base, base, groups, judged=everyone, relabelled=None, seed=0)
    lost = map_figures(
        base, np.random.default_rng(1).normal(size=base.shape), groups, judged=everyone, relabelled=None, seed=0
    )
    assert kept.trustworthiness == pytest.approx(1) and lost.trustworthiness < 0.7


def test_of_many_prompts_a_bounded_number_is_dealt_anew(monkeypatch):
    """As many of each side as of fewer, in the order in which they stand; of few all."""
    seen = []
    monkeypatch.setattr(
        projection, "label_direction", lambda vectors, harmful, _: seen.append((len(vectors), int(harmful.sum())))
    )
    base = np.random.default_rng(0).normal(size=(2_000, 3))
    harmful = np.arange(2_000) % 4 == 0
    for fitted, expected in ((np.ones(2_000, bool), (800, 400)), (np.arange(2_000) < 100, (100, 25))):
        projection._Directions(base, fitted, "probe").along(base)(harmful)
        assert seen.pop() == expected


def test_what_umap_compiles_is_kept_for_the_next_process():
    from umap import layouts, umap_

    base, groups = clouds(count=20)
    made({"base": base, "step-000010": base + 1}, groups, "umap")
    slow = umap_.smooth_knn_dist, umap_.compute_membership_strengths, layouts._nb_optimize_layout_euclidean_single_epoch
    assert all(function.stats.cache_hits or function.stats.cache_misses for function in slow)
