"""The base model in memory and where its blocks are. Knows nothing of files, adapters or text."""

from dataclasses import dataclass

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.pytorch_utils import Conv1D

from engine.records.cards import ModelCard
from engine.records.errors import ModelError
from engine.records.spec import ModelSpec


@dataclass
class LoadedModel:
    """The base model in memory, its blocks, and the adapters attached to it."""

    spec: ModelSpec
    causal_lm: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    decoder: nn.Module
    blocks: nn.ModuleList
    card: ModelCard
    device: torch.device
    dtype: torch.dtype
    peft_model: PeftModel | None = None
    # The layers that PEFT has wrapped, and for which adapters that was looked up.
    wrapped: tuple[tuple[str, ...], list[LoraLayer]] = ((), [])

    @property
    def d_model(self) -> int:
        return self.card.d_model


def find_blocks(model: PreTrainedModel) -> nn.ModuleList:
    """The decoder blocks: the longest list of equal modules that hold linear layers. Raises ModelError if none."""
    lists = [
        module
        for module in model.modules()
        if isinstance(module, nn.ModuleList)
        and len({type(block) for block in module}) == 1
        and any(True for _ in linear_modules(module[0]))
    ]
    if not lists:
        raise ModelError(f"No decoder blocks were found in {type(model).__name__}: choose a causal language model.")
    return max(lists, key=len)


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


def find_decoder(model: PreTrainedModel, blocks: nn.ModuleList) -> nn.Module:
    """The module that runs the blocks: embeddings before, final norm after, no LM head."""
    for module in model.modules():
        if module is not model and any(child is blocks for child in module.children()):
            return module
    return model


def find_final_norm(model: LoadedModel) -> nn.Module:
    """The norm that the decoder applies behind its last block. Raises ModelError if it has none."""
    norms = [child for child in model.decoder.children() if type(child).__name__.endswith("Norm")]
    if not norms:
        raise ModelError(
            f"{model.spec.name} has no norm behind its last block: turn the losses' final norm off for this model."
        )
    # A norm of the embeddings, where a family has one, comes first.
    return norms[-1]
