"""Names of model states: the base model, a run's circuit breaker, or that breaker at an earlier step.

As text: `base`, `RUN`, `RUN@40`. Knows nothing of weights.
"""

from typing import NamedTuple

from engine.records.errors import RunError
from engine.records.runs import ACTIVE, Run


class ModelState(NamedTuple):
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


BASE_STATE = ModelState()


def parse_state(text: str) -> ModelState:
    """Raises RunError for text of another form."""
    run_id, at, step = text.strip().partition("@")
    if not run_id or (at and (run_id == "base" or not step.isdigit())):
        raise RunError(f"'{text}' names no model: write base, RUN, or RUN@STEP.")
    if run_id == "base":
        return BASE_STATE
    return ModelState(run_id, int(step) if at else None)


def run_states(run: Run) -> list[ModelState]:
    """The states of a run that can be asked, earliest first: its checkpoints, then the finished (or living) adapter."""
    steps = sorted(
        int(path.parent.name.removeprefix("step-")) for path in run.checkpoints_folder.glob("step-*/position.json")
    )
    states = [ModelState(run.id, step) for step in steps]
    if (run.adapter_folder / "adapter_config.json").is_file() or run.record().status in ACTIVE - {"queued"}:
        states.append(ModelState(run.id))
    return states
