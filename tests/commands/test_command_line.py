"""The command line, as a user calls it."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from forking import INTERPRETER, engine, forked, interpreter
from making import asked_ids, wait_for, write_tiny_model
from making_kept import copied
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine.__main__ import main
from engine.commands.evaluate import check_writable
from engine.commands.foreground import _ProgressBar
from engine.compute.model.generation import Ask, answered_ids
from engine.compute.steps import drained
from engine.compute.training.checkpoints import list_checkpoints
from engine.compute.training.sources import read_prompts
from engine.desk.launch import end_worker
from engine.desk.queue import Queue
from engine.records.captures.capture import read_capture
from engine.records.chats.asked import Sampling
from engine.records.errors import DataError
from engine.records.events import Progress
from engine.records.files import write_whole
from engine.records.runs import list_runs, open_run
from engine.records.settings import ROOT


@pytest.fixture(scope="module")
def made(lasting_spec, tmp_path_factory):
    """A run of the tiny model with weights large enough to tell from the base, trained by the command and found under
    what that printed last. Each test gets a copy of it."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "spec.json").write_text(lasting_spec(**{"adapter.noise": 0.5}).to_json())
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("WORKBENCH_CACHE", str(folder / "cache"))
        result = engine("train", str(folder / "spec.json"), "--runs", str(folder / "runs"))
    assert result.returncode == 0, result.stderr
    return open_run(folder / "runs", result.stdout.strip().splitlines()[-1])


@pytest.fixture
def trained(made, settings):
    return copied(made, settings).id


def own_runs(settings):
    return [run for run in list_runs(settings.runs) if not run.read_only]


def test_train_prints_the_run_id_last_and_the_run_is_finished(settings, trained):
    run = open_run(settings.runs, trained)
    assert run.record().status == "finished"
    listed = json.loads(engine("runs", "--json", "--runs", str(settings.runs)).stdout)
    assert [row["status"] for row in listed if row["id"] == trained] == ["finished"]
    assert trained in engine("runs", "--runs", str(settings.runs)).stdout


def test_a_run_that_fails_exits_with_1_and_says_why(settings, tiny_spec, tmp_path):
    (tmp_path / "spec.json").write_text(tiny_spec(**{"blocks.targets": "9"}).to_json())
    result = engine("train", str(tmp_path / "spec.json"), "--runs", str(settings.runs))
    assert result.returncode == 1
    assert "Block 9 does not exist" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_training_that_is_told_to_end_keeps_what_it_learned(settings, tiny_spec, tmp_path, told):
    (tmp_path / "spec.json").write_text(tiny_spec(**{"optimizer.steps": 5_000}).to_json())
    with (tmp_path / "errors").open("w+") as errors:
        process = forked(
            "train", str(tmp_path / "spec.json"), "--runs", str(settings.runs), outputs=(1, errors.fileno())
        )
        wait_for(lambda: any(run.record().step >= 3 for run in own_runs(settings)), seconds=120, what="the third step")
        os.kill(process.pid, told)
        assert process.wait(60) == 1
        errors.seek(0)
        said = errors.read()
    (run,) = own_runs(settings)
    record = run.record()
    assert record.status == "interrupted" and 3 <= record.step < 5_000
    assert f"Interrupted at step {record.step}: resume it" in said and "Traceback" not in said
    assert f"the run is interrupted. {record.error}" in said
    assert list_checkpoints(run.checkpoints_folder)[-1].name == f"step-{record.step:06d}"


@pytest.mark.parametrize("content", [None, "{", '{"unknown": 1}'])
def test_a_wrong_spec_exits_with_2_and_makes_no_run(settings, tmp_path, content):
    if content is not None:
        (tmp_path / "spec.json").write_text(content)
    result = engine("train", str(tmp_path / "spec.json"), "--runs", str(settings.runs))
    assert result.returncode == 2
    assert result.stderr.startswith("error: ") and "Traceback" not in result.stderr
    assert not own_runs(settings)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["submit", "quick", "--gpus", "4"], "--gpus is asked of a cluster: give --cluster NAME too"),
        (["sweep", "nowhere.json", "--partition", "a100"], "--partition is asked of a cluster"),
        (["worker", "--hours", "2"], "--hours is asked of a cluster"),
        (["evaluate", "RUN", "--false-alarms", "0.1"], "--false-alarms is of the harmfulness probe: give --probe too"),
        (["evaluate", "RUN", "--others-rows", "5"], "--others-rows is of other people's words: give --others too"),
        (["evaluate", "RUN", "--questions", "3"], "--questions is of abilities: give --ability too"),
        (["evaluate", "RUN", "--others", "development", "--limit", "5"], "of --others: give --others-rows 5"),
        (["assemble", "--out", "projector.safetensors"], "--out is of training: give --train too"),
        (["evaluate", "RUN@²"], "'RUN@²' names no model"),
        (["evaluate", "RUN", "--attack", "gcg:²"], "'gcg:²' has no budget"),
    ],
)
def test_an_option_that_nothing_would_read_is_refused(settings, capsys, command, said):
    assert main([*command, "--runs", str(settings.runs)]) == 2
    assert said in capsys.readouterr().err and not list(settings.runs.glob("2*"))


