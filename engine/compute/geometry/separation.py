"""How well harmful and benign vectors separate, in the activations and on a map, and what chance alone would reach.

Arrays in, figures out. Knows nothing of models, files or how a map was made.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.manifold import trustworthiness
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from engine.records.captures.projections import MapFigures

SMALLEST_CLASS = 8
PROBE_ROWS = 200
TRUST_ROWS = 1000
SHUFFLES = 100
# The inverse of the penalty on a linear probe's weights.
PROBE_STRENGTH = 0.01

Vectors = Float[np.ndarray, "prompt d_model"]
Points = Float[np.ndarray, "prompt axis"]
Mask = Bool[np.ndarray, " prompt"]
# The first axis of a map as it would be if these prompts were the harmful ones.
Relabelled = Callable[[Mask], np.ndarray]


class Groups(NamedTuple):
    """Which prompts are harmful, benign, and borderline (benign, though they look harmful).

    prompt: where each row is one token of many, the number of its prompt. Rows of one prompt are never told apart:
    they fall into the same fold or half, and get the same dealt label. None: every row is a prompt.
    """

    harmful: Mask
    benign: Mask
    borderline: Mask
    prompt: Int[np.ndarray, " prompt"] | None = None

    @property
    def owners(self) -> Int[np.ndarray, " prompt"]:
        return np.arange(len(self.harmful)) if self.prompt is None else self.prompt

    @property
    def plain(self) -> Mask:
        """Benign and not borderline; all benign ones where every one is borderline."""
        plain = self.benign & ~self.borderline
        return plain if plain.any() else self.benign


class Folds(NamedTuple):
    """The rows of a probe with their labels and prompts, and five parts (fitted, held out) as places among them."""

    rows: Int[np.ndarray, " row"]
    labels: Bool[np.ndarray, " row"]
    owners: Int[np.ndarray, " row"]
    parts: list[tuple[np.ndarray, np.ndarray]]

    @property
    def sides(self) -> tuple[int, int]:
        """How many prompts each side has, positive first."""
        return len(np.unique(self.owners[self.labels])), len(np.unique(self.owners[~self.labels]))


def map_figures(
    found: Vectors, points: Points, groups: Groups, *, judged: Mask, relabelled: Relabelled | None, seed: int
) -> MapFigures:
    """How far one map can be trusted. judged: prompts that its axes were not fitted on with labels.

    relabelled: given where the first axis was fitted with labels; it is then fitted anew for each shuffle.
    """
    some = np.random.default_rng(seed).permutation(len(found))[:TRUST_ROWS]
    neighbours = min(12, (len(some) - 1) // 2 - 1)
    trust = float(trustworthiness(found[some], points[some], n_neighbors=neighbours)) if neighbours >= 1 else None
    harmful, plain = groups.harmful, groups.plain
    return MapFigures(
        trustworthiness=trust,
        auc=probe_auc(found, harmful, plain, seed=seed, prompt=groups.prompt),
        auc_borderline=probe_auc(found, harmful, groups.borderline, seed=seed, prompt=groups.prompt),
        map_auc=_map_auc(points, harmful & judged, plain & judged, groups.owners, directed=relabelled is not None),
        shuffled_auc=_shuffled(points, harmful, plain, judged, groups.owners, relabelled, seed=seed),
    )


def probe_auc(
    found: Vectors, positive: Mask, negative: Mask, *, seed: int, prompt: Int[np.ndarray, " prompt"] | None = None
) -> float | None:
    """Held-out AUC of a linear probe, 0 to 1, five-fold; None with fewer than SMALLEST_CLASS prompts on a side.

    At most PROBE_ROWS a side are used. prompt: as in Groups; no fold holds out a part of a prompt.
    """
    folds = probe_folds(positive, negative, seed=seed, prompt=prompt)
    if folds is None:
        return None
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=PROBE_STRENGTH, max_iter=200))
    return float(cross_val_score(probe, found[folds.rows], folds.labels, cv=folds.parts, scoring="roc_auc").mean())


def probe_folds(
    positive: Mask, negative: Mask, *, seed: int, prompt: Int[np.ndarray, " prompt"] | None = None
) -> Folds | None:
    """What a probe is fitted and judged on; None with fewer than SMALLEST_CLASS prompts on a side."""
    chosen = np.concatenate([drawn_rows(positive, seed), drawn_rows(negative, seed)])
    labels = positive[chosen]
    owners = chosen if prompt is None else prompt[chosen]
    if _fewest(owners, labels) < SMALLEST_CLASS:
        return None
    if prompt is None:
        parts = list(StratifiedKFold(5, shuffle=True, random_state=seed).split(chosen, labels))
    else:
        parts = list(StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(chosen, labels, owners))
    return Folds(chosen, labels, owners, parts)


def centroid_distance(found: Vectors, positive: Mask, negative: Mask) -> float:
    """Distance between two centroids in deviations, root mean square over dimensions; constant ones count as equal."""
    if not positive.any() or not negative.any():
        return float("nan")
    deviation = found.std(axis=0)
    gap = found[positive].mean(axis=0) - found[negative].mean(axis=0)
    scaled = np.divide(gap, deviation, out=np.zeros_like(gap), where=deviation > 1e-12)
    return float(np.sqrt(np.mean(scaled**2)))


def top_energy(found: Vectors, *, dimensions: int = 3) -> float:
    """Share of the mean squared activation that the largest dimensions hold."""
    energy = np.sort((found.astype(np.float64) ** 2).mean(axis=0))[::-1]
    return float(energy[:dimensions].sum() / max(energy.sum(), 1e-30))


def area(scores: Float[np.ndarray, " prompt"], positive: Mask) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, ties counting half."""
    ranks = rankdata(scores)
    count = int(positive.sum())
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(scores) - count)))


