"""What is captured again, since it is torn or was of another adapter: on request, as a run trains, and at its end."""

import numpy as np
import pytest
from making import drain, random_rows
from test_capturing import QUICK, captured, trained, work

from engine.compute.model.adapters import attach_adapter
from engine.device import Device
from engine.jobs.capture import capture_job
from engine.jobs.filming import filming, final_capture
from engine.records.blocks import resolve_blocks
from engine.records.captures.capture import (
    BASE,
    FINAL,
    RANDOM,
    TRAINING,
    CaptureRequest,
    checkpoint_name,
    read_capture,
)
from engine.records.conversation import Conversation
from engine.records.prompts import Prompt
from engine.records.runs import create_run

STRONGER = {"adapter.strength": 3.0}


@pytest.fixture
def device(settings):
    return Device(settings)


@pytest.fixture
def film(settings, tiny_spec, tiny_model):
    """Goes on with the film of a run, as its training does when it is resumed: called with a step."""
    run = create_run(settings.runs, tiny_spec(**QUICK))
    spec, blocks = run.spec(), resolve_blocks(run.spec(), 2)
    rows = random_rows(label="harmful") + random_rows(seed=1, label="benign")
    prompts = [
        Prompt(id=row.prompt_id, conversation=Conversation.asking("?"), label=row.label, split="validation")
        for row in rows
    ]
    attach_adapter(tiny_model, "run", spec.adapter, blocks.adapted, seed=0)

    def resumed(step: int):
        drain(filming(run, tiny_model, "run", spec, blocks, rows, prompts)(step))
        return read_capture(run.representations_folder / TRAINING)

    resumed(2)
    resumed(4)
    return resumed


@pytest.mark.parametrize(
    ("file", "steps"),
    [
        ("capture.json", [6]),
        ("base.000.safetensors", [2, 4, 6]),
        ("spaces.safetensors", [2, 4, 6]),
        ("step-000002.000.safetensors", [4, 6]),
    ],
)
def test_a_film_that_goes_on_names_what_can_be_read_and_has_its_base_again(film, file, steps):
    folder = film(4).folder
    assert (folder / file).is_file()
    (folder / file).write_bytes(b"torn")
    capture = film(6)
    assert capture.steps == steps
    assert all(capture.holds(name) for name in capture.index.checkpoints) and BASE in capture.index.checkpoints
    assert capture.space(1)[0].shape == (16,)


def test_a_torn_capture_of_the_end_is_made_again(device, settings, tiny_spec, tiny_model):
    run, _ = trained(device, settings, tiny_spec(**QUICK, **{"captures.final_prompts": 4}))
    spec, blocks = run.spec(), resolve_blocks(run.spec(), 2)
    (run.representations_folder / FINAL / "capture.json").write_text("{")
    attach_adapter(tiny_model, "again", spec.adapter, blocks.adapted, seed=0)
    drain(final_capture(run, tiny_model, "again", spec, blocks, settings.answers, step=6))
    assert read_capture(run.representations_folder / FINAL).steps == [6]


def test_a_step_that_was_captured_before_its_run_had_finished_is_captured_again_at_its_strength(
    device, settings, tiny_spec
):
    run, _ = trained(device, settings, tiny_spec(**QUICK, **STRONGER))
    spec = run.spec()
    request = CaptureRequest(run_id=run.id, steps=(2, 6), model=spec.model, data=spec.data, prompts_per_side=4)

    names = (BASE, checkpoint_name(2), checkpoint_name(6), RANDOM)

    def found():
        work(device, capture_job, request)
        capture = captured(settings, request)
        return {name: capture.vectors(name, "response_mean", 1) for name in names}, capture

    run.update(status="running")
    before, early = found()
    assert early.index.as_trained == (checkpoint_name(2), checkpoint_name(6))
    run.update(status="finished")
    after, late = found()
    assert late.index.as_trained == (checkpoint_name(2),) and late.index.random == 6
    for name, stays in ((BASE, True), (checkpoint_name(2), True), (checkpoint_name(6), False), (RANDOM, False)):
        assert np.array_equal(before[name], after[name]) == stays
    assert not any(event.phase == "capturing" for event in work(device, capture_job, request))


def test_a_run_at_the_strength_of_its_training_is_captured_once(device, settings, tiny_spec):
    run, _ = trained(device, settings, tiny_spec(**QUICK))
    spec = run.spec()
    request = CaptureRequest(run_id=run.id, steps=(6,), model=spec.model, data=spec.data, prompts_per_side=4)
    run.update(status="running")
    work(device, capture_job, request)
    assert captured(settings, request).index.as_trained == ()
    run.update(status="finished")
    assert not any(event.phase == "capturing" for event in work(device, capture_job, request))
