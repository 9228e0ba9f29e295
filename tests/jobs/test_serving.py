"""An answer for the endpoint, through the worker, whose client goes while a token is written."""

import pytest

from engine.desk.queue import Queue
from engine.device import Device
from engine.jobs import serving
from engine.records.chats.asked import Column, Sampling
from engine.records.chats.replies import ChatEvent, Pieces
from engine.records.conversation import Conversation
from engine.records.served import Served, ServedRequest, new_served
from engine.worker import Worker


@pytest.mark.parametrize("goes", [True, False], ids=["the client goes", "the folder alone goes"])
def test_an_answer_whose_client_went_as_a_token_was_written_is_cancelled_and_has_not_failed(
    settings, tiny_spec, monkeypatch, goes
):
    request = ServedRequest(
        model=tiny_spec().model,
        conversation=Conversation.asking("Say something"),
        column=Column(checkpoint="base"),
        sampling=Sampling(new_tokens=8),
    )
    gone, stays = (new_served(settings, request, endpoint="one") for _ in range(2))
    queue, worker = Queue(settings.desk), Worker(settings)
    jobs = [queue.submit("serve_answer", payload={"served": served.place}) for served in (gone, stays)]
    append = Served.append

    def written(self: Served, event: ChatEvent) -> None:
        if self == gone and isinstance(event, Pieces):
            if goes:
                queue.cancel(jobs[0])
            gone.remove()
        append(self, event)

    monkeypatch.setattr(Served, "append", written)
    worker.serve(until=lambda: not worker.tasks and all(queue.job(job).status != "queued" for job in jobs))
    assert [queue.job(job).status for job in jobs] == ["cancelled" if goes else "failed", "done"]
    assert not gone.folder.exists()


@pytest.mark.parametrize(
    ("checkpoint", "dose", "side"), [("run", 1.0, "rerouted"), ("run", 0.0, "base"), ("base", 1.0, "base")]
)
def test_at_strength_zero_the_base_models_own_probe_reads_the_answer(
    settings, run, monkeypatch, checkpoint, dose, side
):
    asked = []
    monkeypatch.setattr(serving, "need_probes", lambda *_: "those of the run")
    monkeypatch.setattr(serving, "probe_of", lambda _run, _found, side, *_: asked.append(side))
    request = ServedRequest(
        model=run.spec().model,
        conversation=Conversation.asking("Say something"),
        column=Column(checkpoint=run.id if checkpoint == "run" else "base", dose=dose),
        sampling=Sampling(new_tokens=8),
        probe="linear",
        probe_run=run.id,
    )
    serving._probe(None, request, Device(settings).tools(1))
    assert asked == [side]
