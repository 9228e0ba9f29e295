"""A mixed batch computes what peft computes for each row alone, and leaves no trace."""

import pytest
import torch
from making import byte_tokenizer
from peft import LoraConfig
from torch import nn
from torch.nn import functional
from transformers import OPTConfig, OPTForCausalLM

from engine.compute.model.adapters import adapted, adapter_parameters, attach_adapter, remove_adapter
from engine.compute.model.load import load_model
from engine.compute.model.mixed import MixedBatch, Voice, _product
from engine.records.errors import ModelError
from engine.records.spec_parts import AdapterSpec, ModelSpec

IDS = torch.tensor([[5, 6, 7, 8, 9, 10], [20, 21, 22, 23, 24, 25]])
BASE, FIRST, SECOND = Voice(), Voice("first"), Voice("second")


@pytest.fixture
def model(tiny_model):
    """The tiny model with two strong adapters; the second is on the upper block alone."""
    attach_adapter(tiny_model, "first", AdapterSpec(rank=4, alpha=8, noise=1.0), [0, 1], seed=0)
    attach_adapter(tiny_model, "second", AdapterSpec(rank=2, alpha=2, noise=1.0, modules=("q_proj",)), [1], seed=1)
    return tiny_model


def logits(model, ids=IDS):
    with torch.no_grad():
        return model.causal_lm(input_ids=ids).logits


def alone(model, name):
    with adapted(model, name):
        return logits(model)


def mixed(model, *voices):
    """Both rows of IDS under each voice, in one pass."""
    with MixedBatch(model, [voice for voice in voices for _ in IDS]).active():
        return logits(model, IDS.repeat(len(voices), 1)).split(len(IDS))


def test_each_row_is_computed_as_peft_computes_it_alone(model):
    together = mixed(model, BASE, FIRST, SECOND)
    for result, name in zip(together, (None, "first", "second"), strict=True):
        torch.testing.assert_close(result, alone(model, name), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=0.01)
    assert not torch.allclose(together[0], together[2], atol=0.001)


def test_rows_of_a_family_that_hands_its_layers_all_tokens_as_one_are_computed_as_alone(tmp_path, settings):
    config = OPTConfig(
        vocab_size=300, hidden_size=16, ffn_dim=32, num_hidden_layers=2, num_attention_heads=4, word_embed_proj_dim=16
    )
    torch.manual_seed(0)
    OPTForCausalLM(config).save_pretrained(tmp_path)
    byte_tokenizer().save_pretrained(tmp_path)
    model = load_model(ModelSpec(name=str(tmp_path), device="cpu", dtype="float32"), settings)
    attach_adapter(model, "first", AdapterSpec(rank=4, alpha=8, noise=1.0), [0, 1], seed=0)
    base, rerouted = mixed(model, BASE, FIRST)
    torch.testing.assert_close(base, alone(model, None), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(rerouted, alone(model, "first"), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(base[:, -1], rerouted[:, -1], atol=0.01)


def test_half_precision_is_computed_as_peft_computes_it(tiny_model_folder, settings, bfloat16_processor):
    """Weights in bfloat16, adapters in float32: the update is added before rounding."""
    model = load_model(ModelSpec(name=str(tiny_model_folder), device="cpu", dtype="bfloat16"), settings)
    attach_adapter(model, "first", AdapterSpec(rank=4, alpha=8, noise=1.0), [0, 1], seed=0)
    base, rerouted = mixed(model, BASE, FIRST)
    assert base.dtype == torch.bfloat16
    torch.testing.assert_close(base, alone(model, None), rtol=0.02, atol=0.01)
    torch.testing.assert_close(rerouted, alone(model, "first"), rtol=0.02, atol=0.01)


def test_dose_zero_is_the_base_model_and_half_a_dose_half_the_update(model):
    nothing, half, all_of_it = mixed(model, Voice("first", 0.0), Voice("first", 0.5), FIRST)
    torch.testing.assert_close(nothing, alone(model, None), rtol=1e-4, atol=1e-5)
    for _, parameter in adapter_parameters(model, "first", part="lora_B"):
        parameter.data *= 0.5
    torch.testing.assert_close(half, alone(model, "first"), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(half, all_of_it, atol=0.01)


def test_layers_are_as_before_after_an_exception(model):
    before = alone(model, None)
    batch = MixedBatch(model, [FIRST, FIRST])
    with pytest.raises(RuntimeError, match="in the middle"), batch.active():
        assert not torch.allclose(logits(model), before)
        raise RuntimeError("in the middle")
    assert torch.equal(alone(model, None), before)
    assert not any("forward" in module.__dict__ for module in model.causal_lm.modules())


def test_an_adapter_that_is_removed_still_answers_for_who_holds_it(model):
    batch = MixedBatch(model, [FIRST, FIRST])
    with batch.active():
        expected = logits(model)
    for name in ("first", "second"):
        remove_adapter(model, name)
    with batch.active():
        torch.testing.assert_close(logits(model), expected)
    attach_adapter(model, "third", AdapterSpec(noise=1.0), [0], seed=2)
    with batch.active():
        torch.testing.assert_close(logits(model), expected)


def test_an_adapter_in_training_answers_as_it_is_now(model):
    batch = MixedBatch(model, [FIRST, FIRST])
    with batch.active():
        before = logits(model)
    for _, parameter in adapter_parameters(model, "first", part="lora_B"):
        parameter.data += 0.3
    with batch.active():
        after = logits(model)
    assert not torch.allclose(before, after, atol=0.01)
    torch.testing.assert_close(after, alone(model, "first"), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("inputs", "outputs"), [(16, 48), (48, 16)])
@pytest.mark.parametrize("bias", [False, True])
def test_the_quick_product_equals_the_usual_one(inputs, outputs, bias):
    layer = nn.Linear(inputs, outputs, bias=bias)
    for rows in (1, 2, 3, 8, 9, 40):
        activations = torch.randn(rows, 1, inputs)
        with torch.no_grad():
            found = _product(layer)(activations)
            torch.testing.assert_close(found, functional.linear(activations, layer.weight, layer.bias))
        assert found.is_contiguous()


def test_a_name_that_is_not_in_memory_is_refused(model):
    with pytest.raises(ModelError, match="not in memory"):
        MixedBatch(model, [Voice("gone")])


def test_an_adapter_that_is_not_plain_lora_is_refused(model):
    model.peft_model.add_adapter("dora", LoraConfig(r=2, target_modules=["q_proj"], use_dora=True))
    with pytest.raises(ModelError, match="not plain LoRA"):
        MixedBatch(model, [Voice("dora")])


def test_rows_of_one_token_in_bfloat16_are_laid_flat_and_give_the_same():
    layer = torch.nn.Linear(24, 40, dtype=torch.bfloat16)
    inputs = torch.randn(6, 3, 24, dtype=torch.bfloat16)
    with torch.no_grad():
        for activations in (inputs, inputs[:, -1:], inputs[0], inputs[0, 0]):
            found = _product(layer)(activations)
            assert found.shape == (*activations.shape[:-1], 40)
            assert torch.allclose(found, layer(activations), atol=2e-2)