def test_a_cache_that_is_no_folder_is_told_in_words(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "file"))
    monkeypatch.setenv("WORKBENCH_RUNS", str(tmp_path / "runs"))
    assert main(["capture", "base"]) == 2
    assert str(tmp_path / "file") in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_what_is_asked_for_while_one_trains_in_the_foreground_is_done_by_a_worker_that_follows(
    settings, tiny_spec, tmp_path, monkeypatch
):
    """The first one is paused meanwhile, so that it does not end before it is asked."""
    monkeypatch.setenv(INTERPRETER, interpreter())
    seldom = {f"captures.{what}_every": 60 for what in ("heldout", "probe", "checkpoint")}
    (tmp_path / "spec.json").write_text(tiny_spec(**{"optimizer.steps": 60}, **seldom).to_json())
    (tmp_path / "next.json").write_text(tiny_spec(**{"optimizer.steps": 2}).to_json())
    process = forked("train", str(tmp_path / "spec.json"), "--runs", str(settings.runs), outputs=(1, 2))
    queue = Queue(settings.desk)
    try:
        wait_for(lambda: any(run.record().status == "running" for run in own_runs(settings)), what="the training")
        [first] = own_runs(settings)
        queue.control(first.id, "pause")
        wait_for(lambda: first.record().status == "paused", what="the pause")
        asked = engine("submit", str(tmp_path / "next.json"), "--runs", str(settings.runs))
        assert asked.returncode == 0, asked.stderr
        queue.control(first.id, "resume")
        assert process.wait(120) == 0
        following = open_run(settings.runs, asked.stdout.strip())
        wait_for(lambda: following.record().status == "finished", seconds=120, what="the end of the run that waited")
    finally:
        process.terminate()
        end_worker(queue.worker().pid)


def test_an_empty_folder_says_how_to_start(settings):
    assert "Start one" in engine("runs", "--runs", str(settings.runs)).stdout or list_runs(settings.runs)


def test_the_exported_adapter_and_the_merged_model_give_equal_logits(settings, trained, tmp_path):
    result = engine("export", trained, str(tmp_path / "out"), "--merged", "--runs", str(settings.runs))
    assert result.returncode == 0, result.stderr
    run = open_run(settings.runs, trained)
    base = AutoModelForCausalLM.from_pretrained(run.spec().model.name)
    ids = torch.arange(1, 30)[None]
    with torch.no_grad():
        plain = base(ids).logits
        adapter = PeftModel.from_pretrained(base, str(tmp_path / "out"))(ids).logits
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "merged")(ids).logits
    torch.testing.assert_close(adapter, merged, rtol=1e-4, atol=1e-5)
    assert (plain - merged).abs().max() > 1e-3
    assert AutoTokenizer.from_pretrained(tmp_path / "out" / "merged").chat_template
    card = (tmp_path / "out" / "README.md").read_text()
    assert run.record().digest in card and "heldout cosine" in card
    assert json.loads((tmp_path / "out" / "spec.json").read_text())["seed"] == 0


def test_export_refuses_a_folder_in_use_and_a_run_that_is_not_there(settings, trained, tmp_path):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    for arguments, words in (((trained, tmp_path / "used"), "not empty"), (("nothing", tmp_path / "new"), "no run")):
        result = engine("export", *map(str, arguments), "--runs", str(settings.runs))
        assert result.returncode == 2 and words in result.stderr


def test_a_dataset_of_the_hub_is_read_through_the_datasets_library(tmp_path, monkeypatch):
    """A local folder goes the same way as a hub id, where it may be read."""
    rows = [{"prompt": f"p{number}", "response": "r"} for number in range(3)]
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [p.text for p in read_prompts(f"hub:{tmp_path / 'data'}", label="benign")] == ["p0", "p1", "p2"]
    with pytest.raises(DataError, match="cannot be read"):
        read_prompts(f"hub:{tmp_path / 'nothing'}", label="benign")
    monkeypatch.setenv("WORKBENCH_FOLDERS", str(tmp_path / "others"))
    with pytest.raises(DataError, match="lies outside the folders"):
        read_prompts(f"hub:{tmp_path / 'data'}", label="benign")


