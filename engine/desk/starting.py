"""Put a run in line for this machine's worker, or leave none behind. Knows nothing of forms and of command lines."""

from engine.desk.queue import Queue
from engine.records.chosen_rows import chosen_rows, held_apart, missing_answers
from engine.records.conversation import Label
from engine.records.errors import DataError, RunError
from engine.records.model_place import need_model
from engine.records.prompt_files import read_source
from engine.records.prompts import Prompt
from engine.records.runs import Run, create_run, delete_run
from engine.records.settings import Settings, read_settings
from engine.records.sources import needs_worker
from engine.records.spec import RunSpec
from engine.records.tools_taken import need_tools_taken


def need_inputs(spec: RunSpec) -> None:
    """Raises ModelError or DataError where the model's folder or a prompt file is not there, where rows have no answers
    and the spec wants given ones, or where they offer tools that the model's template does not take: before a run is
    made."""
    need_model(spec.model.name)
    sources: dict[Label, str] = {"harmful": spec.data.circuit_breaker, "benign": spec.data.retain}
    prompts: dict[Label, list[Prompt]] = {}
    for label, source in sources.items():
        if not needs_worker(source):
            prompts[label] = read_source(source, label=label, answer_field=spec.data.answer_field)
            _need_answers(spec, label, prompts[label])
    need_tools_taken(read_settings().models, spec, prompts)


def _need_answers(spec: RunSpec, label: Label, prompts: list[Prompt]) -> None:
    if spec.data.answers != "given":
        return
    chosen = chosen_rows(held_apart(prompts), spec.data, label=label, seed=spec.seed)
    if missing := missing_answers(spec.data, label, chosen):
        raise DataError(missing)


def line_up(spec: RunSpec, settings: Settings, *, preset: str = "", name: str = "") -> Run:
    """A queued run of this spec. Raises RunError, and leaves none, where the queue does not take it: nobody would take
    it up, and a second try would make a second one."""
    run = create_run(settings.runs, spec, preset=preset, name=name)
    try:
        Queue(settings.desk).submit("train", run_id=run.id)
    except RunError:
        delete_run(run)
        raise
    return run
