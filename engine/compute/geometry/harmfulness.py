"""Fitting harmfulness probes: which tokens are of harmful answers. Arrays in, layers out; for the child process, since
a fit cannot be divided and its library is not the worker's. Knows nothing of models or runs.

Linear, and an MLP of 64 and 32 units, as in Zou et al. 2024 (arXiv:2406.04313).
"""

import warnings
from collections.abc import Mapping

import numpy as np
from jaxtyping import Bool, Float
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

HIDDEN = (64, 32)
# The inverse of the penalty on the linear probe's weights, and the penalty on the MLP's.
STRENGTH, PENALTY = 0.01, 1.0
MOST_EPOCHS, PATIENCE, BATCH = 25, 4, 512
LEAST_TO_STOP = 20

Layers = list[tuple[np.ndarray, np.ndarray]]


def fit(
    activations: Float[np.ndarray, "token d_model"], harmful: Bool[np.ndarray, " token"], seed: int
) -> dict[str, Layers]:
    """Both kinds of probe on the same tokens, both classes weighing the same: weights (outputs x inputs) and biases of
    each layer, for activations as they are."""
    scaler = StandardScaler().fit(activations)
    inputs = scaler.transform(activations).astype(np.float32)
    chosen = _balanced(harmful, seed)
    linear = LogisticRegression(C=STRENGTH, max_iter=300)
    mlp = MLPClassifier(
        HIDDEN,
        alpha=PENALTY,
        batch_size=min(BATCH, len(chosen)),
        max_iter=MOST_EPOCHS,
        # A tenth is kept aside to tell when to stop, and holds both sides.
        early_stopping=len(chosen) >= LEAST_TO_STOP,
        n_iter_no_change=PATIENCE,
        random_state=seed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        linear.fit(inputs[chosen], harmful[chosen])
        mlp.fit(inputs[chosen], harmful[chosen])
    found: dict[str, Layers] = {
        "linear": [(linear.coef_, linear.intercept_)],
        "mlp": [(weight.T, bias) for weight, bias in zip(mlp.coefs_, mlp.intercepts_, strict=True)],
    }
    for layers in found.values():
        first, bias = layers[0]
        layers[0] = (first / scaler.scale_, bias - first @ (scaler.mean_ / scaler.scale_))
    return {
        kind: [(weight.astype(np.float32), bias.astype(np.float32)) for weight, bias in layers]
        for kind, layers in found.items()
    }


def areas(scores: Mapping[str, Float[np.ndarray, " token"]], harmful: Bool[np.ndarray, " token"]) -> dict[str, float]:
    """The area under the ROC curve of each of several scores of the same tokens; not a number where all tokens are of
    one kind."""
    if harmful.all() or not harmful.any():
        return dict.fromkeys(scores, float("nan"))
    return {name: float(roc_auc_score(harmful, found)) for name, found in scores.items()}


def _balanced(harmful: Bool[np.ndarray, " token"], seed: int) -> np.ndarray:
    """Places of as many tokens of either class, in a mixed order."""
    draw = np.random.default_rng(seed)
    sides = [np.flatnonzero(harmful), np.flatnonzero(~harmful)]
    fewest = min(map(len, sides))
    return draw.permutation(np.concatenate([draw.permutation(side)[:fewest] for side in sides]))
