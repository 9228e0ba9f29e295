"""The small evaluation that follows training by itself: the run's own held-out requests, two attacks, short answers.

Knows nothing of models. Its rows are the test split of the run's own prompt sets; where a set has none, its validation
split; where it has neither, all its rows may have been trained on, and the sample set of that side stands in.
"""

from collections.abc import Mapping
from typing import Any

from engine.records.checkpoints import Checkpoint, parse_checkpoint
from engine.records.conversation import Label
from engine.records.errors import WorkbenchError
from engine.records.evaluation.plan import OWN, AttackChoice, EvaluationPlan
from engine.records.prompts import Prompt, Split
from engine.records.runs import Record

ATTACKS = ("direct", "prefill")
# As long as in the evaluations that ship: the judge was checked on answers of this length.
NEW_TOKENS = 48
ROWS = 16
HELD_OUT: tuple[Split, ...] = ("test", "validation")


def own_plan(run_id: str, step: int | None, rows: int) -> EvaluationPlan:
    """Of the checkpoint after so many steps, so that weights that a resume trains on are never taken for these.

    step: None for the finished adapter, where its checkpoint was deleted.
    """
    return EvaluationPlan(
        checkpoint=str(Checkpoint(run_id, step)),
        harmful=OWN,
        benign=OWN,
        attacks=tuple(AttackChoice(name=name) for name in ATTACKS),
        limit=rows,
        new_tokens=NEW_TOKENS,
    )


def is_own(payload: Mapping[str, Any]) -> bool:
    """Whether an evaluation is of a run's own rows."""
    return payload.get("harmful") == OWN and payload.get("benign") == OWN


def own_step(payload: Mapping[str, Any]) -> int | None:
    """The step that an evaluation of a run's own rows is of; None for the finished adapter, and for any other
    evaluation."""
    if not is_own(payload):
        return None
    try:
        return parse_checkpoint(str(payload.get("state", ""))).step
    except WorkbenchError:
        return None


def is_pending(record: Record) -> bool:
    """Whether the evaluation after training is still to come or under way."""
    return record.evaluation in ("due", "retried") and record.status in ("finished", "stopped")


def held_out(prompts: list[Prompt]) -> tuple[Split | None, list[Prompt]]:
    """The split that training never saw, and its prompts; a prompt that is in the training split too is left out."""
    trained = {prompt.conversation.asked for prompt in prompts if prompt.split == "train"}
    for split in HELD_OUT:
        found = [prompt for prompt in prompts if prompt.split == split and prompt.conversation.asked not in trained]
        if found:
            return split, found
    return None, []


def sample_source(label: Label) -> str:
    return f"sample:{label}"
