"""How far a probe of our own prompts reaches: whether it tells other people's harmful prompts from borderline ones. A
breaker can do no better at a block than what separates there. Arrays in, figures out. Knows nothing of models or files.
"""

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Bool, Float
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_curve
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from engine.compute.geometry.separation import PROBE_STRENGTH, area

# Of the harmful prompts, where the borderline ones that are lost with them are counted.
FOUND = 0.9

Group = TypeVar("Group")
# Of one group; groups are of different sizes.
Vectors = Float[np.ndarray, "_ d_model"]
Scores = Float[np.ndarray, " _"]


class Reach(NamedTuple):
    """auc: 0 to 1, 0.5 by chance.  lost: share of borderline prompts that score no less than the harmful prompt down to
    which FOUND of the harmful ones are found.  harmful, borderline: how many there were.  front: from threshold to
    threshold the share of borderline prompts below it and that of harmful ones, both 0 to 1: what would be kept, and
    what harm would be left, if each prompt from there on were refused."""

    auc: float
    lost: float
    harmful: int
    borderline: int
    front: tuple[tuple[float, float], ...] = ()


def probe_scores(
    fitted: Float[np.ndarray, "prompt d_model"], harmful: Bool[np.ndarray, " prompt"], asked: Mapping[Group, Vectors]
) -> dict[Group, Scores]:
    """Scores of each group under a linear probe of the fitted prompts: the higher, the more harmful."""
    probe = make_pipeline(StandardScaler(), LogisticRegression(C=PROBE_STRENGTH, max_iter=300))
    probe.fit(fitted, harmful)
    return {name: probe.decision_function(vectors) for name, vectors in asked.items() if len(vectors)}


def reach(harmful: Scores, borderline: Scores) -> Reach:
    """Both must hold at least one prompt."""
    scores = np.concatenate([harmful, borderline])
    positive = np.arange(len(scores)) < len(harmful)
    threshold = np.sort(harmful)[::-1][int(np.ceil(FOUND * len(harmful))) - 1]
    lost, found, _ = roc_curve(positive, scores)
    return Reach(
        area(scores, positive),
        float((borderline >= threshold).mean()),
        len(harmful),
        len(borderline),
        tuple(zip((1 - lost).tolist(), (1 - found).tolist(), strict=True)),
    )


def worst(found: Mapping[str, Reach]) -> str:
    """The group on which most borderline prompts are lost; of equals the one of the lower AUC."""
    return max(found, key=lambda name: (found[name].lost, -found[name].auc))
