"""A run behind the endpoint, asked by the openai client over a socket; a real worker answers with tiny models."""

import json
import os
import signal
import threading
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import NamedTuple

import openai
import pytest
import uvicorn
from making import drain, resting, wait_for, write_prompts

from engine.commands.serve import listening
from engine.compute.model.adapters import attach_adapter, remove_adapter
from engine.desk.endpoints import endpoint_name
from engine.desk.queue import Queue
from engine.device import Device, adapter_name
from engine.endpoint.app import Offer, endpoint
from engine.jobs.harmfulness import fit_probe_job
from engine.jobs.training import _keep_adapter
from engine.records.checkpoints import Checkpoint
from engine.records.errors import WorkerError
from engine.records.events import StepResult
from engine.records.files import write_whole
from engine.records.harmfulness import MESSAGE
from engine.records.runs import create_run

STRONG = {"blocks.adapted": "1", "adapter.noise": 1.0}
HELLO = [{"role": "user", "content": "Say something"}]


@pytest.fixture
def run(settings, tiny_model, tiny_spec, forked_workers):
    """A finished run whose adapter is strong on the upper of two blocks."""
    run = create_run(settings.runs, tiny_spec(**STRONG))
    name = adapter_name(run)
    attach_adapter(tiny_model, name, run.spec().adapter, [1], seed=0)
    _keep_adapter(tiny_model, name, run)
    remove_adapter(tiny_model, name)
    run.update(status="finished")
    yield run
    worker = Queue(settings.desk).worker()
    if worker.alive:
        os.kill(worker.pid, signal.SIGKILL)
        wait_for(lambda: not Queue(settings.desk).worker().alive, what="the end of the worker")


@pytest.fixture
def run_of_many(run, tiny_spec, tmp_path):
    """The same with as many rows as a probe's threshold needs."""
    many = {
        "data.circuit_breaker": str(write_prompts(tmp_path / "many-harmful.jsonl", kind="harmful", rows=120)),
        "data.retain": str(write_prompts(tmp_path / "many-benign.jsonl", kind="benign", rows=180)),
    }
    write_whole(run.folder / "spec.json", tiny_spec(**many, **STRONG, **{"harmfulness.false_alarms": 0.5}).to_json())
    return run


@contextmanager
def served(settings, run, *, probe=""):
    """A client of the endpoint, which listens at a free port meanwhile."""
    with listening("127.0.0.1", 0) as place, endpoint_name(settings) as own:
        app = endpoint(settings, Offer(Checkpoint(run.id), own, probe), hosts=("127.0.0.1",))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [place]})
        thread.start()
        port = place.getsockname()[1]
        try:
            yield openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0, timeout=120)
        finally:
            server.should_exit = True
            thread.join()


class Streamed(NamedTuple):
    text: str
    refusal: str
    finish: str


def streamed(client, model, messages) -> Streamed:
    stream = client.chat.completions.create(model=model, messages=messages, max_tokens=16, stream=True)
    chunks = [chunk.choices[0] for chunk in stream]
    text, refusal = ("".join(getattr(one.delta, name) or "" for one in chunks) for name in ("content", "refusal"))
    return Streamed(text, refusal, chunks[-1].finish_reason)


def test_both_models_answer_whole_and_streamed_with_the_same_words(settings, run):
    with served(settings, run) as client:
        assert [model.id for model in client.models.list()] == [run.id, "base"]
        said = {}
        for name in (run.id, "base"):
            whole = client.chat.completions.create(model=name, messages=HELLO, max_tokens=12)
            chunks = list(
                client.chat.completions.create(
                    model=name, messages=HELLO, max_tokens=12, stream=True, stream_options={"include_usage": True}
                )
            )
            said[name] = whole.choices[0].message.content
            pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
            assert "".join(pieces) == said[name] and len(pieces) > 3
            assert whole.choices[0].finish_reason == "length" == chunks[-2].choices[0].finish_reason
            assert whole.usage == chunks[-1].usage and whole.usage.completion_tokens == 12
        assert said[run.id] != said["base"]
        # A stop ends the answer before it, and the job with it.
        stop = said["base"][4:6]
        cut = client.chat.completions.create(model="base", messages=HELLO, max_tokens=12, stop=stop)
        assert cut.choices[0].message.content == said["base"].partition(stop)[0]
        assert cut.choices[0].finish_reason == "stop"
        # Nothing of what was asked is kept.
        assert list((settings.desk / "served").glob("*/*")) == []
    assert list((settings.desk / "served").iterdir()) == []


