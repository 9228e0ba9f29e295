"""A cache with room to grow holds what transformers' own holds, whatever becomes of its rows."""

import weakref

import pytest
import torch
from transformers import DynamicCache

from engine.compute.model.roomy_cache import ROOM, roomy_cache


@pytest.mark.parametrize("first", [1, ROOM - 1, ROOM, 3 * ROOM])
def test_it_holds_the_same_as_a_cache_that_copies_all_of_it(tiny_model, first: int):
    generator = torch.Generator().manual_seed(0)
    ours, theirs = roomy_cache(tiny_model), DynamicCache(config=tiny_model.causal_lm.config)

    def add(rows: int, tokens: int) -> None:
        keys, values = torch.randn((2, rows, 2, tokens, 8), generator=generator)
        found = [cache.update(keys, values, 0) for cache in (ours, theirs)]
        assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))

    add(4, first)
    for _ in range(ROOM + 3):
        add(4, 1)
    for cache in (ours, theirs):
        cache.batch_select_indices(torch.tensor([3, 1]))
    add(2, 2)
    add(2, 1)
    for cache in (ours, theirs):
        cache.batch_select_indices(torch.tensor([0, 0, 1, 1]))
    add(4, 1)
    assert ours.get_seq_length() == theirs.get_seq_length() == first + ROOM + 3 + 4


def test_what_was_chosen_is_not_written_over_by_what_is_added_to_the_rest(tiny_model):
    cache = roomy_cache(tiny_model)
    cache.update(torch.zeros(2, 1, 3, 4), torch.zeros(2, 1, 3, 4), 0)
    kept, _ = cache.update(torch.ones(2, 1, 1, 4), torch.ones(2, 1, 1, 4), 0)
    before = kept.clone()
    cache.update(torch.full((2, 1, 1, 4), 7.0), torch.ones(2, 1, 1, 4), 0)
    assert torch.equal(kept, before)
    cache.reset()
    assert cache.get_seq_length() == 0
    assert cache.update(torch.ones(1, 1, 2, 4), torch.ones(1, 1, 2, 4), 0)[0].shape == (1, 1, 2, 4)


def test_what_rows_that_leave_had_is_given_up_at_once(tiny_model):
    cache = roomy_cache(tiny_model)
    for layer in range(2):
        cache.update(torch.zeros(8, 1, 3, 4), torch.zeros(8, 1, 3, 4), layer)
    long = [weakref.ref(layer._whole[0]) for layer in cache.layers]
    assert all(tensor() is not None for tensor in long)
    cache.batch_select_indices(torch.tensor([0, 1]))
    assert all(tensor() is None for tensor in long)
