"""A packed run shows what the run showed, but for answers to harmful prompts, and its bytes are checked."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from making_kept import copied, trained_by_job
from making_seers import painted
from test_capturing import QUICK

from engine.__main__ import main
from engine.commands.pack import DIGEST, _halved, digests, pack_run
from engine.compute.model.adapters import adapter_parameters
from engine.compute.steps import drained
from engine.device import Device
from engine.exports.private import Private
from engine.jobs.known_answers import known_spaces, run_spaces
from engine.records.best import BestCheckpoint
from engine.records.captures.capture import read_capture, run_captures, write_index
from engine.records.captures.thumbnails import thumbnails, write_thumbnails
from engine.records.checkpoints import parse_checkpoint
from engine.records.errors import RunError
from engine.records.evaluation.findings import (
    Evaluation,
    PictureFindings,
    ToolFindings,
    read_evaluations,
    write_evaluation,
)
from engine.records.events import Alert, ProbeResult
from engine.records.outcome import outcome_of
from engine.records.pictures import picture_at
from engine.records.presets import named_spec
from engine.records.runs import Run, list_runs, open_run
from engine.records.settings import SAMPLE_DATA
from engine.records.shipped import shipped_run
from engine.records.spaces import packed_spaces

SHIPPED = [Run(path.parent) for path in (SAMPLE_DATA / "runs").glob("*/record.json")]


@pytest.fixture(scope="module")
def made(lasting_spec, tmp_path_factory) -> Run:
    """Each test gets a copy of it."""
    return trained_by_job(tmp_path_factory.mktemp("made"), lasting_spec(**QUICK))


@pytest.fixture
def run(made, settings) -> Run:
    return copied(made, settings)


def test_a_packed_run_keeps_adapter_curves_and_states_and_loses_harmful_answers(run, settings, tmp_path):
    (probe,) = [event for event in run.events()[0] if isinstance(event, ProbeResult)][:1]
    harmful = [answer.answer for answer in probe.answers if answer.label == "harmful"]
    assert all(harmful)
    target = tmp_path / "packed" / run.id
    pack_run(run, target)
    packed = Run(target)
    assert packed.spec() == run.spec() and packed.record().status == "finished" and packed.record().host == ""
    kinds = {event.kind for event in packed.events()[0]}
    assert {"step", "heldout", "probe"} <= kinds and "progress" not in kinds
    for event in packed.events()[0]:
        if isinstance(event, ProbeResult):
            assert all(answer.answer == "(left out)" for answer in event.answers if answer.label == "harmful")
            assert any(answer.answer != "(left out)" for answer in event.answers)
    assert (target / "adapter" / "adapter_model.safetensors").read_bytes() == (
        run.adapter_folder / "adapter_model.safetensors"
    ).read_bytes()
    assert not list(target.rglob("answers.json")) and not (target / "checkpoints").exists()
    left, right = run_captures(settings, run.id)[0], target / "representations" / "training"
    found = type(left)(right, left.index).vectors("base", "response_mean", 1)
    np.testing.assert_allclose(left.vectors("base", "response_mean", 1), found, rtol=2e-3, atol=1e-4)
    assert json.loads((target / DIGEST).read_text()) == digests(target)


def test_of_a_long_film_as_many_steps_are_packed_as_fit(run, settings, tmp_path, monkeypatch):
    film = run_captures(settings, run.id)[0]
    assert len(film.index.checkpoints) == 4
    each = (film.folder / "base.000.safetensors").stat().st_size
    others = run.folder / "adapter", run.folder / "spec.json", run.folder / "events.jsonl"
    size = sum(path.stat().st_size for one in others for path in ([one] if one.is_file() else one.iterdir()))
    monkeypatch.setattr("engine.commands.pack.MOST_BYTES", size + each)
    pack_run(run, tmp_path / run.id)
    packed = read_capture(tmp_path / run.id / "representations" / "training")
    assert packed is not None and 2 <= len(packed.index.checkpoints) < 4
    assert packed.index.checkpoints[0] == "base" and packed.index.checkpoints[-1] == film.index.checkpoints[-1]
    assert all(packed.holds(state) for state in packed.index.checkpoints)
    assert len(list(packed.folder.glob("step-*"))) == len(packed.index.checkpoints) - 1


def size(folder: Path) -> int:
    """Of all but the digests, which are written last."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path.name != DIGEST)


