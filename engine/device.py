"""The base model in memory and the adapters attached to it: one owner, many jobs. Knows nothing of queues.

A job acquires the base model and attaches the checkpoints it needs; what it holds is given back when it ends.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch

from engine.at_hand import at_hand
from engine.compute.model.adapters import adapter_parameters, attach_adapter, has_adapter, load_adapter, remove_adapter
from engine.compute.model.load import describe_model, load_model
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.memory import is_of_device
from engine.compute.model.placement import choose_device
from engine.compute.model.room import need_room, release_memory
from engine.compute.team import shares, together
from engine.compute.training.checkpoints import read_adapter_weights
from engine.records.as_trained import need_as_trained
from engine.records.blocks import resolve_blocks
from engine.records.checkpoints import Checkpoint, as_kept
from engine.records.errors import RunError
from engine.records.estimate import ADVANCE_SECONDS
from engine.records.events import Event, Progress
from engine.records.model_files import made_of
from engine.records.room import held_bytes
from engine.records.runs import ACTIVE, Run, open_run
from engine.records.settings import Settings
from engine.records.spec_parts import ModelSpec

IDLE_ADAPTERS = 4

Acquire = Callable[[ModelSpec], Generator[Event, None, LoadedModel]]


class Tools(NamedTuple):
    """What a job may use. `acquire(spec)` loads the base model; `beside(spec)` a second one, a judge, for this job
    alone; `attached(model, checkpoint)` gives the adapter's name, None for the base model, `still(model, checkpoint)`
    that of weights that no training moves.  speed: operations a second of this machine, 0 where it was not measured.
    advance_seconds: how long a job may keep the machine at a stretch."""

    settings: Settings
    acquire: Acquire
    beside: Acquire
    attached: Callable[[LoadedModel, Checkpoint], AbstractContextManager[str | None]]
    still: Callable[[LoadedModel, Checkpoint], AbstractContextManager[str | None]]
    speed: float = 0.0
    advance_seconds: float = ADVANCE_SECONDS


@dataclass
class _Attached:
    name: str
    users: int = 0


@dataclass
class Device:
    """holders: the jobs (by number, with what they do in words) that use the present base model, or load it; another
    one takes its place only when there are none.  waiting: the jobs that wait for another one.  advance_seconds: as in
    Tools."""

    settings: Settings
    model: LoadedModel | None = None
    holders: dict[int, str] = field(default_factory=dict)
    waiting: set[int] = field(default_factory=set)
    machine: Mapping[str, Any] = field(default_factory=dict)
    advance_seconds: float = ADVANCE_SECONDS
    _loading: ModelSpec | None = None
    _arriving: dict[str, int] = field(default_factory=dict)
    _awaited: Counter[str] = field(default_factory=Counter)
    _beside: dict[int, LoadedModel] = field(default_factory=dict)
    _attached: OrderedDict[str, _Attached] = field(default_factory=OrderedDict)

    @property
    def awaited(self) -> set[int]:
        """The jobs that fetch what others wait for."""
        return {job for name, job in self._arriving.items() if self._awaited[name]}

    @property
    def about(self) -> dict[str, Any]:
        """What it is, for who looks at the worker from outside."""
        device = self.model.device.type if self.model else self.machine.get("device", "")
        return {"device": device, "machine": dict(self.machine)}

    def tools(self, job_id: int, what: str = "another job") -> Tools:
        """what: the job in words, for those who wait for it."""
        acquire = partial(self.acquire, job_id=job_id, what=what)
        beside = partial(self.beside, job_id=job_id)
        speed = float(self.machine.get("flops_per_second") or 0.0)
        still = partial(self.attached, still=True)
        return Tools(self.settings, acquire, beside, self.attached, still, speed, self.advance_seconds)

    def acquire(
        self, spec: ModelSpec, *, job_id: int, what: str = "another job"
    ) -> Generator[Event, None, LoadedModel]:
        """The base model, loaded once: who asks while another job loads it waits for that one to be done; another
        model waits until no job under way holds the present one."""
        if self.model is None or self.model.spec != spec:
            # Before anything is given up for it: what may take long, and fail, is none of the present one's business.
            yield from self._arrived(spec, job_id)
        try:
            while (reason := self._must_wait(spec, job_id)) is not None:
                self.waiting.add(job_id)
                yield Progress(phase="waiting", message=reason, elsewhere=True)
        finally:
            self.waiting.discard(job_id)
        self.holders[job_id] = what
        made = made_of(self.settings.models, spec.name)
        # With other weights it is another model, which is loaded as soon as nobody holds this one.
        is_older = self.model is not None and made not in ("", self.model.made_of) and len(self.holders) == 1
        if self.model is None or self.model.spec != spec or is_older:
            self._loading = spec
            try:
                yield from self._load(spec)
            finally:
                self._loading = None
        assert self.model is not None
        return self.model

    def _arrived(self, spec: ModelSpec, job_id: int) -> Generator[Event, None, None]:
        """What loading reads is on the disk; who asks while it is being fetched for another job waits for that, and is
        known to: one that is paused in the midst of it gives way."""
        self._awaited[spec.name] += 1
        try:
            while spec.name in self._arriving:
                yield Progress(phase="waiting", message=f"{spec.name} is being fetched", elsewhere=True)
        finally:
            self._awaited[spec.name] -= 1
        self._arriving[spec.name] = job_id
        try:
            yield from at_hand(spec, self.settings)
        finally:
            del self._arriving[spec.name]

    def _must_wait(self, spec: ModelSpec, job_id: int) -> str | None:
        """What a job that wants this model waits for; None where it may have it."""
        if self._loading is not None:
            return f"{self._loading.name} is being loaded"
        others = [what for holder, what in self.holders.items() if holder != job_id]
        if self.model is None or self.model.spec == spec or not others:
            return None
        return f"{others[0]} holds {self.model.spec.name}: {spec.name} is loaded when that ends or is stopped"

    def _load(self, spec: ModelSpec) -> Generator[Event, None, None]:
        self.model = None
        self._attached.clear()
        release_memory()
        yield Progress(phase="loading", message=f"Loading {spec.name}")
        if (device := choose_device(spec).device).type == "cuda":
            # A processor's memory can be swapped out: it is tried.
            weights = held_bytes(describe_model(spec, self.settings), shares())
            instead = "end what else uses that memory, or choose a smaller model"
            need_room(device, weights, what=spec.name, instead=instead)
        self.model = load_model(spec, self.settings)

    def beside(self, spec: ModelSpec, *, job_id: int) -> Generator[Event, None, LoadedModel]:
        """A second model in memory, for one job and until it ends, on the device and in the format of any other. Raises
        MemoryShortage where its weights do not fit beside the first one's."""
        if (known := self._beside.get(job_id)) is not None and known.spec == spec:
            return known
        self._beside.pop(job_id, None)
        release_memory()
        yield from self._arrived(spec, job_id)
        yield Progress(phase="loading", message=f"Loading {spec.name} beside it")
        card = describe_model(spec, self.settings)
        instead = "choose a smaller model, or a judge at an address (URL#MODEL)"
        need_room(choose_device(spec).device, held_bytes(card, shares()), what=spec.name, instead=instead)
        self._beside[job_id] = load_model(spec, self.settings)
        return self._beside[job_id]

    def release(self, job_id: int) -> None:
        """The job has ended, whatever became of it."""
        self.holders.pop(job_id, None)
        self.waiting.discard(job_id)
        if self._beside.pop(job_id, None) is not None:
            release_memory()
        elif not self.holders and torch.cuda.is_available():
            # What torch keeps for later, no other process can have.
            torch.cuda.empty_cache()

    @contextmanager
    def attached(self, model: LoadedModel, checkpoint: Checkpoint, *, still: bool = False) -> Iterator[str | None]:
        """The adapter of a checkpoint under the name it has in memory; a few idle ones are kept for the next job. A
        finished run's last step is its finished adapter, at its strength.

        still: not the adapter in training, whose weights move and which goes when the training ends or gives way.
        Raises RunError when the run or that checkpoint is gone or moves, ModelError when it does not fit the model.
        """
        if checkpoint.is_base:
            yield None
            return
        run = open_run(self.settings.runs, checkpoint.run_id)
        need_as_trained(run, model.spec.name, model.made_of)
        checkpoint, living = as_kept(run, checkpoint), adapter_name(run)
        if checkpoint.step is None and has_adapter(model, living):
            if still:
                raise RunError(
                    f"Run {run.id} is in training, its weights still move: take one of its checkpoints, {run.id}@STEP."
                )
            yield living
            return
        key = f"{checkpoint} {_stamp(run, checkpoint)}"
        if key not in self._attached:
            self._make_room(model, IDLE_ADAPTERS - 1)
            name = (
                f"checkpoint-{len(self._attached)}-{living}-{'final' if checkpoint.step is None else checkpoint.step}"
            )
            while has_adapter(model, name):
                name += "x"
            _attach(model, name, run, checkpoint)
            self._attached[key] = _Attached(name)
        held = self._attached[key]
        self._attached.move_to_end(key)
        held.users += 1
        try:
            yield held.name
        finally:
            held.users -= 1

    def _make_room(self, model: LoadedModel, limit: int) -> None:
        for key in [key for key, held in self._attached.items() if not held.users]:
            if len(self._attached) <= limit:
                return
            remove_adapter(model, self._attached.pop(key).name)