@pytest.mark.bundled
def test_the_bundled_model_loads_answers_and_ends_its_answers(settings, monkeypatch):
    """The real thing: conversion repaired, special tokens there, block naming and an answer that makes sense."""
    monkeypatch.delenv("WORKBENCH_CACHE")
    from engine.compute.model.load import load_model
    from engine.records.settings import read_settings
    from engine.records.spec_parts import ModelSpec

    model = load_model(ModelSpec(), read_settings())
    assert (model.card.block_count, model.d_model, model.card.parameters) == (30, 576, 134_515_008)
    assert (model.tokenizer.eos_token, model.tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    prompt = asked_ids(model, "What is the capital of France?")
    [answer] = drained(answered_ids(model, [Ask(prompt)], Sampling(new_tokens=24)))
    assert "Paris" in model.tokenizer.decode(answer)
    assert len(answer) < 24


def test_a_tiny_model_is_made_the_same_twice(tmp_path):
    folders = [write_tiny_model(tmp_path / name) for name in "ab"]
    left, right = ((folder / "model.safetensors").read_bytes() for folder in folders)
    assert left == right and isinstance(folders[0], Path)


def test_capture_writes_the_states_of_every_checkpoint_and_says_where(settings, trained):
    result = engine("capture", trained, "--prompts", "3", "--runs", str(settings.runs))
    assert result.returncode == 0, result.stderr
    capture = read_capture(Path(result.stdout.strip()))
    assert capture is not None and capture.steps == [2, 4, 6]
    assert capture.vectors("step-000006", "response_mean", 1).shape[1] == 16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", "3"], "no checkpoint of step 3: choose from 2, 4, 6."),
        (["--steps", "x"], "'x' is no step"),
        (["--tokens", "all"], "tokens"),
    ],
)
def test_a_capture_that_cannot_be_made_exits_with_2(settings, trained, arguments, message):
    result = engine("capture", trained, *arguments, "--runs", str(settings.runs))
    assert result.returncode == 2
    assert message in result.stderr and "Traceback" not in result.stderr


def test_a_folder_of_a_user_who_is_not_there_is_a_folder_of_that_name(capsys):
    assert main(["runs", "--runs", "~nobody-of-that-name/runs"]) == 0


def test_a_run_whose_prompts_are_not_there_is_not_submitted(settings, tiny_spec, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("engine.__main__.ensure_worker", lambda _: None)
    (tmp_path / "spec.json").write_text(tiny_spec(**{"data.retain": str(tmp_path / "gone.jsonl")}).to_json())
    assert main(["submit", str(tmp_path / "spec.json")]) == 2
    assert "gone.jsonl" in capsys.readouterr().err and list_runs(settings.runs) == []


def test_a_worker_that_gives_up_is_told_from_one_that_was_ended(settings, monkeypatch):
    for reason, code in (("the GPU failed", 1), ("", 0)):
        monkeypatch.setattr("engine.__main__.worker_command.serve", lambda *_, reason=reason, **__: reason)
        assert main(["worker"]) == code


def test_who_reads_no_more_ends_a_command_without_a_stack_trace(settings):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "engine", "runs", "--json"]
    try:
        ended = subprocess.run(command, cwd=ROOT, stdout=write, stderr=subprocess.PIPE, text=True, timeout=120)
    finally:
        os.close(write)
    assert ended.returncode == 1 and ended.stderr == ""


def test_a_bar_that_nobody_reads_ends_no_training(monkeypatch, tiny_spec):
    bar = _ProgressBar(tiny_spec())

    def gone(*_, **__):
        raise BrokenPipeError

    for name in ("set_description", "close"):
        monkeypatch.setattr(bar.bar, name, gone)
    bar.show(Progress(phase="loading"))
    bar.close()


def test_figures_go_into_a_pipe_as_they_are_and_replace_none(tmp_path):
    pipe, said = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: said.append(pipe.read_text()))
    reader.start()
    check_writable(pipe)
    write_whole(pipe, "figures")
    reader.join(timeout=10)
    assert said == ["figures"] and pipe.is_fifo()
    check_writable(tmp_path / "new" / "out.json")
    assert [*(tmp_path / "new").iterdir()] == []
