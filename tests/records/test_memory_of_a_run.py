"""What a run takes in memory, by hand: an 8B model on GPUs of 80, 24 and 16 GiB, and on a processor."""

import pytest
from making_cards import BUNDLED

from engine.records.cards import CacheShape, ModelCard
from engine.records.estimate import estimate, micro_batch_tokens
from engine.records.presets import read_preset
from engine.records.room import (
    KEPT_BYTES,
    checkpoints_gradients,
    kept_bytes,
    learning_bytes,
    reading_bytes,
    weight_bytes,
    whole_room,
)
from engine.records.spec_text import with_fields

GIB = 2**30
MODULES = {
    "q_proj": (4096, 4096),
    "k_proj": (4096, 1024),
    "v_proj": (4096, 1024),
    "o_proj": (4096, 4096),
    "gate_proj": (4096, 14336),
    "up_proj": (4096, 14336),
    "down_proj": (14336, 4096),
}
LLAMA = ModelCard(
    name="llama", family="llama", block_count=32, d_model=4096, parameters=8_030_261_248, block_parameters=218_112_000,
    context_length=8192, has_chat_template=True, modules=MODULES, device="cuda", dtype="bfloat16", opening_tokens=5,
    head_parameters=525_336_576, cache=CacheShape(values=32 * 2 * 8 * 128),
)  # fmt: skip
PAPER = read_preset("paper-llama-3-8b")


def gpu(gibibytes: float) -> dict:
    return {"device": "cuda", "memory_bytes": int(gibibytes * GIB), "flops_per_second": 7.5e14}


def test_8b_weights_in_bfloat16_are_15_gib_and_a_token_leaves_5_6_mib():
    """21 blocks x 34 x 4,096 x 2 bytes = 5,849,088; computed anew (21 + 34) x 4,096 x 2 = 450,560."""
    assert weight_bytes(LLAMA) / GIB == pytest.approx(14.96, abs=0.01)
    assert learning_bytes(PAPER, LLAMA, 1, checkpointing=False) == 5_849_088
    assert learning_bytes(PAPER, LLAMA, 1, checkpointing=True) == 450_560
    assert learning_bytes(PAPER, LLAMA, 4096, checkpointing=False) / GIB == pytest.approx(22.3, abs=0.05)
    assert reading_bytes(LLAMA, 8192) < 1.5 * GIB


def test_answers_that_are_held_leave_the_blocks_above_and_their_logits():
    """From block 0 to 31, 32 x 34 x 4,096 x 2 bytes = 8,912,896; logits behind a quarter of the tokens, of 128,256
    entries, twice in bfloat16 and five times in float32: 128,256 x (2 x 2 + 5 x 4) / 4 = 769,536. Computed anew the
    blocks leave (32 + 34) x 4,096 x 2 = 540,672."""
    held = with_fields(PAPER, {"loss.answer_weight": 1.0})
    assert learning_bytes(held, LLAMA, 1, checkpointing=False) == 8_912_896 + 769_536
    assert learning_bytes(held, LLAMA, 1, checkpointing=True) == 540_672 + 769_536


@pytest.mark.parametrize(("gibibytes", "anew"), [(80, False), (40, False), (24, True), (16, True)])
def test_blocks_are_computed_anew_where_the_longest_row_would_not_fit(gibibytes, anew):
    """1,024 tokens leave 5.6 GiB: of 24 GiB nine tenths less weights and kept activations are 5.1, of 40 18.5."""
    assert checkpoints_gradients(PAPER, LLAMA, gpu(gibibytes)) is anew
    for setting, expected in (("on", True), ("off", False)):
        spec = with_fields(PAPER, {"optimizer.gradient_checkpointing": setting})
        assert checkpoints_gradients(spec, LLAMA, gpu(gibibytes)) is expected


def test_pictures_count_beside_the_words_of_the_longest_row():
    """40 GiB hold 1,024 tokens with room to spare, and not four times as many: 22.4 GiB where 18.5 are left."""
    assert [checkpoints_gradients(PAPER, LLAMA, gpu(40), pictured=n) for n in (0, 1024, 3072)] == [False, False, True]
    assert not checkpoints_gradients(PAPER, LLAMA, gpu(80), pictured=3072)


def test_a_processor_computes_nothing_anew_by_itself_and_keeps_what_it_kept():
    machine = {"device": "cpu", "memory_bytes": 4 * GIB}
    assert whole_room(BUNDLED, machine) == 0 and not checkpoints_gradients(read_preset("default"), BUNDLED, machine)
    assert kept_bytes(machine) == kept_bytes({}) == KEPT_BYTES
    assert kept_bytes(gpu(32)) == min(KEPT_BYTES, 2 * GIB)


def test_a_micro_batch_holds_what_fits_and_never_more_than_the_spec_allows():
    """10 GiB of room hold 1,835 tokens at 5,849,088 bytes each."""

    def tokens(room: float, **named: bool) -> int:
        return micro_batch_tokens(PAPER, LLAMA, 0.0, row_tokens=480, room=room, **named)

    assert tokens(10 * GIB) == 1835
    assert tokens(10 * GIB, checkpointing=True) == tokens(60 * GIB) == tokens(0) == 4096
    assert tokens(1) == 64


def test_a_gpu_that_holds_a_share_of_the_weights_has_room_for_more():
    whole, quarter = gpu(24), gpu(24) | {"shares": 4}
    assert whole_room(LLAMA, quarter) - whole_room(LLAMA, whole) == pytest.approx(
        # Of the blocks alone: embeddings, norms and head are whole on each.
        0.75 * 32 * 218_112_000 * 2 + kept_bytes(whole)
    )
    assert checkpoints_gradients(PAPER, LLAMA, whole) and not checkpoints_gradients(PAPER, LLAMA, quarter)
    assert kept_bytes(quarter) == 0


def test_the_estimate_tells_memory_in_its_parts_and_the_cache_of_answers_beside_it():
    """96 rows of 40 + 48 tokens keep 128 KiB a token: 96 x 88 x 128 KiB = 1.03 GiB."""
    spec = with_fields(PAPER, {"data.answers": "elicit", "data.new_tokens": 48})
    rows = {"training_rows": 1000, "heldout_rows": 100, "prompt_tokens": 40.0}
    found = estimate(spec, LLAMA, gpu(80), **rows)
    assert [part.name for part in found.memory] == [
        "weights",
        "adapter and optimizer",
        "kept base activations",
        "a micro-batch",
    ]
    assert found.cache_bytes / GIB == pytest.approx(1.03, abs=0.01) and not found.checkpointing
    assert found.memory_bytes == sum(part.bytes for part in found.memory)
    small = estimate(spec, LLAMA, gpu(24), **rows)
    assert small.checkpointing and small.memory_bytes < 24 * GIB
