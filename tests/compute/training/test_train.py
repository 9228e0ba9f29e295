"""Training: the gradient is there, the cosine falls, batching changes nothing, a resumed run equals an unbroken one."""

import math
from contextlib import contextmanager

import pytest
import torch
from making import drain, random_rows
from making_training import run, same, steps

from engine.compute.model import low_rank
from engine.compute.model.adapters import remove_adapter
from engine.compute.training.base_activations import BaseActivations
from engine.compute.training.checkpoints import list_checkpoints
from engine.compute.training.drawing import step_rows
from engine.compute.training.masks import loss_mask
from engine.compute.training.rates import learning_rate_at, weights_at
from engine.compute.training.rows import Row, micro_batches
from engine.compute.training.train import train
from engine.compute.training.trainer import Rows
from engine.records.blocks import resolve_blocks
from engine.records.errors import RunError, TrainingError
from engine.records.events import Alert, CheckpointResult, ControlEvent, HeldoutResult, Progress
from engine.records.spec_parts import BlocksSpec


def test_the_gradient_is_not_zero_at_step_zero(tiny_model, tiny_spec, tiny_rows, tmp_path):
    broken, _ = run(tiny_model, tiny_spec(**{"adapter.noise": 0, "optimizer.steps": 1}), tiny_rows, tmp_path / "a")
    mended, _ = run(tiny_model, tiny_spec(**{"adapter.noise": 0.01, "optimizer.steps": 1}), tiny_rows, tmp_path / "b")
    assert steps(mended)[0].gradient_norm > 1e-4
    assert steps(broken)[0].gradient_norm < steps(mended)[0].gradient_norm / 100


def test_the_cosine_falls_on_one_repeated_batch(tiny_model, tiny_spec, tiny_rows, tmp_path):
    rows = Rows(tiny_rows.harmful[:3], tiny_rows.benign[:3], [], [])
    spec = tiny_spec(
        **{
            "optimizer.steps": 60, "optimizer.learning_rate": 0.01, "adapter.noise": 0.01, "adapter.dropout": 0.0,
            "loss.retain_weight": 0.1, "schedule.horizon": 600,
        }
    )  # fmt: skip
    results = steps(run(tiny_model, spec, rows, tmp_path)[0])
    assert results[0].reroute_loss > 0.99
    assert results[-1].reroute_loss < 0.5


def test_every_step_and_both_held_out_splits_are_reported(tiny_model, tiny_spec, tiny_rows, tmp_path):
    events, _ = run(tiny_model, tiny_spec(), tiny_rows, tmp_path)
    assert [event.step for event in steps(events)] == list(range(6))
    heldout = [(event.step, event.split) for event in events if isinstance(event, HeldoutResult)]
    assert heldout == [(0, "validation"), (3, "validation"), (6, "validation"), (6, "test")]
    first = next(event for event in events if isinstance(event, HeldoutResult))
    assert first.cosine.keys() == {"1"} and first.drift.keys() == {"0", "1"}
    assert first.mean_cosine == pytest.approx(1, abs=1e-3)


def test_training_is_the_same_twice(tiny_model, tiny_spec, tiny_rows, tmp_path):
    same(*(run(tiny_model, tiny_spec(), tiny_rows, tmp_path / name)[1] for name in "ab"))


@pytest.mark.parametrize("stop_after", [1, 2, 3, 5])
def test_a_stopped_and_resumed_run_equals_an_unbroken_one(tiny_model, tiny_spec, tiny_rows, tmp_path, stop_after):
    _, unbroken = run(tiny_model, tiny_spec(), tiny_rows, tmp_path / "unbroken")
    run(tiny_model, tiny_spec(), tiny_rows, tmp_path / "broken", stop_after=stop_after)
    torch.manual_seed(123)
    events, resumed = run(tiny_model, tiny_spec(), tiny_rows, tmp_path / "broken")
    assert steps(events)[0].step == stop_after
    same(unbroken, resumed)


