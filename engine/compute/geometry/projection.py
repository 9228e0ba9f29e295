"""Maps of captured vectors. Arrays in, arrays out: knows nothing of models or torch.

One frame for all checkpoints: PCA and directions are fitted on base vectors and applied to the others; UMAP is fitted
on base and rerouted vectors together; the plane of movement on half of the prompts of each label, at the last
checkpoint. Two independent fits are never compared.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache

import numpy as np
from jaxtyping import Float, Int
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from engine.compute.geometry.directions import MOST_ROWS, label_direction
from engine.compute.geometry.separation import SMALLEST_CLASS, Groups, Mask, Points, Relabelled, Vectors, map_figures
from engine.records.captures.capture import BASE
from engine.records.captures.projections import Method, Projection
from engine.records.chats.asked import DirectionKind
from engine.records.evenly import evenly

JOINT_POINTS = 12_000

# What is being done, and which share of the map's time is over, 0 to 1.
Say = Callable[[str, float], None]
# Of which fitting takes so much; the rest is judging the map.
FITTED = 0.7


def project(
    vectors: Mapping[str, Vectors],
    groups: Groups,
    *,
    method: Method,
    dimensions: int,
    seed: int,
    say: Say = lambda _phase, _share: None,
) -> Projection:
    """One map of all checkpoints. `vectors` holds 'base' and any number of others, rows in the same order.

    Raises ValueError with fewer than three prompts or with vectors that are not finite.
    """
    base = vectors[BASE]
    if len(base) < 3:
        raise ValueError(f"a map needs at least 3 prompts, not {len(base)}")
    if not all(np.isfinite(found).all() for found in vectors.values()):
        raise ValueError("the captured activations are not finite")
    notes: list[str] = []
    if np.ptp(base, axis=0).max() == 0:
        notes.append("All base activations are equal here: the map of the base model is a single point.")
    say("fitting the axes", 0.0)
    explained: tuple[float, ...] = ()
    fitted = np.zeros(len(base), dtype=bool)
    if method == "umap":
        points = _umap(vectors, dimensions=dimensions, seed=seed, say=say)
        axes = tuple(f"UMAP {number + 1}" for number in range(dimensions))
    elif method == "pca":
        fit = PCA(min(dimensions, len(base) - 1, base.shape[1]), random_state=seed).fit(base)
        points = {checkpoint: _wide(fit.transform(found), dimensions) for checkpoint, found in vectors.items()}
        explained = tuple(float(share) for share in np.nan_to_num(fit.explained_variance_ratio_))
        axes = tuple(f"component {number + 1}" for number in range(dimensions))
    elif method == "movement":
        return _movement(vectors, groups, dimensions=dimensions, seed=seed, notes=notes, say=say)
    else:
        fitted = _half(groups, seed)
        direction = label_direction(base[fitted], groups.harmful[fitted], method)
        if direction is None:
            notes.append("One side has too few prompts for a direction: the first component stands in for it.")
        points = _along(vectors, direction, dimensions=dimensions, seed=seed)
        rest = [f"orthogonal component {number}" for number in range(1, dimensions)]
        axes = ({"difference": "difference of means", "probe": "linear probe"}[method], *rest)
        notes.append("The direction is fitted on half of the prompts; the figures are of the other half.")
    directions = _Directions(base, fitted, method) if method in ("difference", "probe") else None
    figures = {}
    for number, (checkpoint, found) in enumerate(vectors.items()):
        say(f"judging map {number + 1} of {len(vectors)}", FITTED + (1 - FITTED) * number / len(vectors))
        figures[checkpoint] = map_figures(
            found,
            points[checkpoint],
            groups,
            judged=~fitted,
            relabelled=directions.along(found) if directions else None,
            seed=seed,
        )
    smallest = min(len(np.unique(groups.owners[side])) for side in (groups.harmful, groups.plain))
    if smallest < SMALLEST_CLASS:
        notes.append(f"One side has {smallest} prompts: an AUC needs at least {SMALLEST_CLASS} of each. Capture more.")
    return Projection(points, figures, explained, axes, tuple(notes))


def movement_plane(
    vectors: Mapping[str, Vectors], groups: Groups, *, dimensions: int, seed: int
) -> tuple[dict[str, Points], Mask, bool]:
    """All checkpoints in the plane made for the last of them, which prompts it was fitted on, and whether they moved.

    Across: the mean way of the fitted harmful prompts from base to the last checkpoint. Up: the first component of the
    fitted base vectors that is orthogonal to it. Units: the fitted base vectors' deviation along each axis; the origin
    is their mean.
    """
    base, last = vectors[BASE], vectors[list(vectors)[-1]]
    fitted = _half_of_each(groups, seed)
    direction = _way(last - base, groups.harmful & fitted)
    half = base[fitted] if fitted.sum() >= 3 else base
    centre = half.mean(axis=0)
    axis = PCA(1, random_state=seed).fit(half).components_[0] if direction is None else direction
    rest = (half - centre) - np.outer((half - centre) @ axis, axis)
    fit = PCA(min(dimensions - 1, len(half) - 1, half.shape[1]), random_state=seed).fit(rest)
    axes = np.vstack([axis, fit.components_])
    deviation = ((half - centre) @ axes.T).std(axis=0)
    axes = axes / np.where(deviation > 1e-9, deviation, 1.0)[:, None]
    points = {checkpoint: _wide((found - centre) @ axes.T, dimensions) for checkpoint, found in vectors.items()}
    return points, fitted, direction is not None


def _movement(
    vectors: Mapping[str, Vectors], groups: Groups, *, dimensions: int, seed: int, notes: list[str], say: Say
) -> Projection:
    if len(vectors) < 2:
        raise ValueError("where answers went needs a step of a run, and this capture holds the base model alone")
    points, fitted, moved = movement_plane(vectors, groups, dimensions=dimensions, seed=seed)
    if not moved:
        notes.append("No harmful prompt has moved: the first component stands in for the direction.")
    notes.append("The plane is fitted on half of the prompts of each label, at the last step; the others are shown.")
    say("judging the maps", FITTED)
    ways = vectors[list(vectors)[-1]] - vectors[BASE]

    def relabelled(found: Vectors) -> Relabelled:
        def axis(harmful: Mask) -> np.ndarray:
            direction = _way(ways, harmful & fitted)
            return np.zeros(len(found)) if direction is None else found @ direction

        return axis

    figures = {
        checkpoint: map_figures(
            found, points[checkpoint], groups, judged=~fitted, relabelled=relabelled(found), seed=seed
        )
        for checkpoint, found in vectors.items()
    }
    rest = ["first component orthogonal to it", "second component orthogonal to it"][: dimensions - 1]
    return Projection(points, figures, (), ("direction in which harmful answers moved", *rest), tuple(notes), fitted)


def _way(ways: Vectors, harmful: Mask) -> Float[np.ndarray, " d_model"] | None:
    """The mean way of the chosen prompts, length 1; None where there is none."""
    if not harmful.any():
        return None
    mean = ways[harmful].mean(axis=0)
    length = float(np.linalg.norm(mean))
    return mean / length if length > 1e-6 else None


def _half_of_each(groups: Groups, seed: int) -> Mask:
    """Every second prompt of each label, in a seeded order; of an odd number the smaller half."""
    sides = (groups.harmful, groups.benign & ~groups.borderline, groups.borderline)
    chosen = [np.random.default_rng(seed).permutation(np.unique(groups.owners[side]))[1::2] for side in sides]
    return np.isin(groups.owners, np.concatenate(chosen))


def _umap(vectors: Mapping[str, Vectors], *, dimensions: int, seed: int, say: Say) -> dict[str, Points]:
    """A joint fit on as many checkpoints as JOINT_POINTS allows, base and last first; others go between their
    neighbours.
    """
    from umap import UMAP

    _keep_compiled()
    names = list(vectors)
    rows = len(vectors[BASE])
    first = [BASE, *([names[-1]] if names[-1] != BASE else [])]
    joint = first + [name for name in names if name not in first][: max(0, JOINT_POINTS // rows - len(first))]
    stacked = np.concatenate([vectors[name] for name in joint])
    if np.ptp(stacked, axis=0).max() == 0:
        return {name: np.zeros((len(found), dimensions), dtype=np.float32) for name, found in vectors.items()}
    shrink = PCA(min(50, len(stacked) - 1, stacked.shape[1]), random_state=seed).fit(stacked)
    small = shrink.transform(stacked)
    say("looking for neighbours", 0.05)
    count = min(15, len(small) - 1)
    search = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(small)
    distances, neighbours = search.kneighbors(small)
    say("compiling the layout (about 8 s the first time)", 0.15)
    fit = UMAP(
        n_components=dimensions,
        n_neighbors=count,
        precomputed_knn=(neighbours, distances.astype(np.float32), None),
        init="pca",
        random_state=seed,
        n_jobs=1,
        force_approximation_algorithm=True,
        tqdm_kwds={"disable": False, "file": _Epochs(say), "bar_format": "{n_fmt}/{total_fmt}", "mininterval": 0.3},
    )
    placed = fit.fit_transform(small)
    points = {name: placed[index * rows : (index + 1) * rows] for index, name in enumerate(joint)}
    for name in names:
        if name not in points:
            gaps, near = search.kneighbors(shrink.transform(vectors[name]), n_neighbors=min(5, count))
            weights = 1 / np.maximum(gaps, 1e-9)
            points[name] = (placed[near] * (weights / weights.sum(1, keepdims=True))[..., None]).sum(1)
    return {name: np.asarray(points[name], dtype=np.float32) for name in names}


@cache
def _keep_compiled() -> None:
    """What UMAP compiles is kept on the disk beside what its libraries keep there: seconds of each process's first
    map."""
    from umap import layouts, umap_

    for module, name in (
        (umap_, "smooth_knn_dist"),
        (umap_, "compute_membership_strengths"),
        (layouts, "_nb_optimize_layout_euclidean_single_epoch"),
    ):
        # Where there is no folder for it, or in a version that names it otherwise, it is compiled as before.
        with suppress(AttributeError, RuntimeError):
            getattr(module, name).enable_caching()


class _Epochs:
    """Where UMAP writes its bar: each 'n/total' is said."""

    def __init__(self, say: Say) -> None:
        self.say = say

    def write(self, text: str) -> None:
        done, slash, total = text.strip().partition("/")
        if slash and done.isdigit() and total.isdigit():
            self.say(f"laying out, epoch {done} of {total}", 0.15 + (FITTED - 0.15) * int(done) / max(1, int(total)))

    def flush(self) -> None:
        """Nothing waits here."""


def _along(
    vectors: Mapping[str, Vectors], direction: Float[np.ndarray, " d_model"] | None, *, dimensions: int, seed: int
) -> dict[str, Points]:
    """The direction as the first axis, then the first components of what is orthogonal to it, all from base vectors."""
    base = vectors[BASE]
    centre = base.mean(axis=0)
    if direction is None:
        direction = PCA(1, random_state=seed).fit(base).components_[0]
    rest = (base - centre) - np.outer((base - centre) @ direction, direction)
    fit = PCA(min(dimensions - 1, len(base) - 1, base.shape[1]), random_state=seed).fit(rest)
    axes = np.vstack([direction, fit.components_])
    return {checkpoint: _wide((found - centre) @ axes.T, dimensions) for checkpoint, found in vectors.items()}


class _Directions:
    """Directions of base vectors under dealt labels, each fitted once for all checkpoints."""

    def __init__(self, base: Vectors, fitted: Mask, method: DirectionKind) -> None:
        self.base, self.fitted, self.method = base, fitted, method
        self.known: dict[bytes, Float[np.ndarray, " d_model"] | None] = {}

    def along(self, found: Vectors) -> Relabelled:
        """The first axis of a checkpoint as it would be under other labels."""

        def axis(harmful: Mask) -> np.ndarray:
            key = harmful.tobytes()
            if key not in self.known:
                rows = self._some(harmful)
                self.known[key] = label_direction(self.base[rows], harmful[rows], self.method)
            direction = self.known[key]
            return np.zeros(len(found)) if direction is None else found @ direction

        return axis

    def _some(self, harmful: Mask) -> Int[np.ndarray, " row"]:
        """Of many rows at most MOST_ROWS of a side: a hundred deals of ten thousand would take minutes."""
        sides = (np.flatnonzero(self.fitted & side) for side in (harmful, ~harmful))
        return np.sort([row for side in sides for row in evenly(side.tolist(), MOST_ROWS)]).astype(int)


def _half(groups: Groups, seed: int) -> Mask:
    """Every second prompt of each side, in a seeded order."""
    chosen = [
        np.random.default_rng(seed).permutation(np.unique(groups.owners[side]))[::2]
        for side in (groups.harmful, groups.benign)
    ]
    return np.isin(groups.owners, np.concatenate(chosen))


def _wide(points: np.ndarray, dimensions: int) -> Points:
    """Fewer prompts than axes leave axes empty: they are 0."""
    missing = dimensions - points.shape[1]
    return np.pad(points, ((0, 0), (0, max(0, missing)))).astype(np.float32)
