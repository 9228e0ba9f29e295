"""The endpoint's addresses: models, and chat completions whole or streamed. Asks the worker through the queue; loads no
model."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Literal, NamedTuple

from openai.types import Model
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from engine.desk.launch import ensure_worker
from engine.desk.queue import Queue
from engine.desk.worker_job import worker_place
from engine.endpoint.answer import Answer
from engine.endpoint.request import ChatRequest, read_request
from engine.endpoint.stops import StopWords
from engine.records.chats.asked import Column
from engine.records.chats.replies import Answered, Failed
from engine.records.checkpoints import BASE_MODEL, Checkpoint
from engine.records.errors import WorkbenchError, WorkerError
from engine.records.harmfulness import ProbeChoice
from engine.records.runs import open_run
from engine.records.served import Served, ServedRequest, new_served
from engine.records.settings import Settings

TICK = 0.03
# How often it is asked whether the worker still has the job, in ticks.
LOOKS = 20
MOST_BYTES = 8_000_000


class Offer(NamedTuple):
    """What is served: a run's checkpoint under its name, and its base model as `base`. endpoint: whose requests these
    are (engine.desk.endpoints).  probe: ends the answers of both."""

    checkpoint: Checkpoint
    endpoint: str
    probe: ProbeChoice = ""

    @property
    def names(self) -> dict[str, Checkpoint]:
        return {str(self.checkpoint): self.checkpoint, str(BASE_MODEL): BASE_MODEL}


def endpoint(settings: Settings, offer: Offer, *, hosts: Sequence[str]) -> Starlette:
    """hosts: by which names it may be called. A page in a browser on this machine reaches it by none of its own."""

    async def models(_: Request) -> Response:
        listed = [
            Model(id=name, object="model", created=0, owned_by="circuit-breaker-workbench").model_dump()
            for name in offer.names
        ]
        return JSONResponse({"object": "list", "data": listed})

    async def chat(request: Request) -> Response:
        # A browser asks first before it sends this type to another's address.
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return refusal(415, "The request must have the content type application/json.")
        body = bytearray()
        async for part in request.stream():
            # No more of it is kept than is looked at.
            body += part
            if len(body) > MOST_BYTES:
                return refusal(413, f"The request has more than {MOST_BYTES:,} bytes: send at most so many.")
        try:
            asked = read_request(bytes(body))
            if asked.model not in offer.names:
                return refusal(
                    404,
                    f"There is no model '{asked.model[:200]}' here: choose one of {', '.join(offer.names)}.",
                    param="model",
                    code="model_not_found",
                )
            served = await run_in_threadpool(_ask, settings, offer, asked)
        except WorkbenchError as error:
            return refusal(400, str(error))
        return await _answered(settings, served, asked, request)

    return Starlette(
        routes=[Route("/v1/models", models), Route("/v1/chat/completions", chat, methods=["POST"])],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))],
        exception_handlers={HTTPException: _refused, Exception: _broken},
    )


def refusal(status: int, message: str, *, param: str | None = None, code: str | None = None) -> Response:
    """An error as OpenAI's clients read it."""
    return JSONResponse(_error(status, message, param=param, code=code), status_code=status)


class _Asked(NamedTuple):
    served: Served
    job_id: int


class _Broken(WorkerError):
    """The worker ended, or failed for a reason of its own."""


def _ask(settings: Settings, offer: Offer, asked: ChatRequest) -> _Asked:
    """Write the request down and give it to the worker."""
    run_id = offer.checkpoint.run_id
    request = ServedRequest(
        model=open_run(settings.runs, run_id).spec().model,
        column=Column(checkpoint=offer.names[asked.model]),
        conversation=asked.conversation(),
        forced=asked.forced(),
        probe=offer.probe,
        probe_run=run_id,
        sampling=asked.sampling,
    )
    served = new_served(settings, request, endpoint=offer.endpoint)
    job_id = Queue(settings.desk).submit("serve_answer", payload={"served": served.place})
    ensure_worker(settings)
    return _Asked(served, job_id)


