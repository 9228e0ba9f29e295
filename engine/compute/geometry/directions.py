"""Directions in activations that tell harmful from benign. Arrays in, arrays out: knows no captures or models."""

import numpy as np
from jaxtyping import Bool, Float

from engine.records.chats.asked import DirectionKind

# A probe needs no more prompts than these of a side, and a fit is to stay short.
MOST_ROWS = 400

Direction = Float[np.ndarray, " d_model"]


def label_direction(
    vectors: Float[np.ndarray, "prompt d_model"], harmful: Bool[np.ndarray, " prompt"], kind: DirectionKind
) -> Direction | None:
    """Towards harmful, length 1; None when one side is empty or both are equal."""
    if not harmful.any() or harmful.all():
        return None
    if kind == "difference":
        direction = _gap(vectors, harmful)
    else:
        # It takes a second to load, and the difference of means can do without.
        from sklearn.linear_model import LogisticRegression

        scale = np.maximum(vectors.std(axis=0), 1e-12)
        probe = LogisticRegression(C=0.01, max_iter=200).fit((vectors - vectors.mean(axis=0)) / scale, harmful)
        direction = probe.coef_[0] / scale
    length = float(np.linalg.norm(direction))
    return direction / length if length > 1e-12 else None


def steering_direction(
    vectors: Float[np.ndarray, "prompt d_model"], harmful: Bool[np.ndarray, " prompt"], kind: DirectionKind
) -> Direction | None:
    """The same direction, as long as the means of harmful and of benign vectors lie apart: directions of any kind are
    then added in one unit. Prompts whose vector is not finite are left out, and of very many some."""
    known = np.flatnonzero(np.isfinite(vectors).all(axis=1))
    sides = (known[harmful[known]][:MOST_ROWS], known[~harmful[known]][:MOST_ROWS])
    rows = np.sort(np.concatenate(sides))
    direction = label_direction(vectors[rows], harmful[rows], kind)
    return None if direction is None else direction * float(np.linalg.norm(_gap(vectors[rows], harmful[rows])))


def _gap(vectors: np.ndarray, harmful: np.ndarray) -> Direction:
    return vectors[harmful].mean(axis=0) - vectors[~harmful].mean(axis=0)
