"""Which evaluations are of a run's final weights: those of an earlier checkpoint, and of weights that a resume has
trained on, are not. One rule for the outcome, the files that a run is exported to, and the copy that is packed."""

from collections.abc import Iterable

from engine.records.checkpoints import parse_checkpoint
from engine.records.errors import WorkbenchError
from engine.records.evaluation.findings import Evaluation
from engine.records.runs import Record


def of_final(evaluations: Iterable[Evaluation], record: Record) -> list[Evaluation]:
    """In the order in which they come."""
    return [one for one in evaluations if is_final(one, record)]


def is_final(found: Evaluation, record: Record) -> bool:
    """Whether it asked the weights of the record's step, by that step or as the run's own."""
    try:
        checkpoint = parse_checkpoint(found.run)
    except WorkbenchError:
        return False
    if checkpoint.run_id != record.id:
        return False
    if checkpoint.step is not None:
        # A run that kept nothing and began anew comes to the same step with other weights.
        return checkpoint.step == record.step and (record.started is None or found.created >= record.started)
    # One that is older than the run's last end is of weights that a resume has trained on.
    return record.ended is None or found.created >= record.ended
