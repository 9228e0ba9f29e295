"""Captures, maps, examinations and token views through the real jobs, on the tiny model."""

import json
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from making import drain, write_prompts

from engine.child import end_child, in_child
from engine.compute.geometry.maps import make_map
from engine.compute.model.adapters import adapter_parameters
from engine.device import Device, adapter_name
from engine.jobs.capture import _contents, capture_job, described
from engine.jobs.known_answers import known_rows
from engine.jobs.maps import examine_job, project_job, tokens_job
from engine.jobs.training import Intent, train_run
from engine.records.captures.capture import (
    BASE,
    MEASURES,
    TRAINING,
    CaptureRequest,
    capture_folder,
    checkpoint_name,
    read_capture,
    run_captures,
    write_index,
)
from engine.records.captures.projections import (
    ExaminationRequest,
    ProjectionRequest,
    TokenRequest,
    examination_file,
    projection_file,
    read_examination,
    read_projection,
    read_token_view,
    token_file,
)
from engine.records.captures.tables import map_table
from engine.records.conversation import Conversation, Message, Picture, Text
from engine.records.errors import ComputeError, DataError, RunError
from engine.records.events import CapturedResult
from engine.records.learned import throw_away
from engine.records.prompts import Prompt
from engine.records.runs import create_run, delete_run

QUICK = {"captures.capture_every": 2, "captures.capture_prompts": 4, "optimizer.learning_rate": 0.05}


@pytest.fixture
def device(settings):
    return Device(settings)


@pytest.fixture
def many_prompts(tmp_path):
    """Enough prompts of each side for a held-out AUC."""
    return {
        "data.circuit_breaker": str(write_prompts(tmp_path / "many-harmful.jsonl", kind="harmful", rows=48)),
        "data.retain": str(write_prompts(tmp_path / "many-benign.jsonl", kind="benign", rows=48)),
    }


def work(device, job, request):
    """What a job yields, its model released at the end as the worker does."""
    events, _ = drain(job(request.model_dump(mode="json"), device.tools(1)))
    device.release(1)
    return [event for event in events if event is not None]


def trained(device, settings, spec):
    run = create_run(settings.runs, spec)
    steps = train_run(run, tools=device.tools(1), controls=[], intent=Intent())
    events = [event for event in drain(steps)[0] if event is not None]
    device.release(1)
    run.update(status="finished", step=spec.optimizer.steps)
    return run, events


def captured(settings, request):
    capture = read_capture(capture_folder(settings, request.run_id, request.key))
    assert capture is not None
    return capture


def test_training_captures_the_probe_set_every_k_steps_and_at_the_end(device, settings, tiny_spec):
    run, events = trained(device, settings, tiny_spec(**QUICK, **{"optimizer.steps": 5}))
    assert [event.step for event in events if isinstance(event, CapturedResult)] == [0, 2, 4, 5]
    (capture,) = run_captures(settings, run.id)
    assert capture.index.key == TRAINING
    assert capture.index.checkpoints == (BASE, "step-000002", "step-000004", "step-000005")
    assert {prompt.split for prompt in capture.index.prompts} == {"validation"}
    base, first, last = (capture.vectors(state, "response_mean", 1) for state in (BASE, "step-000002", "step-000005"))
    assert base.shape == (len(capture.index.prompts), 16)
    assert 0 < np.abs(first - base).max() < np.abs(last - base).max()
    for measure in MEASURES:
        assert np.isfinite(capture.measure("step-000005", measure, 1)).all()


def test_a_checkpoint_captured_later_equals_what_was_captured_while_training(device, settings, tiny_spec):
    spec = tiny_spec(**QUICK)
    run, _ = trained(device, settings, spec)
    film = run_captures(settings, run.id)[0]
    request = CaptureRequest(
        run_id=run.id, steps=(2, 6), model=spec.model, data=spec.data, splits=("validation",), prompts_per_side=4
    )
    work(device, capture_job, request)
    later = captured(settings, request)
    assert later.index.checkpoints == (BASE, "step-000002", "step-000006")
    place = {prompt.id: index for index, prompt in enumerate(later.index.prompts)}
    order = [place[prompt.id] for prompt in film.index.prompts]
    for state in later.index.checkpoints:
        np.testing.assert_allclose(
            film.vectors(state, "response_mean", 1),
            later.vectors(state, "response_mean", 1)[order],
            rtol=1e-3,
            atol=1e-4,
        )


