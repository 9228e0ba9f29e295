"""A GGUF file to a folder of safetensors that transformers loads. Knows what the conversion must repair; nothing of
where files come from or of training."""

import shutil
from pathlib import Path

from safetensors import SafetensorError

from engine.records.errors import ModelError, first_line
from engine.records.files import on_disk
from engine.records.packaged import COMPLETE


def convert_gguf(source: Path, target: Path, *, dtype: str) -> Path:
    """Convert a file into the folder `target`, as `dtype` (float32, bfloat16), and return that folder.

    The marker file is written last: its existence means done.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name)
    loaded = AutoModelForCausalLM.from_pretrained(source.parent, gguf_file=source.name, dtype="float32")
    config = loaded.config
    # save_pretrained refuses a model that remembers its GGUF quantization, so it is rebuilt without that memory, around
    # the same tensors: twice a model of billions of parameters is more than many machines hold.
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    model.load_state_dict(loaded.state_dict(), assign=True)
    model.to(dtype=getattr(torch, dtype))  # type: ignore[call-arg]
    config.dtype = dtype
    # Some versions of transformers lose these two tokens of a GGUF tokenizer.
    tokenizer.eos_token = "<|im_end|>"
    tokenizer.pad_token = "<|endoftext|>"
    model.config.eos_token_id = model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.config.pad_token_id = model.generation_config.pad_token_id = tokenizer.pad_token_id

    # One name a target, so that what was broken off is taken away by the next attempt. Callers hold a lock.
    temporary = target.parent / f".converting-{target.name}"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        model.save_pretrained(temporary, safe_serialization=True)
        tokenizer.save_pretrained(temporary)
        on_disk(temporary)
        (temporary / COMPLETE).touch()
        shutil.rmtree(target, ignore_errors=True)
        temporary.rename(target)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"The converted model could not be written to {target}: {first_line(error)} Free some space, or set "
            "WORKBENCH_CACHE to a folder on a larger disk that can be written to, then try again."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target
