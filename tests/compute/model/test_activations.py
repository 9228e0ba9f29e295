"""Hidden activations equal those of transformers, whatever is left out to get them faster, in every family."""

from pathlib import Path

import pytest
import torch
from making import byte_tokenizer, random_rows
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    Gemma2Config,
    GPT2Config,
    GPTJConfig,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    PretrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from engine.compute.model.activations import block_activations
from engine.compute.model.adapters import (
    adapted,
    adapter_parameters,
    attach_adapter,
    load_adapter,
    remove_adapter,
    save_adapter,
)
from engine.compute.model.generation import Ask, answered_ids
from engine.compute.model.load import load_model
from engine.compute.model.loaded import LoadedModel, find_final_norm
from engine.compute.model.mixed import Voice
from engine.compute.model.padding import pad
from engine.compute.steps import drained
from engine.compute.training.base_activations import row_batch
from engine.compute.training.rows import Row
from engine.records.chats.asked import Sampling
from engine.records.errors import ModelError
from engine.records.spec_parts import AdapterSpec, ModelSpec

SHAPE = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128,
}  # fmt: skip
FAMILIES: dict[str, PretrainedConfig] = {
    "llama": LlamaConfig(**SHAPE),
    "mistral": MistralConfig(**SHAPE),
    "qwen2": Qwen2Config(**SHAPE),
    "qwen3": Qwen3Config(**SHAPE, head_dim=4),
    "gemma2": Gemma2Config(**SHAPE, head_dim=4),
    "gpt2": GPT2Config(n_embd=16, n_layer=4, n_head=4, n_positions=128),
    # Its decoder reads the first of several things that a block gives out.
    "gptj": GPTJConfig(n_embd=16, n_layer=4, n_head=4, n_positions=128, rotary_dim=4),
    "gpt_neox": GPTNeoXConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=4, num_attention_heads=4, max_position_embeddings=128
    ),
}


@pytest.fixture(params=sorted(FAMILIES))
def any_model(request, tmp_path: Path, settings) -> LoadedModel:
    return model_of(FAMILIES[request.param], tmp_path / "model", settings)


def model_of(config: PretrainedConfig, folder: Path, settings) -> LoadedModel:
    tokenizer = byte_tokenizer()
    config.vocab_size = len(tokenizer)
    config.eos_token_id, config.pad_token_id, config.bos_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id, None
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return load_model(ModelSpec(name=str(folder), device="cpu"), settings)


def plain_states(model: LoadedModel, batch) -> tuple[torch.Tensor, ...]:
    with torch.no_grad():
        return model.causal_lm(
            input_ids=batch.ids, attention_mask=batch.attention, output_hidden_states=True
        ).hidden_states


def test_block_b_is_hidden_state_b_plus_one(any_model):
    batch = row_batch(any_model, random_rows(3))
    expected = plain_states(any_model, batch)
    with torch.no_grad():
        outputs = block_activations(any_model, batch, [0, 2]).outputs
    real = batch.attention.bool()
    for block in (0, 2):
        torch.testing.assert_close(outputs[block][real], expected[block + 1][real])


def test_the_last_block_behind_the_final_norm_is_the_last_hidden_state(any_model):
    batch = row_batch(any_model, random_rows(3))
    with torch.no_grad():
        normed = find_final_norm(any_model)(block_activations(any_model, batch, [3]).outputs[3])
    real = batch.attention.bool()
    torch.testing.assert_close(normed[real], plain_states(any_model, batch)[4][real])


def test_a_model_without_a_final_norm_is_named(tiny_model):
    del tiny_model.decoder.norm
    with pytest.raises(ModelError, match="has no norm behind its last block: turn"):
        find_final_norm(tiny_model)


def test_the_model_is_whole_again_afterwards(any_model):
    batch = row_batch(any_model, random_rows(2))
    before = plain_states(any_model, batch)
    hooks = [(len(block._forward_hooks), len(block._forward_pre_hooks)) for block in any_model.blocks]
    with torch.no_grad():
        entry = block_activations(any_model, batch, [1], entry_block=1, keep_entry=True).entry
        block_activations(any_model, batch, [2], entry_block=1, entry=entry)
    assert len(any_model.blocks) == 4
    for left, right in zip(before, plain_states(any_model, batch), strict=True):
        torch.testing.assert_close(left, right, rtol=0, atol=0)
    assert [(len(block._forward_hooks), len(block._forward_pre_hooks)) for block in any_model.blocks] == hooks