def test_a_step_that_is_added_leaves_the_others_alone_and_nothing_is_captured_twice(device, settings, tiny_spec):
    spec = tiny_spec(**QUICK)
    run, _ = trained(device, settings, spec)
    request = CaptureRequest(run_id=run.id, steps=(2,), model=spec.model, data=spec.data, prompts_per_side=3)
    work(device, capture_job, request)
    folder = capture_folder(settings, run.id, request.key)
    # The random adapter is as large as that of the last step, so that one is made anew.
    before = {path.name: path.stat().st_mtime_ns for path in folder.glob("[!r]*.safetensors")}
    more = request.model_copy(update={"steps": (2, 4)})
    assert more.key == request.key
    work(device, capture_job, more)
    assert captured(settings, more).index.checkpoints == (BASE, "step-000002", "step-000004")
    after = {path.name: path.stat().st_mtime_ns for path in folder.glob("[!r]*.safetensors")}
    assert captured(settings, more).index.random == 4
    assert before.items() <= after.items()
    assert not any(event.phase == "capturing" for event in work(device, capture_job, more))


def test_what_was_packed_without_its_answers_is_left_alone_and_what_ships_is_never_written(
    device, settings, tiny_spec, monkeypatch
):
    spec = tiny_spec(**QUICK)
    run, _ = trained(device, settings, spec)
    request = CaptureRequest(run_id=run.id, steps=(2,), model=spec.model, data=spec.data, prompts_per_side=3)
    work(device, capture_job, request)
    capture = captured(settings, request)
    (capture.folder / "answers.json").unlink()
    before = {path.name: path.stat().st_mtime_ns for path in capture.folder.iterdir()}
    assert not any(event.phase == "capturing" for event in work(device, capture_job, request))
    more = request.model_copy(update={"steps": (2, 4)})
    monkeypatch.setattr("engine.records.runs.Run.read_only", property(lambda run: True))
    with pytest.raises(RunError, match="ships with the run"):
        work(device, capture_job, more)
    assert {path.name: path.stat().st_mtime_ns for path in capture.folder.iterdir()} == before
    monkeypatch.undo()


def test_two_writings_of_the_same_steps_have_two_digests(device, settings, tiny_spec):
    """Vectors of a life that was thrown away are other ones, and so are maps of them."""
    spec = tiny_spec(**QUICK)
    digests = {run_captures(settings, trained(device, settings, spec)[0].id)[0].index.digest for _ in range(2)}
    assert len(digests) == 2


def test_the_base_model_alone_is_captured_without_any_run(device, settings, tiny_spec):
    spec = tiny_spec()
    request = CaptureRequest(model=spec.model, data=spec.data, prompts_per_side=3, tokens=("every", "last_prompt"))
    work(device, capture_job, request)
    capture = captured(settings, request)
    assert capture.index.checkpoints == (BASE,) and settings.cache in capture.folder.parents
    assert capture.vectors(BASE, "every", 0).shape == (int(capture.token_offsets(BASE)[-1]), 16)
    assert set(capture.answers()) == {prompt.id for prompt in capture.index.prompts}


def test_prompts_that_changed_under_their_file_name_are_captured_anew(device, settings, tiny_spec):
    spec = tiny_spec()
    request = CaptureRequest(model=spec.model, data=spec.data, prompts_per_side=3)
    work(device, capture_job, request)
    before = captured(settings, request)
    vectors = before.vectors(BASE, "response_mean", 1)
    file = Path(spec.data.circuit_breaker)
    file.write_text(file.read_text().replace('"prompt": "', '"prompt": "please, '))
    work(device, capture_job, request)
    after = captured(settings, request)
    assert all(prompt.text.startswith("please, ") for prompt in after.index.prompts if prompt.label == "harmful")
    assert after.index.digest != before.index.digest
    assert not np.allclose(after.vectors(BASE, "response_mean", 1), vectors)


def test_a_map_of_every_token_leaves_out_the_first_which_is_a_sink(device, settings, tiny_spec, many_prompts):
    spec = tiny_spec(**many_prompts)
    request = CaptureRequest(
        model=spec.model, data=spec.data, splits=("train",), prompts_per_side=12, tokens=("every",)
    )
    work(device, capture_job, request)
    capture = captured(settings, request)
    made = make_map(capture.folder, ProjectionRequest(key=request.key, states=(BASE,), block=1, tokens="every"))
    projection = read_projection(made)
    first = capture.token_offsets(BASE)[:-1]
    placed = np.isfinite(projection.points[BASE]).all(axis=1)
    assert not placed[first].any() and placed.sum() == len(placed) - len(first)
    assert map_table(capture, projection, BASE, "every")["token"].min() == 1
    assert any("attention sink" in note for note in projection.notes)


