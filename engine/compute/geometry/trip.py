"""Where along a text the breaker trips: cosine between base and rerouted activations, per block and token,
teacher-forced. Knows nothing of chats or runs.
"""

from collections.abc import Generator, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from engine.compute.model.activations import block_activations
from engine.compute.model.adapters import adapted
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.mixed import MixedBatch, Voice
from engine.compute.model.padding import batch_of
from engine.compute.training.base_activations import row_batch
from engine.compute.training.reroute import BlockSpace, BlockStatistics, spaces_of, token_cosine
from engine.compute.training.rows import Row, micro_batches
from engine.records.files import write_whole

GROUP_TOKENS = 512


def trip(
    model: LoadedModel, ids: Sequence[int], voice: Voice, spaces: dict[int, BlockSpace]
) -> Generator[None, None, Float[Tensor, "block token"]]:
    """Cosine of the standardised activations, 1 where nothing moved, for every block of `spaces` and every token.

    What is added to the voice's activations is added to the base model's as well: what is measured is the adapter.
    """
    blocks = sorted(spaces)
    base = _activations(model, ids, Voice(push=voice.push), blocks)
    yield None
    rerouted = _activations(model, ids, voice, blocks)
    cosines = torch.stack([token_cosine(rerouted[b], base[b], spaces[b], "standardised")[0] for b in blocks]).cpu()
    yield None
    return cosines


def standard_spaces(
    model: LoadedModel, rows: Sequence[Row], *, file: Path
) -> Generator[None, None, dict[int, BlockSpace]]:
    """Mean and deviation of the base activations of these rows at every block, the first token left out. Kept in
    `file`.
    """
    known = read_spaces(file, model)
    if known:
        return known
    statistics = [BlockStatistics() for _ in model.blocks]
    for group in micro_batches(rows, GROUP_TOKENS):
        with torch.no_grad(), adapted(model, None):
            outputs = block_activations(model, row_batch(model, group), range(len(model.blocks))).outputs
        for block, activations in outputs.items():
            for index, row in enumerate(group):
                statistics[block].add(activations[index, 1 : len(row.ids)])
        yield None
    spaces = spaces_of(dict(enumerate(statistics)))
    content = {
        "mean": torch.stack([spaces[block].mean for block in spaces]).cpu(),
        "deviation": torch.stack([spaces[block].deviation for block in spaces]).cpu(),
        "centred_norm": torch.tensor([spaces[block].centred_norm for block in spaces]),
    }
    write_whole(file, save(content))
    return spaces


def read_spaces(file: Path, model: LoadedModel) -> dict[int, BlockSpace]:
    """The spaces that standard_spaces has kept in the file; empty where it holds none of this model."""
    try:
        content = load_file(file, device=str(model.device))
    except (OSError, SafetensorError):
        return {}
    if content.keys() != {"mean", "deviation", "centred_norm"}:
        return {}
    if content["mean"].shape != (len(model.blocks), model.d_model):
        return {}
    norms = content["centred_norm"].tolist()
    return {
        block: BlockSpace(content["mean"][block], content["deviation"][block], norms[block])
        for block in range(len(norms))
    }


def _activations(model: LoadedModel, ids: Sequence[int], voice: Voice, blocks: Sequence[int]) -> dict[int, Tensor]:
    batch = batch_of(model, [ids])
    with torch.no_grad(), adapted(model, None), MixedBatch(model, [voice]).active():
        return block_activations(model, batch, blocks).outputs