def test_what_is_no_steps_takes_its_room_too(run, settings, tmp_path, monkeypatch):
    """A random adapter's vectors are as large as a step's; packed once more, nothing is smaller than it was."""
    film = run_captures(settings, run.id)[0]
    assert film.has_random
    pack_run(run, tmp_path / "once" / run.id)
    whole = size(tmp_path / "once")
    for source, name in ((run, "less"), (Run(tmp_path / "once" / run.id), "again")):
        monkeypatch.setattr("engine.commands.pack.MOST_BYTES", whole - 1)
        pack_run(source, tmp_path / name / run.id)
        assert size(tmp_path / name) < whole
        packed = read_capture(tmp_path / name / run.id / "representations" / "training")
        assert packed is not None and packed.has_random and len(packed.index.checkpoints) == 3


def test_an_evaluation_that_is_due_is_not_due_of_the_copy(run, tmp_path):
    run.update(evaluation="due", evaluation_error="")
    pack_run(run, tmp_path / run.id)
    assert Run(tmp_path / run.id).record().evaluation == "" and run.record().evaluation == "due"


def adapter_weights(settings, run_id):
    """As they are attached to a model."""
    tools = Device(settings).tools(0)
    model = drained(tools.acquire(open_run(settings.runs, run_id).spec().model))
    with tools.attached(model, parse_checkpoint(run_id)) as name:
        return [weight.detach().clone() for _, weight in adapter_parameters(model, name)]


def test_an_adapter_packed_in_bfloat16_is_half_as_large_and_answers_as_its_own_rounded(run, settings, tmp_path):
    pack_run(run, tmp_path / "packed" / run.id, bfloat16=True)
    packed = replace(settings, runs=tmp_path / "packed")
    both = (run, open_run(packed.runs, run.id))
    whole, half = ((one.adapter_folder / "adapter_model.safetensors").stat().st_size for one in both)
    assert half < 0.7 * whole
    for weight, rounded in zip(adapter_weights(settings, run.id), adapter_weights(packed, run.id), strict=True):
        torch.testing.assert_close(rounded.float(), weight.bfloat16().float(), rtol=0, atol=0)


def test_spaces_that_were_measured_travel_along_and_are_known_where_nothing_else_is(run, settings, tmp_path):
    tools = Device(settings).tools(0)
    model = drained(tools.acquire(run.spec().model))
    assert main(["pack", run.id, str(tmp_path / "before"), "--runs", str(settings.runs)]) == 0
    measured = drained(run_spaces(model, run, settings))
    assert main(["pack", run.id, str(tmp_path / "packed"), "--runs", str(settings.runs)]) == 0

    before, packed = (replace(settings, runs=tmp_path / one, cache=tmp_path / "none") for one in ("before", "packed"))
    assert known_spaces(model, open_run(before.runs, run.id), before) == {}
    found = known_spaces(model, open_run(packed.runs, run.id), packed)
    assert found.keys() == measured.keys() and all(found[block].mean.equal(measured[block].mean) for block in found)
    packed_spaces(open_run(packed.runs, run.id)).write_bytes(b"damaged")
    assert known_spaces(model, open_run(packed.runs, run.id), packed) == {}


def test_pictures_of_an_evaluation_come_along_and_a_mark_of_a_best_checkpoint_does_not(run, tmp_path):
    (run.folder / "evaluations").mkdir()
    for name in ("one.json", "one.png", "one.rows.jsonl"):
        (run.folder / "evaluations" / name).write_text("{}")
    step = run.record().step
    run.update(best=BestCheckpoint(step=step, measured=step, cosine=0.1, drift=0.1, benign_cosine=0.9))
    pack_run(run, tmp_path / run.id)
    packed = Run(tmp_path / run.id)
    assert {file.name for file in (packed.folder / "evaluations").iterdir()} == {"one.json", "one.png"}
    assert packed.record().best is None and run.record().best is not None
    assert "evaluations/one.png" in json.loads((packed.folder / DIGEST).read_text())


