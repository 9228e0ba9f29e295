"""Which function does which kind of job. A run's training has a book of its own: see engine.jobs.training."""

from collections.abc import Callable, Generator
from typing import Any

from engine.device import Tools
from engine.jobs.capture import capture_job
from engine.jobs.cards import describe_data_job, describe_model_job
from engine.jobs.chat import chat_job
from engine.jobs.doses import dose_curve_job
from engine.jobs.evaluation import evaluate_job
from engine.jobs.harmfulness import fit_probe_job
from engine.jobs.maps import examine_job, project_job, tokens_job, warm_projection_job
from engine.jobs.models import fetch_model_job
from engine.jobs.packages import fetch_package_job
from engine.jobs.picture_attack import attack_picture_job
from engine.jobs.serving import serve_answer_job
from engine.jobs.sets import answer_set_job
from engine.records.events import Event

# Given what was asked and what it may use.
JOBS: dict[str, Callable[[dict[str, Any], Tools], Generator[Event | None, None, None]]] = {
    "describe_model": describe_model_job,
    "describe_data": describe_data_job,
    "warm_projection": warm_projection_job,
    "project": project_job,
    "examine": examine_job,
    "tokens": tokens_job,
    "capture": capture_job,
    "evaluate": evaluate_job,
    "fit_probe": fit_probe_job,
    "fetch_package": fetch_package_job,
    "fetch_model": fetch_model_job,
    "chat": chat_job,
    "serve_answer": serve_answer_job,
    "answer_set": answer_set_job,
    "dose_curve": dose_curve_job,
    "attack_picture": attack_picture_job,
}
# Jobs that write as they go what a second start would write again.
UNREPEATED = {"chat", "attack_picture", "serve_answer"}
