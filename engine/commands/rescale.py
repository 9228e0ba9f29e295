"""`python -m engine rescale`: a finished run's breaker at another strength, as a run of its own beside it.

It is what training with that `adapter.strength` would have kept, but for rounding, in seconds. Curves and what was
captured while it trained come along; nothing does that was measured of the other strength.
"""

import argparse
import shutil
import time
from pathlib import Path

from engine.records.captures.capture import TRAINING, read_capture, write_index
from engine.records.errors import RunError
from engine.records.events import KEPT, HeldoutResult, StatusEvent, effective
from engine.records.files import whole_or_nothing, write_whole
from engine.records.runs import Run, RunLabel, new_run, open_run
from engine.records.settings import Settings
from engine.records.spec import SPEC_VERSION
from engine.records.spec_text import with_fields

WEIGHTS = "adapter_model.safetensors"


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("run", metavar="RUN", help="run id")
    command.add_argument(
        "strength", metavar="STRENGTH", type=float, help="in place of the spec's adapter.strength; 1: as it was trained"
    )
    command.add_argument("--name", default="", help="a name for the new run (default: the run's, with the strength)")


def rescale(options: argparse.Namespace, settings: Settings) -> int:
    """Write the new run and print its id."""
    run = open_run(settings.runs, options.run)
    print(rescaled(run, options.strength, settings.runs, name=options.name).id)
    return 0


def rescaled(run: Run, strength: float, runs: Path, *, name: str = "") -> Run:
    """A finished run with this strength. record.json, which makes a folder a run, is written last.

    Raises RunError for a run that is not finished, has that strength or a damaged adapter, SpecError for a strength
    that none can have.
    """
    record, spec = run.record(), run.spec()
    if record.status != "finished":
        raise RunError(f"Run {run.id} is {record.status}: only a finished run can be rescaled.")
    changed = with_fields(spec, {"adapter.strength": strength}, name="STRENGTH")
    changed = changed.model_copy(update={"version": SPEC_VERSION})
    if strength == spec.adapter.strength:
        raise RunError(f"Run {run.id} acts {strength:g} times as strongly as it was trained already: give another.")
    weights = _multiplied(run.adapter_folder / WEIGHTS, strength / spec.adapter.strength)
    created = time.time()
    made = new_run(runs, created)
    # Without a record it would stand in no list.
    with whole_or_nothing(made.folder):
        made.folder.mkdir(parents=True)
        write_whole(made.folder / "spec.json", changed.to_json())
        shutil.copytree(run.adapter_folder, made.adapter_folder)
        (made.adapter_folder / WEIGHTS).write_bytes(weights)
        _copy_film(run, made)
        for event in effective(run.events()[0]):
            if not (isinstance(event, HeldoutResult) and event.split == "test"):
                made.append(event)
        words = f"The adapter of run {run.id}, {strength:g} times as strong as it was trained"
        made.append(StatusEvent(status=KEPT, step=record.step, message=words))
        made.append(StatusEvent(status="finished", step=record.step))
        label = RunLabel(name=name.strip() or f"{run.name}, strength {strength:g}")
        write_whole(made.folder / "label.json", label.model_dump_json())
        new = record.model_copy(
            update={
                "id": made.id,
                "digest": changed.digest_with(record.sources),
                "preset": "",
                "created": created,
                # What was measured while it trained, at 1, says nothing of another strength.
                "figures": {k: v for k, v in record.figures.items() if strength == 1 and k.startswith("validation_")},
                "best": None,
                "evaluation": "",
                "evaluation_error": "",
            }
        )
        write_whole(made.folder / "record.json", new.model_dump_json(indent=2))
    return made


def _multiplied(file: Path, factor: float) -> bytes:
    """Of each pair of matrices the second, as behind a training's last step. Raises RunError for a damaged file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file, save

    try:
        weights = load_file(file)
    except (OSError, SafetensorError) as error:
        raise RunError(f"The adapter {file} cannot be read: {error}. Train that run again.") from error
    return save({name: (one * factor).to(one.dtype) if "lora_B" in name else one for name, one in weights.items()})


def _copy_film(run: Run, made: Run) -> None:
    """What was captured while it trained, at the strength that it trained at."""
    folder = made.representations_folder / TRAINING
    if (capture := read_capture(run.representations_folder / TRAINING)) is not None:
        shutil.copytree(capture.folder, folder)
        write_index(folder, capture.index.model_copy(update={"run_id": made.id}))
