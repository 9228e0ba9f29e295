"""Quick layers compute what PEFT's layers compute, forward and backward, and leave no trace."""

import pytest
import torch
from peft.tuners.lora import LoraLayer

from engine.compute.model import low_rank
from engine.compute.model.activations import block_activations
from engine.compute.model.adapters import adapted, adapter_parameters, attach_adapter
from engine.compute.model.load import load_model
from engine.compute.model.low_rank import quick_layers
from engine.compute.model.padding import pad
from engine.records.spec_parts import AdapterSpec, ModelSpec

ROWS = pad([[5, 6, 7, 8, 9, 10], [20, 21, 22]], pad_id=0, device=torch.device("cpu"))


def outputs_and_gradients(model, *, quick: bool, dropout_seed: int = 0):
    for _, parameter in adapter_parameters(model, "run"):
        parameter.grad = None
    torch.manual_seed(dropout_seed)
    with adapted(model, "run", train=True):
        if quick:
            with quick_layers(model, "run"):
                outputs = block_activations(model, ROWS, [0, 1]).outputs
        else:
            outputs = block_activations(model, ROWS, [0, 1]).outputs
        # Another weight for each number: a plain sum would hide a transposed gradient.
        values = torch.stack([outputs[0], outputs[1]]).float()
        (values * torch.linspace(-1, 1, values.numel()).reshape(values.shape)).sum().backward()
    return values.detach(), {name: parameter.grad for name, parameter in adapter_parameters(model, "run")}


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_outputs_and_gradients_equal_pefts(tiny_model, dropout, monkeypatch):
    monkeypatch.setattr(low_rank, "multiplies_bfloat16", lambda: False)
    attach_adapter(tiny_model, "run", AdapterSpec(rank=4, alpha=8, noise=0.2, dropout=dropout), [0, 1], seed=0)
    plain, plain_gradients = outputs_and_gradients(tiny_model, quick=False)
    quick, quick_gradients = outputs_and_gradients(tiny_model, quick=True)
    torch.testing.assert_close(quick, plain, rtol=1e-4, atol=1e-4)
    for name, gradient in plain_gradients.items():
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(quick_gradients[name], gradient, rtol=1e-3, atol=1e-4)


def test_gradients_that_pass_back_in_bfloat16_keep_their_direction_and_the_states_are_exact(tiny_model, monkeypatch):
    attach_adapter(tiny_model, "run", AdapterSpec(rank=4, alpha=8, noise=0.2, dropout=0.0), [0, 1], seed=0)
    found = {}
    for narrow in (False, True):
        monkeypatch.setattr(low_rank, "multiplies_bfloat16", lambda narrow=narrow: narrow)
        found[narrow] = outputs_and_gradients(tiny_model, quick=True)
    assert torch.equal(found[True][0], found[False][0])
    differ = False
    for name, gradient in found[False][1].items():
        other = found[True][1][name]
        differ |= not torch.equal(other, gradient)
        assert torch.cosine_similarity(other.flatten(), gradient.flatten(), dim=0) > 0.9995, name
        assert abs(float(other.norm() / gradient.norm()) - 1) < 0.01, name
    assert differ, "nothing passed back in bfloat16"


def test_a_model_asked_for_in_float32_trains_in_float32_throughout(tiny_model_folder, settings, monkeypatch):
    gradients = {}
    for able in (False, True):
        monkeypatch.setattr(low_rank, "multiplies_bfloat16", lambda able=able: able)
        model = load_model(ModelSpec(name=str(tiny_model_folder), device="cpu", dtype="float32"), settings)
        attach_adapter(model, "run", AdapterSpec(rank=4, alpha=8, noise=0.2, dropout=0.0), [0, 1], seed=0)
        gradients[able] = outputs_and_gradients(model, quick=True)[1]
    assert all(torch.equal(gradients[True][name], gradient) for name, gradient in gradients[False].items())


def test_dropout_is_drawn_anew_for_another_seed(tiny_model):
    attach_adapter(tiny_model, "run", AdapterSpec(rank=4, alpha=8, noise=0.2, dropout=0.3), [0, 1], seed=0)
    first, _ = outputs_and_gradients(tiny_model, quick=True)
    second, _ = outputs_and_gradients(tiny_model, quick=True, dropout_seed=1)
    assert not torch.allclose(first, second, atol=1e-3)


def test_weights_in_bfloat16_give_gradients_in_float32(tiny_model_folder, settings, bfloat16_processor):
    model = load_model(ModelSpec(name=str(tiny_model_folder), device="cpu", dtype="bfloat16"), settings)
    attach_adapter(model, "run", AdapterSpec(rank=4, alpha=8, noise=0.2, dropout=0.0), [0, 1], seed=0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        plain, plain_gradients = outputs_and_gradients(model, quick=False)
        quick, quick_gradients = outputs_and_gradients(model, quick=True)
    torch.testing.assert_close(quick, plain, rtol=0.05, atol=0.1)
    for name, gradient in plain_gradients.items():
        assert quick_gradients[name].dtype == torch.float32
        # Sums rounded to 8 bits in another order: the direction is what must agree.
        cosine = torch.cosine_similarity(quick_gradients[name].flatten(), gradient.flatten(), dim=0)
        assert cosine > 0.99, (name, float(cosine))


def test_layers_are_pefts_again_after_an_exception(tiny_model):
    attach_adapter(tiny_model, "run", AdapterSpec(rank=4), [0, 1], seed=0)
    layers = [layer for layer in tiny_model.causal_lm.modules() if isinstance(layer, LoraLayer)]
    with pytest.raises(RuntimeError, match="inside"), quick_layers(tiny_model, "run"):
        assert any("forward" in layer.__dict__ for layer in layers)
        raise RuntimeError("inside")
    assert not any("forward" in layer.__dict__ for layer in layers)


def test_layers_of_another_adapter_are_left_alone(tiny_model):
    attach_adapter(tiny_model, "other", AdapterSpec(rank=4), [0], seed=0)
    attach_adapter(tiny_model, "run", AdapterSpec(rank=4), [1], seed=0)
    with quick_layers(tiny_model, "run"):
        lower = [layer for layer in tiny_model.blocks[0].modules() if isinstance(layer, LoraLayer)]
        assert not any("forward" in layer.__dict__ for layer in lower)


def test_weights_that_are_put_in_place_for_the_time_of_a_forward_are_the_ones_it_computes_with(tiny_model):
    """As a sharded model does: what stood there when the layers were wrapped may hold a part alone."""
    attach_adapter(tiny_model, "run", AdapterSpec(rank=4, alpha=8, noise=0.2, dropout=0.0), [0, 1], seed=0)
    layer = next(module for module in tiny_model.causal_lm.modules() if isinstance(module, LoraLayer))
    with adapted(tiny_model, "run", train=True):
        with quick_layers(tiny_model, "run"):
            for place in (layer.lora_A["run"], layer.lora_B["run"]):
                place.weight = torch.nn.Parameter(3 * place.weight.detach())
            quick = block_activations(tiny_model, ROWS, [1]).outputs[1]
        plain = block_activations(tiny_model, ROWS, [1]).outputs[1]
    torch.testing.assert_close(quick, plain, rtol=1e-4, atol=1e-4)
