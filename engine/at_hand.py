"""What has to be on the disk before a model is loaded, each made in a child process while other jobs go on.

Knows nothing of models in memory.
"""

import os
import sys
import tempfile
from collections.abc import Generator
from pathlib import Path

from engine.child import run_to_end
from engine.compute.model.bundled import bundled_folder
from engine.records.errors import ModelError
from engine.records.events import Event, Progress
from engine.records.model_files import downloaded
from engine.records.model_place import is_from_hub, need_model
from engine.records.progress import said
from engine.records.settings import ROOT, Settings
from engine.records.spec_parts import BUNDLED_MODEL, ModelSpec

# As the command line begins what was wrong.
SAID = "error: "


def at_hand(spec: ModelSpec, settings: Settings) -> Generator[Event, None, None]:
    """All that loading a model reads is on the disk: the bundled one converted, one of the hub downloaded.
    Raises ModelError where that fails."""
    yield from converted(spec, settings)
    # What no name of the hub can be, or is no model, loading says in words.
    need_model(spec.name)
    if not is_from_hub(spec.name) or downloaded(spec.name):
        return
    with tempfile.TemporaryDirectory() as folder:
        said_in = Path(folder) / "progress.json"
        begun = Progress(phase="fetching", message=f"downloading {spec.name}", elsewhere=True)
        code, lines = yield from run_to_end(
            [sys.executable, "-m", "engine", "fetch", spec.name, "--progress", str(said_in)],
            lambda: (said(said_in) or begun).model_copy(update={"elsewhere": True}),
            environment=_environment(settings),
            folder=ROOT,
        )
    if code != 0:
        raise _why(code, lines, f"{spec.name} could not be downloaded.")


def converted(spec: ModelSpec, settings: Settings) -> Generator[Event, None, None]:
    """The bundled model is converted once, in a child process, since that cannot be divided."""
    if spec.name != BUNDLED_MODEL or bundled_folder(settings.models):
        return
    yield from converted_in_child(settings, message="Converting the bundled model, once (25 to 60 s)")


def converted_in_child(settings: Settings, *model: str, message: str) -> Generator[Progress, None, None]:
    """`engine prepare`, for the bundled model or the packaged one named. Raises ModelError where it fails."""
    code, lines = yield from run_to_end(
        [sys.executable, "-m", "engine", "prepare", *model],
        lambda: Progress(phase="converting", message=message, elsewhere=True),
        environment=_environment(settings),
        folder=ROOT,
    )
    if code != 0:
        raise _why(code, lines, "The model could not be converted.")


def _why(code: int, lines: list[str], unsaid: str) -> ModelError:
    """What a command said of its end; of one that was killed its last words are of what it did."""
    if code < 0:
        return ModelError(f"{unsaid[:-1]}: its process was ended by signal {-code} (out of memory?).")
    said = [line.removeprefix(SAID) for line in lines if line.startswith(SAID)]
    return ModelError(said[-1] if said else f"{unsaid} {lines[-1] if lines else ''}".strip())


def _environment(settings: Settings) -> dict[str, str]:
    return os.environ | {"WORKBENCH_CACHE": str(settings.cache), "OMP_NUM_THREADS": "1"}
