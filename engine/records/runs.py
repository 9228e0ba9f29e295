"""Run folders: the truth about a run. Knows nothing of queues, models or screens.

runs/<id>/spec.json         written once              events.jsonl   appended by the worker
          record.json       replaced by the worker    label.json     name and note, replaced by the page
          checkpoints/      one folder a checkpoint   adapter/       a plain PEFT folder
"""

import gc
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.records.best import BestCheckpoint
from engine.records.errors import RunError, SpecError
from engine.records.events import AnyEvent, ControlEvent, Event, parse_event

# Notebooks that were exported before look for `effective` here.
from engine.records.events import effective as effective
from engine.records.files import append_line, delete_aside, storage_error, whole_or_nothing, write_whole
from engine.records.names import derived_name, fresh_name
from engine.records.prompt_files import source_hashes
from engine.records.settings import SAMPLE_DATA
from engine.records.spec import SPEC_VERSION, RunSpec
from engine.records.spec_text import read_spec
from engine.records.versions import FORMAT, FormatVersion

Status = Literal["queued", "running", "paused", "stopping", "stopped", "finished", "failed", "interrupted"]
ACTIVE: frozenset[str] = frozenset({"queued", "running", "paused", "stopping"})
RESUMABLE: frozenset[str] = frozenset({"stopped", "failed", "interrupted"})
# Of the evaluation that follows training by itself. 'retried': begun again after a worker died in its midst; a second
# death is not tried again, since the evaluation may be what killed it.
EvaluationNote = Literal["", "due", "retried", "done", "failed", "cancelled"]


class Record(BaseModel):
    """Where a run stands. Only the worker writes it once the run is queued."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")

    id: str
    status: Status
    digest: str
    sources: dict[str, str] = {}
    preset: str = ""
    created: float = Field(default_factory=time.time)
    started: float | None = None
    ended: float | None = None
    step: int = 0
    steps: int = 0
    seconds: float = 0.0
    elicit_seconds: float = 0.0
    rested: float = Field(0.0, description="Seconds that it lay stopped, failed or interrupted before it was resumed.")
    expected: dict[str, float] = Field({}, description="Seconds for 'answer' and 'train', as estimated at the start.")
    targets: tuple[int, ...] = ()
    adapted: tuple[int, ...] = ()
    trained_parameters: int = 0
    micro_batch_tokens: int = 0
    first_tokens: int = Field(0, description="micro_batch_tokens as it began, before memory ran out; 0: not noted.")
    figures: dict[str, float] = {}
    device: str = ""
    # Of a model that may change under its name: see engine.records.model_files.made_of.
    made_of: str = ""
    host: str = ""
    versions: dict[str, str] = {}
    error: str = ""
    best: BestCheckpoint | None = None
    evaluation: EvaluationNote = ""
    evaluation_error: str = ""
    version: FormatVersion = FORMAT


class RunLabel(BaseModel):
    """The user's own words about a run, written by the page alone."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = ""
    note: str = ""


@dataclass(frozen=True)
class Run:
    """One run folder. Reading never changes it."""

    folder: Path

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def adapter_folder(self) -> Path:
        return self.folder / "adapter"

    @property
    def checkpoints_folder(self) -> Path:
        return self.folder / "checkpoints"

    def checkpoint_folder(self, step: int) -> Path:
        return self.checkpoints_folder / f"step-{step:06d}"

    @property
    def representations_folder(self) -> Path:
        return self.folder / "representations"

    @property
    def events_file(self) -> Path:
        return self.folder / "events.jsonl"

    @property
    def read_only(self) -> bool:
        return self.folder.is_relative_to(SAMPLE_DATA)

    def is_fixed(self, folder: Path) -> bool:
        """Whether a folder of it stays as it is, since the run ships."""
        return self.read_only and folder.is_relative_to(self.folder)

    def spec(self) -> RunSpec:
        """Raises RunError when the spec is missing or damaged."""
        try:
            return read_spec(self.folder / "spec.json")
        except SpecError as error:
            raise RunError(f"Run {self.id} has no readable spec: {error}") from error

    def record(self) -> Record:
        """Raises RunError when the record is missing or damaged."""
        file = self.folder / "record.json"
        try:
            return Record.model_validate_json(file.read_bytes())
        except (OSError, ValidationError) as error:
            raise RunError(
                f"Run {self.id} has no readable record ({file}): delete the run, or restore the file."
            ) from error

    def update(self, **changes: Any) -> Record:
        """Replace the record with changed fields. For the owner of the run only (the worker)."""
        record = Record.model_validate(self.record().model_dump() | changes)
        write_whole(self.folder / "record.json", record.model_dump_json(indent=2))
        return record

    @property
    def name(self) -> str:
        """What people call it: its user's name for it, else preset and time; its id where the record is damaged."""
        if given := self.label().name:
            return given
        try:
            record = self.record()
        except RunError:
            return self.id
        return derived_name(record.preset, record.created)

    def label(self) -> RunLabel:
        try:
            return RunLabel.model_validate_json((self.folder / "label.json").read_bytes())
        except (OSError, ValidationError):
            return RunLabel()

    def set_label(self, *, name: str, note: str) -> None:
        """Raises RunError for a run that ships with the workbench."""
        if self.read_only:
            raise RunError(f"Run {self.id} ships with the workbench and is read-only: start another like it instead.")
        if not self.folder.is_dir():
            raise RunError(f"Run {self.id} was deleted: its name and note cannot be kept.")
        write_whole(self.folder / "label.json", RunLabel(name=name.strip(), note=note.strip()).model_dump_json())

    def append(self, event: Event) -> None:
        """Add one event as one line. Raises RunError when the disk is full."""
        append_line(self.events_file, event.model_dump_json())

    def events(self, offset: int = 0) -> tuple[list[AnyEvent], int]:
        """Whole events from a byte offset on, and the offset to go on from. A torn last line is left for later.

        An unreadable line in the middle is skipped: one damaged event must not hide the others.
        """
        try:
            with self.events_file.open("rb") as file:
                file.seek(offset)
                data = file.read()
        except OSError:
            return [], offset
        end = data.rfind(b"\n") + 1
        events = []
        with _no_collection():
            for line in data[:end].splitlines():
                try:
                    events.append(parse_event.validate_json(line))
                except ValidationError:
                    continue
        return events, offset + end

    def controls(self) -> list[ControlEvent]:
        """All that were given, also in a life that was thrown away."""
        return [event for event in self.events()[0] if isinstance(event, ControlEvent)]


