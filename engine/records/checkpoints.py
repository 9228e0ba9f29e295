"""Names of checkpoints: the base model, a run's circuit breaker, or that breaker at an earlier step.

As text: `base`, `RUN`, `RUN@40`. Knows nothing of weights.
"""

from typing import Annotated, Any, NamedTuple

from pydantic import PlainSerializer, PlainValidator

from engine.records.cluster_jobs import is_on_cluster
from engine.records.errors import RunError
from engine.records.runs import ACTIVE, Run


class Checkpoint(NamedTuple):
    """run_id '' is the base model.  step None: the finished adapter, or, while the run trains, the adapter as it is."""

    run_id: str = ""
    step: int | None = None

    @property
    def is_base(self) -> bool:
        return not self.run_id

    def __str__(self) -> str:
        if self.is_base:
            return "base"
        return self.run_id if self.step is None else f"{self.run_id}@{self.step}"


BASE_MODEL = Checkpoint()


def parse_checkpoint(text: str) -> Checkpoint:
    """Raises RunError for text of another form."""
    run_id, at, step = text.strip().partition("@")
    if not run_id or (at and (run_id == "base" or not step.isdecimal())):
        raise RunError(f"'{text}' names no model: write base, RUN, or RUN@STEP.")
    if run_id == "base":
        return BASE_MODEL
    return Checkpoint(run_id, int(step) if at else None)


def _checkpoint(value: Any) -> Checkpoint:
    return value if isinstance(value, Checkpoint) else parse_checkpoint(str(value))


# Written down as text.
CheckpointText = Annotated[Checkpoint, PlainValidator(_checkpoint), PlainSerializer(str, return_type=str)]


def as_kept(run: Run, checkpoint: Checkpoint) -> Checkpoint:
    """The finished adapter where a checkpoint is of a finished run's last step: that may be stronger or weaker than the
    checkpoint of the same step, which keeps the strength that it was trained at. Also where that was deleted."""
    if checkpoint.step is None or checkpoint.step != (record := run.record()).step:
        return checkpoint
    is_kept = record.status == "finished" or not run.checkpoint_folder(record.step).is_dir()
    return Checkpoint(run.id) if is_kept else checkpoint


def run_checkpoints(run: Run) -> list[Checkpoint]:
    """The checkpoints of a run that can be asked, earliest first: its steps, then the finished (or living) adapter."""
    found = [Checkpoint(run.id, step) for step in sorted(_steps(run))]
    # The adapter as it is now is in the memory of this machine's worker; of a cluster's run the checkpoints are here.
    trains_here = run.record().status in ACTIVE - {"queued"} and not is_on_cluster(run)
    if (run.adapter_folder / "adapter_config.json").is_file() or trains_here:
        found.append(Checkpoint(run.id))
    return found


def has_weights(run: Run) -> bool:
    """Whether there is an adapter of it, on the disk or in training: none before the first step."""
    return run.record().step > 0 or (run.adapter_folder / "adapter_config.json").is_file()


def last_checkpoint(run: Run) -> int:
    """After how many steps the last whole checkpoint was written, from which a resume goes on; 0 without one."""
    return max(_steps(run), default=0)


def _steps(run: Run) -> list[int]:
    """Of whole checkpoints; a copy that somebody made beside them is none."""
    names = [path.parent.name for path in run.checkpoints_folder.glob("step-*/position.json")]
    return [int(step) for name in names if (step := name.removeprefix("step-")).isdecimal()]
