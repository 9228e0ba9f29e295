"""A vision tower of the DINOv2 kind out of an ONNX file, as transformers' own class. Nothing in the file is run. Knows
nothing of packages."""

import math
import re
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import Dinov2Config, Dinov2Model

from engine.records.errors import ModelError, first_line

_PREFIX = "backbone."
# Of each attention head, in every published DINOv2.
HEAD_WIDTH = 64


def read_tower(file: Path) -> Dinov2Model:
    """The tower in float32, frozen. Its sizes are those of the weights.

    Raises ModelError where the file is missing, damaged, or holds another network.
    """
    try:
        weights = _weights(file)
        tower = _loaded(weights)
    except Exception as error:  # Files that are none of ONNX, and networks of all kinds, raise many kinds.
        raise ModelError(
            f"The vision tower {file.name} cannot be read: {first_line(error)} Delete the folder {file.parent}, and "
            "assemble again to fetch it anew."
        ) from error
    tower.requires_grad_(False)
    return tower.eval()


def _loaded(weights: dict[str, Tensor]) -> Dinov2Model:
    """By way of a folder: only from there does transformers know the published names in every version."""
    config = _config(weights)
    # Only training looks at it, and no exported file holds it.
    weights["embeddings.mask_token"] = torch.zeros(1, config.hidden_size)
    kept = {
        name: weight for name, weight in weights.items() if name.startswith(("embeddings.", "encoder.", "layernorm."))
    }
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        save_file(kept, Path(folder) / "model.safetensors", metadata={"format": "pt"})
        loaded: Any = Dinov2Model.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    tower, told = loaded
    if lacking := sorted(told["missing_keys"]):
        raise ModelError(f"It has no weights {', '.join(lacking[:3])}.")
    return tower


def _weights(file: Path) -> dict[str, Tensor]:
    """By the published names. An exported network holds the matrices of linear layers transposed and without their
    names, which its nodes know, and the positions in two parts."""
    # It takes a second, and only assembling reads such files.
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(file)).graph
    arrays = {one.name: torch.from_numpy(numpy_helper.to_array(one).copy()) for one in graph.initializer}
    found = {name.removeprefix(_PREFIX): array for name, array in arrays.items() if name.startswith(_PREFIX)}
    for node in graph.node:
        if node.op_type == "MatMul" and node.input[1] in arrays:
            name = node.name.strip("/").removesuffix("/MatMul").replace("/", ".").removeprefix(_PREFIX)
            found[f"{name}.weight"] = arrays[node.input[1]].T.contiguous()
    positions = [array for name, array in arrays.items() if "." not in name and array.dim() == 3]
    # The class token's own stands before those of the patches.
    found["embeddings.position_embeddings"] = torch.cat(sorted(positions, key=lambda one: one.shape[1]), dim=1)
    return found


def _config(weights: dict[str, Tensor]) -> Dinov2Config:
    width, _, patch, _ = weights["embeddings.patch_embeddings.projection.weight"].shape
    blocks = {int(match[1]) for name in weights if (match := re.match(r"encoder\.layer\.(\d+)\.", name))}
    patches = weights["embeddings.position_embeddings"].shape[1] - 1
    return Dinov2Config(
        hidden_size=width,
        num_hidden_layers=len(blocks),
        num_attention_heads=max(1, width // HEAD_WIDTH),
        mlp_ratio=weights["encoder.layer.0.mlp.fc1.weight"].shape[0] // width,
        patch_size=patch,
        image_size=math.isqrt(patches) * patch,
    )
