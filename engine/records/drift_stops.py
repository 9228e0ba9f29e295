"""Which runs their bound on drift ended. Knows a run's record and events."""

from engine.records.events import STOPPED_BY_DRIFT, Alert
from engine.records.runs import Run


def drift_stop(run: Run) -> str:
    """How the bound on drift ended a run that stands where it did so; '' for any other."""
    record = run.record()
    if record.status != "stopped":
        return ""
    alerts = (event.message for event in run.events()[0] if isinstance(event, Alert) and event.step == record.step)
    told = [message for message in alerts if message.startswith(STOPPED_BY_DRIFT)]
    return told[-1] if told else ""
