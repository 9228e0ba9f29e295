"""What a spec asks for and its rows or its schedule will not give: said before the first step."""

from collections.abc import Iterator

from engine.compute.training.drawing import never_drawn
from engine.compute.training.rows import row_kinds
from engine.compute.training.trainer import Rows
from engine.records.blocks import ResolvedBlocks
from engine.records.chosen_rows import idle_borderline_share
from engine.records.conversation import Label
from engine.records.events import Alert
from engine.records.schedules import weights
from engine.records.spec import RunSpec


def unmet(spec: RunSpec, blocks: ResolvedBlocks, rows: Rows) -> Iterator[Alert]:
    """Each as an alert of step 0."""
    optimizer = spec.optimizer
    if max(blocks.targets) > max(blocks.retain) and not spec.loss.answer_weight:
        yield Alert(
            step=0,
            message=f"Nothing holds harmless rows above block {max(blocks.retain)}, the last retain block, and the "
            f"last target is block {max(blocks.targets)}: what the adapter does there to harmless answers is seen by "
            "no loss.",
            advice="Let the retain blocks reach the last target, or hold answers: loss.answer_weight above 0.",
        )
    last = weights(spec.schedule, optimizer.steps - 1, optimizer.steps)
    if spec.schedule.kind == "step" and optimizer.steps > 1 and not last.retain:
        yield Alert(
            step=0,
            message=f"The schedule never swaps its weights: switch_at is {spec.schedule.switch_at:g}, and these "
            f"{optimizer.steps} steps end before it. The retain loss counts in none of them.",
            advice="With horizon 0 a run ends at a progress of 0.5: set switch_at below that, or horizon to the steps.",
        )
    for label, places in never_drawn(spec, rows.harmful, rows.benign).items():
        side = rows.harmful if label == "harmful" else rows.benign
        batch = optimizer.circuit_breaker_batch if label == "harmful" else optimizer.retain_batch
        yield Alert(
            step=0,
            message=f"{len(places)} of {len(side)} {label} rows are in no step: their share of a batch of {batch} "
            "comes to no row.",
            advice="Take a larger batch, or another tool_share or borderline_share.",
        )
    if idle := idle_borderline_share(spec.data, row_kinds(rows.benign)):
        yield Alert(
            step=0,
            message=idle,
            advice="Give the retain set rows of the other kind, or set data.borderline_share to 0.",
        )
    known = {row.label for row in rows.validation}
    wanted: dict[str, set[Label]] = {}
    if optimizer.keep == "best":
        wanted["optimizer.keep"] = {"harmful", "benign"}
    if optimizer.stop_drift:
        wanted["optimizer.stop_drift"] = {"benign"}
    for field, labels in wanted.items():
        if missing := sorted(labels - known):
            yield Alert(
                step=0,
                message=f"{field} goes by validation rows, and there are no {' and no '.join(missing)} ones: it "
                "decides nothing here.",
                advice="Give the prompt files rows whose split is 'validation'.",
            )