def test_a_run_resumed_from_an_older_checkpoint_equals_an_unbroken_one(tiny_model, tiny_spec, tiny_rows, tmp_path):
    """What SIGKILL leaves: the last checkpoint at step 4, the fifth step lost."""
    _, unbroken = run(tiny_model, tiny_spec(), tiny_rows, tmp_path / "unbroken")
    generator = train(
        model=tiny_model,
        name="run",
        spec=tiny_spec(),
        blocks=resolve_blocks(tiny_spec(), 2),
        rows=tiny_rows,
        checkpoints=tmp_path / "broken",
    )
    while len(list_checkpoints(tmp_path / "broken")) < 2:
        next(generator)
    next(generator)
    kept = [path.name for path in list_checkpoints(tmp_path / "broken")]
    remove_adapter(tiny_model, "run")
    assert kept == ["step-000002", "step-000004"]
    import shutil

    shutil.copytree(tmp_path / "broken", tmp_path / "killed")
    generator.close()
    same(unbroken, run(tiny_model, tiny_spec(), tiny_rows, tmp_path / "killed")[1])


def test_what_was_not_looked_at_when_a_run_was_broken_off_is_looked_at_when_it_goes_on(
    tiny_model, tiny_spec, tiny_rows, tmp_path
):
    """Broken off while the probe answers behind the fourth step, which was measured by then."""
    spec = tiny_spec(**{"captures.heldout_every": 2, "captures.probe_every": 2, "captures.checkpoint_every": 4})
    asked: list[int] = []

    def probe(step):
        yield None
        asked.append(step)
        return Progress(phase="probe", done=step)

    def begun():
        blocks = resolve_blocks(spec, 2)
        return train(
            model=tiny_model, name="run", spec=spec, blocks=blocks, rows=tiny_rows, checkpoints=tmp_path, probe=probe
        )

    def measured(events):
        return [one.step for one in events if isinstance(one, HeldoutResult) and one.split == "validation"]

    first, generator = [], begun()
    while 4 not in measured(first):
        first.append(next(generator))
    next(generator)
    generator.close()
    remove_adapter(tiny_model, "run")
    assert asked == [0, 2] and [path.name for path in list_checkpoints(tmp_path)] == ["step-000004"]
    second = list(begun())
    remove_adapter(tiny_model, "run")
    assert asked == [0, 2, 4, 6] and measured(second) == [6]
    assert [one.step for one in second if isinstance(one, CheckpointResult)] == [4, 6]


def test_a_checkpoint_that_a_stop_wrote_is_told_when_the_run_goes_on(tiny_model, tiny_spec, tiny_rows, tmp_path):
    """Else one that was measured and lies there is no candidate for the best."""
    often = {"captures.heldout_every": 3, "captures.checkpoint_every": 50}
    spec = tiny_spec(**often, **{"optimizer.keep": "best", "optimizer.stop_drift": 1e-6})
    blocks = resolve_blocks(spec, 2)
    parts = {"model": tiny_model, "name": "run", "spec": spec, "blocks": blocks, "rows": tiny_rows}
    generator, first = train(**parts, checkpoints=tmp_path), []
    while not any(isinstance(one, ControlEvent) for one in first):
        first.append(next(generator))
    generator.close()
    remove_adapter(tiny_model, "run")
    assert not any(isinstance(one, CheckpointResult) for one in first)
    second = list(train(**parts, checkpoints=tmp_path))
    remove_adapter(tiny_model, "run")
    assert [one.step for one in second if isinstance(one, CheckpointResult)] == [3, 6]


def test_live_changes_hold_from_their_step_and_survive_a_resume(tiny_model, tiny_spec, tiny_rows, tmp_path):
    controls = [
        ControlEvent(control="alpha", step=2, value=1.0),
        ControlEvent(control="learning_rate", step=3, value=5e-4),
    ]
    events, unbroken = run(tiny_model, tiny_spec(), tiny_rows, tmp_path / "unbroken", controls=controls)
    assert [event.learning_rate for event in steps(events)] == [1e-3] * 3 + [5e-4] * 3
    assert steps(events)[1].reroute_weight == pytest.approx(5 * (1 - 1 / 12))
    assert steps(events)[2].reroute_weight == pytest.approx(1 * (1 - 2 / 12))
    run(tiny_model, tiny_spec(), tiny_rows, tmp_path / "broken", controls=controls, stop_after=4)
    same(unbroken, run(tiny_model, tiny_spec(), tiny_rows, tmp_path / "broken", controls=controls)[1])


@pytest.fixture
def float32_throughout(monkeypatch):
    """Gradients in bfloat16 round otherwise in other batches; what is compared here must agree to more digits."""
    monkeypatch.setattr(low_rank, "multiplies_bfloat16", lambda: False)