def test_starting_from_kept_states_gives_the_same(any_model):
    starts_alike(any_model, entry=1, block=2)


def starts_alike(model: LoadedModel, *, entry: int, block: int) -> None:
    batch = row_batch(model, random_rows(3))
    with torch.no_grad():
        whole = block_activations(model, batch, [block], entry_block=entry, keep_entry=True)
        short = block_activations(model, batch, [block], entry_block=entry, entry=whole.entry)
    torch.testing.assert_close(short.outputs[block], whole.outputs[block])


def test_many_blocks_that_are_passed_over_hand_on_what_their_decoder_reads(tmp_path, settings):
    """One that handed on another form than its own would lose a dimension at each."""
    shape = {"n_embd": 16, "n_layer": 7, "n_head": 4, "n_positions": 128, "rotary_dim": 4}
    starts_alike(model_of(GPTJConfig(**shape), tmp_path / "deep", settings), entry=6, block=6)


def test_starting_from_kept_states_does_not_run_what_lies_below(any_model):
    batch = row_batch(any_model, random_rows(2))
    ran = []
    linear = next(module for module in any_model.blocks[0].modules() if not list(module.children()))
    linear.register_forward_hook(lambda *_: ran.append(0))
    entry = torch.zeros(2, batch.ids.shape[1], 16)
    with torch.no_grad():
        block_activations(any_model, batch, [2], entry_block=1, entry=entry)
    assert ran == []


def test_padding_and_batching_change_nothing(any_model):
    rows = random_rows(4)
    with torch.no_grad():
        together = block_activations(any_model, row_batch(any_model, rows), [2]).outputs[2]
        for index, row in enumerate(rows):
            alone = block_activations(any_model, row_batch(any_model, [row]), [2]).outputs[2][0]
            torch.testing.assert_close(together[index, : len(row.ids)], alone, rtol=1e-4, atol=1e-5)


def opened_rows(count: int) -> list[Row]:
    """Rows of different length that open with the same ten tokens."""
    opening = random_rows(1)[0].ids[:1] * 10
    return [Row(row.prompt_id, row.label, row.borderline, opening + row.ids, 10) for row in random_rows(count)]


@pytest.mark.parametrize("entry_block", [0, 1])
def test_a_shared_opening_is_run_once_and_changes_nothing(any_model, entry_block):
    batch = row_batch(any_model, opened_rows(4))
    real = batch.attention.bool()
    with torch.no_grad():
        apart = block_activations(any_model, batch, [1, 2], share_opening=False, entry_block=1, keep_entry=True)
        entry = apart.entry if entry_block else None
        seen = []
        embeddings = any_model.causal_lm.get_input_embeddings()
        handle = embeddings.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
        shared = block_activations(any_model, batch, [1, 2], entry_block=1, entry=entry, keep_entry=True)
        handle.remove()
    assert seen == [(1, 10), (4, batch.ids.shape[1] - 10)]
    for block in (1, 2):
        torch.testing.assert_close(shared.outputs[block][real], apart.outputs[block][real], rtol=1e-4, atol=1e-5)
    if not entry_block:
        torch.testing.assert_close(shared.entry[real], apart.entry[real], rtol=1e-4, atol=1e-5)


