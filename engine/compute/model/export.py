"""A finished adapter as a plain PEFT folder and, if asked for, the merged model. Knows nothing of cards."""

import shutil
from pathlib import Path

from engine.compute.model.adapters import load_adapter
from engine.compute.model.load import load_model
from engine.records.errors import RunError
from engine.records.files import storage_error
from engine.records.runs import Run
from engine.records.settings import Settings


def export_run(run: Run, folder: Path, settings: Settings, *, merged: bool = False) -> Path:
    """Write the adapter (and `merged/`: full safetensors and tokenizer, of one that sees its processor too) to a new or
    empty folder and return it.

    Raises RunError when the run has no adapter or the folder is in use; ModelError when the adapter does not load.
    """
    adapter = run.adapter_folder
    if not (adapter / "adapter_config.json").is_file():
        raise RunError(
            f"Run {run.id} has no adapter (it is {run.record().status}): finish it, or stop it with 'stop and keep'."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunError(f"{folder} exists and is not empty: choose a new folder.")
    try:
        shutil.copytree(adapter, folder, dirs_exist_ok=True)
    except OSError as error:
        raise storage_error(folder, error) from error
    if merged:
        _write_merged(run, folder / "merged", settings)
    return folder


def _write_merged(run: Run, folder: Path, settings: Settings) -> None:
    model = load_model(run.spec().model, settings)
    load_adapter(model, "export", run.adapter_folder)
    assert model.peft_model is not None
    model.peft_model.set_adapter("export")
    whole = model.peft_model.merge_and_unload(adapter_names=["export"])
    try:
        whole.save_pretrained(folder, safe_serialization=True)
        (model.sight.tokens.processor if model.sight else model.tokenizer).save_pretrained(folder)
    except OSError as error:
        raise storage_error(folder, error) from error
