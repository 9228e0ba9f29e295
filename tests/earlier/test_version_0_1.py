"""Records written by version 0.1 still open: keys, digests and token ids are the ones that version wrote down.

version_0_1/ holds two runs of a random model of two blocks (one finished, one stopped at step 3 of 6), with a chat, an
answered set, an evaluation, captures, maps, cards and caches. The model itself is made anew from its seed.
"""

import json
import shutil
from pathlib import Path

import pytest
from making import drain, write_tiny_model
from safetensors.torch import load_file

from engine.compute.evaluation.attacks.attempt import Options
from engine.compute.evaluation.runner import Memory, memory_file, rules_judge, run_attack
from engine.compute.model.load import load_model, model_fingerprint
from engine.compute.model.text import tokens_of
from engine.compute.training.pairs import elicit
from engine.desk.lock import owned
from engine.desk.queue import Queue
from engine.records.captures.capture import capture_folder, read_capture, run_captures
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
from engine.records.chats.chat import open_chat
from engine.records.chats.sets import open_set
from engine.records.conversation import Conversation, say
from engine.records.evaluation.findings import read_evaluations, read_samples
from engine.records.evaluation.rows import read_rows
from engine.records.prompt_files import read_source
from engine.records.runs import open_run
from engine.records.settings import read_settings
from engine.records.spec_text import read_spec
from engine.worker import Worker

HERE = Path(__file__).parent / "version_0_1"
WRITTEN = json.loads((HERE / "expected.json").read_text())


