"""Fitted probes: separable tokens are told apart, and the layers say what the library's own functions say."""

import numpy as np
import pytest
import torch

from engine.compute.geometry.harmfulness import fit, score
from engine.compute.model.harmfulness import Probe


def tokens(count: int, seed: int, *, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Two clouds in 8 dimensions, one of them rogue: a thousand times as long as the others."""
    draw = np.random.default_rng(seed)
    harmful = draw.random(count) < 0.3
    found = draw.normal(size=(count, 8))
    found[:, 3] += shift * harmful
    found[:, 5] = 1000 + 300 * found[:, 5]
    return found.astype(np.float32), harmful


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_tokens_that_differ_are_told_apart_and_others_are_not(kind):
    clear = fit(*tokens(1200, 0, shift=6.0), *tokens(400, 1, shift=6.0), 0)[kind]
    none = fit(*tokens(1200, 0, shift=0.0), *tokens(400, 1, shift=0.0), 0)[kind]
    assert clear.auc > 0.99
    assert 0.35 < none.auc < 0.65


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_the_same_scores_come_from_arrays_and_from_tensors(kind):
    heldout, harmful = tokens(50, 2, shift=3.0)
    fitted = fit(*tokens(600, 0, shift=3.0), heldout, harmful, 0)[kind]
    layers = tuple((torch.tensor(weight), torch.tensor(bias)) for weight, bias in fitted.layers)
    assert [tuple(weight.shape) for weight, _ in fitted.layers] == (
        [(1, 8)] if kind == "linear" else [(64, 8), (32, 64), (1, 32)]
    )
    np.testing.assert_allclose(Probe(0, layers, 0.0).scores(torch.tensor(heldout)).numpy(), fitted.scores, atol=2e-2)
    np.testing.assert_allclose(score(fitted.layers, heldout), fitted.scores, atol=1e-6)


def test_one_held_out_class_alone_has_no_auc():
    heldout, _ = tokens(20, 2, shift=3.0)
    fitted = fit(*tokens(200, 0, shift=3.0), heldout, np.zeros(20, dtype=bool), 0)["linear"]
    assert np.isnan(fitted.auc) and len(fitted.scores) == 20


@pytest.mark.parametrize("count", [4, 5, 6, 30])
def test_a_few_tokens_are_fitted_too(count):
    """No tenth of four tokens holds both sides."""
    inputs, harmful = tokens(400, 0, shift=3.0)
    few = [*np.flatnonzero(harmful)[: count // 2], *np.flatnonzero(~harmful)[: count - count // 2]]
    assert set(fit(inputs[few], harmful[few], inputs, harmful, 0)) == {"linear", "mlp"}
