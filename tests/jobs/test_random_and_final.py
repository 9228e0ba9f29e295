"""The random adapter that is captured beside a run, and the capture of many prompts at its end, on the tiny model."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from making import write_prompts
from making_kept import copied, trained_by_job
from test_capturing import captured, trained, work

from engine.compute.geometry.maps import make_map
from engine.compute.model.adapters import adapter_parameters, attach_adapter, has_adapter, random_twin, remove_adapter
from engine.device import Device
from engine.jobs.capture import capture_job
from engine.records.blocks import ResolvedBlocks, picture_blocks
from engine.records.captures.capture import (
    AVERAGED,
    BASE,
    FINAL,
    RANDOM,
    TRAINING,
    CaptureRequest,
    checkpoint_name,
    fullest,
    read_capture,
    run_captures,
)
from engine.records.captures.projections import RANDOM_BASE, ProjectionRequest, read_projection
from engine.records.events import CapturedResult

QUICK = {"captures.capture_every": 2, "captures.capture_prompts": 4, "optimizer.learning_rate": 0.05}


@pytest.fixture
def device(settings):
    return Device(settings)


@pytest.fixture(scope="module")
def made(lasting_spec, tmp_path_factory):
    """Each test gets a copy of it."""
    return trained_by_job(tmp_path_factory.mktemp("made"), lasting_spec(**QUICK))


@pytest.fixture
def run(made, settings):
    return copied(made, settings)


def updates(model, name: str) -> list[torch.Tensor]:
    pairs = zip(
        adapter_parameters(model, name, part="lora_A"), adapter_parameters(model, name, part="lora_B"), strict=True
    )
    return [up.detach() @ down.detach() for (_, down), (_, up) in pairs]


def test_each_module_of_a_random_adapter_is_as_large_as_the_trained_one_and_it_is_gone_afterwards(
    tiny_model, tiny_spec
):
    attach_adapter(tiny_model, "trained", tiny_spec().adapter, (0, 1), seed=1)
    for number, (_, up) in enumerate(adapter_parameters(tiny_model, "trained", part="lora_B")):
        up.data.mul_(number + 1)
    before = [one.clone() for _, one in adapter_parameters(tiny_model, "trained")]
    wanted = updates(tiny_model, "trained")
    with random_twin(tiny_model, "trained", seed=3) as name:
        first = updates(tiny_model, name)
        assert not any(one.requires_grad for one in tiny_model.causal_lm.parameters())
    for mine, other in zip(first, wanted, strict=True):
        assert float(mine.norm()) == pytest.approx(float(other.norm()), rel=1e-4)
        assert not torch.allclose(mine, other)
    with random_twin(tiny_model, "trained", seed=3) as name:
        assert all(torch.equal(one, other) for one, other in zip(updates(tiny_model, name), first, strict=True))
    with pytest.raises(RuntimeError, match="broke"), random_twin(tiny_model, "trained", seed=3):
        raise RuntimeError("broke")
    assert not has_adapter(tiny_model, "random-trained")
    after = [one for _, one in adapter_parameters(tiny_model, "trained")]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    remove_adapter(tiny_model, "trained")


def test_what_is_captured_of_the_last_step_is_the_finished_adapter_at_its_strength(device, run, settings, tiny_spec):
    cosines = {}
    stronger, _ = trained(device, settings, tiny_spec(**QUICK, **{"adapter.strength": 3.0}))
    for strength, one in ((1.0, run), (3.0, stronger)):
        spec = one.spec()
        assert spec.adapter.strength == strength
        assert one.checkpoint_folder(6).is_dir()
        request = CaptureRequest(run_id=one.id, steps=(2, 6), model=spec.model, data=spec.data, prompts_per_side=4)
        work(device, capture_job, request)
        capture = captured(settings, request)
        cosines[strength] = [capture.measure(checkpoint_name(step), "cosine", 1) for step in (2, 6)]
    np.testing.assert_allclose(cosines[1.0][0], cosines[3.0][0], rtol=0, atol=1e-5)
    assert (cosines[3.0][1] < cosines[1.0][1] - 1e-3).all()


def test_the_random_adapter_is_no_step_and_a_capture_without_one_gets_it_later(device, run, settings):
    spec = run.spec()
    request = CaptureRequest(run_id=run.id, steps=(6,), model=spec.model, data=spec.data, prompts_per_side=4)
    work(device, capture_job, request)
    capture = captured(settings, request)
    assert capture.steps == [6] and capture.index.checkpoints == (BASE, checkpoint_name(6))
    assert capture.has_random and capture.index.random == 6
    vectors = [capture.vectors(name, "response_mean", 1) for name in (BASE, checkpoint_name(6), RANDOM)]
    assert not np.allclose(vectors[2], vectors[0]) and not np.allclose(vectors[2], vectors[1])
    assert np.isfinite(capture.measure(RANDOM, "cosine", 1)).all()

    (capture.folder / "random.000.safetensors").unlink()
    assert not captured(settings, request).has_random
    before = (capture.folder / "base.000.safetensors").stat().st_mtime_ns
    work(device, capture_job, request)
    assert captured(settings, request).has_random
    assert (capture.folder / "base.000.safetensors").stat().st_mtime_ns == before
    np.testing.assert_array_equal(captured(settings, request).vectors(RANDOM, "response_mean", 1), vectors[2])


def test_a_base_model_alone_has_no_random_adapter(device, settings, tiny_spec):
    spec = tiny_spec()
    request = CaptureRequest(model=spec.model, data=spec.data, prompts_per_side=3)
    work(device, capture_job, request)
    assert not captured(settings, request).has_random


def test_a_run_captures_its_known_held_out_prompts_at_the_end_and_more_where_the_spec_asks(
    device, settings, tiny_spec, tmp_path
):
    many = {
        "data.circuit_breaker": str(write_prompts(tmp_path / "many-harmful.jsonl", kind="harmful", rows=48)),
        "data.retain": str(write_prompts(tmp_path / "many-benign.jsonl", kind="benign", rows=48)),
        "data.heldout_rows": 3,
    }
    known, events = trained(device, settings, tiny_spec(**QUICK, **many, **{"captures.final_prompts": 10}))
    more, _ = trained(
        device,
        settings,
        tiny_spec(**QUICK, **many, **{"captures.final_prompts": 10, "captures.final_answers": "elicit"}),
    )
    assert [(event.step, event.key) for event in events if isinstance(event, CapturedResult)][-2:] == [
        (6, TRAINING),
        (6, FINAL),
    ]
    for run, count in ((known, 6), (more, 10)):
        captures = {capture.index.key: capture for capture in run_captures(settings, run.id)}
        capture = captures[FINAL]
        assert fullest(list(captures.values()), kept=6) is capture
        assert capture.steps == [6] and capture.has_random and not captures[TRAINING].has_random
        assert capture.index.averaged == captures[TRAINING].index.averaged == AVERAGED
        assert np.isfinite(capture.measure(checkpoint_name(6), "cosine", 1, "answer")).any()
        labels = [prompt.label for prompt in capture.index.prompts]
        assert labels.count("harmful") == labels.count("benign") == count
        assert {prompt.split for prompt in capture.index.prompts} <= {"test", "validation"}
        assert set(capture.answers()) == {prompt.id for prompt in capture.index.prompts}


def test_what_shows_a_runs_end_holds_the_step_that_it_keeps(run):
    """Filmed to its last step, captured at its best one."""
    film = read_capture(run.representations_folder / TRAINING)
    early = replace(film, index=film.index.model_copy(update={"checkpoints": film.index.checkpoints[:2], "key": FINAL}))
    (step,) = early.steps
    assert step < film.steps[-1]
    assert fullest([film, early], kept=film.steps[-1]) is film
    more = replace(early, index=early.index.model_copy(update={"prompts": film.index.prompts * 2}))
    assert fullest([film, more], kept=step) is more and fullest([film, more], kept=film.steps[-1]) is film
    # One that goes on has been captured up to its last picture.
    assert fullest([film, more], kept=film.steps[-1] + 1) is film and fullest([], kept=step) is None


def test_a_map_of_movement_has_the_random_adapter_in_a_plane_of_its_own_and_other_maps_have_none(
    device, settings, tiny_spec
):
    run, _ = trained(device, settings, tiny_spec(**QUICK, **{"captures.final_prompts": 8}))
    capture = next(one for one in run_captures(settings, run.id) if one.index.key == FINAL)
    found = {}
    for method in ("movement", "pca"):
        request = ProjectionRequest(
            run_id=run.id, key=FINAL, checkpoints=capture.index.checkpoints, block=1, method=method
        )
        found[method] = read_projection(make_map(capture.folder, request))
    assert found["movement"].points.keys() == {BASE, checkpoint_name(6), RANDOM, RANDOM_BASE}
    assert found["movement"].figures.keys() == {BASE, checkpoint_name(6)}
    assert found["pca"].points.keys() == {BASE, checkpoint_name(6)} and found["pca"].fitted is None


def test_a_map_can_be_made_of_the_newest_step_alone(run, settings):
    (capture,) = run_captures(settings, run.id)
    newest = checkpoint_name(capture.steps[-1])
    request = ProjectionRequest(run_id=run.id, key=TRAINING, checkpoints=(BASE, newest), block=1, method="movement")
    projection = read_projection(make_map(capture.folder, request))
    assert projection.figures.keys() == {BASE, newest}


def test_three_blocks_the_target_one_below_and_one_above():
    assert picture_blocks(ResolvedBlocks((19,), tuple(range(12, 20)), ()), 30) == (15, 19, 24)
    assert picture_blocks(ResolvedBlocks((9, 19), tuple(range(20)), ()), 32) == (4, 9, 19)
    assert picture_blocks(ResolvedBlocks((1,), (0, 1), ()), 2) == (0, 1)


def test_a_run_without_prompts_at_the_end_has_no_such_capture(run, settings):
    assert [capture.index.key for capture in run_captures(settings, run.id)] == [TRAINING]
