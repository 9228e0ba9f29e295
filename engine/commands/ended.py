"""How a training in the foreground ended, as lines for a terminal. Knows records alone."""

from engine.records.drift_stops import drift_stop
from engine.records.evaluation.own import is_pending
from engine.records.outcome import outcome_of
from engine.records.runs import Run
from engine.records.settings import Settings


def how_it_ended(run: Run, settings: Settings) -> list[str]:
    """What to do next where something is left undone, why a run is not finished, and the outcome of what was kept."""
    record = run.record()
    is_whole = record.status == "finished"
    told = [] if is_whole else [drift_stop(run) or f"error: the run is {record.status}. {record.error}".strip()]
    if record.status == "interrupted":
        return [f"Interrupted at step {record.step}: resume it from the Runs page.", *told]
    if is_pending(record):
        left = "The small evaluation behind it was broken off: the next worker makes up for it."
        return [*told, f"Trained to the end. {left}" if is_whole else left]
    return [*told, *([outcome_of(run, settings).sentence] if record.evaluation else [])]
