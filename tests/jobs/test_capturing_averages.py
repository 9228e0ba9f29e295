"""Which tokens a capture's movement is averaged over: what is asked for, what a film holds, what version 0.1 left."""

import json
from pathlib import Path

import numpy as np
import pytest
from making import drain, random_rows

from engine.compute.model.adapters import attach_adapter
from engine.device import Device
from engine.jobs.capture import capture_job
from engine.jobs.filming import filming
from engine.jobs.training import Intent, train_run
from engine.records.blocks import resolve_blocks
from engine.records.captures.capture import (
    AVERAGED,
    TRAINING,
    CaptureRequest,
    capture_folder,
    checkpoint_name,
    read_capture,
    write_index,
)
from engine.records.conversation import Conversation
from engine.records.errors import RunError
from engine.records.prompts import Prompt
from engine.records.runs import create_run

QUICK = {"captures.capture_every": 2, "captures.capture_prompts": 4, "optimizer.learning_rate": 0.05}


@pytest.fixture
def device(settings):
    return Device(settings)


@pytest.fixture
def trained(device, settings, tiny_spec):
    """A run of six steps, filmed every two."""
    run = create_run(settings.runs, tiny_spec(**QUICK))
    drain(train_run(run, tools=device.tools(1), controls=[], intent=Intent()))
    device.release(1)
    run.update(status="finished", step=6)
    return run


def test_the_film_of_a_training_holds_all_averages(trained):
    capture = read_capture(trained.representations_folder / TRAINING)
    assert capture.index.averaged == AVERAGED
    benign = [one.label == "benign" for one in capture.index.prompts]
    answer, everything, old = (
        capture.measure(checkpoint_name(6), "cosine", 1, averaged)[benign] for averaged in ("answer", "all", None)
    )
    assert np.array_equal(everything, old) and not np.allclose(answer, old, atol=1e-4)


def test_a_film_tells_of_each_row_its_own_prompt_where_two_files_number_theirs_alike(device, settings, tiny_spec):
    """The second file's rows are borderline, the first one's are not."""
    first = Path(tiny_spec().data.retain)
    rows = [json.loads(line) for line in first.read_text().splitlines()]
    second = first.with_name("theirs.jsonl")
    for file, borderline in ((first, False), (second, True)):
        changed = [
            row | {"id": str(place), "borderline": borderline, "prompt": f"{file.stem} {row['prompt']}"}
            for place, row in enumerate(rows)
        ]
        file.write_text("".join(json.dumps(row) + "\n" for row in changed))
    run = create_run(settings.runs, tiny_spec(**QUICK, **{"data.retain": f"{first}; {second}"}))
    drain(train_run(run, tools=device.tools(1), controls=[], intent=Intent()))
    device.release(1)
    shown = read_capture(run.representations_folder / TRAINING)
    benign = [one for one in shown.index.prompts if one.label == "benign"]
    assert {one.borderline for one in benign} == {True, False}
    assert all(one.borderline == one.text.startswith("theirs") for one in benign)


def test_a_film_that_version_0_1_began_does_not_promise_averages_for_its_older_steps(device, trained, tiny_model):
    """A run that goes on after an update: its film has steps without averages, and later ones with them."""
    spec, folder = trained.spec(), trained.representations_folder / TRAINING
    index = read_capture(folder).index
    rows = random_rows(label="harmful") + random_rows(seed=1, label="benign")
    prompts = [
        Prompt(id=row.prompt_id, conversation=Conversation.asking("?"), label=row.label, split="validation")
        for row in rows
    ]
    blocks = resolve_blocks(spec, 2)
    attach_adapter(tiny_model, "run", spec.adapter, blocks.adapted, seed=0)
    capture = filming(trained, tiny_model, "run", spec, blocks, rows, prompts)
    drain(capture(8))
    # These are other prompts than the run's: of those alone is what was captured now.
    assert read_capture(folder).steps == [8]
    own = read_capture(folder).index.prompts
    write_index(folder, index.model_copy(update={"averaged": (), "prompts": own}))
    drain(capture(8))
    assert read_capture(folder).steps == [2, 4, 6, 8] and read_capture(folder).index.averaged == ()


def test_a_capture_holds_the_averages_that_were_asked_for_and_older_requests_keep_their_key(device, settings, trained):
    spec = trained.spec()
    old = CaptureRequest(run_id=trained.id, steps=(6,), model=spec.model, data=spec.data, prompts_per_side=3)
    new = old.model_copy(update={"averaged": AVERAGED})
    assert old.key != new.key
    for request in (old, new):
        drain(capture_job(request.model_dump(mode="json"), device.tools(1)))
        device.release(1)
        capture = read_capture(capture_folder(settings, trained.id, request.key))
        assert capture.index.averaged == request.averaged
        assert np.isfinite(capture.measure(checkpoint_name(6), "cosine", 1)).all()
        if request is old:
            with pytest.raises(RunError, match="holds no answer/cosine"):
                capture.measure(checkpoint_name(6), "cosine", 1, "answer")
        else:
            assert np.isfinite(capture.measure(checkpoint_name(6), "cosine", 1, "last_prompt")).all()
