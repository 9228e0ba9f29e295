"""What a model's files say of it before it is loaded: which weights they are, whether its chat template takes tools,
whether it sees pictures, and how much it reads. Knows nothing of models in memory."""

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from engine.records.assembled import ASSEMBLED, assembled_folder, projector_of
from engine.records.errors import ModelError
from engine.records.model_place import is_folder
from engine.records.packaged import PACKAGED, packaged_folder
from engine.records.settings import given_path
from engine.records.spec_parts import BUNDLED_MODEL, ModelSpec

# By what their config.json calls them: a plain causal decoder that reads a picture as so many vectors in a row.
SEEING_KINDS = ("llava", "llava_next")
# Of a template: longer ones are none.
MOST_LETTERS = 1_000_000
# Of each file of weights, evenly: all of an 8B model's would take a minute.
SAMPLES, SAMPLE_BYTES = 64, 4096
# What is downloaded of a model of the Hugging Face hub. Folders hold the same model for other programs; Mistral's
# repositories its weights a second time.
READ = ["*.json", "*.jinja", "*.model", "*.txt", "*.safetensors"]
UNREAD = ["*/*", "consolidated*"]
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")


def made_of(models: Path, name: str) -> str:
    """What tells a model from another of its name: of an assembled one its projector and how it sees, of a folder or
    Hugging Face id a sample of the weights that are here. '' for models that never change, and for what is not here.
    """
    if name in ASSEMBLED:
        return projector_of(models, name)
    if name == BUNDLED_MODEL or name in PACKAGED:
        return ""
    try:
        folder = _folder(models, name) if is_folder(name) else _downloaded(name)
        files = _weight_files(folder) if folder else []
        found = [(one.name, _sampled(str(one), one.stat().st_size, one.stat().st_mtime_ns)) for one in files]
    except (OSError, ValueError):
        # No name that a file can have, too: loading says so in words.
        return ""
    return hashlib.sha256(repr(found).encode()).hexdigest()[:16] if found else ""


def takes_tools(models: Path, model: ModelSpec) -> bool | None:
    """Whether the chat template that a model is read under speaks of tools; None where its files are not here."""
    if model.chat_template != "model":
        return model.chat_template == "tools_in_words"
    template = _template(_folder(models, model.name))
    return None if template is None else "tools" in template


def sees_pictures(models: Path, name: str) -> bool | None:
    """Whether a model can be shown pictures here; None where its files are not here."""
    kind = _json(_folder(models, name) / "config.json").get("model_type")
    return None if kind is None else kind in SEEING_KINDS


def context_length(models: Path, name: str) -> int:
    """As many tokens as a model reads; 0 where its files are not here or do not say."""
    config = _json(_folder(models, name) / "config.json")
    # Of a model that sees, its language half.
    found = config.get("max_position_embeddings") or (config.get("text_config") or {}).get("max_position_embeddings")
    return found if isinstance(found, int) else 0


def _weight_files(folder: Path) -> list[Path]:
    """Those that are loaded: beside them the same weights may lie once more, in another library's names."""
    if (whole := folder / "model.safetensors").is_file():
        return [whole]
    if isinstance(listed := _json(folder / "model.safetensors.index.json").get("weight_map"), dict):
        return sorted({folder / str(name) for name in listed.values()})
    return sorted(folder.glob("*.safetensors"))


def downloaded(name: str) -> Path | None:
    """Where a model of the Hugging Face hub lies, once all that loading it reads was downloaded; else None."""
    from huggingface_hub import snapshot_download

    try:
        # By the list of files that the hub's own cache has of a download; others filled it without one.
        folder = Path(snapshot_download(name, allow_patterns=READ, ignore_patterns=UNREAD, local_files_only=True))
    except (OSError, ValueError):
        return None
    # In no other names: those that are there may be some of several.
    is_named = any((folder / one).is_file() for one in ("model.safetensors", "model.safetensors.index.json"))
    has_words = any((folder / one).is_file() for one in TOKENIZERS)
    whole = is_named and has_words and all(file.is_file() for file in _weight_files(folder))
    return folder if whole and (folder / "config.json").is_file() else None


def _downloaded(name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    try:
        file = try_to_load_from_cache(name, "config.json")
    except ValueError:
        # No name that a hub knows: loading says so in words.
        return None
    return Path(file).parent if isinstance(file, str) else None


@lru_cache(maxsize=256)
def _sampled(file: str, size: int, _stamp: int) -> str:
    digest = hashlib.sha256(str(size).encode())
    with Path(file).open("rb") as opened:
        for place in range(SAMPLES):
            opened.seek(place * size // SAMPLES)
            digest.update(opened.read(SAMPLE_BYTES))
        opened.seek(max(0, size - SAMPLE_BYTES))
        digest.update(opened.read())
    return digest.hexdigest()


def _folder(models: Path, name: str) -> Path:
    if name in PACKAGED:
        return packaged_folder(models, name)
    if name in ASSEMBLED:
        return assembled_folder(models, name)
    if name == BUNDLED_MODEL:
        return models / name.rpartition("/")[2]
    if not is_folder(name):
        return _downloaded(name) or models / "none"
    try:
        return given_path(name, error=ModelError)
    except ModelError:
        return models / "none"


def _template(folder: Path) -> str | None:
    try:
        return _text(folder / "chat_template.jinja")
    except (OSError, ValueError):
        given = _json(folder / "tokenizer_config.json").get("chat_template")
    if isinstance(given, list):
        # Several by name: the default is what a conversation gets.
        return json.dumps(given)
    return given if isinstance(given, str) else None


def _json(file: Path) -> dict[str, Any]:
    try:
        read = json.loads(_text(file))
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}


def _text(file: Path) -> str:
    return _cached(str(file), file.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _cached(file: str, _stamp: int) -> str:
    with Path(file).open(encoding="utf-8") as opened:
        return opened.read(MOST_LETTERS)
