"""One answer for the endpoint, token by token. Knows nothing of how it is asked for."""

import time
from collections.abc import Generator
from typing import Any

from engine.compute.model.generation import Ask, answer
from engine.compute.model.harmfulness import Probe
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.mixed import Voice
from engine.compute.model.text import Speaker, need_askable, tokens_of
from engine.compute.steps import told
from engine.device import Tools
from engine.jobs.calls import called, forced_words
from engine.jobs.harmfulness import probe_of
from engine.records.chats.replies import Answered, Failed, Pieces, Read
from engine.records.errors import WorkbenchError
from engine.records.evaluation.counts import Side
from engine.records.events import Event
from engine.records.harmfulness import need_probes
from engine.records.runs import open_run
from engine.records.served import Served, ServedRequest, open_served

Job = Generator[Event | None, None, None]


def serve_answer_job(payload: dict[str, Any], tools: Tools) -> Job:
    """Answer what the endpoint was asked; what cannot be asked is said there in words."""
    served = open_served(tools.settings, payload["served"])
    request = served.request()
    try:
        model = yield from tools.acquire(request.model)
        with tools.attached(model, request.column.checkpoint) as adapter:
            yield from _answer(model, served, request, Voice(adapter, request.column.dose), tools)
    except WorkbenchError as error:
        served.append(Failed(message=str(error)))
        raise


def _answer(model: LoadedModel, served: Served, request: ServedRequest, voice: Voice, tools: Tools) -> Job:
    """Each token as it comes; the calls; last of all how it ended."""
    conversation = request.conversation
    need_askable(model, conversation)
    begun = forced_words(model, conversation, request.forced) if request.forced else ""
    text = tokens_of(model, conversation, begun=begun, reserved=1)
    served.append(Read(tokens=(len(text.whole),)))
    limit = model.card.context_length
    room = limit - len(text.whole) if limit else request.sampling.new_tokens
    sampling = request.sampling.model_copy(update={"new_tokens": min(request.sampling.new_tokens, room)})
    speaker, ids, started, first = Speaker(model, text.whole), list[int](), time.monotonic(), 0.0

    def write(tokens: list[int | None] | None) -> None:
        nonlocal first
        for token in tokens or ():
            if token is not None:
                first = first or time.monotonic() - started
                ids.append(token)
                served.append(Pieces(columns=((speaker.say(token),),)))

    asked = [Ask(text.whole, voice, None, _probe(model, request, tools))]
    (ending,) = yield from told(answer(model, asked, sampling), write)
    # A call that the probe ended was not made, and what was said of it is not sent.
    if conversation.tools and ending != "probe":
        served.append(called(model, 0, text.ids, text.begun, ids, conversation.tools))
    seconds = time.monotonic() - started
    served.append(Answered(ids=(tuple(ids),), reasons=(ending,), first_token_seconds=first, seconds=seconds))


def _probe(model: LoadedModel, request: ServedRequest, tools: Tools) -> Probe | None:
    """The run's probe of the model that is asked, its own or the base model's."""
    if not request.probe:
        return None
    run, checkpoint = open_run(tools.settings.runs, request.probe_run), request.column.checkpoint
    side: Side = "base" if checkpoint.is_base or not request.column.dose else "rerouted"
    found = need_probes(run, tools.settings, checkpoint.step)
    return probe_of(run, found, side, request.probe, tools.settings, model)
