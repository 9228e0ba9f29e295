"""Fitted probes: separable tokens are told apart, and other ones are not."""

import numpy as np
import pytest
import torch

from engine.compute.geometry.harmfulness import Layers, areas, fit
from engine.compute.model.harmfulness import Probe


def tokens(count: int, seed: int, *, shift: float) -> tuple[np.ndarray, np.ndarray]:
    """Two clouds in 8 dimensions, one of them rogue: a thousand times as long as the others."""
    draw = np.random.default_rng(seed)
    harmful = draw.random(count) < 0.3
    found = draw.normal(size=(count, 8))
    found[:, 3] += shift * harmful
    found[:, 5] = 1000 + 300 * found[:, 5]
    return found.astype(np.float32), harmful


def scores(layers: Layers, heldout: np.ndarray) -> np.ndarray:
    """As where a probe is used."""
    probe = Probe(0, tuple((torch.tensor(weight), torch.tensor(bias)) for weight, bias in layers), 0.0)
    return probe.scores(torch.tensor(heldout)).numpy()


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_tokens_that_differ_are_told_apart_and_others_are_not(kind):
    found = []
    for shift in (6.0, 0.0):
        heldout, harmful = tokens(400, 1, shift=shift)
        layers = fit(*tokens(1200, 0, shift=shift), 0)[kind]
        assert [weight.shape for weight, _ in layers] == (
            [(1, 8)] if kind == "linear" else [(64, 8), (32, 64), (1, 32)]
        )
        found.append(areas({kind: scores(layers, heldout)}, harmful)[kind])
    clear, none = found
    assert clear > 0.99
    assert 0.35 < none < 0.65


def test_areas_of_several_scores_and_none_of_one_class_alone():
    harmful = np.array([True, True, False, False])
    found = areas({"right": np.array([4.0, 3, 2, 1]), "half": np.array([4.0, 1, 3, 2])}, harmful)
    assert found == {"right": 1.0, "half": 0.5}
    assert all(np.isnan(area) for area in areas({"right": np.arange(4.0)}, np.zeros(4, dtype=bool)).values())


@pytest.mark.parametrize("count", [4, 5, 6, 30])
def test_a_few_tokens_are_fitted_too(count):
    """No tenth of four tokens holds both sides."""
    inputs, harmful = tokens(400, 0, shift=3.0)
    few = [*np.flatnonzero(harmful)[: count // 2], *np.flatnonzero(~harmful)[: count - count // 2]]
    assert set(fit(inputs[few], harmful[few], 0)) == {"linear", "mlp"}