def test_a_row_that_is_nothing_but_the_opening_keeps_a_token_of_its_own(any_model):
    rows = opened_rows(2)
    rows[0] = Row("short", "benign", False, rows[0].ids[:10], 5)
    batch = row_batch(any_model, rows)
    with torch.no_grad():
        shared = block_activations(any_model, batch, [2]).outputs[2]
        apart = block_activations(any_model, batch, [2], share_opening=False).outputs[2]
    torch.testing.assert_close(shared[0, :10], apart[0, :10], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(shared[1], apart[1], rtol=1e-4, atol=1e-5)


def test_gradients_through_a_shared_opening_are_those_of_every_row(any_model):
    attach_adapter(any_model, "one", AdapterSpec(rank=2, noise=0.1, dropout=0.0), (1, 2), seed=0)
    batch = row_batch(any_model, opened_rows(3))
    with torch.no_grad():
        entry = block_activations(any_model, batch, [2], entry_block=1, keep_entry=True).entry
    gradients = []
    for share in (False, True):
        with adapted(any_model, "one", train=True):
            activations = block_activations(
                any_model, batch, [2], entry_block=1, entry=entry, share_opening=share
            ).outputs[2]
            (activations.square() * batch.attention[:, :, None]).sum().backward()
        parameters = [parameter for _, parameter in adapter_parameters(any_model, "one")]
        gradients.append([parameter.grad.clone() for parameter in parameters])
        for parameter in parameters:
            parameter.grad = None
    for left, right in zip(*gradients, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-3 * float(left.abs().max()))


def test_an_adapter_attaches_to_its_blocks_alone_and_leaves_no_trace(any_model):
    batch = row_batch(any_model, random_rows(2))
    before = plain_states(any_model, batch)
    names = [name for name, _ in any_model.causal_lm.named_modules()]
    trained = attach_adapter(any_model, "a", AdapterSpec(rank=2), [1], seed=0)
    parameters = adapter_parameters(any_model, "a")
    assert trained == sum(parameter.numel() for _, parameter in parameters) > 0
    assert all(".1." in name for name, _ in parameters)
    with adapted(any_model, "a"):
        moved = plain_states(any_model, batch)
    assert not torch.equal(moved[2], before[2]) and torch.equal(moved[1], before[1])
    torch.testing.assert_close(plain_states(any_model, batch)[-1], before[-1], rtol=0, atol=0)
    remove_adapter(any_model, "a")
    assert [name for name, _ in any_model.causal_lm.named_modules()] == names


def test_every_family_says_what_transformers_own_loop_says(any_model):
    """Base and adapted rows of several lengths in one batch, against each prompt alone under peft."""
    attach_adapter(any_model, "a", AdapterSpec(rank=4, noise=1.0), [1, 2], seed=0)
    prompts = [list(row.ids) for row in random_rows(3)]
    asks = [Ask(prompt, voice) for prompt in prompts for voice in (Voice("a"), Voice())]
    answered = drained(answered_ids(any_model, asks, Sampling(new_tokens=8)))
    for ask, ids in zip(asks, answered, strict=True):
        prompt = torch.tensor([ask.prompt])
        with adapted(any_model, ask.voice.adapter):
            output = any_model.causal_lm.generate(
                prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=8, do_sample=False
            )
        expected = output[0, len(ask.prompt) :].tolist()
        assert ids == [token for token in expected if token != any_model.tokenizer.eos_token_id]


def test_an_adapter_that_leaves_the_memory_answers_to_its_end_in_every_family(any_model):
    attach_adapter(any_model, "a", AdapterSpec(rank=4, noise=1.0), [1, 2], seed=0)
    asks = [Ask(list(row.ids), Voice("a")) for row in random_rows(2)]
    expected = drained(answered_ids(any_model, asks, Sampling(new_tokens=6)))
    steps = answered_ids(any_model, asks, Sampling(new_tokens=6))
    next(steps)
    remove_adapter(any_model, "a")
    assert drained(steps) == expected


def test_a_saved_adapter_comes_back_equal(any_model, tmp_path):
    batch = row_batch(any_model, random_rows(2))
    attach_adapter(any_model, "a", AdapterSpec(rank=2, noise=0.1), [0, 2], seed=3)
    with adapted(any_model, "a"):
        before = plain_states(any_model, batch)[-1]
    save_adapter(any_model, "a", tmp_path / "adapter")
    remove_adapter(any_model, "a")
    load_adapter(any_model, "b", tmp_path / "adapter")
    with adapted(any_model, "b"):
        torch.testing.assert_close(plain_states(any_model, batch)[-1], before)


def test_the_adapter_is_silent_again_after_an_exception(tiny_model):
    attach_adapter(tiny_model, "a", AdapterSpec(rank=2, noise=0.5), [0], seed=0)
    batch = pad([[1, 2, 3]], pad_id=0, device=tiny_model.device)
    before = plain_states(tiny_model, batch)[-1]
    with pytest.raises(RuntimeError, match="on purpose"), adapted(tiny_model, "a", train=True):
        raise RuntimeError("on purpose")
    torch.testing.assert_close(plain_states(tiny_model, batch)[-1], before, rtol=0, atol=0)
    assert not any(parameter.requires_grad for parameter in tiny_model.causal_lm.parameters())


def test_two_adapters_on_the_same_weights_do_not_mix(tiny_model):
    batch = pad([[1, 2, 3]], pad_id=0, device=tiny_model.device)
    attach_adapter(tiny_model, "a", AdapterSpec(rank=2, noise=0.5), [0], seed=0)
    with adapted(tiny_model, "a"):
        alone = plain_states(tiny_model, batch)[-1]
    attach_adapter(tiny_model, "b", AdapterSpec(rank=2, noise=0.5), [1], seed=1)
    with adapted(tiny_model, "a"):
        torch.testing.assert_close(plain_states(tiny_model, batch)[-1], alone)
    remove_adapter(tiny_model, "b")
    with adapted(tiny_model, "a"):
        torch.testing.assert_close(plain_states(tiny_model, batch)[-1], alone)


def test_an_adapter_of_another_model_is_refused(tiny_model, tmp_path):
    attach_adapter(tiny_model, "a", AdapterSpec(rank=2), [0], seed=0)
    save_adapter(tiny_model, "a", tmp_path / "adapter")
    remove_adapter(tiny_model, "a")
    config = tmp_path / "adapter" / "adapter_config.json"
    config.write_text(config.read_text().replace(tiny_model.spec.name, "another/model"))
    with pytest.raises(ModelError, match="another/model"):
        load_adapter(tiny_model, "b", tmp_path / "adapter")


@pytest.mark.parametrize("damage", ["weights", "config", "missing"])
def test_a_damaged_adapter_is_refused_and_leaves_no_trace(tiny_model, tmp_path, damage):
    attach_adapter(tiny_model, "a", AdapterSpec(rank=2), [0], seed=0)
    save_adapter(tiny_model, "a", tmp_path / "adapter")
    remove_adapter(tiny_model, "a")
    file = tmp_path / "adapter" / ("adapter_config.json" if damage == "config" else "adapter_model.safetensors")
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(b"damaged")
    with pytest.raises(ModelError, match="adapter"):
        load_adapter(tiny_model, "b", tmp_path / "adapter")
    batch = pad([[1, 2, 3]], pad_id=0, device=tiny_model.device)
    assert plain_states(tiny_model, batch)
    assert tiny_model.peft_model is None


def test_an_adapter_that_fits_in_part_leaves_the_base_model_as_it_was(tiny_model, tmp_path):
    batch = pad([[1, 2, 3]], pad_id=0, device=tiny_model.device)
    before = plain_states(tiny_model, batch)[-1]
    attach_adapter(tiny_model, "a", AdapterSpec(rank=2, noise=0.5), [0, 1], seed=0)
    save_adapter(tiny_model, "a", tmp_path / "adapter")
    remove_adapter(tiny_model, "a")
    file = tmp_path / "adapter" / "adapter_model.safetensors"
    tensors = load_file(file)
    last = sorted(tensors)[-1]
    less = {name: tensor for name, tensor in tensors.items() if name != last}
    for weights, said in ((tensors | {last: torch.zeros(3, 3)}, "Error"), (less, "it lacks 1 weights")):
        save_file(weights, file)
        with pytest.raises(ModelError, match=rf"does not fit[\s\S]*{said}"):
            load_adapter(tiny_model, "b", tmp_path / "adapter")
        torch.testing.assert_close(plain_states(tiny_model, batch)[-1], before)
        assert not any("lora_" in name for name, _ in tiny_model.causal_lm.named_parameters())


def test_an_unknown_module_is_refused_with_those_there_are(tiny_model):
    with pytest.raises(ModelError, match=r"no module nonsense: choose from .*q_proj"):
        attach_adapter(tiny_model, "a", AdapterSpec(modules=("nonsense",)), [0], seed=0)
