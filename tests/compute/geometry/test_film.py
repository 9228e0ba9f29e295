"""Captures: the activations are transformers' own; padding and order change nothing; movement is against base."""

import numpy as np
import pytest
import torch
from making import drain, random_rows

from engine.compute.geometry.film import Film, chosen, compare_tokens
from engine.compute.model.adapters import adapted, attach_adapter
from engine.compute.model.loaded import find_blocks
from engine.records.captures.capture import BASE, Capture, CapturedPrompt, CaptureIndex, CaptureRequest
from engine.records.captures.shards import shards
from engine.records.errors import RunError
from engine.records.spec_parts import AdapterSpec

CHOICES = ("last_prompt", "response_mean", "position", "every")


@pytest.fixture
def rows():
    return random_rows(9, label="harmful") + random_rows(7, seed=1, label="benign")


@pytest.fixture
def broken(tiny_model):
    """The tiny model with an adapter on block 1 that changes it a lot."""
    attach_adapter(tiny_model, "broken", AdapterSpec(rank=4, alpha=4, noise=0.5), (1,), seed=0)
    return tiny_model


def take(model, rows, folder, checkpoints, *, blocks=(0, 1), entry_block=0, tokens=CHOICES):
    film = Film(model, rows, blocks=blocks, entry_block=entry_block, tokens=tokens, position=2)
    drain(film.prepare())
    film.write_spaces(folder)
    for checkpoint, adapter in checkpoints.items():
        drain(film.take(folder, checkpoint, adapter))
    prompts = tuple(
        CapturedPrompt(
            id=row.prompt_id,
            label=row.label,
            borderline=row.borderline,
            split="test",
            text="",
            prompt_tokens=row.response_start,
            response_tokens=len(row.ids) - row.response_start,
        )
        for row in rows
    )
    index = CaptureIndex(
        run_id="", key="k", request=CaptureRequest(), model="tiny", d_model=16, block_count=2, blocks=blocks,
        tokens=tokens, position=2, prompts=prompts, checkpoints=tuple(checkpoints),
    )  # fmt: skip
    return Capture(folder, index), film


def hidden_states(model, row, block, adapter=None):
    """What transformers says: hidden_states[block + 1], and for the last block its output before the final norm."""
    seen = {}
    handle = find_blocks(model.causal_lm)[block].register_forward_hook(
        lambda _module, _inputs, output: seen.update(raw=output[0] if isinstance(output, tuple) else output)
    )
    with torch.no_grad(), adapted(model, adapter):
        output = model.causal_lm(input_ids=torch.tensor([row.ids]), output_hidden_states=True)
    handle.remove()
    if block + 2 < len(output.hidden_states):
        torch.testing.assert_close(seen["raw"], output.hidden_states[block + 1])
    return seen["raw"][0]


@pytest.mark.parametrize("adapter", [None, "broken"])
def test_captured_states_are_those_of_transformers_for_every_choice_and_block(broken, rows, tmp_path, adapter):
    checkpoint = "step-000006" if adapter else BASE
    capture, _ = take(broken, rows, tmp_path, {BASE: None, "step-000006": "broken"})
    offsets = capture.token_offsets(checkpoint)
    for index, row in enumerate(rows):
        for block in (0, 1):
            expected = hidden_states(broken, row, block, adapter)
            for choice in CHOICES:
                found = capture.vectors(checkpoint, choice, block)
                part = found[offsets[index] : offsets[index + 1]] if choice == "every" else found[index : index + 1]
                wanted = {
                    "last_prompt": expected[row.response_start - 1][None],
                    "response_mean": expected[row.response_start :].mean(0)[None],
                    "position": expected[row.response_start + 2][None],
                    "every": expected,
                }[choice]
                np.testing.assert_allclose(part, wanted.numpy(), rtol=1e-4, atol=1e-5)


def test_padding_batch_order_and_shards_change_nothing(broken, rows, tmp_path, monkeypatch):
    whole, _ = take(broken, rows, tmp_path / "a", {BASE: None, "step-000001": "broken"})
    monkeypatch.setattr("engine.compute.geometry.film.GROUP_TOKENS", 50)
    monkeypatch.setattr("engine.compute.geometry.film.shards", lambda sizes: [slice(0, 5), slice(5, len(sizes))])
    mixed = rows[::-1]
    parts, _ = take(broken, mixed, tmp_path / "b", {BASE: None, "step-000001": "broken"})
    assert len(list((tmp_path / "b").glob("base.*.safetensors"))) == 2
    for checkpoint in whole.index.checkpoints:
        for block in (0, 1):
            left = whole.vectors(checkpoint, "response_mean", block)
            np.testing.assert_allclose(
                left, parts.vectors(checkpoint, "response_mean", block)[::-1], rtol=1e-4, atol=1e-5
            )
    np.testing.assert_allclose(
        whole.measure("step-000001", "cosine", 1), parts.measure("step-000001", "cosine", 1)[::-1], atol=1e-4
    )


