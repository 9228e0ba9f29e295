"""A model's weights, each process of a team with a share of every block. Knows nothing of what is computed.

torch's FSDP2: during a block's pass the processes gather its weights, and let them go behind it. Adapters come later
and are whole in each process: their gradients are added up as without shards.
"""

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from engine.compute.team import present
from engine.records.errors import ModelError


def shard(model: nn.Module, decoder: nn.Module, blocks: nn.ModuleList, device: torch.device) -> None:
    """Share every block out over the team, one after the other, so that no process holds more than one of them whole on
    its device. Embeddings, norms and head stay whole.

    A pass that one process alone would run, and never come out of, raises ModelError from now on.
    """
    team = present()
    assert team is not None
    mesh = init_device_mesh(device.type, (team.size,))
    for block in blocks:
        fully_shard(block, mesh=mesh)
    own = {parameter for block in blocks for parameter in block.parameters()}
    others = {parameter for parameter in model.parameters() if parameter not in own}
    fully_shard(decoder, mesh=mesh, ignored_params=others)
    for parameter in others:
        parameter.data = parameter.data.to(device)
    for module in model.modules():
        for name, buffer in module._buffers.items():
            if buffer is not None and not isinstance(buffer, DTensor):
                module._buffers[name] = buffer.to(device)
    decoder.register_forward_pre_hook(_need_all)


def _need_all(_module: nn.Module, _inputs: tuple) -> None:
    team = present()
    if team is None or not team.mode:
        raise ModelError(
            "This cannot be done yet with weights that are shared out over several processes: start the worker without "
            "--sharded."
        )
