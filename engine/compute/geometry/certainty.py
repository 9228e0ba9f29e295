"""How sure a held-out AUC is: its interval, what shuffled labels reach, and how many prompts would settle it.

Arrays and numbers in, numbers out. Knows nothing of captures, files or where to intervene.
"""

from math import sqrt

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import brentq
from scipy.stats import norm, rankdata

from engine.compute.geometry.separation import PROBE_STRENGTH, Folds, Mask, Vectors, probe_folds

SHUFFLES = 200
CONFIDENCE = 0.95
# Where a logistic loss is flat, its second derivative: what makes a ridge of the probe.
_CURVATURE = 0.25
_MOST_PROMPTS = 400
_LEAST = 1e-6


def auc_interval(auc: float, positive: int, negative: int) -> tuple[float, float]:
    """The 95 % interval of an AUC from so many prompts a side, within 0 to 1; wide with few prompts even where the AUC
    is 1. Method 5 of Newcombe 2006 (Statistics in Medicine 25, 559-573): all AUCs whose own Hanley and McNeil error
    reaches the one that was measured."""
    z = float(norm.ppf(0.5 + CONFIDENCE / 2))
    middle = (positive + negative) / 2 - 1

    def error(true: float) -> float:
        variance = true * (1 - true) / (positive * negative)
        return sqrt(variance * (1 + middle * ((1 - true) / (2 - true) + true / (1 + true))))

    def beyond(true: float) -> float:
        return abs(auc - true) - z * error(true)

    # A true AUC of exactly 0 or 1 has no error: the roots that are sought lie beside it.
    low = 0.0 if auc <= _LEAST else float(brentq(beyond, 0.0, auc - _LEAST))
    high = 1.0 if auc >= 1 - _LEAST else float(brentq(beyond, auc + _LEAST, 1.0))
    return low, high


def chance_level(
    found: Vectors, positive: Mask, negative: Mask, *, seed: int, prompt: np.ndarray | None = None
) -> float | None:
    """The 95th percentile of a linear probe's held-out AUC when labels are dealt to prompts at random, in the folds of
    `probe_auc`; None where there is none of that either.

    The probe is the ridge that equals the logistic one to second order: all deals are then solved at once.
    """
    folds = probe_folds(positive, negative, seed=seed, prompt=prompt)
    if folds is None:
        return None
    dealt = _deals(folds, np.random.default_rng(seed))
    shown = found[folds.rows].astype(np.float64)
    areas = [_ridge_areas(shown, dealt, fitted, held) for fitted, held in folds.parts]
    return float(np.percentile(np.mean(areas, axis=0), 100 * CONFIDENCE))


def prompts_needed(auc: float) -> int:
    """How many prompts a side it takes until the interval of such an AUC clears what shuffled labels reach; a multiple
    of 8, at most 400."""
    for count in range(16, _MOST_PROMPTS, 8):
        # The 95th percentile of an AUC of two equal sides (Mann and Whitney 1947).
        chance = 0.5 + 1.645 * sqrt((2 * count + 1) / (12 * count**2))
        if auc_interval(auc, count, count)[0] > chance:
            return count
    return _MOST_PROMPTS


def _deals(folds: Folds, randomness: np.random.Generator) -> Bool[np.ndarray, "prompt deal"]:
    """Labels dealt to prompts within each fold, so that every fold keeps as many of a side as it has."""
    dealt = np.zeros((len(folds.rows), SHUFFLES), dtype=bool)
    for _, held in folds.parts:
        _, first, place = np.unique(folds.owners[held], return_index=True, return_inverse=True)
        labels = folds.labels[held][first]
        for deal in range(SHUFFLES):
            dealt[held, deal] = randomness.permutation(labels)[place]
    return dealt


def _ridge_areas(
    shown: Vectors, dealt: Bool[np.ndarray, "prompt deal"], fitted: np.ndarray, held: np.ndarray
) -> Float[np.ndarray, " deal"]:
    """The AUC of each deal on the held-out part."""
    scale = shown[fitted].std(axis=0)
    scaled = (shown - shown[fitted].mean(axis=0)) / np.where(scale < 1e-12, 1.0, scale)
    wanted = np.where(dealt[fitted], 1.0, -1.0)
    kernel = scaled[fitted] @ scaled[fitted].T + np.eye(len(fitted)) / (PROBE_STRENGTH * _CURVATURE)
    weights = np.linalg.solve(kernel, wanted - wanted.mean(axis=0))
    ranks = rankdata(scaled[held] @ (scaled[fitted].T @ weights), axis=0)
    positive = dealt[held]
    count = positive.sum(axis=0)
    pairs = count * (len(held) - count)
    wins = np.where(positive, ranks, 0).sum(axis=0) - count * (count + 1) / 2
    # A deal to prompts of many tokens may leave a fold with one side.
    return np.where(pairs > 0, wins / np.maximum(pairs, 1), 0.5)
