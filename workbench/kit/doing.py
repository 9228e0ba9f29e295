"""What the worker does, in the words of the screen."""

from engine.desk.presence import WorkerStatus
from engine.records.errors import RunError
from engine.records.runs import open_run
from workbench.kit.state import settings

_WORDS = {
    "train": "trains",
    "describe_model": "reads a model's facts",
    "describe_data": "reads a prompt set",
    "warm_projection": "loads what maps need",
    "project": "makes a map",
    "examine": "examines the blocks",
    "tokens": "compares tokens",
    "capture": "captures activations",
    "chat": "answers",
    "answer_set": "answers a prompt set",
    "dose_curve": "measures adapter strengths",
    "evaluate": "attacks the circuit breaker",
    "attack_picture": "attacks a picture",
    "fit_probe": "fits harmfulness probes",
    "fetch_model": "fetches a model",
    "fetch_package": "fetches a package",
    "serve_answer": "answers a client",
}


def doing_words(worker: WorkerStatus) -> str:
    """With the run's name where it has one; '' where it does nothing."""
    try:
        name = open_run(settings().runs, worker.run_id).name if worker.run_id else ""
    except RunError:
        name = ""
    kind, _, _ = worker.doing.partition(" ")
    return f"{_WORDS.get(kind, kind)} {name}".strip()
