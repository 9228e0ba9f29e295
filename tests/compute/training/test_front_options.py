"""What holds for every way to move the front: off it changes nothing, micro-batches change nothing, a resumed run
equals an unbroken one."""

import pytest
import torch
from making_training import run, same, steps

from engine.compute.model import low_rank
from engine.records.spec import RunSpec

# Each as it may be turned on, on adapters that begin above block 0 and on those that do not.
OPTIONS = {
    "margins": {"loss.reroute_margin": 0.1, "loss.retain_margin": 2.0},
    "answers": {"loss.answer_weight": 1.0, "loss.answer_rows": "benign"},
    "null space": {"adapter.null_space": 0.5},
    "overlap": {"loss.overlap_cosine": 0.3, "loss.overlap_width": 0.2},
    "twins": {"loss.twin_weight": 1.0, "loss.twin_margin": 0.0},
    "surgery": {"optimizer.gradient_surgery": True, "schedule.kind": "constant"},
}
# Fields that say how an option works, and mean nothing while it is off.
WITHOUT_EFFECT = {
    "loss.answer_temperature": 5.0, "loss.answer_rows": "benign", "loss.overlap_width": 0.3, "loss.twin_margin": 0.4,
}  # fmt: skip


def test_without_any_option_a_spec_has_the_digest_that_it_had_before_there_were_options():
    assert RunSpec().digest == "1f2714f5044b"


def test_what_an_option_works_by_changes_nothing_while_it_is_off(tiny_model, tiny_spec, tiny_rows, tmp_path):
    same(*(run(tiny_model, tiny_spec(**changes), tiny_rows, tmp_path / str(len(changes)))[1]
           for changes in ({}, WITHOUT_EFFECT)))  # fmt: skip


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_trains_otherwise_and_a_resumed_run_equals_an_unbroken_one(
    tiny_model, tiny_spec, tiny_rows, tmp_path, option: str
):
    spec = tiny_spec(**OPTIONS[option], **{"adapter.noise": 0.05})
    events, unbroken = run(tiny_model, spec, tiny_rows, tmp_path / "unbroken")
    assert len(steps(events)) == 6
    run(tiny_model, spec, tiny_rows, tmp_path / "broken", stop_after=3)
    torch.manual_seed(123)
    same(unbroken, run(tiny_model, spec, tiny_rows, tmp_path / "broken")[1])
    _, plain = run(tiny_model, tiny_spec(**{"adapter.noise": 0.05}), tiny_rows, tmp_path / "plain")
    assert any((unbroken[name] != plain[name]).any() for name in plain)


@pytest.mark.parametrize("option", OPTIONS)
def test_micro_batches_and_kept_entries_change_nothing_under_an_option(
    tiny_model, tiny_spec, tiny_rows, tmp_path, option: str, monkeypatch
):
    # Gradients in bfloat16 round otherwise in other batches.
    monkeypatch.setattr(low_rank, "multiplies_bfloat16", lambda: False)

    def trained(tokens: int) -> dict[str, torch.Tensor]:
        spec = tiny_spec(
            **OPTIONS[option],
            **{
                "optimizer.tokens_per_micro_batch": tokens, "adapter.dropout": 0.0, "optimizer.steps": 3,
                "blocks.adapted": "1", "adapter.noise": 0.05,
            },
        )  # fmt: skip
        return run(tiny_model, spec, tiny_rows, tmp_path / str(tokens))[1]

    whole, parts = trained(4096), trained(32)
    for name in whole:
        torch.testing.assert_close(whole[name], parts[name], rtol=2e-2, atol=2e-5)