@pytest.mark.usefixtures("float32_throughout")
def test_the_number_of_micro_batches_changes_nothing_but_the_dropout(tiny_model, tiny_spec, tiny_rows, tmp_path):
    def trained(tokens):
        spec = tiny_spec(**{"optimizer.tokens_per_micro_batch": tokens, "adapter.dropout": 0.0, "optimizer.steps": 3})
        return run(tiny_model, spec, tiny_rows, tmp_path / str(tokens))[1]

    whole, parts = trained(4096), trained(32)
    for key in whole:
        torch.testing.assert_close(whole[key], parts[key], rtol=2e-2, atol=2e-5)


def test_progress_comes_from_the_optimizer_step_not_from_micro_batches(tiny_model, tiny_spec, tiny_rows, tmp_path):
    """The reference counts calls; accumulation breaks its schedule. Here step 5 of 6, horizon 12: 5 * (1 - 5/12)."""
    spec = tiny_spec(**{"optimizer.tokens_per_micro_batch": 32})
    events, _ = run(tiny_model, spec, tiny_rows, tmp_path)
    assert steps(events)[5].reroute_weight == pytest.approx(5 * (1 - 5 / 12))


@pytest.mark.usefixtures("float32_throughout")
def test_starting_above_block_zero_trains_the_same_as_computing_everything(
    tiny_model, tiny_spec, tiny_rows, tmp_path, monkeypatch
):
    spec = tiny_spec(**{"blocks.adapted": "1", "adapter.dropout": 0.0})
    _, fast = run(tiny_model, spec, tiny_rows, tmp_path / "fast")

    class Slow(BaseActivations):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **(kwargs | {"entry_block": 0, "budget_bytes": 0}))

    monkeypatch.setattr("engine.compute.training.trainer.BaseActivations", Slow)
    _, slow = run(tiny_model, spec, tiny_rows, tmp_path / "slow")
    for key in fast:
        torch.testing.assert_close(fast[key], slow[key], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"loss.space": "raw"},
        {"loss.space": "centred"},
        {"loss.mask": "all"},
        {"loss.skip_response_tokens": 2},
        {"loss.lead_tokens": 3, "loss.retain_mask": "response"},
        {"loss.retain_scale": "absolute", "loss.retain_weight": 1.0},
        {"loss.retain_blocks": "0"},
        {"loss.retain_mean": "positions"},
        {"loss.retain_scale": "absolute", "loss.final_norm": True},
        {"schedule.first_step": 1},
        {"adapter.modules": ["q_proj"]},
        {"schedule.kind": "step", "schedule.switch_at": 0.25},
        {"schedule.kind": "cosine"},
        {"schedule.kind": "constant"},
        {"data.borderline_share": 0.5},
        {"optimizer.clip_norm": 0.0},
        {"optimizer.warmup_steps": 3},
    ],
    ids=str,
)
def test_every_choice_of_the_spec_trains(tiny_model, tiny_spec, tiny_rows, tmp_path, changes):
    events, _ = run(tiny_model, tiny_spec(**changes), tiny_rows, tmp_path)
    assert len(steps(events)) == 6
    assert all(math.isfinite(event.loss) and event.gradient_norm >= 0 for event in steps(events))


