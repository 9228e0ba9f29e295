"""Answers held by what they foretell: the divergence by hand, the way through the upper blocks, and in training."""

import math
from dataclasses import replace

import pytest
import torch
from making import random_rows, write_tiny_model
from making_training import run, steps

from engine.compute.model.activations import block_activations
from engine.compute.model.foretelling import carried_on, logits_of, need_plain_head
from engine.compute.model.load import load_model
from engine.compute.model.padding import batch_of
from engine.compute.model.recomputing import recomputed
from engine.compute.training.masks import answer_tokens, foretelling
from engine.compute.training.reroute import answer_divergence
from engine.compute.training.rows import Row
from engine.compute.training.step import shared_out
from engine.compute.training.trainer import Rows
from engine.records.errors import ModelError, TrainingError
from engine.records.spec_parts import ModelSpec


def test_the_divergence_by_hand():
    """Base 1/2, 1/2 against 3/4, 1/4: 1/2 ln(2/3) + 1/2 ln 2 = 0.143841; the second token is foretold alike: mean
    0.071921. At temperature 2 logits of twice the size give the same shares, and the square makes it 4 times as much.
    """
    base = torch.zeros(2, 2)
    rerouted = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]])
    assert float(answer_divergence(rerouted, base, temperature=1.0)) == pytest.approx(0.071921, abs=1e-6)
    assert float(answer_divergence(2 * rerouted, base, temperature=2.0)) == pytest.approx(4 * 0.071921, abs=1e-5)
    assert float(answer_divergence(rerouted, base, temperature=1.0, tokens=8.0)) == pytest.approx(0.017980, abs=1e-6)


def test_an_answer_is_foretold_from_the_token_before_it(tiny_spec):
    """Ten tokens, the answer begins at 6: tokens 5 to 8 foretell 6 to 9. Of the benign rows one is borderline."""
    rows = [
        Row(str(place), "benign", borderline, tuple(range(10)), 6) for place, borderline in enumerate((True, False))
    ]
    rows.append(Row("h", "harmful", False, tuple(range(10)), 6))
    assert list(foretelling(rows[0])) == [5, 6, 7, 8]
    assert answer_tokens(tiny_spec(), rows) == 0
    assert answer_tokens(tiny_spec(**{"loss.answer_weight": 1.0}), rows) == 4
    assert answer_tokens(tiny_spec(**{"loss.answer_weight": 1.0, "loss.answer_rows": "benign"}), rows) == 8


@pytest.fixture
def deep_model(tmp_path, settings):
    return load_model(ModelSpec(name=str(write_tiny_model(tmp_path / "deep", blocks=4)), device="cpu"), settings)


@pytest.mark.parametrize("block", [0, 1, 3])
def test_carried_on_from_any_block_it_is_what_the_model_foretells(deep_model, block: int):
    rows = [row.ids for row in random_rows(3)]
    batch = batch_of(deep_model, rows)
    with torch.no_grad():
        activations = block_activations(deep_model, batch, [block]).outputs[block]
        found = carried_on(deep_model, batch, activations, block=block)
        whole = deep_model.causal_lm(input_ids=batch.ids, attention_mask=batch.attention).logits
    for place, row in enumerate(rows):
        torch.testing.assert_close(
            logits_of(deep_model, found[place, : len(row)]), whole[place, : len(row)], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("name", ["final_logit_softcapping", "lm_head_multiplier"])
def test_a_model_that_changes_its_logits_is_refused_in_words(tiny_model, name: str):
    setattr(tiny_model.causal_lm.config, name, 30.0)
    with pytest.raises(ModelError, match=rf"{name}\): set the weight of answers held"):
        need_plain_head(tiny_model)


def test_blocks_above_are_computed_anew_as_well_and_train_alike(deep_model, tiny_spec, tmp_path, monkeypatch):
    """Target at block 1 of 4: with the answers held gradients go back through blocks 1 to 3, else through 1 alone."""
    anew: list[list[int]] = []

    def watched(model, blocks):
        anew.append(list(blocks))
        return recomputed(model, blocks)

    monkeypatch.setattr("engine.compute.training.step.recomputed", watched)
    rows = Rows(random_rows(3), random_rows(4, seed=1, label="benign"), [], [])

    def weights(checkpointing: str, weight: float) -> dict[str, torch.Tensor]:
        changes = {"optimizer.gradient_checkpointing": checkpointing, "loss.answer_weight": weight}
        spec = tiny_spec(**changes, **{"optimizer.steps": 3, "blocks.adapted": "1", "adapter.noise": 0.05})
        return run(deep_model, spec, rows, tmp_path / f"{checkpointing}-{weight}")[1]

    plain, again = (weights(checkpointing, 5.0) for checkpointing in ("off", "on"))
    assert anew and all(blocks == [1, 2, 3] for blocks in anew)
    assert all(torch.equal(plain[name], again[name]) for name in plain)
    anew.clear()
    weights("on", 0.0)
    assert anew and all(blocks == [1] for blocks in anew)


def test_answers_of_borderline_rows_cannot_be_held_where_there_are_none(deep_model, tiny_spec, tmp_path):
    rows = Rows(random_rows(3), [replace(row, borderline=False) for row in random_rows(3, label="benign")], [], [])
    with pytest.raises(TrainingError, match=r"answer_weight = 2\), and of 3 retain rows none is borderline: add"):
        run(deep_model, tiny_spec(**{"loss.answer_weight": 2.0}), rows, tmp_path)


def test_answers_of_borderline_rows_foretell_more_of_what_they_did(deep_model, tiny_spec, tmp_path):
    """Targets at block 1 of 4: two blocks above see no other loss. A weight of next to nothing only measures."""
    harmful, benign = random_rows(3), random_rows(6, seed=1, label="benign")

    def divergence(weight: float) -> float:
        spec = tiny_spec(
            **{
                "optimizer.steps": 30, "optimizer.learning_rate": 0.01, "adapter.noise": 0.01, "adapter.dropout": 0.0,
                "loss.retain_weight": 0.0, "schedule.kind": "constant", "loss.answer_weight": weight,
                "optimizer.retain_batch": 6, "blocks.adapted": "1",
            }
        )  # fmt: skip
        found = steps(run(deep_model, spec, Rows(harmful, benign, [], []), tmp_path / str(weight))[0])
        assert found[0].answer_loss == pytest.approx(0, abs=1e-3) and all(step.answer_loss >= -1e-6 for step in found)
        return found[-1].answer_loss

    assert divergence(1e4) < divergence(1e-9) / 2


@pytest.mark.parametrize("parts", [2, 3])
def test_processes_share_out_each_side_since_held_answers_make_benign_rows_dear(parts):
    """By length alone, two would get one side each of these rows."""
    harmful = [Row(f"h{length}", "harmful", False, tuple(range(length)), 2) for length in (31, 32, 35, 36, 39, 40)]
    benign = [Row(f"b{length}", "benign", False, tuple(range(length)), 2) for length in (30, 33, 34, 37, 38, 41)]
    shares = shared_out([*benign, *harmful], parts)
    assert sorted(row.prompt_id for share in shares for row in share) == sorted(
        row.prompt_id for row in (*benign, *harmful)
    )
    for share in shares:
        assert sum(row.label == "benign" for row in share) == 6 // parts
    tokens = [sum(len(row.ids) for row in share) for share in shares]
    assert max(tokens) - min(tokens) <= 4
    assert shared_out(benign, 1) == [benign]
