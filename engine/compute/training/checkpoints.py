"""Checkpoints as safetensors: adapter, optimizer moments, position. Knows nothing of losses or runs.

Randomness and data order are functions of (seed, step), so the step is all of them that a checkpoint has to hold.
"""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from engine.compute.model.memory import is_of_device
from engine.records.errors import RunError
from engine.records.files import on_disk, storage_error, write_whole

MOMENTS = ("step", "exp_avg", "exp_avg_sq")
_POSITION = "position.json"
# At a model as it stands: a measurement of validation rows, answers to a few prompts, captured activations.
LOOKS = ("heldout", "probe", "capture")


class Position(NamedTuple):
    """Where a run stood: `step` optimizer steps are done. looks: what was looked at behind the last of them; all that
    was due, unless the run was broken off amid it."""

    step: int
    seconds: float
    looks: tuple[str, ...] = LOOKS


def save_checkpoint(
    folder: Path, position: Position, parameters: list[tuple[str, nn.Parameter]], optimizer: torch.optim.Optimizer
) -> Path:
    """Write `step-000123/`. position.json comes last, so its existence means that the checkpoint is whole.

    Older checkpoints keep their adapter but lose their optimizer moments: only the last one is resumed from, or the one
    before, where the last one is damaged.
    Raises RunError when the disk is full; older checkpoints are then untouched.
    """
    target = checkpoint_at(folder, position.step)
    temporary = folder / f".{target.name}"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        save_file(
            {name: parameter.detach().cpu().contiguous() for name, parameter in parameters},
            temporary / "adapter.safetensors",
        )
        save_file(_moments(parameters, optimizer), temporary / "optimizer.safetensors")
        for file in temporary.iterdir():
            on_disk(file)
        write_whole(temporary / _POSITION, json.dumps(position._asdict()))
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise _storage(target, error) from error
    for older in list_checkpoints(folder)[:-2]:
        (older / "optimizer.safetensors").unlink(missing_ok=True)
    return target


def load_checkpoint(
    folder: Path, parameters: list[tuple[str, nn.Parameter]], optimizer: torch.optim.Optimizer
) -> Position:
    """Put a checkpoint's weights and moments into place. Raises RunError when it is damaged or of another adapter."""
    try:
        weights = load_file(folder / "adapter.safetensors")
        moments = load_file(folder / "optimizer.safetensors")
        content = json.loads((folder / _POSITION).read_text(encoding="utf-8"))
        with torch.no_grad():
            for name, parameter in parameters:
                parameter.copy_(weights[name].to(parameter))
        # By the optimizer's own means: they put each value where its parameter lies, and where its kind wants it.
        optimizer.load_state_dict(optimizer.state_dict() | {"state": _numbered(moments, parameters)})
        return Position(int(content["step"]), float(content["seconds"]), tuple(content.get("looks", LOOKS)))
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError, TypeError) as error:
        if is_of_device(error):
            raise
        if not (folder / "optimizer.safetensors").is_file():
            raise RunError(
                f"The checkpoint {folder} cannot be gone on from: its optimizer's moments were let go when later ones "
                "were written. It can still be asked and evaluated; start another run like this one."
            ) from error
        raise RunError(
            f"The checkpoint {folder} cannot be read ({type(error).__name__}: {error}). Delete that folder to resume "
            "from the one before, or start another run like this one."
        ) from error


def checkpoint_at(folder: Path, step: int) -> Path:
    """Where the checkpoint after so many steps is, or will be."""
    return folder / f"step-{step:06d}"


def read_adapter_weights(folder: Path) -> dict[str, Tensor]:
    """A checkpoint's adapter by parameter name. Raises RunError when it is missing or damaged."""
    try:
        return load_file(folder / "adapter.safetensors")
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"The checkpoint {folder} cannot be read: {error}. Delete that folder; the others stay."
        ) from error


def list_checkpoints(folder: Path) -> list[Path]:
    """Whole checkpoints, oldest first; a copy that somebody made beside them is none."""
    whole = (path.parent for path in folder.glob(f"step-*/{_POSITION}"))
    return sorted(one for one in whole if one.name.removeprefix("step-").isdecimal())


def _numbered(moments: dict[str, Tensor], parameters: list[tuple[str, nn.Parameter]]) -> dict[int, dict[str, Tensor]]:
    """Moments by the number of their parameter, as an optimizer's state_dict holds them."""
    found: dict[int, dict[str, Tensor]] = {}
    for number, (name, _) in enumerate(parameters):
        own = {part: moments[key] for part in MOMENTS if (key := f"{name}|{part}") in moments}
        if own:
            found[number] = own
    return found


def _moments(parameters: list[tuple[str, nn.Parameter]], optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    return {
        f"{name}|{part}": value.detach().cpu().contiguous()
        for name, parameter in parameters
        for part, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


def _storage(path: Path, error: Exception) -> RunError:
    if isinstance(error, OSError) and error.errno is not None:
        return storage_error(path, error)
    # safetensors reports a full disk as text.
    full = "No space left" in str(error) or "StorageFull" in str(error)
    return RunError(
        f"The disk is full: {path} could not be written. Free some space, then resume the run."
        if full
        else f"{path} could not be written: {error}"
    )
