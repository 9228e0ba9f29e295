"""Whether a run is used on the weights that it was trained on. Knows nothing of models in memory."""

from engine.records.assembled import ASSEMBLED
from engine.records.errors import ModelError
from engine.records.runs import Record, Run


def is_as_trained(record: Record, now: str) -> bool:
    """Whether what the model of a run is made of by now is what the run was trained on, or one of both is not known."""
    return not record.made_of or not now or record.made_of == now


def need_as_trained(run: Run, model: str, now: str) -> None:
    """Raises ModelError where a run was trained on a model that another of its name has replaced. now: what the one in
    memory is made of."""
    if is_as_trained(run.record(), now):
        return
    if model in ASSEMBLED:
        raise ModelError(
            f"Run {run.id} was trained on {model} as it was put together before, and it was put together anew since, "
            "with another projector or number of tokens: assemble it as it was (`python -m engine assemble --shipped` "
            "takes the projector that ships), or train another run."
        )
    raise ModelError(
        f"Run {run.id} was trained on other weights of {model} than are here now: put those back under that name, or "
        "train another run."
    )
