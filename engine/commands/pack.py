"""`python -m engine pack`: copy a finished run into a folder fit for sharing, such as sample_data/runs.

Left out: what models answered to harmful prompts, optimizer moments, checkpoints and what was measured of other weights
than the last, copies of pictures unless they are asked for, names of machines, addresses of judges. The run's name and
note come along, and what the spec names is kept as it names it, files with their folders. Captured vectors are kept in
half precision, of as many captured steps as fit; the spaces that tokens are tinted in come along where they were
measured. digest.json holds the SHA-256 of every file.
"""

import argparse
import hashlib
import json
import shutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from engine.exports.private import Private
from engine.records.captures.capture import read_capture, run_captures, write_index
from engine.records.captures.thumbnails import copy_thumbnails
from engine.records.errors import RunError
from engine.records.evaluation.final import is_final
from engine.records.evaluation.findings import Evaluation
from engine.records.evaluation.own import is_pending
from engine.records.events import Alert, AnyEvent, ProbeResult, StatusEvent, effective
from engine.records.files import whole_or_nothing, write_whole
from engine.records.harmfulness import HARMFULNESS, PROBES
from engine.records.places import judge_words
from engine.records.runs import Record, Run, open_run
from engine.records.settings import Settings
from engine.records.spaces import kept_spaces, packed_spaces

DIGEST = "digest.json"
HIDDEN = "(left out)"
# With room for the evaluations, which are small.
MOST_BYTES = 19_500_000


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("run", metavar="RUN", help="run id")
    command.add_argument("folder", metavar="FOLDER", help="the copy becomes FOLDER/RUN")
    command.add_argument(
        "--capture",
        dest="captures",
        metavar="KEY",
        action="append",
        default=[],
        help="take this capture alone, a folder of the run's representations/; several times (default: all)",
    )
    command.add_argument(
        "--pictures", action="store_true", help="with small copies of what captured prompts show: mind their licences"
    )
    command.add_argument("--bfloat16", action="store_true", help="the adapter in half the size: evaluate the copy")


def pack(options: argparse.Namespace, settings: Settings) -> int:
    """Write the copy and print its folder."""
    run = open_run(settings.runs, options.run)
    status = run.record().status
    if status != "finished":
        raise RunError(f"Run {run.id} is {status}: only a finished run can be packed.")
    target = Path(options.folder) / run.id
    if target.exists():
        raise RunError(f"{target} already exists: delete it, or choose another folder.")
    # A part of a copy would be taken for one, and stand in the way of the next.
    with whole_or_nothing(target):
        captures = _captures(run, settings, options.captures)
        spaces = next((file for file in (packed_spaces(run), kept_spaces(run, settings)) if file.is_file()), None)
        private = Private(settings)
        pack_run(
            run,
            target,
            captures,
            spaces=spaces,
            bfloat16=options.bfloat16,
            pictures=options.pictures,
            private=private,
        )
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"{size / 1e6:.1f} MB", file=sys.stderr)
    print(target)
    return 0


def _captures(run: Run, settings: Settings, keys: Sequence[str]) -> list[Path]:
    """All of the run, or those of these keys. Raises RunError for one that is not there."""
    found = {capture.index.key: capture.folder for capture in run_captures(settings, run.id)}
    for key in keys:
        if key not in found:
            there = f"choose {', '.join(sorted(found))}" if found else "the run has none"
            raise RunError(f"Run {run.id} has no capture '{key}': {there}.")
    return [folder for key, folder in found.items() if not keys or key in keys]


