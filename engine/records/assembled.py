"""Models that are put together here of parts out of packages: which, of what, and where they end up. Knows nothing of
how they are assembled."""

from pathlib import Path
from typing import Literal, NamedTuple

from engine.records.errors import ModelError
from engine.records.packaged import COMPLETE, PREFIX
from engine.records.settings import SAMPLE_DATA, Settings
from engine.records.spec_parts import BUNDLED_MODEL

ASSEMBLED_PREFIX = "assembled/"
# Patches of 14 pixels: a picture of so many on a side is seen as so many tokens.
SIDES = {16: 56, 64: 112}
PictureTokenCount = Literal[16, 64]


class Assembled(NamedTuple):
    """language: the model whose blocks are its language half, and whose tokenizer and template it has."""

    name: str
    language: str

    @property
    def folder_name(self) -> str:
        return self.name.removeprefix(ASSEMBLED_PREFIX)


ASSEMBLED = {
    model.name: model
    for model in (
        Assembled(f"{ASSEMBLED_PREFIX}llava-smollm2", BUNDLED_MODEL),
        Assembled(f"{ASSEMBLED_PREFIX}llava-qwen2.5-coder", f"{PREFIX}Qwen2.5-Coder-0.5B-Instruct"),
    )
}
LANGUAGES = {model.language: model for model in ASSEMBLED.values()}


def assembled_of(language: str) -> Assembled:
    """Raises ModelError for a language model that none is made of."""
    if language not in LANGUAGES:
        raise ModelError(f"No model is assembled of '{language}': choose {' or '.join(LANGUAGES)}.")
    return LANGUAGES[language]


def assembled_folder(models: Path, name: str) -> Path:
    """Where the assembled model is, or will be."""
    return models / ASSEMBLED[name].folder_name


def is_assembled(models: Path, name: str) -> bool:
    return (assembled_folder(models, name) / COMPLETE).is_file()


def shipped_projector(model: Assembled, tokens: int) -> Path:
    """Where the trained projector of a model would ship."""
    return SAMPLE_DATA / "projectors" / f"{model.folder_name}-{tokens}.safetensors"


def projector_folder(model: Assembled, tokens: int, settings: Settings) -> Path:
    """Where one is trained: features of pictures, checkpoints, and in the end the projector."""
    return settings.cache / "projectors" / f"{model.folder_name}-{tokens}"
