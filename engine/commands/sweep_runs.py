"""Which runs serve as a point of a sweep: those that kept to its spec. Knows nothing of queues or grids."""

from contextlib import chdir

from engine.records.as_trained import is_as_trained
from engine.records.drift_stops import drift_stop
from engine.records.errors import RunError
from engine.records.events import changes_value, effective
from engine.records.model_files import made_of
from engine.records.prompt_files import source_hashes
from engine.records.runs import ACTIVE, Run, list_runs
from engine.records.settings import ROOT, Settings
from engine.records.spec import SPEC_VERSION, RunSpec


def usable_run(settings: Settings, spec: RunSpec, *, or_else: str = "") -> Run | None:
    """A run that kept to this spec and its probes: finished, living or ended by its bound on drift, or one of another
    status that may go on."""
    current, probes = spec.model_copy(update={"version": SPEC_VERSION}), spec.harmfulness
    with chdir(ROOT):
        # Runs that an older version trained keep the digest that it made.
        digests = {current.digest_with(source_hashes(spec.data)), spec.model_copy(update={"version": 1}).digest}
        weights = made_of(settings.models, spec.model.name)
    for run in list_runs(settings.runs):
        try:
            record = run.record()
        except RunError:
            continue
        if (
            record.digest in digests
            and (record.status in ("finished", or_else, *ACTIVE) or drift_stop(run))
            and is_as_trained(record, weights)
            and not changed_by_hand(run)
            and (not probes.probe or run.spec().harmfulness == probes)
        ):
            return run
    return None


def changed_by_hand(run: Run) -> bool:
    """Whether a value was changed while it trained."""
    return any(map(changes_value, effective(run.events()[0])))