def test_maps_examinations_and_token_views_come_out_of_a_capture(device, settings, tiny_spec, many_prompts):
    spec = tiny_spec(**QUICK, **many_prompts)
    run, _ = trained(device, settings, spec)
    request = CaptureRequest(
        run_id=run.id, steps=(6,), model=spec.model, data=spec.data, splits=("train",), prompts_per_side=24
    )
    work(device, capture_job, request)
    capture = captured(settings, request)
    weights = [parameter.clone() for parameter in device.model.causal_lm.parameters()]
    try:
        for method in ("pca", "probe"):
            asked = ProjectionRequest(
                run_id=run.id, key=request.key, states=capture.index.checkpoints, block=1, method=method
            )
            events = work(device, project_job, asked)
            assert events and all(event.elsewhere for event in events)
            made = read_projection(projection_file(capture, asked))
            assert made.points.keys() == set(capture.index.checkpoints)
            assert made.points[BASE].shape == (len(capture.index.prompts), 2)
            assert 0 <= made.figures[BASE].auc <= 1 and made.figures[BASE].shuffled_auc is not None
        asked = ExaminationRequest(run_id=run.id, key=request.key, state=checkpoint_name(6))
        work(device, examine_job, asked)
        examined = read_examination(examination_file(capture, asked))
        assert [one.block for one in examined.blocks] == [0, 1]
        assert examined.blocks[0].auc_after is not None and examined.reason
    finally:
        end_child()
    harmful = next(prompt for prompt in capture.index.prompts if prompt.label == "harmful")
    asked = TokenRequest(
        run_id=run.id, key=request.key, prompt_id=harmful.id, state=checkpoint_name(6), threshold=0.999
    )
    work(device, tokens_job, asked)
    view = read_token_view(token_file(capture, asked))
    assert len(view.tokens) == len(view.cosine) == harmful.prompt_tokens + harmful.response_tokens
    assert view.response_start == harmful.prompt_tokens
    assert view.trip is not None and view.cosine[view.trip][1] < 0.999
    assert all(row[1] >= 0.999 for row in view.cosine[view.response_start : view.trip])
    left = [parameter.clone() for parameter in device.model.causal_lm.parameters()]
    assert all((a == b).all() for a, b in zip(weights, left, strict=True))


def test_a_token_view_is_of_the_conversation_that_was_captured_where_two_end_alike(device, settings, tiny_spec):
    spec = tiny_spec(**QUICK)
    file = Path(spec.data.retain)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for place, row in enumerate(rows):
        said = (("system", f"You are the {place}th."), ("user", "Continue."), ("assistant", row.pop("response")))
        del row["prompt"]
        row["messages"] = [{"role": role, "content": content} for role, content in said]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run, _ = trained(device, settings, spec)
    request = CaptureRequest(run_id=run.id, steps=(6,), model=spec.model, data=spec.data, splits=("test",))
    work(device, capture_job, request)
    capture = captured(settings, request)
    for prompt in [one for one in capture.index.prompts if one.label == "benign"]:
        place = prompt.id.rpartition("-")[2]
        asked = TokenRequest(run_id=run.id, key=request.key, prompt_id=prompt.id, state=checkpoint_name(6))
        work(device, tokens_job, asked)
        assert f"the {place}th." in "".join(read_token_view(token_file(capture, asked)).tokens)
    # As it was kept before whole conversations were told apart.
    before = capture.index.model_copy(
        update={"prompts": tuple(one.model_copy(update={"key": ""}) for one in capture.index.prompts)}
    )
    write_index(capture.folder, before)
    work(device, capture_job, request)
    assert captured(settings, request).index.prompts == before.prompts, "nothing was captured anew"


def test_as_many_prompts_are_captured_as_are_asked_for_while_any_split_has_more(device, settings, tiny_spec):
    spec = tiny_spec(**QUICK)
    rows = [json.loads(line) for line in Path(spec.data.circuit_breaker).read_text().splitlines()]
    count = Counter(row["split"] for row in rows)
    assert count["validation"] < count["train"]
    asked = count["validation"] + count["train"]
    request = CaptureRequest(
        model=spec.model, data=spec.data, prompts_per_side=asked, splits=("validation", "train"), blocks="1"
    )
    work(device, capture_job, request)
    sides = Counter(prompt.label for prompt in captured(settings, request).index.prompts)
    assert sides["harmful"] == asked and sides["benign"] == asked


