"""Held-out rows that training rows ask too are left out of all that a run measures, and that is said once."""

import json

import pytest
from making import drain, write_prompts

from engine.device import Device
from engine.jobs import run_rows as module
from engine.jobs.capture import _captured_rows
from engine.jobs.filming import _final_prompts
from engine.jobs.known_answers import known_rows
from engine.jobs.run_rows import run_rows
from engine.records.captures.capture import CaptureRequest
from engine.records.events import Alert
from engine.records.runs import create_run
from engine.records.sample_answers import SampleAnswers


@pytest.fixture
def run(settings, tiny_spec, tmp_path):
    """Of two harmful validation rows one, of four test rows one is a training row too."""
    file = write_prompts(tmp_path / "some.jsonl", kind="harmful")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[6]["prompt"], lines[9]["prompt"] = lines[0]["prompt"], lines[1]["prompt"]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return create_run(settings.runs, tiny_spec(**{"data.circuit_breaker": str(file), "data.drop_refusals": False}))


@pytest.fixture
def rows_of(settings, run):
    def read():
        device, spec = Device(settings), run.spec()
        tools = device.tools(1)
        _, model = drain(tools.acquire(spec.model))
        events, found = drain(run_rows(run, model, spec, tools, SampleAnswers(run)))
        for event in events:
            run.append(event)
        return [event for event in events if isinstance(event, Alert)], found

    return read


def test_they_are_left_out_and_that_is_said_once(run, rows_of):
    (told,), (rows, validation, _) = rows_of()
    assert told.step == 0 and told.message.startswith("2 held-out harmful rows ask what training rows ask too")
    assert len([row for row in rows.validation if row.label == "harmful"]) == 1
    assert len([row for row in rows.test if row.label == "harmful"]) == 3
    assert [prompt.id for prompt in validation if prompt.label == "harmful"] == ["harmful-7"]
    again, (same, _, _) = rows_of()
    assert again == [] and (same.validation, same.test) == (rows.validation, rows.test)
    assert list(same.harmful) == list(rows.harmful) and len(rows.harmful) == 6


def test_a_run_that_measured_them_before_is_told_so_and_trains_on_the_same_rows(run, rows_of, monkeypatch):
    with monkeypatch.context() as before:
        before.setattr(module, "held_apart", list)
        alerts, (rows, _, _) = rows_of()
    assert alerts == [] and len([row for row in rows.validation if row.label == "harmful"]) == 2
    monkeypatch.setattr(module, "last_checkpoint", lambda _: 4)
    (told,), (now, _, _) = rows_of()
    assert told.step == 4 and "What was measured up to step 4 may rest on them" in told.message
    assert list(now.harmful) == list(rows.harmful) and list(now.benign) == list(rows.benign)
    assert rows_of()[0] == []


def test_what_is_captured_or_fitted_besides_is_without_them_too(settings, run, tiny_model):
    spec = run.spec()
    kept = [prompt.id for prompt in _final_prompts(spec) if prompt.label == "harmful"]
    assert sorted(kept) == ["harmful-10", "harmful-11", "harmful-7", "harmful-8"]
    request = CaptureRequest(data=spec.data, splits=("validation", "test"))
    _, (pairs, _) = drain(_captured_rows(tiny_model, request, settings.answers))
    assert {pair.prompt.id for pair in pairs if pair.prompt.label == "harmful"} == set(kept)
    _, known = drain(known_rows(tiny_model, spec, settings, split="validation", label="harmful", limit=8))
    assert [row.prompt_id for row in known] == ["harmful-7"]
