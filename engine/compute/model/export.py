"""A finished adapter as a plain PEFT folder, with its spec, a model card and, if asked for, the merged model."""

import json
import shutil
from pathlib import Path

from engine.compute.model.adapters import load_adapter
from engine.compute.model.load import load_model
from engine.records.blocks import paper_layer
from engine.records.errors import RunError
from engine.records.files import storage_error, write_whole
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
    write_whole(folder / "spec.json", run.spec().to_json())
    write_whole(folder / "README.md", model_card(run))
    if merged:
        _write_merged(run, folder / "merged", settings)
    return folder


def model_card(run: Run) -> str:
    """What this adapter is, how it was made, and the figures it reached, in Markdown."""
    spec, record = run.spec(), run.record()
    figures = "\n".join(f"| {name.replace('_', ' ')} | {value:.4f} |" for name, value in sorted(record.figures.items()))
    targets = ", ".join(f"{block} (paper layer {paper_layer(block)})" for block in record.targets)
    return f"""---
library_name: peft
base_model: {spec.model.name}
tags: [representation-rerouting, circuit-breaker, lora]
---

# Circuit breaker for {spec.model.name}

A LoRA adapter trained by Representation Rerouting (Zou et al. 2024, arXiv:2406.04313): the model's activations on
harmful answers are turned away from where they were, its activations on everything else stay put.

- Run {record.id}, spec digest `{record.digest}`, {record.status} after {record.step} of {record.steps} steps
- Target blocks {targets}; adapted blocks {", ".join(map(str, record.adapted))}
- {record.trained_parameters} trained parameters
- {record.seconds:.0f} s of training on {record.device}
- Versions: {", ".join(f"{name} {value}" for name, value in record.versions.items())}

| figure | value |
|---|---|
{figures or "| none measured | |"}

Cosines are taken in the standardised space (1 = unmoved, 0 = turned away); drift is relative to the block's mean
centred norm. Held-out figures are of prompts that training never saw. They do not prove that the breaker holds against
adaptive attacks.

```json
{json.dumps(spec.model_dump(mode="json"), indent=2)}
```
"""


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
