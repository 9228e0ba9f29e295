"""What each preset is for, needs, takes and has reached: facts of the list on the Train page. Draws nothing."""

import socket
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from engine.records.conversation import Label
from engine.records.errors import DataError, WorkbenchError
from engine.records.events import effective
from engine.records.model_place import need_model
from engine.records.presets import PRESETS, preset_names, read_preset
from engine.records.prompt_files import file_stamps, missing_files, read_source
from engine.records.prompts import Prompt
from engine.records.runs import Run, list_runs
from engine.records.sources import needs_worker
from engine.records.spec import RunSpec
from engine.records.spec_parts import BUNDLED_MODEL
from engine.records.stages import StageClock
from workbench.kit.state import settings
from workbench.kit.words import duration, plain
from workbench.train.checks import RowCounts, count_rows
from workbench.train.costs import about, known_card, preset_estimate

PURPOSES = {
    "quick": "See a circuit breaker form, from the click to its answers.",
    "default": "Train the bundled model's circuit breaker on a draw from nearly all sample sets, as what ships.",
    "quick-qwen": "See one form in a second model of half a billion parameters, fetched from packages.",
    "default-qwen": "The same for the second model, on all kinds of sample rows, with two targets. Its run ships too.",
    "tools": "Break harmful function calls of a small agent and keep its useful ones, fetched from packages.",
    "pictures": "Break harmful answers about pictures in a small model that sees, put together of packages.",
    "strongest": "Rerouting, refusals in the retain set, and a harmfulness probe. On this model default is the better "
    "breaker.",
    "paper-llama-3-8b": "Repeat the paper's run on Llama 3, with the published data.",
    "paper-mistral-7b": "Repeat the paper's run on Mistral, with the published data.",
    "paper-llama-3-8b-tools": "The paper's training of Llama 3 with its agents' setting: requests with tools as well.",
    "paper-llava-next-mistral-7b": "The paper's setting for models that see; on sample texts until you add pictures.",
    "paper-llama-3-8b-own-data": "The paper's training of Llama 3 on the sample prompts.",
    "paper-mistral-7b-own-data": "The paper's training of Mistral on the sample prompts.",
}
OWN_PURPOSE = "A spec of your own."
# A list of runs is looked through again after so many seconds, and what a preset needs.
KEPT_SECONDS = 10


_counted: dict[tuple, dict[Label, RowCounts] | None] = {}


class Reached(NamedTuple):
    """What the newest finished run of a preset came to. seconds: from its start to its end."""

    name: str
    seconds: float | None
    ships: bool
    text: str


def preset_caption(name: str) -> str:
    """Markdown, one line of facts under a preset's name: purpose, model, time, what it reached, what is missing."""
    try:
        spec = read_preset(name)
    except WorkbenchError as error:
        return f":orange[{plain(str(error))}]"
    reached = _reached(settings().runs, int(time.monotonic() / KEPT_SECONDS)).get(name)
    missing = _needed(name)
    facts = [
        PURPOSES.get(name, OWN_PURPOSE),
        "Bundled SmolLM2, 135 M." if spec.model.name == BUNDLED_MODEL else f"Model {plain(spec.model.name)}.",
        "" if missing else _time(spec, _counted.get(_key(name, spec)), reached),
        plain(reached.text) if reached else "",
    ]
    text = " ".join(fact for fact in facts if fact)
    return f"{text} :material/warning: Needs {plain(missing)}." if missing else text


def uncounted_presets() -> list[str]:
    """Those whose time could be told, were their prompts counted as their files are now."""
    found = []
    for name in preset_names():
        with suppress(WorkbenchError):
            spec = read_preset(name)
            if _key(name, spec) not in _counted and not _needed(name) and known_card(spec) is not None:
                found.append(name)
    return found


def count_preset(name: str) -> dict[Label, RowCounts] | None:
    """Read its prompts, and keep how many of each side it takes; None where they cannot be read here. The prompts are
    not kept: those of all presets would push the form's own out of what it keeps."""
    spec = read_preset(name)
    key = _key(name, spec)
    sides: dict[Label, str] = {"harmful": spec.data.circuit_breaker, "benign": spec.data.retain}
    prompts: dict[Label, list[Prompt] | None] = {}
    _counted[key] = None
    with suppress(DataError):
        for label, source in sides.items():
            if needs_worker(source):
                return None
            prompts[label] = read_source(source, label=label, answer_field=spec.data.answer_field)
        rows, problems = count_rows(spec, prompts)
        _counted[key] = None if problems else rows
    return _counted[key]


def _key(name: str, spec: RunSpec) -> tuple:
    """What changes when the preset or one of its prompt files does."""
    return (name, _written(name), *file_stamps(spec.data.circuit_breaker), *file_stamps(spec.data.retain))


def _written(name: str) -> int:
    return (PRESETS / f"{name}.json").stat().st_mtime_ns


def _needed(name: str) -> str:
    """What a preset needs that is not here, in words; '' where all is."""
    return _missing(name, _written(name), int(time.monotonic() / KEPT_SECONDS))


@lru_cache(maxsize=32)
def _missing(name: str, written: int, when: int) -> str:
    spec = read_preset(name)
    found = []
    try:
        need_model(spec.model.name)
    except WorkbenchError:
        found.append(f"the model {spec.model.name}")
    # Both sides may name one file.
    found += dict.fromkeys(missing_files(spec.data.circuit_breaker) + missing_files(spec.data.retain))
    names = " and ".join(part for part in (", ".join(found[:-1]), found[-1] if found else "") if part)
    return f"{names}, which {'is' if len(found) == 1 else 'are'} not here" if found else ""


def _time(spec: RunSpec, rows: dict[Label, RowCounts] | None, reached: Reached | None) -> str:
    if reached is not None and reached.seconds and not reached.ships:
        return f"Took {duration(reached.seconds)} here."
    cost = preset_estimate(spec, rows) if rows else None
    return f"About {about(cost.seconds)} here." if cost and cost.seconds else ""


@lru_cache(maxsize=2)
def _reached(runs: Path, when: int) -> dict[str, Reached]:
    """Of each preset the newest finished run that nobody edited; the runs that ship come last."""
    found: dict[str, Reached] = {}
    for run in list_runs(runs):
        try:
            record = run.record()
        except WorkbenchError:
            continue
        if record.status != "finished" or not record.preset or record.preset in found:
            continue
        cosine = record.figures.get("heldout_cosine")
        drift = record.figures.get("heldout_drift")
        if cosine is None or drift is None:
            continue
        # Generating answers is in it only where the answers were not known before.
        seconds = _sittings(run) if record.host == socket.gethostname() else None
        whose = "The run that ships" if run.read_only else "Its newest run"
        figures = f"a harmful cosine of {cosine:.2f} and a benign drift of {drift:.2f}"
        text = f"{whose} reached {figures} (test split{_rows(run)})."
        found[record.preset] = Reached(run.id, seconds, run.read_only, text)
    return found


def _sittings(run: Run) -> float:
    """Seconds that a run was at work, without pauses and the days that it lay stopped."""
    clock = StageClock()
    for event in effective(run.events()[0]):
        clock.take(event)
    return sum(clock.seconds.values())


@lru_cache(maxsize=32)
def _rows(run: Run) -> str:
    tested = [event for event in run.events()[0] if event.kind == "heldout" and event.split == "test"]
    return f", {tested[-1].harmful_rows} + {tested[-1].benign_rows} rows" if tested else ""