def test_training_prompts_are_captured_with_the_request_that_training_hid(device, settings, tiny_spec):
    lengths = []
    for share in (0.0, 1.0):
        spec = tiny_spec(**QUICK, **{"data.empty_prompt_share": share, "data.empty_prompt_sides": "both"})
        request = CaptureRequest(model=spec.model, data=spec.data, prompts_per_side=2, splits=("train",), blocks="1")
        work(device, capture_job, request)
        lengths.append([prompt.prompt_tokens for prompt in captured(settings, request).index.prompts])
    assert lengths[0] == lengths[1]


def test_the_view_of_tokens_reads_the_request_that_training_hid(device, settings, tiny_spec):
    spec = tiny_spec(**QUICK, **{"data.empty_prompt_share": 1.0, "data.empty_prompt_sides": "both"})
    run, _ = trained(device, settings, spec)
    asked = {"prompts_per_side": 2, "splits": ("train",), "blocks": "1"}
    request = CaptureRequest(run_id=run.id, steps=(2,), model=spec.model, data=spec.data, **asked)
    work(device, capture_job, request)
    capture = captured(settings, request)
    for prompt in capture.index.prompts:
        wanted = TokenRequest(run_id=run.id, key=request.key, prompt_id=prompt.id, state=checkpoint_name(2))
        work(device, tokens_job, wanted)
        view = read_token_view(token_file(capture, wanted))
        assert view.response_start == prompt.prompt_tokens and len(view.tokens) > prompt.prompt_tokens


def test_two_jobs_of_one_capture_that_take_turns_keep_the_steps_of_both(device, settings, tiny_spec):
    """As asked in two tabs, of two steps of one run with the same settings."""
    spec = tiny_spec(**QUICK, **{"captures.checkpoint_every": 2})
    run, _ = trained(device, settings, spec)
    asked = {"model": spec.model, "data": spec.data, "prompts_per_side": 2, "blocks": "1"}
    requests = [CaptureRequest(run_id=run.id, steps=(step,), **asked) for step in (2, 4)]
    jobs = [capture_job(one.model_dump(mode="json"), device.tools(number)) for number, one in enumerate(requests, 1)]
    while jobs:
        for job in list(jobs):
            try:
                next(job)
            except StopIteration:
                jobs.remove(job)
    for number in (1, 2):
        device.release(number)
    assert requests[0].key == requests[1].key
    capture = captured(settings, requests[0])
    assert capture.index.checkpoints == (BASE, "step-000002", "step-000004")
    assert all(map(capture.holds, capture.index.checkpoints))


def test_two_captures_of_the_same_last_step_that_take_turns_have_a_random_adapter_each(device, settings, tiny_spec):
    """As asked in two tabs, of other blocks."""
    spec = tiny_spec(**QUICK)
    run, _ = trained(device, settings, spec)
    asked = {"run_id": run.id, "steps": (6,), "model": spec.model, "data": spec.data, "prompts_per_side": 2}
    requests = [CaptureRequest(**asked, blocks=blocks) for blocks in ("1", "0-1")]
    jobs = [capture_job(one.model_dump(mode="json"), device.tools(number)) for number, one in enumerate(requests, 1)]
    while jobs:
        for job in list(jobs):
            if next(job, job) is job:
                jobs.remove(job)
    for number, request in enumerate(requests, 1):
        device.release(number)
        assert captured(settings, request).has_random
    assert not [name for name in device.model.peft_model.peft_config if name.startswith("random-")]


def test_of_equal_requests_with_answers_of_their_own_each_has_its_view(device, settings, tiny_spec):
    spec = tiny_spec(**QUICK, **{"data.answers": "given"})
    file = Path(spec.data.retain)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for place, row in enumerate(rows):
        # What training rows ask is not captured as held out.
        row |= {"prompt": "Say one." if row["split"] == "test" else f"Say {place}."}
        row |= {"response": f"This is answer {place}."}
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run, _ = trained(device, settings, spec)
    request = CaptureRequest(run_id=run.id, steps=(6,), model=spec.model, data=spec.data, splits=("test",), blocks="1")
    work(device, capture_job, request)
    capture = captured(settings, request)
    alike = [one for one in capture.index.prompts if one.label == "benign"]
    assert len(alike) > 1
    for prompt in alike:
        asked = TokenRequest(run_id=run.id, key=request.key, prompt_id=prompt.id, state=checkpoint_name(6))
        work(device, tokens_job, asked)
        read = "".join(read_token_view(token_file(capture, asked)).tokens)
        assert capture.answers()[prompt.id] in read


