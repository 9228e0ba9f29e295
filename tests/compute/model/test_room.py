"""How much goes through at once: by free memory and bytes a token; halved, and gone on with, where memory runs out."""

from functools import partial

import pytest
import torch
from making import drain

from engine.compute.model import room
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.room import (
    answer_bytes,
    by_halves,
    free_bytes,
    learning_room,
    logit_bytes,
    rows_at_once,
    tokens_at_once,
    total_bytes,
)
from engine.records.cards import CacheShape
from engine.records.errors import MemoryShortage

GIB = 2**30


@pytest.fixture
def free(monkeypatch):
    """The free memory that the room is told of."""
    return lambda count: monkeypatch.setattr(room, "free_bytes", lambda _: count)


def gpu(model: LoadedModel) -> LoadedModel:
    """A model that says it lies on a GPU: what is reckoned with, nothing is computed."""
    model.device = torch.device("cuda")
    return model


def test_a_row_that_is_answered_takes_its_cache_and_its_logits(tiny_model):
    """32 numbers a token in two blocks, float32: 128 bytes, 100 tokens and the 64 that the cache grows into 20,992; 259
    logits as float32, and 8 bytes each for their float32 and their softmax: 3,108."""
    assert logit_bytes(tiny_model, 1) == 259 * 12
    assert answer_bytes(tiny_model, 100) == 20_992 + 3_108


def test_llama_3_8b_keeps_128_kib_of_cache_a_token_so_that_262144_tokens_would_be_32_gib():
    """32 blocks, 8 heads of 128 for keys and as many for values, bfloat16."""
    shape = CacheShape(values=32 * 2 * 8 * 128)
    assert 2 * shape.of(1) == 128 * 2**10
    assert 2 * shape.of(262_144) == 32 * 2**30


def test_rows_follow_the_free_memory_and_a_processor_has_a_further_bound(tiny_model, free):
    free(1_000_000)
    assert rows_at_once(tiny_model, 10_000, on_a_processor=1000) == 60
    assert rows_at_once(tiny_model, 10_000, on_a_processor=8) == 8
    assert rows_at_once(gpu(tiny_model), 10_000, on_a_processor=8) == 60
    free(1000)
    assert rows_at_once(tiny_model, 10_000, on_a_processor=8) == 1
    free(2**50)
    assert rows_at_once(tiny_model, 10_000, on_a_processor=8) == room.MOST_ROWS
    assert tokens_at_once(tiny_model, on_a_processor=8) == room.PASS_TOKENS


def needs_at_most(most: int, tried: list[int], batch):
    """Answers each item by its double; more than `most` at once do not fit."""
    tried.append(len(batch))
    yield "began"
    if len(batch) > most:
        raise torch.OutOfMemoryError("no room")
    yield "done"
    return [2 * item for item in batch]


@pytest.mark.parametrize("most", [1, 2, 3, 5, 11])
def test_a_batch_that_does_not_fit_is_halved_until_it_does_and_all_results_come_in_order(tiny_model, most):
    tried: list[int] = []
    _, found = drain(by_halves(tiny_model, list(range(11)), partial(needs_at_most, most, tried), row_bytes=1))
    assert found == [2 * item for item in range(11)]
    assert max(size for size in tried if size <= most) <= most and tried[0] == 11


def test_what_did_not_fit_once_is_not_tried_again(tiny_model, free):
    free(1_000_000)
    assert rows_at_once(tiny_model, 1000, on_a_processor=8) == 8
    drain(by_halves(tiny_model, list(range(8)), partial(needs_at_most, 4, []), row_bytes=1000))
    assert rows_at_once(tiny_model, 1000, on_a_processor=8) == 4


def test_a_single_row_that_does_not_fit_is_a_sentence_and_other_errors_are_what_they_were(tiny_model):
    with pytest.raises(MemoryShortage, match=r"single row on cpu \(.* GiB free\): choose shorter texts"):
        drain(by_halves(tiny_model, [1, 2, 3], partial(needs_at_most, 0, []), row_bytes=1))

    def wrong(_):
        yield None
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        drain(by_halves(tiny_model, [1, 2], wrong, row_bytes=1))


def test_on_a_gpu_what_torch_holds_without_using_it_is_free_too_and_a_run_leaves_room_for_what_it_keeps(
    tiny_model, monkeypatch
):
    """6 GiB are free and 2 of the 5 that torch holds: 8 GiB. A micro-batch may count on six tenths of them, less a
    sixteenth of the GPU's 32 GiB for kept base activations: 4.8 - 2 = 2.8 GiB."""
    monkeypatch.setattr("engine.records.room.KEPT_BYTES", 8 * GIB)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (6 * GIB, 32 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 5 * GIB)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 3 * GIB)
    assert learning_room(tiny_model) == 0.0
    assert free_bytes(torch.device("cuda")) == 8 * GIB
    assert total_bytes(torch.device("cuda")) == 32 * GIB
    assert learning_room(gpu(tiny_model)) == pytest.approx(2.8 * GIB)