def test_skipping_the_blocks_below_the_adapter_changes_nothing(broken, rows, tmp_path):
    plain, _ = take(broken, rows, tmp_path / "a", {BASE: None, "step-000001": "broken"}, entry_block=0)
    skipped, _ = take(broken, rows, tmp_path / "b", {BASE: None, "step-000001": "broken"}, entry_block=1)
    for block in (0, 1):
        np.testing.assert_allclose(
            plain.vectors("step-000001", "response_mean", block),
            skipped.vectors("step-000001", "response_mean", block),
            rtol=1e-4,
            atol=1e-5,
        )


def test_nothing_moved_below_the_adapter_and_much_above_it(broken, rows, tmp_path):
    capture, _ = take(broken, rows, tmp_path, {BASE: None, "step-000001": "broken"})
    for measure, unmoved in (("cosine", 1), ("raw_cosine", 1), ("drift", 0), ("norm_ratio", 1)):
        np.testing.assert_allclose(capture.measure("step-000001", measure, 0), unmoved, atol=1e-3)
    assert capture.measure("step-000001", "cosine", 1).mean() < 0.9
    assert capture.measure("step-000001", "drift", 1).mean() > 0.1


def test_movement_is_that_of_the_tokens_worked_out_by_hand(broken, rows, tmp_path):
    """Cosine of a harmful prompt: mean over its response tokens, in deviations of the base activations."""
    capture, film = take(broken, rows, tmp_path, {BASE: None, "step-000001": "broken"})
    row = rows[0]
    base, rerouted = hidden_states(broken, row, 1), hidden_states(broken, row, 1, "broken")
    mean, deviation = (torch.tensor(part) for part in capture.space(1))
    left, right = (rerouted - mean) / deviation, (base - mean) / deviation
    cosine = torch.cosine_similarity(left, right, dim=-1)[row.response_start :].mean()
    assert capture.measure("step-000001", "cosine", 1)[0] == pytest.approx(float(cosine), abs=1e-4)
    cosines, before, after = compare_tokens(broken, row, "broken", (0, 1), film.spaces)
    assert cosines.shape == before.shape == after.shape == (len(row.ids), 2)
    assert float(cosines[row.response_start :, 1].mean()) == pytest.approx(float(cosine), abs=1e-4)


@pytest.mark.parametrize("averaged", ["answer", "all", "last_prompt"])
def test_movement_over_the_same_tokens_is_known_for_both_sides(broken, rows, tmp_path, averaged):
    """The first harmful and the first benign prompt: the mean cosine over the same part of each."""
    capture, film = take(broken, rows, tmp_path, {BASE: None, "step-000001": "broken"})
    for index in (0, 9):
        row = rows[index]
        cosines, _, _ = compare_tokens(broken, row, "broken", (0, 1), film.spaces)
        start = row.response_start
        part = {"answer": slice(start, None), "all": slice(1, None), "last_prompt": slice(start - 1, start)}[averaged]
        found = capture.measure("step-000001", "cosine", 1, averaged)[index]
        assert found == pytest.approx(float(cosines[part, 1].mean()), abs=1e-4)


def test_states_that_are_not_finite_are_refused_with_the_prompt_and_the_block(tiny_model, rows, tmp_path):
    with torch.no_grad():
        tiny_model.blocks[1].mlp.down_proj.weight[0, 0] = float("nan")
    with pytest.raises(RunError, match=r"block 1 are not finite for prompt harmful-\d"):
        take(tiny_model, rows, tmp_path, {BASE: None}, tokens=("last_prompt",))


def test_a_position_beyond_the_answer_is_its_last_token():
    activations = torch.arange(12.0).reshape(6, 2)
    assert torch.equal(chosen(activations, "position", 4, 10), activations[-1:])
    assert torch.equal(chosen(activations, "position", 4, 1), activations[5:6])


def test_the_mean_of_rounded_activations_is_not_rounded_itself():
    """The numbers of bfloat16 lie 0.0625 apart between 8 and 16."""
    activations = torch.tensor([[10.0], [10.0], [10.0], [10.0625]], dtype=torch.bfloat16)
    assert float(chosen(activations, "response_mean", 0, 0).double()) == 10.015625


def test_shards_cover_all_prompts_once_within_their_bytes(monkeypatch):
    monkeypatch.setattr("engine.records.captures.shards.SHARD_BYTES", 100)
    sizes = [30, 30, 30, 30, 250, 10, 90, 10]
    parts = shards(sizes)
    assert [index for part in parts for index in range(*part.indices(len(sizes)))] == list(range(len(sizes)))
    assert [sum(sizes[part]) for part in parts] == [90, 30, 250, 100, 10]
    # Their number in a file's name has three digits.
    assert len(shards([100] * 5000)) < 1000


def test_a_capture_of_fewer_prompts_leaves_no_shard_of_an_earlier_one(broken, rows, tmp_path, monkeypatch):
    monkeypatch.setattr("engine.records.captures.shards.SHARD_BYTES", 600)
    take(broken, rows, tmp_path, {BASE: None})
    before = len(list(tmp_path.glob("base.*.safetensors")))
    few, _ = take(broken, rows[:3], tmp_path, {BASE: None})
    assert before > len(list(tmp_path.glob("base.*.safetensors"))) >= 1
    assert len(few.vectors(BASE, "response_mean", 1)) == 3
