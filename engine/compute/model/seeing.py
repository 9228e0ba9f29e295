"""Models that see pictures: which kinds can be used, and the language half of one as a model of its own.

Knows nothing of pictures themselves.
"""

from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoProcessor,
    PretrainedConfig,
    PreTrainedModel,
)

from engine.compute.model.pictures import PictureTokens
from engine.records.errors import ModelError, first_line
from engine.records.model_files import SEEING_KINDS


def sees(config: PretrainedConfig) -> bool:
    """Whether it is of a kind that can be shown pictures here: equality with transformers' own forward is tested for
    each."""
    return config.model_type in SEEING_KINDS


def model_class(config: PretrainedConfig) -> Any:
    """What loads a model of this config. Raises ModelError for a kind that sees and can be used neither with pictures
    nor for text alone."""
    if sees(config):
        return AutoModelForImageTextToText
    if getattr(config, "vision_config", None) is not None and type(config) not in AutoModelForCausalLM._model_mapping:
        raise ModelError(
            f"Models of the kind {config.model_type} see pictures in a way that cannot be used here: only "
            f"{' and '.join(SEEING_KINDS)} can, whose language half is a plain causal decoder. Others count positions "
            "within a picture (M-RoPE), read it by cross-attention, or look at its parts from both sides."
        )
    return AutoModelForCausalLM


def language_half(published: PreTrainedModel) -> PreTrainedModel:
    """The language half as the causal language model that it is, made of the very same modules; a model that does not
    see is that itself. Raises ModelError where the half is no such model."""
    if not sees(published.config):
        return published
    decoder: Any = published.get_decoder()
    try:
        with torch.device("meta"):
            half: Any = AutoModelForCausalLM.from_config(decoder.config)
    except ValueError as error:
        raise ModelError(f"The language half is no causal language model: {first_line(error)}") from error
    setattr(half, half.base_model_prefix, decoder)
    half.set_output_embeddings(published.get_output_embeddings())
    half.config, half.generation_config = decoder.config, published.generation_config
    assert not any(parameter.is_meta for parameter in half.parameters()), "every weight is the published model's"
    half.eval()
    return half


def read_picture_tokens(place: str) -> PictureTokens:
    """The ids of pictures under the processor that lies beside a model's weights. Raises ModelError where it cannot be
    read, or knows no token for pictures."""
    try:
        # Pillow's numbers, whatever else is installed.
        processor = AutoProcessor.from_pretrained(place, trust_remote_code=False, backend="pil")
        return PictureTokens(processor)
    except Exception as error:  # Processors' files of many ages raise many kinds.
        raise ModelError(
            f"The processor of pictures cannot be read: {first_line(error)} The folder needs processor_config.json or "
            "preprocessor_config.json, and a token for pictures."
        ) from error
