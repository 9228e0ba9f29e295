"""The cache of keys and values with room to grow: transformers' own copies all of it for every token. Knows nothing of
answers."""

from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from engine.compute.model.loaded import LoadedModel

# So many tokens are written before all is copied again.
ROOM = 64


def roomy_cache(model: LoadedModel) -> DynamicCache:
    """An empty cache of the model's own kind. For passes without gradients: what was written is written over."""
    cache = DynamicCache(config=model.causal_lm.config)
    cache.layers = [_RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


class _RoomyLayer(DynamicLayer):
    """`keys` and `values` are the filled parts of longer tensors."""

    def __init__(self) -> None:
        super().__init__()
        self._whole: tuple[torch.Tensor, torch.Tensor] | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        filled = self.get_seq_length()
        end = filled + key_states.shape[-2]
        old = self.keys, self.values
        whole = self._whole
        if whole is None or not _is_within(old[0], whole[0]) or end > whole[0].shape[-2]:
            whole = _grown(old[0], key_states, filled, end), _grown(old[1], value_states, filled, end)
        for kept, new in zip(whole, (key_states, value_states), strict=True):
            kept[..., filled:end, :] = new
        self._whole = whole
        self.keys, self.values = (kept[..., :end, :] for kept in whole)
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        # What rows that leave had is given up layer by layer, not when each layer is next written to.
        self._whole = None
        super().batch_select_indices(indices)

    def reset(self) -> None:
        self._whole = None
        super().reset()


def _is_within(filled: torch.Tensor | None, whole: torch.Tensor) -> bool:
    """Not where rows were chosen or repeated since: they are then other tensors."""
    return filled is not None and filled.data_ptr() == whole.data_ptr() and filled.shape[0] == whole.shape[0]


def _grown(old: torch.Tensor | None, new: torch.Tensor, filled: int, end: int) -> torch.Tensor:
    whole = new.new_empty((*new.shape[:-2], end + ROOM, new.shape[-1]))
    if filled and old is not None:
        whole[..., :filled, :] = old
    return whole
