"""Training in the foreground, with the worker's own loop."""

import signal
import sys
import threading
from contextlib import suppress
from functools import partial

from engine.commands.ended import how_it_ended
from engine.commands.worker import TO_END
from engine.desk.launch import ensure_worker
from engine.desk.lock import owned
from engine.desk.on_node import hear
from engine.desk.queue import Queue
from engine.desk.starting import need_inputs
from engine.ranks import follow, is_follower, teamed
from engine.records.cluster_jobs import served_runs
from engine.records.errors import RunError
from engine.records.evaluation.own import is_pending
from engine.records.events import Event, HeldoutResult, Progress, StatusEvent, StepResult
from engine.records.runs import ACTIVE, Record, create_run
from engine.records.settings import Settings
from engine.records.spec import RunSpec
from engine.worker import Worker

# How long a micro-batch may take where nobody waits for an answer beside the training: larger products are faster.
UNASKED_SECONDS = 4.0


def train_here(
    spec: RunSpec, settings: Settings, *, preset: str, name: str, processes: int | None, sharded: bool
) -> int:
    """Train a run to its end; the last line printed is its id. 1 where it did not finish. Raises ModelError or
    DataError, and makes no run, where what the spec names is not there."""
    if is_follower():
        follow(sharded=sharded)
        return 0
    need_inputs(spec)
    before = _waiting(settings)
    with owned(settings), teamed(settings, processes, sharded=sharded):
        run = create_run(settings.runs, spec, preset=preset, name=name)
        queue = Queue(settings.desk)
        queue.submit("train", run_id=run.id)
        print(f"Run {run.id}: {spec.model.name}, {spec.optimizer.steps} steps", file=sys.stderr)
        screen = _ProgressBar(spec)
        loop = Worker(settings, watch=lambda run_id, event: screen.show(event) if run_id == run.id else None)
        # Other runs that wait in this folder are the next worker's.
        loop.only = run.id
        loop.device.advance_seconds = UNASKED_SECONDS
        hear(dict.fromkeys(TO_END, partial(_end, loop.ending)))
        with suppress(KeyboardInterrupt):
            loop.serve(until=lambda: _has_ended(run.record()))
        screen.close()
    if _waiting(settings) - before - {run.id}:
        # Who asked for it meanwhile found a worker alive, which was this process, and started none.
        ensure_worker(settings)
    for line in how_it_ended(run, settings):
        print(line, file=sys.stderr)
    print(run.id)
    return 0 if run.record().status == "finished" else 1


def _waiting(settings: Settings) -> set[str]:
    """Runs and jobs that wait for a worker."""
    found = {str(job) for job in Queue(settings.desk).waiting()}
    for run in served_runs(settings):
        with suppress(RunError):
            if run.record().status == "queued":
                found.add(run.id)
    return found


def _end(ending: threading.Event, *_: object) -> None:
    """As a worker ends, so that what was learned since the last checkpoint is kept. Who cannot wait asks again."""
    ending.set()
    signal.signal(signal.SIGINT, signal.default_int_handler)


class _ProgressBar:
    """Events of one run as a progress bar on standard error."""

    def __init__(self, spec: RunSpec) -> None:
        from tqdm import tqdm

        self.bar = tqdm(total=spec.optimizer.steps, unit="step", file=sys.stderr)

    def show(self, event: Event) -> None:
        # Nobody may read what is said any more, as behind `| head`: the training goes on.
        with suppress(OSError, ValueError):
            self._show(event)

    def _show(self, event: Event) -> None:
        if isinstance(event, StepResult):
            self.bar.n = event.step + 1
            self.bar.set_description("training")
            self.bar.set_postfix_str(f"reroute {event.reroute_loss:.3f} retain {event.retain_loss:.4f}")
        elif isinstance(event, HeldoutResult):
            self.bar.write(
                f"step {event.step} {event.split}: cosine {event.mean_cosine:.3f}, drift {event.mean_drift:.4f}",
                file=sys.stderr,
            )
        elif isinstance(event, Progress):
            self.bar.set_description(f"{event.phase} {event.done}/{event.total}" if event.total else event.phase)
        elif isinstance(event, StatusEvent):
            self.bar.set_description(event.status)

    def close(self) -> None:
        with suppress(OSError, ValueError):
            self.bar.close()


def _has_ended(record: Record) -> bool:
    return record.status not in ACTIVE and not is_pending(record)