def _map_auc(
    points: Points, positive: Mask, negative: Mask, owners: Int[np.ndarray, " prompt"], *, directed: bool
) -> float | None:
    """How well a line on the map separates both sides, fitted on one half and measured on the other, both ways; the
    first axis alone where that is a fitted direction."""
    chosen = np.flatnonzero(positive | negative)
    labels = positive[chosen]
    fewest = _fewest(owners[chosen], labels)
    if fewest < SMALLEST_CLASS // 2:
        return None
    if directed:
        return area(points[chosen, 0], labels)
    if fewest < SMALLEST_CLASS:
        return None
    # Every second prompt of each side: both halves hold both sides.
    place = np.zeros(len(labels), dtype=int)
    for side in (labels, ~labels):
        _, numbers = np.unique(owners[chosen][side], return_inverse=True)
        place[side] = numbers % 2
    shown = points[chosen].astype(np.float64)
    areas = []
    for half in (0, 1):
        fitted, held = place == half, place != half
        line = _line(shown[fitted], labels[fitted])
        areas.append(area(shown[held] @ line, labels[held]))
    return float(np.mean(areas))


def _line(points: Points, positive: Mask) -> Float[np.ndarray, " axis"]:
    """The direction of a linear discriminant."""
    gap = points[positive].mean(axis=0) - points[~positive].mean(axis=0)
    spread = np.atleast_2d(np.cov(points, rowvar=False))
    return np.linalg.solve(spread + 1e-9 * (np.trace(spread) + 1e-12) * np.eye(len(gap)), gap)


def _shuffled(
    points: Points,
    positive: Mask,
    negative: Mask,
    judged: Mask,
    owners: Int[np.ndarray, " prompt"],
    relabelled: Relabelled | None,
    *,
    seed: int,
) -> float | None:
    """The 95th percentile of the map's AUC when labels are dealt to prompts at random: what chance reaches."""
    randomness = np.random.default_rng(seed)
    members = positive | negative
    # Dealt within what is judged and within the rest, so that a deal has as many of a side in each as there are.
    parts = [(np.unique(owners[members & part]), len(np.unique(owners[positive & part]))) for part in (judged, ~judged)]
    reached = []
    for _ in range(SHUFFLES):
        harmful = np.concatenate([randomness.permutation(prompts)[:count] for prompts, count in parts])
        dealt = members & np.isin(owners, harmful)
        shown = points if relabelled is None else relabelled(dealt)[:, None]
        others = members & ~dealt
        found = _map_auc(shown, dealt & judged, others & judged, owners, directed=relabelled is not None)
        if found is None:
            return None
        reached.append(found)
    return float(np.percentile(reached, 95))


def _fewest(owners: Int[np.ndarray, " prompt"], labels: Mask) -> int:
    """How many prompts the smaller side has."""
    return min(len(np.unique(owners[side])) for side in (labels, ~labels))


def drawn_rows(mask: Mask, seed: int) -> np.ndarray:
    """Of these rows the ones that a probe is made of, at most PROBE_ROWS."""
    return np.random.default_rng(seed).permutation(np.flatnonzero(mask))[:PROBE_ROWS]