@pytest.fixture
def earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Settings of a copy of what version 0.1 left. Its specs name files relative to the working folder."""
    shutil.copytree(HERE, tmp_path, dirs_exist_ok=True)
    write_tiny_model(tmp_path / "tiny" / "model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WORKBENCH_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    return read_settings()


def test_digests_of_specs_are_the_same(earlier):
    for name in ("finished", "stopped"):
        run = open_run(earlier.runs, WRITTEN[name])
        assert run.spec().version == 1 and run.spec().digest == WRITTEN["spec_digest"] == run.record().digest
    presets = {name: read_spec(HERE / "presets" / f"{name}.json").digest for name in ("default", "quick")}
    assert presets == {name: WRITTEN["presets"][name] for name in presets}


def test_chats_and_sets_open_with_all_that_was_said(earlier):
    chat = open_chat(earlier, WRITTEN["chat"])
    exchange, reply = chat.exchange(0), chat.reply(0)
    assert [str(column.checkpoint) for column in exchange.columns] == [
        "base",
        WRITTEN["finished"],
        f"{WRITTEN['finished']}@4",
    ]
    assert [column.dose for column in exchange.columns] == [1.0, 0.5, 1.0]
    assert exchange.user == "hello" and exchange.prefill == "Sure" and exchange.system == "be brief"
    assert reply.answered is not None and len(reply.trips) == 3 and len(reply.verdicts) == 3
    rows = open_set(earlier, WRITTEN["set"]).rows()
    assert len(rows) == 2 and all(len(row.answers) == 2 for row in rows)


def test_evaluations_captures_and_what_was_made_of_them_open(earlier):
    run = open_run(earlier.runs, WRITTEN["finished"])
    (found,) = read_evaluations(run, earlier)
    assert found.key == WRITTEN["plan_key"] and found.attacks["prefill"].base.n == 3
    assert read_samples(run, earlier, found.key)
    capture = read_capture(capture_folder(earlier, run.id, WRITTEN["capture_key"]))
    assert capture is not None and capture.steps == [4, 6] and len(run_captures(earlier, run.id)) == 2
    index = capture.index
    assert index.request.key == WRITTEN["capture_key"]
    shared = {"run_id": run.id, "key": index.key, "digest": index.digest}
    map_file = projection_file(capture, ProjectionRequest(**shared, states=index.checkpoints, block=1))
    assert map_file.name == WRITTEN["projection_file"] and read_projection(map_file) is not None
    blocks_file = examination_file(capture, ExaminationRequest(**shared, state="step-000006"))
    # Examinations have intervals since: they are made anew, and the old one can still be read.
    assert blocks_file.name != WRITTEN["examination_file"]
    assert read_examination(blocks_file.with_name(WRITTEN["examination_file"])) is not None
    assert index.averaged == () and capture.measure("step-000006", "cosine", 1).shape == (len(index.prompts),)
    request = TokenRequest(**shared, prompt_id=index.prompts[0].id, state="step-000006")
    tokens_file = token_file(capture, request)
    assert tokens_file.name == WRITTEN["token_file"] and read_token_view(tokens_file) is not None


def test_the_queue_file_opens(earlier):
    assert [job.id for job in Queue(earlier.desk).newest("train")] == [2, 1]


def test_text_has_the_same_token_ids_and_the_model_the_same_fingerprint(earlier):
    model = load_model(open_run(earlier.runs, WRITTEN["finished"]).spec().model, earlier)
    talk = [("system", "be brief"), ("user", "hello"), ("assistant", "hi"), ("user", "why?")]
    messages = tuple(say(role, text) for role, text in talk)  # type: ignore[arg-type]
    tokens = tokens_of(model, Conversation(messages=messages), begun="Sure, here is ", reserved=1)
    assert list(tokens.ids) == WRITTEN["conversation_ids"]
    assert list(tokens.begun) == WRITTEN["prefill_ids"]
    assert model_fingerprint(model) == WRITTEN["fingerprint"]
    memory = Memory(memory_file(earlier.cache / "evaluations", model, None))
    assert memory.attempts and memory.verdicts


def test_no_answer_of_the_base_model_is_asked_for_again(earlier, monkeypatch):
    """All 24 prompts are in the cache under the key that version 0.1 wrote."""
    monkeypatch.setattr("engine.compute.training.pairs.answered_ids", None)
    spec = open_run(earlier.runs, WRITTEN["finished"]).spec()
    model = load_model(spec.model, earlier)
    prompts = [
        *read_source(spec.data.circuit_breaker, label="harmful"),
        *read_source(spec.data.retain, label="benign"),
    ]
    _, pairs = drain(elicit(model, prompts, spec.data, answers_folder=earlier.answers, seed=spec.seed))
    assert len(pairs) == len(prompts) == 24


@pytest.mark.parametrize("name", ["direct", "prefill"])
def test_no_attack_is_tried_again(earlier, monkeypatch, name):
    monkeypatch.setattr("engine.compute.evaluation.runner.ATTACK_FUNCTIONS", {})
    model = load_model(open_run(earlier.runs, WRITTEN["finished"]).spec().model, earlier)
    memory = Memory(memory_file(earlier.cache / "evaluations", model, None))
    rows = read_rows("tiny/harmful.jsonl", label="harmful", settings=earlier, limit=3)
    steps = run_attack(model, None, rows, name, Options(1, 0, 4), judge=rules_judge(), memory=memory)
    _, outcomes = drain(steps)
    assert [one.row for one in outcomes] == rows


def test_a_stopped_run_goes_on_to_what_the_unbroken_one_became(earlier):
    stopped, finished = (open_run(earlier.runs, WRITTEN[name]) for name in ("stopped", "finished"))
    with owned(earlier):
        Queue(earlier.desk).submit("train", run_id=stopped.id)
        Worker(earlier).serve(until=lambda: stopped.record().status in ("finished", "failed"))
    assert stopped.record().status == "finished", stopped.record().error
    resumed, unbroken = (load_file(run.adapter_folder / "adapter_model.safetensors") for run in (stopped, finished))
    for name, weights in unbroken.items():
        # The other run's processor rounded otherwise: 0.2 % of a matrix between AVX512 and AVX2, measured.
        assert (resumed[name] - weights).norm() < 0.005 * weights.norm(), name
