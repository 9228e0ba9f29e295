"""The projector that ships: between the packaged tower and the bundled model, and small."""

import torch
from safetensors.torch import load_file

from engine.records.assembled import ASSEMBLED, shipped_projector
from engine.records.spec_parts import BUNDLED_MODEL

TOWER_WIDTH, LANGUAGE_WIDTH = 384, 576


def test_a_projector_ships_for_the_bundled_model_and_fits_both_halves():
    [model] = [one for one in ASSEMBLED.values() if one.language == BUNDLED_MODEL]
    file = shipped_projector(model, 64)
    weights = load_file(file)
    assert {name: tuple(weight.shape) for name, weight in weights.items()} == {
        "linear_1.weight": (LANGUAGE_WIDTH, TOWER_WIDTH),
        "linear_1.bias": (LANGUAGE_WIDTH,),
        "linear_2.weight": (LANGUAGE_WIDTH, LANGUAGE_WIDTH),
        "linear_2.bias": (LANGUAGE_WIDTH,),
    }
    assert all(bool(torch.isfinite(weight).all()) and bool(weight.any()) for weight in weights.values())
    assert file.stat().st_size < 4_000_000
