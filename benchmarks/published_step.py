"""The published implementation's compute, written as a baseline for measurement: base and adapted passes of the whole
model for each side, LM head included, every row padded to one length, checkpointing as an option. The losses are those
of the engine; only the work differs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from engine.compute.model.adapters import adapted, adapter_parameters, attach_adapter, remove_adapter
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.padding import pad
from engine.compute.training.reroute import BlockSpace, rerouting_loss, retain_loss
from engine.compute.training.rows import Row
from engine.compute.training.train import Losses
from engine.records.spec import RunSpec, resolve_blocks


class PublishedStep:
    """Optimizer steps of the baseline, one a call. `tokens`: what every row is padded to."""

    def __init__(self, model: LoadedModel, spec: RunSpec, *, seed: int, tokens: int, checkpointing: bool) -> None:
        self.model, self.tokens, self.checkpointing = model, tokens, checkpointing
        self.blocks = resolve_blocks(spec, model.card.block_count)
        self.name = f"published-{tokens}-{checkpointing}"
        attach_adapter(model, self.name, spec.adapter, self.blocks.adapted, seed=seed)
        parameters = [parameter for _, parameter in adapter_parameters(model, self.name)]
        self.optimizer = torch.optim.AdamW(parameters, lr=spec.optimizer.learning_rate)
        unit = torch.ones(model.d_model, device=model.device)
        self.spaces = {block: BlockSpace(0 * unit, unit, 1.0) for block in range(model.card.block_count)}

    def __call__(self, harmful: Sequence[Row], benign: Sequence[Row]) -> Losses:
        """One step on these rows; both losses as they were before it."""
        with adapted(self.model, self.name, train=True):
            reroute = self._side(harmful, reroute=True)
            retain = self._side(benign, reroute=False)
            (reroute + retain).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return Losses(float(reroute.detach()), float(retain.detach()))

    def close(self) -> None:
        remove_adapter(self.model, self.name)

    def _side(self, rows: Sequence[Row], *, reroute: bool) -> Tensor:
        model = self.model
        filled = [[*row.ids, *([0] * (self.tokens - len(row.ids)))] for row in rows]
        ids = pad(filled, pad_id=0, device=model.device).ids
        lengths = torch.tensor([len(row.ids) for row in rows], device=model.device)
        mask = (torch.arange(self.tokens, device=model.device)[None] < lengths[:, None]).float()
        with torch.no_grad(), _without_adapters(model):
            base = model.causal_lm(input_ids=ids, attention_mask=mask.long(), output_hidden_states=True).hidden_states
        if self.checkpointing:
            model.causal_lm.gradient_checkpointing_enable({"use_reentrant": False})
            model.causal_lm.train()
        try:
            moved = model.causal_lm(input_ids=ids, attention_mask=mask.long(), output_hidden_states=True).hidden_states
        finally:
            if self.checkpointing:
                model.causal_lm.gradient_checkpointing_disable()
                model.causal_lm.eval()
        if reroute:
            wanted = self.blocks.targets
            return rerouting_loss(
                {block: moved[block + 1] for block in wanted},
                {block: base[block + 1] for block in wanted},
                mask,
                self.spaces,
                space="raw",
            )
        wanted = self.blocks.retain
        return retain_loss(
            {block: moved[block + 1] for block in wanted},
            {block: base[block + 1] for block in wanted},
            mask,
            self.spaces,
            scale="absolute",
        )


def _without_adapters(model: LoadedModel):
    assert model.peft_model is not None
    return model.peft_model.disable_adapter()