def test_what_was_measured_of_a_checkpoint_stays_with_it(run, settings, tmp_path):
    """The copy has no checkpoints; a picture that its evaluation made is of no use there either. What follows training
    by itself names the last step: it is of the weights that come along."""
    half_way = {"pgd-universal": {"rerouted": ("half-way.png",)}}
    files = {
        "final": (run.id, {}),
        "small": (f"{run.id}@{run.record().step}", {}),
        "half-way": (f"{run.id}@1", half_way),
    }
    for key, (of, made) in files.items():
        pictures = PictureFindings(source="shown.jsonl", perturbations=made)
        write_evaluation(run, settings, Evaluation(key=key, run=of, pictures=pictures), [])
        (run.folder / "evaluations" / f"{key}.png").write_bytes(b"a picture")
    pack_run(run, tmp_path / run.id)
    packed = {file.name for file in (tmp_path / run.id / "evaluations").iterdir()}
    assert packed == {"final.json", "final.png", "small.json", "small.png"}


def test_a_copy_names_no_address_and_no_folder_of_its_maker(run, settings, tmp_path):
    judge = "http://judge.inside:8000/v1#org/model+rules"
    tools = ToolFindings(source="sample", judge=judge)
    write_evaluation(run, settings, Evaluation(key="asked", run=run.id, judge=judge, tools=tools), [])
    run.append(Alert(step=2, message=f"Changed since this run began: {settings.runs}/mine/rows.jsonl.", advice="None."))
    run.update(evaluation_error=f"{settings.runs}/mine/asked.json could not be written.")
    pack_run(run, tmp_path / run.id, private=Private(settings))
    packed = Run(tmp_path / run.id)
    (one,) = read_evaluations(packed, settings)
    assert (one.judge, one.tools.judge) == ("org/model+rules", "org/model+rules")
    (alert,) = [event for event in packed.events()[0] if isinstance(event, Alert)]
    assert alert.message == "Changed since this run began: rows.jsonl."
    assert packed.record().evaluation_error == "asked.json could not be written."
    assert json.loads((packed.folder / DIGEST).read_text()) == digests(packed.folder)


def test_numbers_that_half_precision_has_no_room_for_are_packed_as_they_are():
    tensor = np.array([1.0, 70_000.0], dtype=np.float32)
    assert _halved(tensor) is tensor
    assert _halved(tensor[:1]).dtype == np.float16


def test_one_capture_of_two_is_packed_where_it_is_named(run, settings, tmp_path, capsys):
    film = run_captures(settings, run.id)[0]
    second = film.folder.with_name("second")
    shutil.copytree(film.folder, second)
    write_index(second, film.index.model_copy(update={"key": "second"}))
    place = ["--runs", str(settings.runs)]
    assert main(["pack", run.id, str(tmp_path / "one"), "--capture", "second", *place]) == 0
    assert [one.name for one in (tmp_path / "one" / run.id / "representations").iterdir()] == ["second"]
    assert main(["pack", run.id, str(tmp_path / "both"), *place]) == 0
    assert len(list((tmp_path / "both" / run.id / "representations").iterdir())) == 2
    capsys.readouterr()
    assert main(["pack", run.id, str(tmp_path / "none"), "--capture", "third", *place]) == 2
    assert "has no capture 'third': choose second, training." in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_copies_of_pictures_come_along_where_they_are_asked_for(run, settings, tmp_path):
    film = run_captures(settings, run.id)[0]
    shown = picture_at(painted(tmp_path / "shown.png"))
    write_thumbnails(film.folder, [shown])
    prompts = [one.model_copy(update={"pictures": (shown.sha256,)}) for one in film.index.prompts]
    write_index(film.folder, film.index.model_copy(update={"prompts": tuple(prompts)}))
    place = ["--runs", str(settings.runs)]
    for folder, asked in (("without", []), ("with", ["--pictures"])):
        assert main(["pack", run.id, str(tmp_path / folder), *asked, *place]) == 0
        packed = Run(tmp_path / folder / run.id)
        [capture] = run_captures(replace(settings, runs=tmp_path / folder), run.id)
        [copy] = thumbnails(capture, capture.index.prompts[0])
        assert (copy is not None) is bool(asked)
        # They are among what was not changed since.
        known = json.loads((packed.folder / DIGEST).read_text())
        assert known == digests(packed.folder) and any(shown.sha256 in name for name in known) is bool(asked)