async def _answered(settings: Settings, asked: _Asked, request: ChatRequest, connection: Request) -> Response:
    answer = Answer(asked.served.id, request.model, StopWords(request.stops), of_tools=request.offers_tools)
    events = _events(settings, asked, connection.is_disconnected)
    try:
        # The first event is awaited, so that what cannot be asked is answered as an error and not as a stream.
        answer.hear(await anext(events))
        if request.stream:
            return StreamingResponse(_streamed(answer, events, request), media_type="text/event-stream")
        async for event in events:
            answer.hear(event)
            if answer.finish:
                break
        await events.aclose()
    except StopAsyncIteration:
        return refusal(499, "The client has gone.")
    except _Broken as error:
        return refusal(503, str(error))
    except WorkbenchError as error:
        return refusal(400, str(error))
    return JSONResponse(_plain(answer.whole()))


async def _streamed(answer: Answer, events, request: ChatRequest) -> AsyncIterator[str]:
    try:
        yield _line(_plain(answer.begin()))
        async for event in events:
            if said := answer.hear(event):
                yield _line(_plain(answer.piece(said)))
            if answer.finish:
                break
        for chunk in answer.end():
            yield _line(_plain(chunk))
        if request.includes_usage:
            yield _line(_plain(answer.counted()))
        yield "data: [DONE]\n\n"
    except WorkbenchError as error:
        yield _line(_error(503 if isinstance(error, _Broken) else 400, str(error)))
    finally:
        await events.aclose()


async def _events(settings: Settings, asked: _Asked, is_gone: Callable[[], Awaitable[bool]]):
    """What the worker tells, to the answer's end. Whoever closes this, or has gone, stops the answer; nothing of it is
    kept. Raises what the worker refused, and _Broken where it has ended."""
    queue, end, looks = Queue(settings.desk), 0, 0
    is_over = was_left = False
    try:
        while not is_over:
            looks += 1
            is_left = False
            if looks % LOOKS == 0:
                # A worker that waits for its turn to start is seen twice in a row before it is given up.
                left = await run_in_threadpool(_is_left, settings, asked.job_id)
                is_left, was_left = left == "ended" or (left == "no worker" and was_left), left == "no worker"
            told, end = asked.served.told(end)
            for event in told:
                if isinstance(event, Failed):
                    is_over = True
                    raise WorkbenchError(event.message)
                is_over = isinstance(event, Answered)
                yield event
            if is_left and not is_over:
                # One that waits still is taken back: nobody hears its answer.
                is_over = left == "ended"
                raise _Broken(await run_in_threadpool(_why, queue, asked.job_id))
            if await is_gone():
                return
            await asyncio.sleep(0 if is_over else TICK)
    finally:
        if not is_over:
            queue.cancel(asked.job_id)
        asked.served.remove()


def _is_left(settings: Settings, job_id: int) -> Literal["", "no worker", "ended"]:
    """Whether nobody answers it any more: it has ended, or waits and no worker is there to begin it, nor waits for its
    own turn on a cluster."""
    queue = Queue(settings.desk)
    job = queue.job(job_id)
    if job is None or job.status not in ("queued", "running"):
        return "ended"
    if queue.worker().alive:
        return ""
    if job.status == "running":
        return "ended"
    return "no worker" if worker_place(settings) is None else ""


def _why(queue: Queue, job_id: int) -> str:
    job = queue.job(job_id)
    said = job.error if job else ""
    return said or "The worker ended before it had answered: ask again."


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    said = "There are /v1/models and /v1/chat/completions." if error.status_code == 404 else error.detail
    return refusal(error.status_code, said)


async def _broken(_: Request, _error: Exception) -> Response:
    return refusal(500, "The endpoint failed: its log says why.")


def _error(status: int, message: str, *, param: str | None = None, code: str | None = None) -> dict[str, object]:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _plain(thing: BaseModel) -> dict[str, object]:
    return thing.model_dump(mode="json", exclude_unset=True)


def _line(content: object) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"
