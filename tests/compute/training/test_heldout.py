"""Held-out figures: the same tokens for harmful, benign and borderline answers, and what the record says of them."""

import pytest
import torch
from making import drain, random_rows

from engine.bookkeeping import RunBook
from engine.compute.model.activations import block_activations
from engine.compute.model.adapters import adapted, adapter_parameters, attach_adapter
from engine.compute.training.base_activations import BaseActivations, row_batch
from engine.compute.training.heldout import measure_heldout, measure_spaces
from engine.compute.training.reroute import token_cosine
from engine.records.blocks import resolve_blocks
from engine.records.events import HeldoutResult, parse_event
from engine.records.runs import create_run


def adapter(model, spec, blocks):
    attach_adapter(model, "run", spec.adapter, blocks, seed=0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for _, parameter in adapter_parameters(model, "run"):
            parameter.add_(torch.randn(parameter.shape, generator=generator))


def heldout(model, spec, rows):
    blocks = resolve_blocks(spec, 2)
    base = BaseActivations(model, rows, blocks={"harmful": (0, 1), "benign": (0, 1)}, entry_block=0, budget_bytes=2**20)
    drain(base.fill())
    _, spaces = drain(measure_spaces(base, rows))
    result = drain(measure_heldout(model, "run", rows, base, blocks, step=1, split="test", tokens_per_batch=64))[1]
    return result, spaces


def answer_cosine(model, rows, space, block):
    """Mean over the tokens of these rows' answers, one row at a time."""
    values = []
    for row in rows:
        batch = row_batch(model, [row])
        with torch.no_grad():
            base = block_activations(model, batch, [block]).outputs[block]
            with adapted(model, "run"):
                moved = block_activations(model, batch, [block]).outputs[block]
        values += token_cosine(moved, base, space, "standardised")[0, row.response_start :].tolist()
    return sum(values) / len(values)


def test_all_three_sides_are_measured_over_the_tokens_of_their_answers(tiny_model, tiny_spec):
    rows = random_rows(label="harmful") + random_rows(seed=1, label="benign")
    adapter(tiny_model, tiny_spec(), resolve_blocks(tiny_spec(), 2).adapted)
    result, spaces = heldout(tiny_model, tiny_spec(), rows)
    sides = {
        "cosine": [row for row in rows if row.label == "harmful"],
        "benign_answer_cosine": [row for row in rows if row.label == "benign" and not row.borderline],
        "borderline_answer_cosine": [row for row in rows if row.borderline],
    }
    for name, chosen in sides.items():
        expected = answer_cosine(tiny_model, chosen, spaces[1], 1)
        assert getattr(result, name)["1"] == pytest.approx(expected, abs=1e-4), name
    assert result.benign_cosine["1"] != pytest.approx(result.benign_answer_cosine["1"], abs=1e-3)
    assert (result.harmful_rows, result.benign_rows, result.borderline_rows) == (6, 6, 3)


def test_without_borderline_rows_no_borderline_figure_is_made_up(tiny_model, tiny_spec):
    rows = random_rows(label="harmful") + [row for row in random_rows(seed=1, label="benign") if not row.borderline]
    adapter(tiny_model, tiny_spec(), resolve_blocks(tiny_spec(), 2).adapted)
    result, _ = heldout(tiny_model, tiny_spec(), rows)
    assert result.borderline_answer_cosine == {} and "borderline_cosine" not in result.figures


def test_the_record_of_a_run_says_harmful_benign_and_borderline_cosine_of_the_test_split(settings, tiny_spec):
    run = create_run(settings.runs, tiny_spec(), name="figures")
    result = HeldoutResult(
        step=3, split="test", cosine={"1": 0.1, "2": 0.3}, raw_cosine={}, benign_cosine={"1": 0.5, "2": 0.5},
        benign_answer_cosine={"1": 0.9, "2": 0.8}, borderline_answer_cosine={"1": 0.7, "2": 0.8}, drift={"1": 0.25},
        borderline_drift=0.5, harmful_rows=2, benign_rows=2,
    )  # fmt: skip
    RunBook(run).write(result)
    assert run.record().figures == pytest.approx(
        {
            "heldout_cosine": 0.2,
            "heldout_drift": 0.25,
            "heldout_benign_cosine": 0.85,
            "heldout_borderline_cosine": 0.75,
            "heldout_borderline_drift": 0.5,
            "heldout_step": 3,
        }
    )


def test_an_event_that_version_0_1_wrote_has_no_cosine_of_benign_answers():
    old = (
        '{"kind": "heldout", "time": 1.0, "step": 3, "split": "test", "cosine": {"1": 0.1}, "raw_cosine": {}, '
        '"benign_cosine": {"1": 0.9}, "drift": {"1": 0.2}, "harmful_rows": 2, "benign_rows": 2}'
    )
    event = parse_event.validate_json(old)
    assert isinstance(event, HeldoutResult)
    assert event.figures == {"cosine": pytest.approx(0.1), "drift": pytest.approx(0.2)}
