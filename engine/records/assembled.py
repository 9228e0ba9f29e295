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
    """language: the model whose blocks are its language half, and whose tokenizer and template it has.
    heaviness: how many times the default's time a training step takes, by the weights that a token passes."""

    name: str
    language: str
    heaviness: float = 1.0

    @property
    def folder_name(self) -> str:
        return self.name.removeprefix(ASSEMBLED_PREFIX)


ASSEMBLED = {
    model.name: model
    for model in (
        Assembled(f"{ASSEMBLED_PREFIX}llava-smollm2", BUNDLED_MODEL),
        Assembled(f"{ASSEMBLED_PREFIX}llava-qwen2.5-coder", f"{PREFIX}Qwen2.5-Coder-0.5B-Instruct", heaviness=3.6),
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


def projector_of(models: Path, name: str) -> str:
    """What tells an assembled model from another of its name: of its projector and how it sees. '' for one that was
    assembled before that was written down."""
    try:
        return (assembled_folder(models, name) / COMPLETE).read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""


def shipped_projector(model: Assembled, tokens: int) -> Path:
    """Where the trained projector of a model would ship."""
    return SAMPLE_DATA / "projectors" / f"{model.folder_name}-{tokens}.safetensors"


def offered_assembled(models: Path) -> list[str]:
    """Those that are here, or that need no training."""
    return [name for name, model in ASSEMBLED.items() if is_assembled(models, name) or shipped_tokens(model)]


def shipped_tokens(model: Assembled) -> list[int]:
    """As how many tokens a picture may be seen with a projector that ships, the finest first."""
    return [tokens for tokens in sorted(SIDES, reverse=True) if shipped_projector(model, tokens).is_file()]


def assembling_words(models: Path, name: str) -> str:
    """What is to be done before this model can be asked; '' where it is here."""
    if is_assembled(models, name):
        return ""
    command = assembling_command(ASSEMBLED[name])
    if not shipped_tokens(ASSEMBLED[name]):
        return (
            f"{name} is not assembled yet, and no projector ships for it: `{command}` fetches its parts and trains "
            "one; where an hour is over before it is done, the same command goes on where it was."
        )
    return f"{name} is not assembled yet: `{command}` fetches its parts and puts them together, once."


def assembling_command(model: Assembled) -> str:
    """With the projector that ships, at its finest, else with one that it trains."""
    tokens = shipped_tokens(model)
    options = " --train" if not tokens else "" if tokens[0] == max(SIDES) else f" --tokens {tokens[0]}"
    return f"python -m engine assemble --language {model.language}{options}"


def projector_folder(model: Assembled, tokens: int, settings: Settings) -> Path:
    """Where one is trained: features of pictures, checkpoints, and in the end the projector."""
    return settings.cache / "projectors" / f"{model.folder_name}-{tokens}"
