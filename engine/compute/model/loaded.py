"""The base model in memory and where its blocks are. Knows nothing of files, adapters or text."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.pytorch_utils import Conv1D

from engine.compute.model.sight import Sight
from engine.records.cards import ModelCard
from engine.records.errors import ModelError
from engine.records.spec_parts import ModelSpec


@dataclass
class LoadedModel:
    """The base model in memory, its blocks, and the adapters attached to it. share: how much of the free memory batches
    may count on, halved each time when that was too much."""

    spec: ModelSpec
    causal_lm: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    decoder: nn.Module
    blocks: nn.ModuleList
    card: ModelCard
    device: torch.device
    dtype: torch.dtype
    peft_model: PeftModel | None = None
    # What tells it apart from others, where its weights cannot be read any more as they were.
    fingerprint: str = ""
    # Its weights as they lay when they were read: see engine.records.model_files.made_of.
    made_of: str = ""
    # The layers that PEFT has wrapped, and for which adapters that was looked up.
    wrapped: tuple[tuple[str, ...], list[LoraLayer]] = ((), [])
    share: float = 1.0
    # Of a model that sees: its tower, and the pictures that it was shown.
    sight: Sight | None = None

    @property
    def published(self) -> PreTrainedModel:
        """The model as its authors published it, which adapters in files name the modules of: of one that sees, the
        whole of which causal_lm is the language half."""
        return self.sight.published if self.sight else self.causal_lm

    @property
    def d_model(self) -> int:
        return self.card.d_model


@contextmanager
def replaced_forwards(forwards: Iterable[tuple[nn.Module, Callable[..., Any]]]) -> Iterator[None]:
    """Inside, these modules compute something else; on leaving they are as they were: with their class's own forward,
    or with what a library such as accelerate had put in its place."""
    before: list[tuple[nn.Module, Any]] = []
    try:
        for module, forward in forwards:
            before.append((module, module.__dict__.get("forward")))
            module.__dict__["forward"] = forward
        yield
    finally:
        for module, forward in reversed(before):
            if forward is None:
                module.__dict__.pop("forward", None)
            else:
                module.__dict__["forward"] = forward


def find_blocks(model: PreTrainedModel) -> nn.ModuleList:
    """The blocks of the model's language decoder, never those of a vision tower, nor a block's experts. Raises
    ModelError if there are none."""
    return _decoder_and_blocks(model)[1]


def find_decoder(model: PreTrainedModel) -> nn.Module:
    """The module that runs the blocks: embeddings before, final norm after, no LM head. Raises as find_blocks does."""
    return _decoder_and_blocks(model)[0]


def linear_modules(block: nn.Module) -> list[tuple[str, nn.Module]]:
    """Linear layers of a block by name; with an adapter attached, the layers that PEFT wrapped."""
    found: list[tuple[str, nn.Module]] = []
    for name, module in block.named_modules():
        if "lora_" in name or name.endswith("base_layer"):
            continue
        plain = module.get_base_layer() if isinstance(module, LoraLayer) else module
        if isinstance(plain, nn.Linear | Conv1D):
            found.append((name, plain))
    return found


def module_shape(module: nn.Module) -> tuple[int, int]:
    if isinstance(module, nn.Linear):
        return module.in_features, module.out_features
    inputs, outputs = module.weight.shape  # type: ignore[misc]
    return int(inputs), int(outputs)  # type: ignore[arg-type]


def find_final_norm(model: LoadedModel) -> nn.Module:
    """The norm that the decoder applies behind its last block. Raises ModelError if it has none."""
    norms = [child for child in model.decoder.children() if type(child).__name__.endswith("Norm")]
    if not norms:
        raise ModelError(
            f"{model.spec.name} has no norm behind its last block: turn the losses' final norm off for this model."
        )
    # A norm of the embeddings, where a family has one, comes first.
    return norms[-1]


def _decoder_and_blocks(model: PreTrainedModel) -> tuple[nn.Module, nn.ModuleList]:
    """The first module at or below transformers' decoder that has as many equal children in a list as the text model
    has blocks, each with linear layers. A module comes before what it holds, so blocks come before their experts."""
    count = getattr(model.config.get_text_config(decoder=True), "num_hidden_layers", 0)
    for module in model.get_decoder().modules():
        for child in module.children():
            if (
                isinstance(child, nn.ModuleList)
                and len(child) == count > 0
                and len({type(block) for block in child}) == 1
                and any(True for _ in linear_modules(child[0]))
            ):
                return module, child
    raise ModelError(f"No decoder blocks were found in {type(model).__name__}: choose a causal language model.")
