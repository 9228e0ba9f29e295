"""How a training in the foreground ended, as lines for a terminal. Knows records alone."""

from engine.records.evaluation.own import is_pending
from engine.records.outcome import outcome_of
from engine.records.runs import Run
from engine.records.settings import Settings


def how_it_ended(run: Run, settings: Settings) -> list[str]:
    """What to do next where something is left undone, the error of a run that is not finished, else its outcome."""
    record = run.record()
    if record.status != "finished":
        again = [f"Interrupted at step {record.step}: resume it from the Runs page."]
        error = f"error: the run is {record.status}. {record.error}"
        return [*(again if record.status == "interrupted" else []), error]
    if is_pending(record):
        return ["Trained to the end. The small evaluation behind it was broken off: the next worker makes up for it."]
    return [outcome_of(run, settings).sentence] if record.evaluation else []
