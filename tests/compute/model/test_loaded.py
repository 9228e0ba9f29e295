"""Blocks are those of the language decoder, by the text config, whatever other lists a model holds."""

import pytest
import torch
from torch import nn
from transformers import (
    CLIPVisionConfig,
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextConfig,
    LlavaNextForConditionalGeneration,
    MistralConfig,
    MistralForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from engine.compute.model.loaded import find_blocks, find_decoder
from engine.records.errors import ModelError

SHAPE = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 64, "vocab_size": 99, "pad_token_id": 0,
}  # fmt: skip
VISION = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 4, "image_size": 28, "patch_size": 14}


def made(kind: type[PreTrainedModel], config) -> PreTrainedModel:
    with torch.device("meta"):
        return kind(config)


TEXT = {
    "llama": (LlamaForCausalLM, LlamaConfig(**SHAPE), "model", "layers"),
    "mistral": (MistralForCausalLM, MistralConfig(**SHAPE), "model", "layers"),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config(**SHAPE), "model", "layers"),
    "qwen3": (Qwen3ForCausalLM, Qwen3Config(**SHAPE, head_dim=4), "model", "layers"),
    "gemma2": (Gemma2ForCausalLM, Gemma2Config(**SHAPE, head_dim=4), "model", "layers"),
    "gpt2": (GPT2LMHeadModel, GPT2Config(n_embd=16, n_layer=3, n_head=4), "transformer", "h"),
    "gpt_neox": (
        GPTNeoXForCausalLM,
        GPTNeoXConfig(hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=4),
        "gpt_neox",
        "layers",
    ),
    "opt": (
        OPTForCausalLM,
        OPTConfig(hidden_size=16, ffn_dim=32, num_hidden_layers=3, num_attention_heads=4, word_embed_proj_dim=16),
        "model.decoder",
        "layers",
    ),
    "mixtral": (MixtralForCausalLM, MixtralConfig(**SHAPE, num_local_experts=8), "model", "layers"),
}


@pytest.mark.parametrize("family", TEXT)
def test_every_family_has_its_own_blocks(family):
    kind, config, decoder, blocks = TEXT[family]
    model = made(kind, config)
    assert find_decoder(model) is model.get_submodule(decoder)
    assert find_blocks(model) is model.get_submodule(f"{decoder}.{blocks}") and len(find_blocks(model)) == 3


@pytest.mark.parametrize("experts", [3, 8], ids=["as many as blocks", "more than blocks"])
def test_a_list_of_experts_is_not_taken_for_the_blocks(experts):
    model = made(MixtralForCausalLM, MixtralConfig(**SHAPE, num_local_experts=experts))
    for block in model.model.layers:
        # As where experts are modules of their own, and not slices of one weight.
        block.mlp.experts = nn.ModuleList(nn.Linear(16, 16, device="meta") for _ in range(experts))
    assert find_blocks(model) is model.model.layers and find_decoder(model) is model.model


@pytest.mark.parametrize(
    ("kind", "config"),
    [(LlavaForConditionalGeneration, LlavaConfig), (LlavaNextForConditionalGeneration, LlavaNextConfig)],
    ids=["llava", "llava next"],
)
@pytest.mark.parametrize("vision_blocks", [3, 7], ids=["as many as text blocks", "more than text blocks"])
def test_blocks_of_a_model_that_sees_are_those_of_its_text(kind, config, vision_blocks):
    model = made(
        kind,
        config(
            vision_config=CLIPVisionConfig(**VISION, num_hidden_layers=vision_blocks),
            text_config=LlamaConfig(**SHAPE),
            image_token_index=98,
        ),
    )
    assert find_blocks(model) is model.model.language_model.layers
    assert find_decoder(model) is model.model.language_model


def test_a_model_without_blocks_is_refused():
    model = made(LlamaForCausalLM, LlamaConfig(**SHAPE))
    model.config.num_hidden_layers = 4
    with pytest.raises(ModelError, match="No decoder blocks were found in LlamaForCausalLM"):
        find_blocks(model)