def test_a_changed_byte_changes_the_digest(run, tmp_path):
    target = tmp_path / run.id
    pack_run(run, target)
    known = json.loads((target / DIGEST).read_text())
    (target / "spec.json").write_text((target / "spec.json").read_text() + " ")
    assert digests(target) != known


def test_only_a_finished_run_is_packed_and_nothing_is_overwritten(run, settings, tmp_path, capsys):
    arguments = ["pack", run.id, str(tmp_path / "out"), "--runs", str(settings.runs)]
    assert main(arguments) == 0
    assert main(arguments) == 2 and "already exists" in capsys.readouterr().err
    run.update(status="stopped")
    assert main(["pack", run.id, str(tmp_path / "other"), "--runs", str(settings.runs)]) == 2
    assert "only a finished run" in capsys.readouterr().err


def test_a_copy_that_breaks_off_is_taken_away(run, settings, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patched:
        patched.setattr("engine.commands.pack.pack_run", breaks_off)
        assert main(["pack", "--runs", str(settings.runs), run.id, str(tmp_path / "out")]) == 2
    assert "The disk is full" in capsys.readouterr().err
    assert main(["pack", "--runs", str(settings.runs), run.id, str(tmp_path / "out")]) == 0


def breaks_off(_run, target, *_, **__):
    target.mkdir(parents=True)
    raise RunError("The disk is full: free some space, then try again.")


def test_the_runs_that_ship_are_listed_and_opened_beside_the_own_ones(settings, monkeypatch):
    assert list_runs(settings.runs) == []
    monkeypatch.delenv("WORKBENCH_SHIPPED_RUNS")
    shipped = list_runs(settings.runs)
    by_preset = {run.record().preset: run for run in shipped}
    assert by_preset.keys() == {"default", "default-qwen", "tools", "pictures"}
    for run in shipped:
        assert run.read_only and run.record().status == "finished"
        assert open_run(settings.runs, run.id) == run
        assert read_evaluations(run, settings) and outcome_of(run, settings).is_measured
    for name in by_preset:
        trained, preset = (one.model_dump(exclude={"version"}) for one in (by_preset[name].spec(), named_spec(name)))
        assert trained == preset
    first = shipped_run(settings.runs)
    assert first is not None and first.record().preset == "default" and run_captures(settings, first.id)
    assert first.record().digest == first.spec().digest_with(first.record().sources)
    # A copy of it among the own runs is listed in its place, and takes nothing from Home and the lessons.
    shutil.copytree(first.folder, settings.runs / first.id)
    assert open_run(settings.runs, first.id) != first and shipped_run(settings.runs) == first
    monkeypatch.setenv("WORKBENCH_SHIPPED_RUNS", "hide")
    assert shipped_run(settings.runs) is None


@pytest.mark.parametrize("run", SHIPPED, ids=lambda run: run.id)
def test_the_run_that_ships_is_whole_and_small(run):
    assert json.loads((run.folder / DIGEST).read_text()) == digests(run.folder)
    assert sum(path.stat().st_size for path in run.folder.rglob("*") if path.is_file()) <= 20_500_000
    for event in run.events()[0]:
        if isinstance(event, ProbeResult):
            assert all(answer.answer == "(left out)" for answer in event.answers if answer.label == "harmful")