def pack_run(
    run: Run,
    target: Path,
    captures: Sequence[Path] | None = None,
    *,
    spaces: Path | None = None,
    bfloat16: bool = False,
    pictures: bool = False,
    private: Private | None = None,
) -> None:
    """record.json, which makes a folder a run, is written last. captures: their folders; None: those in the run.
    spaces: their file. bfloat16: the adapter's weights are rounded, so that figures of it hold nearly, not exactly.
    pictures: with the small copies that captures keep. private: what alerts and errors must not say."""
    target.mkdir(parents=True)
    shutil.copy(run.folder / "spec.json", target)
    events = [
        _shared(event, private) for event in effective(run.events()[0]) if event.kind not in ("progress", "notice")
    ]
    write_whole(target / "events.jsonl", "".join(event.model_dump_json() + "\n" for event in events))
    if (run.folder / "label.json").is_file():
        shutil.copy(run.folder / "label.json", target)
    if spaces is not None:
        shutil.copy(spaces, packed_spaces(Run(target)))
    shutil.copytree(run.adapter_folder, target / "adapter")
    if bfloat16:
        _narrow(target / "adapter" / "adapter_model.safetensors")
    if (run.folder / HARMFULNESS / PROBES).is_file():
        shutil.copytree(run.folder / HARMFULNESS, target / HARMFULNESS)
    _pack_evaluations(run.folder / "evaluations", target / "evaluations", run.record())
    # No checkpoint comes along, the best one neither.
    record = run.record().model_copy(update={"host": "", "best": None})
    if is_pending(record):
        # Nobody makes it up for a copy.
        record = record.model_copy(update={"evaluation": "", "evaluation_error": ""})
    if private is not None:
        said = {name: private.of_machine(getattr(record, name)) for name in ("error", "evaluation_error")}
        record = record.model_copy(update=said)
    known = record.model_dump_json(indent=2)
    if captures is None:
        captures = [file.parent for file in run.representations_folder.glob("*/capture.json")]
    # Of the smallest first, so that a large one gets what they leave.
    captures = sorted(captures, key=lambda folder: (_size(folder), folder.name))
    left = MOST_BYTES - len(known.encode()) - sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    for number, capture in enumerate(captures):
        key = read_capture(capture)
        assert key is not None
        packed = target / "representations" / key.index.key
        _pack_capture(capture, packed, left // (len(captures) - number), pictures=pictures)
        left -= _size(packed)
    write_whole(target / DIGEST, json.dumps(digests(target), indent=1) + "\n")
    write_whole(target / "record.json", known)


def _pack_evaluations(source: Path, target: Path, record: Record) -> None:
    """Figures of the run's final weights, and the pictures made for them; a damaged file comes along as it is."""
    left_out: set[str] = set()
    for file in source.glob("*.json"):
        with suppress(ValidationError):
            one = Evaluation.model_validate_json(file.read_bytes())
            if not is_final(one, record):
                made = one.pictures.perturbations.values() if one.pictures else ()
                left_out |= {file.name, *(name for sides in made for names in sides.values() for name in names)}
    for file in (*source.glob("*.json"), *source.glob("*.png")):
        if file.name not in left_out:
            target.mkdir(exist_ok=True)
            shutil.copy(file, target)
            with suppress(ValueError):
                content = json.loads(file.read_bytes()) if file.suffix == ".json" else None
                if (shared := _without_addresses(content)) != content:
                    write_whole(target / file.name, json.dumps(shared, indent=2))


def _without_addresses(content: Any) -> Any:
    """A tree in which judges are named without their folder or address."""
    if isinstance(content, dict):
        return {
            key: judge_words(value) if key == "judge" and isinstance(value, str) else _without_addresses(value)
            for key, value in content.items()
        }
    return [_without_addresses(one) for one in content] if isinstance(content, list) else content


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a packed run but the record and the digests themselves."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name not in (DIGEST, "record.json")]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _narrow(adapter: Path) -> None:
    # numpy knows no bfloat16.
    import torch
    from safetensors.torch import load_file, save_file

    save_file({name: weight.to(torch.bfloat16) for name, weight in load_file(adapter).items()}, adapter)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*.*") if path.is_file())


def _halved(tensor: np.ndarray) -> np.ndarray:
    """In half precision, unless that has no room for its largest numbers."""
    with np.errstate(over="ignore"):
        half = tensor.astype(np.float16)
    return half if np.isfinite(half).all() else tensor


def _pack_capture(source: Path, target: Path, most_bytes: int, *, pictures: bool) -> None:
    from safetensors.numpy import load_file, save_file

    capture = read_capture(source)
    assert capture is not None
    target.mkdir(parents=True)
    for path in sorted(source.glob("*.safetensors")):
        tensors = load_file(path)
        exact = path.name.startswith("spaces")
        save_file(
            # Numbers of tokens and rows stay what they are.
            {
                name: tensor if exact or tensor.dtype.kind != "f" else _halved(tensor)
                for name, tensor in tensors.items()
            },
            target / path.name,
        )
    if pictures:
        copy_thumbnails(source, target)
    index = capture.index
    write_index(target, index)
    kept = _kept_checkpoints(target, index.checkpoints, most_bytes)
    dropped = set(index.checkpoints) - set(kept)
    for path in target.glob("*.safetensors"):
        if path.name.partition(".")[0] in dropped:
            path.unlink()
    if dropped:
        write_index(target, index.model_copy(update={"checkpoints": kept, "digest": f"{len(kept)}-{index.digest}"}))


def _kept_checkpoints(packed: Path, checkpoints: tuple[str, ...], most_bytes: int) -> tuple[str, ...]:
    """The base model, the last step, and of the steps between as many as fit beside what is no step's, evenly."""
    each = [sum(path.stat().st_size for path in packed.glob(f"{one}.*.safetensors")) for one in checkpoints]
    room = max(2, (most_bytes - (_size(packed) - sum(each))) // max(1, *each))
    if room >= len(checkpoints):
        return checkpoints
    chosen = np.linspace(0, len(checkpoints) - 1, room).round().astype(int)
    return tuple(checkpoints[place] for place in dict.fromkeys(chosen.tolist()))


def _shared(event: AnyEvent, private: Private | None) -> AnyEvent:
    if isinstance(event, Alert) and private is not None:
        return event.model_copy(update={"message": private.of_machine(event.message)})
    if isinstance(event, ProbeResult):
        answers = [
            answer if answer.label == "benign" else answer.model_copy(update={"answer": HIDDEN})
            for answer in event.answers
        ]
        return event.model_copy(update={"answers": tuple(answers)})
    if isinstance(event, StatusEvent):
        return event.model_copy(update={"message": ""})
    return event
