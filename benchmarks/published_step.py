"""The published implementation's step, written anew as a baseline for measurement: its maths and its compute.

The model is cut off one block above its last target, LM head kept; base and adapted passes for each side, every row
padded to one length, checkpointing as an option. Its losses are written out here, not taken from the engine, and equal
what the published code computed (tests/published). Rows are padded on the right, where the published code pads requests
and retain rows on the left: tokens see the same tokens either way.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float, Int
from torch import Tensor

from engine.compute.model.adapters import adapted, adapter_parameters, attach_adapter, remove_adapter
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.padding import pad
from engine.compute.training.rows import Row
from engine.compute.training.train import Losses
from engine.records.blocks import resolve_blocks
from engine.records.spec import RunSpec


class PublishedStep:
    """Optimizer steps of the baseline, one a call, with both weights 1.

    `tokens`: what every row is padded to. `positions`: what the retain mean takes a row's length to be, if not that; a
    baseline that pads less then still computes the loss of the one that pads more.
    """

    def __init__(
        self,
        model: LoadedModel,
        spec: RunSpec,
        *,
        seed: int,
        tokens: int,
        checkpointing: bool,
        positions: int | None = None,
    ) -> None:
        self.model, self.tokens, self.checkpointing = model, tokens, checkpointing
        self.positions = positions or tokens
        self.blocks = resolve_blocks(spec, model.card.block_count)
        self.name = f"published-{tokens}-{checkpointing}"
        attach_adapter(model, self.name, spec.adapter, self.blocks.adapted, seed=seed)
        self.parameters = [parameter for _, parameter in adapter_parameters(model, self.name)]
        self.optimizer = torch.optim.AdamW(self.parameters, lr=spec.optimizer.learning_rate, weight_decay=0.0)

    def __call__(self, harmful: Sequence[Row], benign: Sequence[Row]) -> Losses:
        """One step on these rows; both losses as they were before it."""
        with adapted(self.model, self.name, train=True), _cut_off(self.model, above=self.blocks.last):
            retain = self._retain(benign)
            reroute = self._reroute(harmful)
            (reroute + retain).backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, max_norm=1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return Losses(float(reroute.detach()), float(retain.detach()), answer=0.0, twin=0.0)

    def close(self) -> None:
        remove_adapter(self.model, self.name)

    def _reroute(self, rows: Sequence[Row]) -> Float[Tensor, ""]:
        ids, mask = self._padded(rows)
        base = self._base(ids, mask)
        moved = self._moved(ids, mask)
        # Block b's output is hidden_states[b + 1].
        layers = [block + 1 for block in self.blocks.targets]
        return published_rerouting_loss(
            torch.stack([moved[layer] for layer in layers]), torch.stack([base[layer] for layer in layers]), mask
        )

    def _retain(self, rows: Sequence[Row]) -> Float[Tensor, ""]:
        ids, mask = self._padded(rows)
        base = torch.stack(self._base(ids, mask))
        loss = published_retain_loss(torch.stack(self._moved(ids, mask)), base, mask)
        return loss * self.tokens / self.positions

    def _padded(self, rows: Sequence[Row]) -> tuple[Int[Tensor, "prompt token"], Float[Tensor, "prompt token"]]:
        device = self.model.device
        filled = [[*row.ids, *([0] * (self.tokens - len(row.ids)))] for row in rows]
        lengths = torch.tensor([len(row.ids) for row in rows], device=device)
        mask = (torch.arange(self.tokens, device=device)[None] < lengths[:, None]).float()
        return pad(filled, pad_id=0, device=device).ids, mask

    def _base(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        assert self.model.peft_model is not None
        with torch.no_grad(), self.model.peft_model.disable_adapter():
            return self._activations(ids, mask)

    def _moved(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        if not self.checkpointing:
            return self._activations(ids, mask)
        model = self.model.causal_lm
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.train()
        try:
            return self._activations(ids, mask)
        finally:
            model.gradient_checkpointing_disable()
            model.eval()

    def _activations(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, ...]:
        """Of the embeddings and every kept block, the last one behind the final norm."""
        return self.model.causal_lm(input_ids=ids, attention_mask=mask.long(), output_hidden_states=True).hidden_states


def published_rerouting_loss(
    moved: Float[Tensor, "layer prompt token d_model"],
    base: Float[Tensor, "layer prompt token d_model"],
    mask: Float[Tensor, "prompt token"],
) -> Float[Tensor, ""]:
    """relu of the cosine, summed over target layers and tokens of request and response, divided by their number."""
    lengths = (torch.norm(side, dim=-1, keepdim=True, dtype=torch.float) for side in (moved, base))
    moved, base = (side / length for side, length in zip((moved, base), lengths, strict=True))
    cosine = (moved * base * mask[None, :, :, None]).sum(-1)
    return torch.relu(cosine).sum() / (mask.sum() * len(moved))


def published_retain_loss(
    moved: Float[Tensor, "layer prompt token d_model"],
    base: Float[Tensor, "layer prompt token d_model"],
    mask: Float[Tensor, "prompt token"],
) -> Float[Tensor, ""]:
    """L2 norm of the masked difference, its mean over all positions, padding included, and all layers given."""
    held = mask[None, :, :, None].to(moved.dtype)
    return torch.norm(moved * held - base * held, dim=-1, dtype=torch.float).mean()


@contextmanager
def _cut_off(model: LoadedModel, *, above: int) -> Iterator[None]:
    taken = list(model.blocks[above + 1 :])
    del model.blocks[above + 1 :]
    try:
        yield
    finally:
        model.blocks.extend(taken)
