"""Fitting harmfulness probes: which tokens are of harmful answers. Arrays in, layers out; for the child process, since
a fit cannot be divided. Knows nothing of models or runs.

Linear, and an MLP of 64 and 32 units, as in Zou et al. 2024 (arXiv:2406.04313).
"""

import warnings
from typing import NamedTuple

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


class Fitted(NamedTuple):
    """layers: weights (outputs x inputs) and biases, for activations as they are.  scores: of the held-out tokens.
    auc: of these."""

    layers: Layers
    scores: Float[np.ndarray, " heldout"]
    auc: float


def fit(
    activations: Float[np.ndarray, "token d_model"],
    harmful: Bool[np.ndarray, " token"],
    heldout: Float[np.ndarray, "heldout d_model"],
    heldout_harmful: Bool[np.ndarray, " heldout"],
    seed: int,
) -> dict[str, Fitted]:
    """Both kinds of probe on the same tokens, both classes weighing the same, and their scores on held-out tokens."""
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
    fitted = {}
    for kind, layers in found.items():
        first, bias = layers[0]
        layers[0] = (first / scaler.scale_, bias - first @ (scaler.mean_ / scaler.scale_))
        scores = score(layers, heldout)
        both = heldout_harmful.any() and not heldout_harmful.all()
        auc = float(roc_auc_score(heldout_harmful, scores)) if both else float("nan")
        fitted[kind] = Fitted([(w.astype(np.float32), b.astype(np.float32)) for w, b in layers], scores, auc)
    return fitted


def score(layers: Layers, activations: Float[np.ndarray, "token d_model"]) -> Float[np.ndarray, " token"]:
    found = activations.astype(np.float64)
    for number, (weight, bias) in enumerate(layers):
        found = (np.maximum(found, 0) if number else found) @ weight.T + bias
    return found[:, 0]


def _balanced(harmful: Bool[np.ndarray, " token"], seed: int) -> np.ndarray:
    """Places of as many tokens of either class, in a mixed order."""
    draw = np.random.default_rng(seed)
    sides = [np.flatnonzero(harmful), np.flatnonzero(~harmful)]
    fewest = min(map(len, sides))
    return draw.permutation(np.concatenate([draw.permutation(side)[:fewest] for side in sides]))
