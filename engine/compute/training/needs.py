"""What a run's options need of model, rows and processes before its first step. Knows nothing of steps."""

from collections.abc import Sequence

from engine.compute.model.foretelling import need_plain_head
from engine.compute.model.loaded import LoadedModel
from engine.compute.team import is_sharded
from engine.compute.training.masks import holds_answer
from engine.compute.training.rows import Row
from engine.records.errors import TrainingError
from engine.records.spec import RunSpec


def need_what_options_need(model: LoadedModel, spec: RunSpec, benign: Sequence[Row]) -> None:
    """Raises TrainingError, or ModelError for the model, where an option cannot do what it is for."""
    if spec.loss.answer_weight:
        _need_whole_weights("Holding answers by what they foretell", "loss.answer_weight = 0")
        need_plain_head(model)
        _need_held_answers(spec, benign)
    if spec.adapter.null_space:
        _need_whole_weights("An adapter that is kept out of benign inputs", "adapter.null_space = 0")
    if spec.optimizer.gradient_surgery:
        _need_whole_weights("Gradient surgery", "optimizer.gradient_surgery = false")


def _need_held_answers(spec: RunSpec, benign: Sequence[Row]) -> None:
    """Raises TrainingError where no row's answer would be held: the loss would be 0 throughout, and say nothing."""
    if not any(holds_answer(spec, row) for row in benign):
        wanted = "is borderline" if spec.loss.answer_rows == "borderline" else "has an answer"
        raise TrainingError(
            f"Answers are to be held by what they foretell (loss.answer_weight = {spec.loss.answer_weight:g}), and of "
            f"{len(benign)} retain rows none {wanted}: add borderline rows, hold the answers of all benign rows "
            "(loss.answer_rows = benign), or set the weight to 0."
        )


def _need_whole_weights(what: str, off: str) -> None:
    """Raises TrainingError where each process holds a share of the weights alone."""
    if is_sharded():
        raise TrainingError(
            f"{what} needs the whole model in each process, and here they share the weights: train without --sharded, "
            f"or set {off}."
        )