def new_run(runs: Path, created: float) -> Run:
    """Where a run of that time (seconds since the epoch) gets its folder; nothing is written."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(created))
    return Run(runs / f"{stamp}-{secrets.token_hex(3)}")


def create_run(runs: Path, spec: RunSpec, *, preset: str = "", name: str = "") -> Run:
    """A new queued run. record.json is written last, so its existence means that the folder is whole.

    name: without one, the run gets a name from its preset and the time that no other run has.
    """
    created = time.time()
    run = new_run(runs, created)
    spec = spec.model_copy(update={"version": SPEC_VERSION})
    sources = source_hashes(spec.data)
    with whole_or_nothing(run.folder):
        run.folder.mkdir(parents=True)
        write_whole(run.folder / "spec.json", spec.to_json())
        run.events_file.touch()
        taken = set() if name.strip() else {other.name for other in list_runs(runs)}  # Whole ones alone.
        label = RunLabel(name=name.strip() or fresh_name(preset, created, taken=taken))
        write_whole(run.folder / "label.json", label.model_dump_json())
        record = Record(
            id=run.id,
            status="queued",
            digest=spec.digest_with(sources),
            sources=sources,
            preset=preset,
            created=created,
            steps=spec.optimizer.steps,
        )
        write_whole(run.folder / "record.json", record.model_dump_json(indent=2))
    return run


def open_run(runs: Path, run_id: str) -> Run:
    """The run with this id, of the runs folder or of those that ship. Raises RunError when there is none."""
    for folder in homes(runs):
        candidate = folder / run_id
        if run_id.strip(".") and candidate.parent == folder and os.path.isfile(candidate / "record.json"):
            return Run(candidate)
    raise RunError(f"There is no run '{run_id}' in {runs}: `python -m engine runs` lists those there are.")


def list_runs(runs: Path) -> list[Run]:
    """All whole runs, newest first; those that ship with the workbench come last. Of two of one id the first of the
    homes is the run, as in `open_run`."""
    found: dict[str, Run] = {}
    for folder in homes(runs):
        records = folder.glob("*/record.json") if folder.is_dir() else []
        for run in sorted((Run(path.parent) for path in records), key=lambda run: run.id, reverse=True):
            found.setdefault(run.id, run)
    return [*found.values()]


def homes(runs: Path) -> tuple[Path, ...]:
    """The runs folder, and that of the runs that ship unless WORKBENCH_SHIPPED_RUNS is 'hide'."""
    return (runs,) if os.environ.get("WORKBENCH_SHIPPED_RUNS") == "hide" else (runs, SAMPLE_DATA / "runs")


def need_trainable(run: Run, shown: str = "") -> Status:
    """The status of a run that can be trained, from its beginning or on. Raises RunError for any other.

    shown: its status where somebody knows better than its record.
    """
    status = run.record().status
    if run.read_only or (shown or status) not in RESUMABLE | {"queued"}:
        raise RunError(f"Run {run.id} is {shown or status} and cannot be trained: start another like it.")
    return status


def delete_run(run: Run) -> None:
    """Remove a run for good. Raises RunError while it is active or when it ships with the workbench."""
    if run.read_only:
        raise RunError(f"Run {run.id} ships with the workbench and cannot be deleted.")
    status: Status = "failed"
    with suppress(RunError):
        status = run.record().status
    if status in ACTIVE - {"queued"}:
        raise RunError(f"Run {run.id} is {status}: stop it first, then delete it.")
    try:
        (run.folder / "record.json").unlink(missing_ok=True)
        delete_aside(run.folder, run.folder.parent)
    except OSError as error:
        raise storage_error(run.folder, error) from error


@contextmanager
def _no_collection() -> Iterator[None]:
    """For many objects that all stay, as 100,000 events do: looking for garbage among them takes longer than they."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
