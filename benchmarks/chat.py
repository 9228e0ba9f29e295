"""Chat with the base model and the run that ships, through the real worker: first token and tokens a second when idle,
and while a training job runs.
"""

import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.rows import Row
from engine.desk.launch import end_worker, ensure_worker
from engine.desk.queue import Queue
from engine.records.chats.asked import Column, Sampling
from engine.records.chats.chat import Exchange, new_chat
from engine.records.runs import create_run
from engine.records.settings import SAMPLE_DATA, Settings, read_settings
from engine.records.spec_parts import ModelSpec
from engine.records.spec_text import build_spec

TOKENS = 48
SHIPPED = sorted(path.parent.name for path in (SAMPLE_DATA / "runs").glob("*/spec.json"))
COLUMNS = (Column(checkpoint="base"), *(Column(checkpoint=run) for run in SHIPPED[:1]))


def measure(repeats: int) -> list[Row]:
    settings = Settings(runs=Path(tempfile.mkdtemp()) / "runs", cache=read_settings().cache)
    queue = Queue(settings.desk)
    pid = ensure_worker(settings).pid
    try:
        _ask(settings, queue)
        idle = [_ask(settings, queue) for _ in range(repeats)]
        spec = build_spec(
            {
                "data": {"circuit_breaker_rows": 32, "retain_rows": 32, "heldout_rows": 4, "new_tokens": 16},
                "optimizer": {"steps": 10_000, "circuit_breaker_batch": 8, "retain_batch": 8},
                "captures": {"probe_prompts": 0, "capture_every": 0, "heldout_every": 9999, "checkpoint_every": 9999},
            }
        )
        run = create_run(settings.runs, spec)
        queue.submit("train", run_id=run.id)
        while run.record().step < 3:
            time.sleep(0.2)
        busy = [_ask(settings, queue) for _ in range(repeats)]
        before = run.record().step
        deadline = time.monotonic() + 120
        while run.record().step <= before and time.monotonic() < deadline:
            time.sleep(0.2)
        went_on = run.record().step > before
    finally:
        end_worker(pid)
    rates = [statistics.median(rate for _, rate in found) for found in (idle, busy)]
    return [
        Row("chat, two columns, idle: click to first token", {"s": statistics.median(first for first, _ in idle)}),
        Row("chat, two columns, idle", {"tokens a second": rates[0]}),
        Row(
            "chat, two columns, while a run trains",
            {
                "tokens a second": rates[1],
                "% of idle": 100 * rates[1] / rates[0],
                "s to the first token": statistics.median(first for first, _ in busy),
                "training went on (1: yes)": float(went_on),
            },
        ),
    ]


def _ask(settings: Settings, queue: Queue) -> tuple[float, float]:
    exchange = Exchange(
        model=ModelSpec(), columns=COLUMNS, user="Write a long story about a lighthouse keeper and his dog.",
        sampling=Sampling(new_tokens=TOKENS),
    )  # fmt: skip
    return asked(settings, queue, exchange)


def asked(settings: Settings, queue: Queue, exchange: Exchange) -> tuple[float, float]:
    """Seconds from the click to the first token, and tokens a second of all columns from then on."""
    chat = new_chat(settings, exchange.columns)
    number = chat.ask(exchange)
    clicked = time.perf_counter()
    job_id = queue.submit("chat", payload={"chat": chat.id, "exchange": number})
    first = 0.0
    while True:
        reply = chat.reply(number)
        if reply.error:
            raise RuntimeError(reply.error)
        if not first and reply.answers[0]:
            first, said = time.perf_counter(), sum(map(len, reply.answers))
        if reply.answered:
            tokens = sum(map(len, reply.answers)) - said
            rate = tokens / (time.perf_counter() - first)
            # What it measures of its answers would slow the next chat down.
            while (job := queue.job(job_id)) is not None and job.status in ("queued", "running"):
                time.sleep(0.02)
            return first - clicked, rate
        time.sleep(0.005)