def test_a_model_that_refuses_all_harmful_prompts_is_told_and_captured_of_nothing(device, settings, tiny_spec):
    spec = tiny_spec(**QUICK, **{"data.answers": "given"})
    file = Path(spec.data.circuit_breaker)
    rows = [json.loads(line) | {"response": "I cannot help with that."} for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    request = CaptureRequest(model=spec.model, data=spec.data, prompts_per_side=2, blocks="1")
    with pytest.raises(DataError, match="refused all 2 harmful prompts"):
        work(device, capture_job, request)


def test_a_run_without_test_rows_is_known_by_its_validation_rows_and_not_by_those_of_another_set(
    device, settings, tiny_spec
):
    spec = tiny_spec(**QUICK)
    file = Path(spec.data.circuit_breaker)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows if row["split"] != "test"))
    model = drain(device.tools(1).acquire(spec.model))[1]
    held = [row["id"] for row in rows if row["split"] == "validation"]
    _, found = drain(known_rows(model, spec, settings, split="test", label="harmful", limit=1))
    device.release(1)
    assert found and {row.prompt_id for row in found} <= set(held)


def test_what_is_missing_is_said(device, settings, tiny_spec):
    spec = tiny_spec(**QUICK)
    run, _ = trained(device, settings, spec)
    request = CaptureRequest(run_id=run.id, steps=(3,), model=spec.model, data=spec.data, prompts_per_side=3)
    with pytest.raises(RunError, match="no checkpoint of step 3"):
        work(device, capture_job, request)
    empty = request.model_copy(update={"splits": ("validation",), "data": spec.data, "steps": (2,)})
    nothing = empty.data.model_copy(update={"styles": ("nowhere",)})
    with pytest.raises(DataError, match="No harmful prompt is left"):
        work(device, capture_job, empty.model_copy(update={"data": nothing}))
    with pytest.raises(ComputeError, match="no capture"):
        work(device, project_job, ProjectionRequest(run_id=run.id, key="nothing", block=0))
    with pytest.raises(ComputeError, match="Block 7 was not captured"):
        work(device, project_job, ProjectionRequest(run_id=run.id, key=TRAINING, block=7))
    end_child()


def test_a_prompt_longer_than_the_context_is_named_with_how_much_too_long(device, settings, tiny_spec, tmp_path):
    spec = tiny_spec(**{"data.max_tokens": 4096})
    file = tmp_path / "long.jsonl"
    file.write_text('{"id": "long-one", "prompt": "' + "x" * 600 + '", "response": "yes", "split": "test"}\n')
    data = spec.data.model_copy(update={"circuit_breaker": str(file)})
    with pytest.raises(DataError, match=r"long-one has 6\d\d tokens with its answer, 1\d\d more than"):
        work(device, capture_job, CaptureRequest(model=spec.model, data=data, splits=("test",)))


def test_a_damaged_capture_is_named(device, settings, tiny_spec):
    run, _ = trained(device, settings, tiny_spec(**QUICK))
    capture = run_captures(settings, run.id)[0]
    next(capture.folder.glob("base.*.safetensors")).write_bytes(b"\x08\0\0\0\0\0\0\0nonsense")
    with pytest.raises(RunError, match="cannot be read"):
        capture.vectors(BASE, "response_mean", 1)
    (capture.folder / "capture.json").write_text("{")
    with pytest.raises(RunError, match="cannot be read"):
        read_capture(capture.folder)
    assert run_captures(settings, run.id) == []


def test_a_cancelled_run_keeps_no_captures(device, settings, tiny_spec):
    run = create_run(settings.runs, tiny_spec(**QUICK))
    intent = Intent()
    with closing(train_run(run, tools=device.tools(1), controls=[], intent=intent)) as steps:
        for event in steps:
            if isinstance(event, CapturedResult):
                break
        assert run_captures(settings, run.id)
        intent.keep = False
    throw_away(run)
    assert not run_captures(settings, run.id)
    assert not adapter_parameters(device.model, adapter_name(run))


def test_a_child_that_dies_is_reported_and_the_next_one_works():
    with pytest.raises(ComputeError, match="fewer prompts"):
        drain(in_child("os._exit", 1, phase="projecting", message=""))
    assert drain(in_child("builtins.abs", -3, phase="projecting", message=""))[1] == 3
    end_child()