def test_blocks_below_all_adapters_are_held_still_by_nature(tiny_model, tiny_spec, tiny_rows, tmp_path):
    blocks = {"blocks.targets": "1", "blocks.adapted": "1"}
    below, _ = run(tiny_model, tiny_spec(**blocks, **{"loss.retain_blocks": "0"}), tiny_rows, tmp_path / "below")
    assert [event.retain_loss for event in steps(below)] == [0.0] * 6
    measured = [event.drift for event in below if isinstance(event, HeldoutResult)]
    assert measured and all(drift == {"0": 0.0} for drift in measured)

    both, _ = run(tiny_model, tiny_spec(**blocks, **{"loss.retain_blocks": "0-1"}), tiny_rows, tmp_path / "both")
    alone, _ = run(tiny_model, tiny_spec(**blocks, **{"loss.retain_blocks": "1"}), tiny_rows, tmp_path / "alone")
    assert steps(both)[0].retain_loss == pytest.approx(steps(alone)[0].retain_loss / 2, rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "harmful", "benign"),
    [
        ({}, "0000001111", "01111111"),
        ({"loss.mask": "all"}, "1111111111", "01111111"),
        ({"loss.skip_response_tokens": 2}, "0000000011", "01111111"),
        ({"loss.skip_response_tokens": 1, "loss.lead_tokens": 2}, "0000000111", "01111111"),
        ({"loss.lead_tokens": 2}, "0000111111", "01111111"),
        ({"loss.lead_tokens": 2, "loss.retain_mask": "response"}, "0000111111", "00011111"),
        ({"loss.retain_mask": "response"}, "0000001111", "00000111"),
        ({"loss.retain_scale": "absolute"}, "0000001111", "11111111"),
        ({"loss.lead_tokens": 99, "loss.retain_mask": "response"}, "1111111111", "01111111"),
    ],
    ids=str,
)
def test_masks_by_hand(tiny_spec, changes, harmful, benign):
    """A harmful row of 10 tokens whose answer begins at token 6, a benign one of 8 whose answer begins at token 5."""
    rows = [
        Row("h", "harmful", False, tuple(range(10)), 6),
        Row("b", "benign", False, tuple(range(8)), 5),
    ]
    mask = loss_mask(tiny_spec(**changes), rows, 10, torch.device("cpu")).int().tolist()
    assert ["".join(map(str, row)) for row in mask] == [harmful, benign + "00"]


def test_a_loss_that_is_not_finite_stops_with_a_diagnosis(tiny_model, tiny_spec, tiny_rows, tmp_path, monkeypatch):
    broken = torch.tensor(float("nan"))
    monkeypatch.setattr("engine.compute.training.micro_batch.rerouting_loss", lambda *_, **__: broken)
    with pytest.raises(TrainingError, match=r"rerouting loss of step 0 is not finite.*Lower the learning rate"):
        run(tiny_model, tiny_spec(), tiny_rows, tmp_path)


def gpu_without_room(*_, **__):
    raise torch.OutOfMemoryError("no memory")


def cpu_without_room(*_, **__):
    return torch.empty(2**50)


@pytest.mark.parametrize("exhausted", [gpu_without_room, cpu_without_room])
def test_running_out_of_memory_gives_advice(tiny_model, tiny_spec, tiny_rows, tmp_path, monkeypatch, exhausted):
    monkeypatch.setattr("engine.compute.training.micro_batch.rerouting_loss", exhausted)
    with pytest.raises(TrainingError, match="with 64 tokens a micro-batch: shorten max_tokens"):
        run(tiny_model, tiny_spec(), tiny_rows, tmp_path)


def test_a_plateau_is_said_once_with_what_to_try(tiny_model, tiny_spec, tiny_rows, tmp_path):
    spec = tiny_spec(
        **{"optimizer.steps": 30, "adapter.noise": 0.0, "optimizer.learning_rate": 1e-9, "loss.space": "raw"}
    )
    alerts = [event for event in run(tiny_model, spec, tiny_rows, tmp_path)[0] if isinstance(event, Alert)]
    assert len(alerts) == 1
    assert "noise" in alerts[0].advice and "standardised" in alerts[0].advice


def test_a_damaged_checkpoint_is_named(tiny_model, tiny_spec, tiny_rows, tmp_path):
    run(tiny_model, tiny_spec(), tiny_rows, tmp_path, stop_after=3)
    (tmp_path / "step-000003" / "adapter.safetensors").write_bytes(b"damaged")
    with pytest.raises(RunError, match="step-000003 cannot be read"):
        run(tiny_model, tiny_spec(), tiny_rows, tmp_path)


def test_the_model_is_as_before_when_a_run_is_over(tiny_model, tiny_spec, tiny_rows, tmp_path):
    before = {name: value.clone() for name, value in tiny_model.causal_lm.state_dict().items()}
    run(tiny_model, tiny_spec(), tiny_rows, tmp_path)
    after = tiny_model.causal_lm.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_every_row_comes_once_an_epoch(tiny_spec):
    spec = tiny_spec()
    harmful, benign = random_rows(6), random_rows(9, seed=1, label="benign")
    epoch = [row.prompt_id for step in range(2) for row in step_rows(spec, harmful, benign, step)[:3]]
    assert sorted(epoch) == sorted(row.prompt_id for row in harmful)


