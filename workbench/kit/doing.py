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
    """With the name of the run that it is about, where it is about one; '' where it does nothing."""
    kind, _, run_id = worker.doing.partition(" ")
    try:
        # Not worker.run_id: behind a job that has no run that is the training which waits for its turn.
        name = open_run(settings().runs, run_id).name if run_id else ""
    except RunError:
        name = ""
    return f"{_WORDS.get(kind, kind)} {name}".strip()