def test_the_worker_loads_no_library_for_maps():
    import subprocess
    import sys

    code = "import engine.worker, sys; print([name for name in ('sklearn', 'umap', 'scipy') if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "sklearn" not in output and "umap" not in output


def test_the_child_does_not_outlive_a_worker_that_is_killed():
    import os
    import signal
    import subprocess
    import sys
    import time

    code = (
        "import sys, time\n"
        "from engine.child import in_child\n"
        "if __name__ == '__main__':\n"
        "    steps = in_child('os.getpid', phase='', message='')\n"
        "    while True:\n"
        "        try:\n"
        "            next(steps)\n"
        "        except StopIteration as end:\n"
        "            print(end.value, flush=True)\n"
        "            time.sleep(60)\n"
    )
    worker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    child = int(worker.stdout.readline())
    os.kill(child, 0)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    raise AssertionError("the child still lives 20 s after its worker was killed")


def test_a_cancelled_step_ends_its_process_and_the_next_one_does_not_wait():
    stuck = in_child("time.sleep", 600, phase="projecting", message="")
    waiting = in_child("builtins.abs", -3, phase="projecting", message="")
    next(stuck)
    next(waiting)
    stuck.close()
    started = time.monotonic()
    assert drain(waiting)[1] == 3
    assert time.monotonic() - started < 60
    end_child()


def test_one_id_for_two_prompts_is_told_apart(tiny_rows):
    prompts = [
        Prompt(id="1", conversation=Conversation.asking(text), label=label)
        for label, text in (("harmful", "a"), ("benign", "b"), ("benign", "c"))
    ]
    assert [one.id for one in described(prompts, tiny_rows.harmful[:3])] == ["1", "1 (2)", "1 (3)"]


def test_a_capture_of_other_pictures_is_another(tiny_rows):
    digests, prompts = set(), []
    for letter in ("", "a", "b"):
        parts = (Text(text="look"), *([Picture(sha256=letter * 64)] if letter else []))
        conversation = Conversation(messages=(Message(role="user", parts=parts),))
        prompts = described([Prompt(id="1", conversation=conversation, label="benign")], tiny_rows.harmful[:1])
        digests.add(_contents(prompts, {"1": "yes"}))
    assert len(digests) == 3 and prompts[0].pictures == ("b" * 64,)


@pytest.mark.parametrize("file", ["base.000.safetensors", "capture.json", "spaces.safetensors"])
def test_a_torn_capture_is_captured_again(device, settings, tiny_spec, file):
    run, _ = trained(device, settings, tiny_spec(**QUICK))
    request = CaptureRequest(run_id=run.id, model=run.spec().model, data=run.spec().data, steps=(2,), blocks="0-1")
    folder = capture_folder(settings, run.id, request.key)
    drain(capture_job(request.model_dump(mode="json"), device.tools(1)))
    (folder / file).write_bytes(b"torn")
    drain(capture_job(request.model_dump(mode="json"), device.tools(1)))
    capture = read_capture(folder)
    assert capture is not None and capture.steps == [2]
    assert all(capture.holds(state) for state in capture.index.checkpoints)
    assert capture.space(1)[0].shape == (16,)


def test_a_run_that_is_deleted_while_it_is_captured_leaves_no_answers_behind(device, settings, tiny_spec):
    run, _ = trained(device, settings, tiny_spec(**QUICK))
    spec = run.spec()
    request = CaptureRequest(run_id=run.id, steps=(2,), model=spec.model, data=spec.data, prompts_per_side=3)
    steps = capture_job(request.model_dump(mode="json"), device.tools(1))
    while (event := next(steps)) is None or event.phase != "measuring":
        continue
    delete_run(run)
    with pytest.raises(RunError, match="There is no run"):
        drain(steps)
    assert not run.folder.exists()


def test_of_what_is_drawn_several_times_one_is_captured(device, settings, tiny_spec, tmp_path):
    harmful = write_prompts(tmp_path / "few.jsonl", kind="harmful", rows=12)
    spec = tiny_spec(**{"data.circuit_breaker": f"{harmful} times=3"})
    request = CaptureRequest(model=spec.model, data=spec.data, prompts_per_side=40, splits=("train",), blocks="1")
    work(device, capture_job, request)
    texts = [prompt.text for prompt in captured(settings, request).index.prompts if prompt.label == "harmful"]
    assert len(set(texts)) == len(texts) > 1