def test_borderline_rows_get_their_share(tiny_spec):
    spec = tiny_spec(**{"data.borderline_share": 0.5, "optimizer.retain_batch": 8})
    rows = step_rows(spec, random_rows(6), random_rows(9, seed=1, label="benign"), 4)
    assert sum(row.borderline for row in rows) == 4


def test_micro_batches_keep_to_their_budget_and_lose_no_row():
    rows = random_rows(20)
    groups = micro_batches(rows, 100)
    assert sorted(row.prompt_id for group in groups for row in group) == sorted(row.prompt_id for row in rows)
    assert all(len(group) == 1 or len(group) * max(len(row.ids) for row in group) <= 100 for group in groups)


def test_base_activations_stay_within_their_budget_and_are_the_same_from_the_cache(tiny_model):
    rows = random_rows(6)

    def states(budget):
        return BaseActivations(
            tiny_model,
            rows,
            blocks={"harmful": (0, 1), "benign": (1,)},
            entry_block=1,
            budget_bytes=budget,
            group_tokens=64,
        )

    small, large = states(10_000), states(10**9)
    for kept in (small, large):
        drain(kept.fill())
        again = kept.of(list(reversed(rows)))[::-1]
        for row, found, fresh in zip(rows, again, states(0).of(rows), strict=True):
            assert found.outputs[1].shape == (len(row.ids), 16)
            torch.testing.assert_close(found.outputs[1], fresh.outputs[1])
    assert 0 < small.bytes <= 10_000 < large.bytes


def test_warm_up_rises_to_the_learning_rate(tiny_spec):
    spec = tiny_spec(**{"optimizer.warmup_steps": 4, "optimizer.learning_rate": 0.4})
    assert [learning_rate_at(spec, step) for step in range(5)] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])
    assert weights_at(spec, 0).retain == 0


def test_the_learning_rate_falls_to_zero_after_the_warm_up(tiny_spec):
    """2 steps of warm-up, 4 of decay: left is 1, 3/4, 1/2, 1/4; half a cosine at 1/2 is 1/2."""
    changes = {"optimizer.steps": 6, "optimizer.warmup_steps": 2, "optimizer.learning_rate": 1.0}
    linear = tiny_spec(**changes, **{"optimizer.decay": "linear"})
    cosine = tiny_spec(**changes, **{"optimizer.decay": "cosine"})
    assert [learning_rate_at(linear, step) for step in range(6)] == pytest.approx([0.5, 1, 1, 0.75, 0.5, 0.25])
    assert learning_rate_at(cosine, 4) == pytest.approx(0.5)


def test_the_blocks_of_the_fixture_are_what_the_tests_assume(tiny_spec):
    assert tiny_spec().blocks == BlocksSpec(targets="1", adapted="0-1")
    assert drain(iter(())) == ([], None)


def test_a_tracker_that_is_not_installed_is_named_and_leaves_no_adapter(tiny_model, tiny_spec, tiny_rows, tmp_path):
    spec = tiny_spec(**{"captures.trackers": ["wandb"]})
    with pytest.raises(TrainingError, match="wandb is not installed"):
        run(tiny_model, spec, tiny_rows, tmp_path)
    assert tiny_model.peft_model is None


@pytest.mark.parametrize("checkpointing", ["off", "on"])
def test_where_a_kernel_has_no_order_of_its_own_the_step_is_begun_anew_without_asking_for_it(
    tiny_model, tiny_spec, tiny_rows, tmp_path, monkeypatch, checkpointing
):
    """As a GPU's would: in the second micro-batch of a step, whose first has left a gradient."""
    spec = tiny_spec(**{"optimizer.gradient_checkpointing": checkpointing})
    expected, _ = run(tiny_model, spec, tiny_rows, tmp_path / "as ever")
    asked = []

    @contextmanager
    def refused(device):
        asked.append(device)
        yield
        if len(asked) == 2:
            raise RuntimeError("histc does not have a deterministic implementation, but you set ...")

    monkeypatch.setattr("engine.compute.training.step.exactly", refused)
    found, _ = run(tiny_model, spec, tiny_rows, tmp_path / "refused")
    assert len(asked) == 2
    assert [event.loss for event in steps(found)] == [event.loss for event in steps(expected)] != []
