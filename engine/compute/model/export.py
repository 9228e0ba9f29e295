"""A finished adapter as a plain PEFT folder and, if asked for, the merged model. Knows nothing of cards."""

import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel

from engine.compute.model.adapters import load_adapter
from engine.compute.model.load import describe_model, load_model
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.placement import choose_device
from engine.compute.model.room import free_bytes
from engine.compute.model.to_gguf import need_gguf, write_gguf
from engine.records.as_trained import need_as_trained
from engine.records.cards import ModelCard
from engine.records.errors import RunError, first_line
from engine.records.files import storage_error
from engine.records.room import weight_bytes
from engine.records.runs import Run
from engine.records.settings import Settings
from engine.records.spec_parts import ModelSpec


def export_run(run: Run, folder: Path, settings: Settings, *, merged: bool = False, gguf: bool = False) -> Path:
    """Write the adapter to a new or empty folder and return it. merged: also `merged/`, full safetensors and tokenizer,
    of one that sees its processor too.  gguf: also `merged.gguf`, the same in one file.

    Raises RunError when the run has no adapter or the folder is in use; ModelError when the adapter does not load, was
    trained on other weights, or the model cannot be such a file: before anything is written.
    """
    adapter = run.adapter_folder
    if not (adapter / "adapter_config.json").is_file():
        raise RunError(
            f"Run {run.id} has no adapter (it is {run.record().status}): finish it, or stop it with 'stop and keep'."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"{folder} exists and is not empty: choose a new folder.")
    asked = run.spec().model
    # Once: it builds the whole network.
    card = describe_model(asked, settings) if merged or gguf else None
    model = load_model(_with_room(asked, card), settings) if card is not None else None
    if model is not None:
        need_as_trained(run, model.spec.name, model.made_of)
    if model is not None and gguf:
        need_gguf(model.published, model.tokenizer)
    whole = _merged(model, run, card) if model is not None and card is not None else None
    try:
        shutil.copytree(adapter, folder, dirs_exist_ok=True)
        if model is not None and whole is not None:
            if merged:
                whole.save_pretrained(folder / "merged", safe_serialization=True)
                (model.sight.tokens.processor if model.sight else model.tokenizer).save_pretrained(folder / "merged")
            if gguf:
                write_gguf(whole, model.tokenizer, folder / "merged.gguf", name=run.name)
    except OSError as error:
        raise storage_error(folder, error) from error
    except SafetensorError as error:
        # So it reports a full disk.
        raise RunError(
            f"{folder} could not be written: {first_line(error)} Free some space, then try again."
        ) from error
    return folder


def _with_room(spec: ModelSpec, card: ModelCard) -> ModelSpec:
    """On the processor where the device has no room for the weights: merging needs none of its speed."""
    device = choose_device(spec).device
    if device.type == "cpu" or weight_bytes(card) <= free_bytes(device):
        return spec
    return ModelSpec.model_validate(spec.model_dump() | {"device": "cpu", "dtype": card.dtype})


def _merged(model: LoadedModel, run: Run, card: ModelCard) -> PreTrainedModel:
    """card: of the model where runs are trained, in whose number format it is written."""
    load_adapter(model, "export", run.adapter_folder)
    assert model.peft_model is not None
    model.peft_model.set_adapter("export")
    whole = model.peft_model.merge_and_unload(adapter_names=["export"])
    return whole if str(model.dtype) == f"torch.{card.dtype}" else whole.to(getattr(torch, card.dtype))
