"""A small vision tower as an ONNX file, laid out as exporters do. No fixtures."""

from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
import torch
from onnx import helper, numpy_helper
from safetensors.torch import load_file
from transformers import Dinov2Config, Dinov2Model


def tiny_tower(*, seed: int = 0) -> Dinov2Model:
    """Random weights: width 64, three blocks, patches of 14 pixels."""
    config = Dinov2Config(
        hidden_size=64, num_hidden_layers=3, num_attention_heads=1, mlp_ratio=2, patch_size=14, image_size=42
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tower = Dinov2Model(config).eval()
        for parameter in tower.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
    return tower


def write_tower(file: Path, tower: Dinov2Model, *, without: tuple[str, ...] = ()) -> Path:
    """Matrices transposed and without names of their own, positions in two parts, a decoder that nobody reads."""
    initializers, nodes = [], []
    for name, weight in _published(tower).items():
        if name in without:
            continue
        array = weight.numpy()
        if name == "embeddings.position_embeddings":
            initializers.append(numpy_helper.from_array(array[:, :1].copy(), "onnx::Concat_1"))
            initializers.append(numpy_helper.from_array(array[:, 1:].copy(), "onnx::Reshape_2"))
        elif array.ndim == 2 and name.endswith(".weight"):
            matrix = f"onnx::MatMul_{len(initializers)}"
            initializers.append(numpy_helper.from_array(array.T.copy(), matrix))
            # Exporters write a list's members as layer.0, all else as folders.
            place = name.removesuffix(".weight").replace(".", "/").replace("layer/", "layer.")
            nodes.append(helper.make_node("MatMul", ["x", matrix], ["x"], name=f"/backbone/{place}/MatMul"))
        elif name != "embeddings.mask_token":
            initializers.append(numpy_helper.from_array(array, f"backbone.{name}"))
    initializers.append(numpy_helper.from_array(torch.zeros(2, 3).numpy(), "decoder.upconv1.weight"))
    graph = helper.make_graph(nodes, "tower", [], [], initializer=initializers)
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph), str(file))
    return file


def _published(tower: Dinov2Model) -> dict[str, torch.Tensor]:
    """By the published names, which differ from those that this version gives its modules."""
    with TemporaryDirectory() as folder:
        tower.save_pretrained(folder)
        return load_file(Path(folder) / "model.safetensors")