def adapter_name(run: Run) -> str:
    """The adapter of a run in training. PEFT builds module names from it, so it must hold no dot."""
    return f"run-{run.id}".replace(".", "-")


def _stamp(run: Run, checkpoint: Checkpoint) -> int:
    """When the checkpoint's weights were written: a run that was resumed has others under the same name."""
    folder = run.adapter_folder if checkpoint.step is None else run.checkpoint_folder(checkpoint.step)
    file = folder / ("adapter_model.safetensors" if checkpoint.step is None else "adapter.safetensors")
    try:
        return file.stat().st_mtime_ns
    except OSError:
        if checkpoint.step is None and run.record().status in ACTIVE:
            raise RunError(f"Run {run.id} is still being prepared: it can be asked from its first step on.") from None
        what = "no finished adapter" if checkpoint.step is None else f"no checkpoint of step {checkpoint.step}"
        raise RunError(f"Run {run.id} has {what}: it was deleted, or the run did not get that far.") from None


@together
def _attach(model: LoadedModel, name: str, run: Run, checkpoint: Checkpoint) -> None:
    if checkpoint.step is None:
        load_adapter(model, name, run.adapter_folder)
        return
    spec = run.spec()
    weights = read_adapter_weights(run.checkpoint_folder(checkpoint.step))
    attach_adapter(model, name, spec.adapter, resolve_blocks(spec, model.card.block_count).adapted, seed=0)
    try:
        with torch.no_grad():
            for key, parameter in adapter_parameters(model, name):
                parameter.copy_(weights[key.replace(f".{name}.", f".{adapter_name(run)}.")].to(parameter))
    except (KeyError, RuntimeError) as error:
        remove_adapter(model, name)
        if is_of_device(error):
            raise
        raise RunError(
            f"The checkpoint of step {checkpoint.step} does not fit run {run.id}: delete its folder."
        ) from error
