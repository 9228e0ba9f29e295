"""From what a block gave out to what the model foretells: the blocks above it, the final norm, the head. Knows nothing
of losses or data."""

import torch
from jaxtyping import Float
from torch import Tensor

from engine.compute.model.activations import block_activations
from engine.compute.model.loaded import LoadedModel, find_final_norm
from engine.compute.model.padding import Batch
from engine.records.errors import ModelError

# Under these names families change what their head gives out.
BEHIND_THE_HEAD = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")


def carried_on(
    model: LoadedModel,
    batch: Batch,
    activations: Float[Tensor, "prompt token d_model"],
    *,
    block: int,
    share_opening: bool = True,
) -> Float[Tensor, "prompt token d_model"]:
    """What the last block gives out where `block` gave out these activations, under whatever adapter is active.
    share_opening: as of block_activations."""
    last = len(model.blocks) - 1
    if block == last:
        return activations
    return block_activations(
        model, batch, [last], entry_block=block + 1, entry=activations, share_opening=share_opening
    ).outputs[last]


def logits_of(model: LoadedModel, activations: Float[Tensor, "token d_model"]) -> Float[Tensor, "token vocabulary"]:
    """What is foretold behind tokens whose activations these are, as the last block gave them out."""
    head = model.causal_lm.get_output_embeddings()
    assert isinstance(head, torch.nn.Module)
    return head(find_final_norm(model)(activations))


def need_plain_head(model: LoadedModel) -> None:
    """Raises ModelError for a model without a final norm or head of the usual kind, or one that changes what its head
    gives out."""
    find_final_norm(model)
    config = model.causal_lm.config.get_text_config(decoder=True)
    changed = [name for name in BEHIND_THE_HEAD if getattr(config, name, None) not in (None, 0, 1, 1.0)]
    if changed or model.causal_lm.get_output_embeddings() is None:
        why = f"changes what its head gives out ({', '.join(changed)})" if changed else "has no head"
        raise ModelError(f"{model.spec.name} {why}: set the weight of answers held by what they foretell to 0.")
