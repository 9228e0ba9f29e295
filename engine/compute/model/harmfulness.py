"""Harmfulness probes as they are used: a score for each token from what one block gives out. Knows nothing of how they
were fitted or of runs.

Source: Zou et al. 2024 (arXiv:2406.04313), the harmfulness probe that circuit breakers are compared with.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from engine.records.errors import RunError
from engine.records.files import write_whole

Layer = tuple[Tensor, Tensor]


@dataclass(frozen=True, eq=False)
class Probe:
    """A network over one block's output. layers: weights and biases of each, with a ReLU between two of them; the last
    has one output, the logit of "harmful". It fires where that is above the threshold."""

    block: int
    layers: tuple[Layer, ...]
    threshold: float

    @cached_property
    def identity(self) -> str:
        """Sixteen hexadecimal digits that two probes share only when they fire at the same tokens."""
        digest = hashlib.sha256(f"{self.block}:{self.threshold!r}".encode())
        for tensors in self.layers:
            for tensor in tensors:
                digest.update(tensor.detach().float().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def scores(self, activations: Float[Tensor, "*place d_model"]) -> Float[Tensor, "*place"]:
        found = activations.float()
        for number, (weight, bias) in enumerate(self.layers):
            if number:
                found = torch.relu(found)
            found = torch.nn.functional.linear(found, weight, bias)
        return found[..., 0]


def save_layers(file: Path, probes: Mapping[str, Sequence[Layer]]) -> None:
    """The layers of each probe, by its name."""
    tensors = {}
    for name, layers in probes.items():
        for number, (weight, bias) in enumerate(layers):
            tensors[f"{name}.{number}.weight"] = weight.contiguous()
            tensors[f"{name}.{number}.bias"] = bias.contiguous()
    write_whole(file, save(tensors))


def read_layers(file: Path, name: str, device: torch.device) -> tuple[Layer, ...]:
    """Raises RunError where the file is damaged, or holds no probe of that name."""
    try:
        tensors = load_file(file, device=str(device))
        count = sum(key.startswith(f"{name}.") for key in tensors) // 2
        layers = tuple((tensors[f"{name}.{n}.weight"], tensors[f"{name}.{n}.bias"]) for n in range(count))
    except (OSError, SafetensorError, KeyError) as error:
        raise RunError(f"The harmfulness probes in {file} cannot be read: fit them anew.") from error
    if not layers:
        raise RunError(f"{file} holds no harmfulness probe '{name}': fit them anew.")
    return layers
