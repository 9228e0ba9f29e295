"""Cards: what the screen needs to know of a model or a data set, found out once by the worker and written down."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from engine.records.files import write_whole
from engine.records.model_files import made_of
from engine.records.spec_parts import ModelSpec
from engine.records.versions import key_of

# Of how cards are made: another number, and they are made anew.
CARDS = 5
# In what is asked about a model: no part of its spec.
MADE_OF = "made_of"
Card = TypeVar("Card", bound=BaseModel)


class CacheShape(BaseModel):
    """Numbers that a cache of keys and values keeps of a token, over all blocks that keep every token (`values`), and
    over those that keep the last `window` of them (`windowed`)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    values: int = 0
    windowed: int = 0
    window: int = 0

    def of(self, tokens: float) -> float:
        """How many numbers a row of so many tokens keeps."""
        return self.values * tokens + self.windowed * min(tokens, self.window)


class ModelCard(BaseModel):
    """One base model. modules: the linear modules of a block with their (inputs, outputs).  opening_tokens: with which
    the chat template opens every prompt alike.  head_parameters: of the LM head; 0 where that is not
    known.  format_reason: why its weights have this number format.  sees_pictures: whether it can be shown some."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    name: str
    family: str
    block_count: int
    d_model: int
    parameters: int
    block_parameters: int
    context_length: int
    has_chat_template: bool
    modules: dict[str, tuple[int, int]]
    device: str
    dtype: str
    opening_tokens: int = 0
    head_parameters: int = 0
    format_reason: str = ""
    cache: CacheShape = CacheShape()
    sees_pictures: bool = False

    @property
    def product_parameters(self) -> int:
        """The weights that a token is multiplied with: no embeddings that are only looked up."""
        return (
            self.block_parameters * self.block_count + self.head_parameters if self.head_parameters else self.parameters
        )


class DataCard(BaseModel):
    """Token lengths of a prompt set under one model's tokenizer and chat template.

    with_tools: the share of prompts that offer tools.  tokens_alone_mean: how many tokens are run for a prompt where
    what prompts with the same tools open with is run once for all of them; None where none offers tools.  given: the
    share of prompts that keep the answer of their file.  answers_mean: tokens of an answer of the files; None where
    none has one.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    rows: int
    tokens_mean: float
    tokens_median: float
    tokens_95: float
    tokens_max: int
    histogram: list[int]
    histogram_edges: list[float]
    with_tools: float = 0.0
    tokens_alone_mean: float | None = None
    given: float = 0.0
    answers_mean: float | None = None


def asked_of(model: ModelSpec, models: Path) -> dict[str, Any]:
    """What is asked about a model, with what it is made of now where that may change: another one that was put under
    its name is another model."""
    found = made_of(models, model.name)
    return model.model_dump(mode="json") | ({MADE_OF: found} if found else {})


def model_asked(payload: dict[str, Any]) -> ModelSpec:
    """The model of such a question."""
    return ModelSpec.model_validate({name: value for name, value in payload.items() if name != MADE_OF})


def card_file(cards: Path, kind: str, payload: dict[str, Any]) -> Path:
    """Where the card for this request is or will be."""
    key = key_of(json.dumps(payload, sort_keys=True), version=CARDS, length=16)
    return cards / f"{kind}-{key}.json"


def write_card(cards: Path, kind: str, payload: dict[str, Any], card: BaseModel) -> None:
    write_whole(card_file(cards, kind, payload), card.model_dump_json(indent=2))


def read_model_card(cards: Path, payload: dict[str, Any]) -> ModelCard | None:
    return _read(card_file(cards, "describe_model", payload), ModelCard)


def read_data_card(cards: Path, payload: dict[str, Any]) -> DataCard | None:
    return _read(card_file(cards, "describe_data", payload), DataCard)


def _read(path: Path, kind: type[Card]) -> Card | None:
    try:
        return kind.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
