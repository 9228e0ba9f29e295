"""What holds for every way to move the front: off it changes nothing, micro-batches change nothing, a resumed run
equals an unbroken one."""

from dataclasses import replace

import pytest
import torch
from making import random_rows
from making_seers import write_picture_prompts
from making_training import run, same, steps

from engine.compute.model import low_rank
from engine.compute.training.pairs import Pair
from engine.compute.training.rows import Row, encode
from engine.compute.training.trainer import Rows
from engine.records.prompt_files import read_source
from engine.records.spec import RunSpec
from engine.records.spec_parts import DataSpec

# Each as it may be turned on, on adapters that begin above block 0 and on those that do not.
OPTIONS = {
    "margins": {"loss.reroute_margin": 0.1, "loss.retain_margin": 2.0},
    "answers": {"loss.answer_weight": 1.0, "loss.answer_rows": "benign"},
    "null space": {"adapter.null_space": 0.5},
    "overlap": {"loss.overlap_cosine": 0.3, "loss.overlap_width": 0.2},
    "twins": {"loss.twin_weight": 1.0, "loss.twin_margin": 0.0},
    "surgery": {"optimizer.gradient_surgery": True, "schedule.kind": "constant"},
}
ALL = {name: value for changes in OPTIONS.values() for name, value in changes.items()}
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


@pytest.fixture
def float32_throughout(monkeypatch):
    """Gradients in bfloat16 round otherwise in other batches."""
    monkeypatch.setattr(low_rank, "multiplies_bfloat16", lambda: False)


def the_same_in_other_micro_batches(model, spec_of, rows: Rows, folder, changes: dict) -> None:
    """Adapters begin above block 0, so that what enters them is kept."""

    def trained(tokens: int) -> dict[str, torch.Tensor]:
        spec = spec_of(
            **changes,
            **{
                "optimizer.tokens_per_micro_batch": tokens, "adapter.dropout": 0.0, "optimizer.steps": 3,
                "blocks.adapted": "1", "adapter.noise": 0.05,
            },
        )  # fmt: skip
        return run(model, spec, rows, folder / str(tokens))[1]

    whole, parts = trained(4096), trained(32)
    for name in whole:
        torch.testing.assert_close(whole[name], parts[name], rtol=2e-2, atol=2e-5)


@pytest.mark.usefixtures("float32_throughout")
@pytest.mark.parametrize("option", OPTIONS)
def test_micro_batches_and_kept_entries_change_nothing_under_an_option(
    tiny_model, tiny_spec, tiny_rows, tmp_path, option: str
):
    the_same_in_other_micro_batches(tiny_model, tiny_spec, tiny_rows, tmp_path, OPTIONS[option])


@pytest.mark.usefixtures("float32_throughout")
def test_rows_that_open_with_the_same_tools_train_alike_under_all_options(tiny_model, tiny_spec, tiny_rows, tmp_path):
    """Their opening is run once, below the adapters, in them, and above the last target."""

    def offering(row: Row) -> Row:
        opening = tuple(range(16))
        return replace(row, ids=opening + row.ids, response_start=16 + row.response_start, tools="the same")

    rows = Rows([*map(offering, tiny_rows.harmful)], [*map(offering, tiny_rows.benign)], [], [])
    the_same_in_other_micro_batches(tiny_model, tiny_spec, rows, tmp_path, ALL)


@pytest.mark.usefixtures("float32_throughout")
def test_rows_with_pictures_train_alike_under_all_options(tiny_llava_next, tiny_spec, tmp_path):
    sides: dict[str, list[Row]] = {}
    for label in ("harmful", "benign"):
        prompts = read_source(str(write_picture_prompts(tmp_path / f"{label}.jsonl", kind=label)), label=label)
        pairs = [Pair(one, one.answer or "") for one in prompts[:2]]
        pictured = [encode(tiny_llava_next, pair, DataSpec(max_tokens=128)) for pair in pairs]
        sides[label] = [*random_rows(1, label=label), *pictured]
    rows = Rows(sides["harmful"], [replace(row, borderline=True) for row in sides["benign"]], [], [])
    the_same_in_other_micro_batches(tiny_llava_next, tiny_spec, rows, tmp_path, ALL)