def test_a_fitted_probe_ends_the_answers_of_both_models_where_it_fires_and_its_message_follows(settings, run_of_many):
    """A probe of random activations fires in some answers and not in others: what it lets pass is said as without it,
    and what it ends is the beginning of that."""
    device = Device(settings)
    drain(resting(fit_probe_job({"run": run_of_many.id}, device.tools(1))))
    asked = [[{"role": "user", "content": f"{word} number {n}"}] for word in ("harmful", "cooking") for n in range(3)]
    ways = [(name, messages) for name in (run_of_many.id, "base") for messages in asked[:: 3 if name == "base" else 1]]
    with served(settings, run_of_many) as client:
        free = [streamed(client, name, messages) for name, messages in ways]
    with served(settings, run_of_many, probe="linear") as client:
        found = [streamed(client, name, messages) for name, messages in ways]
        whole = client.chat.completions.create(model="base", messages=asked[0], max_tokens=16).choices[0]
    for without, ended in zip(free, found, strict=True):
        if ended.finish == "length":
            assert ended == without
        else:
            assert ended.finish == "content_filter" and ended.refusal == MESSAGE
            text = ended.text.removesuffix(MESSAGE).removesuffix("\n\n")
            assert without.text.startswith(text) and len(text) < len(without.text) and ended.text.endswith(MESSAGE)
    assert {one.finish for one in free} == {"length"}
    assert {one.finish for one in found[: len(asked)]} == {"length", "content_filter"}
    assert found[len(asked)].finish == "content_filter" == whole.finish_reason
    assert whole.message.content == whole.message.refusal == MESSAGE


def test_what_cannot_be_asked_is_an_error_of_the_client_in_words(settings, run):
    with served(settings, run) as client:
        create = client.chat.completions.create
        with pytest.raises(openai.NotFoundError, match=f"There is no model 'gpt' here: choose one of {run.id}, base"):
            create(model="gpt", messages=HELLO)
        with pytest.raises(openai.BadRequestError, match="n is 2, which this endpoint does not do"):
            create(model="base", messages=HELLO, n=2)
        with pytest.raises(openai.BadRequestError, match=r"The conversation has \d+ tokens"):
            create(model="base", messages=[{"role": "user", "content": "long " * 2_000}], stream=True)
        with pytest.raises(openai.NotFoundError, match="There are /v1/models and /v1/chat/completions"):
            client.embeddings.create(model="base", input="x")


def test_pages_of_other_origins_reach_it_neither_by_another_name_nor_by_another_content_type(settings, run):
    with served(settings, run) as client:
        address = f"{client.base_url}chat/completions"
        for headers, status in (
            ({"Host": "evil.example", "Content-Type": "application/json"}, 400),
            ({"Content-Type": "text/plain"}, 415),
        ):
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(urllib.request.Request(address, b"{}", headers))
            assert refused.value.code == status


def test_it_answers_while_a_run_trains_and_a_client_that_goes_stops_its_answer(settings, run, tiny_spec):
    long = {"optimizer.steps": 4000, "captures.heldout_every": 4000, "captures.probe_every": 4000}
    training = create_run(settings.runs, tiny_spec(**long))
    queue = Queue(settings.desk)
    queue.submit("train", run_id=training.id)

    def steps() -> int:
        return sum(isinstance(event, StepResult) for event in training.events()[0])

    with served(settings, run) as client:
        answer = client.chat.completions.create(model=run.id, messages=HELLO, max_tokens=8)
        assert answer.usage.completion_tokens == 8
        wait_for(lambda: steps() > 2, what="the first steps")
        before = steps()
        answer = client.chat.completions.create(model=run.id, messages=HELLO, max_tokens=8)
        assert answer.usage.completion_tokens == 8 and training.record().status == "running"
        wait_for(lambda: steps() > before, what="the next steps")
        stream = client.chat.completions.create(model="base", messages=HELLO, max_tokens=400, stream=True)
        next(iter(stream))
        stream.close()
        job = queue.newest("serve_answer")[0]
        wait_for(lambda: queue.job(job.id).status not in ("queued", "running"), what="the end of the answer")
        assert queue.job(job.id).status == "cancelled"


def test_a_port_that_is_taken_is_named():
    with (
        listening("127.0.0.1", 0) as place,
        pytest.raises(WorkerError, match=r"127\.0\.0\.1:\d+ cannot be listened at"),
    ):
        listening("127.0.0.1", place.getsockname()[1])


def test_no_more_of_a_request_is_read_than_is_allowed(settings, run, monkeypatch):
    monkeypatch.setattr("engine.endpoint.app.MOST_BYTES", 100_000)
    with served(settings, run) as client:
        address, headers = f"{client.base_url}chat/completions", {"content-type": "application/json"}
        for size, expected in ((99_000, 400), (400_000, 413)):
            asked = urllib.request.Request(address, b"x" * size, headers)
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(asked, timeout=60)
            assert refused.value.code == expected
        assert "more than 100,000 bytes" in json.load(refused.value)["error"]["message"]
