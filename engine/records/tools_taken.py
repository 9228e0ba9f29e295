"""Whether the model of a run can read the tools that its rows offer, told before it is loaded."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import get_args

from engine.records.conversation import Label
from engine.records.errors import DataError, ModelError
from engine.records.model_files import takes_tools
from engine.records.packaged import PACKAGED
from engine.records.prompts import Prompt, Split, select
from engine.records.sources import TOOLS, parse_sources
from engine.records.spec import RunSpec
from engine.records.spec_parts import ModelSpec


def need_tools_taken(models: Path, spec: RunSpec, prompts: Mapping[Label, Sequence[Prompt] | None]) -> None:
    """Raises ModelError where rows of a run offer tools and its chat template takes none. Nothing is said of a model
    whose files are not here. prompts: of each side, before the spec chooses among them; None where they cannot be read
    here, so that the names of their sources say what they can.
    """
    if takes_tools(models, spec.model) is not False:
        return
    data = spec.data
    sides: dict[Label, tuple[str, bool]] = {
        "harmful": (data.circuit_breaker, bool(data.circuit_breaker_rows or data.categories or data.styles)),
        "benign": (data.retain, bool(data.retain_rows or data.styles)),
    }
    for label, (source, is_narrowed) in sides.items():
        rows = prompts.get(label)
        if (not is_narrowed and _names_tools(source)) if rows is None else _offer_tools(rows, spec, label):
            raise ModelError(
                f"{template_words(spec.model)} takes no tools, and rows of the {label} set offer some: choose a model "
                f"whose chat template takes tools, such as {next(iter(PACKAGED))}, the chat template 'tools_in_words', "
                "or sets without them."
            )


def template_words(model: ModelSpec) -> str:
    """What a sentence calls the template that a model is read under."""
    own = f"The chat template of {model.name}"
    return own if model.chat_template == "model" else f"The {model.chat_template} template, chosen for {model.name},"


def _names_tools(source: str) -> bool:
    with suppress(DataError):
        return any(one.name.startswith(TOOLS) for one in parse_sources(source))
    return False


def _offer_tools(rows: Sequence[Prompt], spec: RunSpec, label: Label) -> bool:
    """Whether any row that the spec chooses does."""
    chosen = list[Prompt]()
    if any(row.conversation.tools for row in rows):
        for split in get_args(Split):
            # Of a split that no row is in none is chosen.
            with suppress(DataError):
                chosen += select(rows, spec.data, label=label, split=split, seed=spec.seed)
    return any(row.conversation.tools for row in chosen)
