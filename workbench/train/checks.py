"""What is wrong with a draft, field by field, so that each page part can say it beside its widget.

Pure: knows fields, cards and prompts, nothing of widgets.
"""

from collections.abc import Mapping
from typing import NamedTuple

from pydantic import ValidationError

from engine.records.blocks import ResolvedBlocks, parse_blocks, probe_block, resolve_blocks, unknown_modules
from engine.records.cards import ModelCard
from engine.records.chosen_rows import (
    chosen_rows,
    held_apart,
    idle_borderline_share,
    kind_of,
    missing_answers,
)
from engine.records.conversation import Label
from engine.records.errors import DataError, SpecError
from engine.records.harmfulness import held_out_borderline, need_borderline
from engine.records.prompts import Prompt, asked_rows
from engine.records.spec import RunSpec
from workbench.train.draft import Fields, nested
from workbench.train.numbers import is_number, number_problem, written

SIDES: dict[Label, str] = {"harmful": "data.circuit_breaker", "benign": "data.retain"}


class Checked(NamedTuple):
    """problems: what to mend, by dotted field name; a run can start when there are none and the spec is there. spec:
    with the last valid value in place of each that cannot be used, so that the rest of the page goes on."""

    spec: RunSpec | None
    blocks: ResolvedBlocks | None
    problems: dict[str, str]


class RowCounts(NamedTuple):
    """Rows that the draft selects. asked: of all of them those whose answers are made: no copies, and none whose
    answers are kept.  remarks: what stands in no run's way and is to be known."""

    training: int
    heldout: int
    asked: int
    remarks: tuple[str, ...] = ()


def check_spec(content: Fields, card: ModelCard | None, *, valid: Fields | None = None) -> Checked:
    """Check the values alone, and the blocks and modules against the model's card.

    content: all fields under dotted names.  valid: a content that made a spec.
    """
    problems = {
        path: wrong for path, value in content.items() if is_number(path) and (wrong := number_problem(path, value))
    }
    try:
        spec = RunSpec.model_validate(nested(content))
    except ValidationError as error:
        for problem in error.errors():
            where = ".".join(str(part) for part in problem["loc"][:2])
            problems.setdefault(where, _sentence(where, problem["type"], problem["msg"]))
        spec = None
    if problems and valid is not None:
        spec = _spec_with(content, valid, problems)
        for path in problems:
            if is_number(path):
                problems[path] += f" It is not applied; {written(valid[path])} holds until then."
    if spec is None:
        return Checked(None, None, problems)
    if card is None:
        return Checked(spec, None, problems)
    problems |= _module_problems(spec, card)
    blocks = None
    for path, text in (("blocks.targets", spec.blocks.targets), ("blocks.adapted", spec.blocks.adapted)):
        _try_blocks(path, text, card.block_count, problems)
    if spec.loss.retain_blocks.strip() != "adapted":
        _try_blocks("loss.retain_blocks", spec.loss.retain_blocks, card.block_count, problems)
    if spec.harmfulness.probe and "blocks.targets" not in problems:
        try:
            probe_block(spec, card.block_count)
        except SpecError as error:
            problems["harmfulness.block"] = str(error)
    if not {"blocks.targets", "blocks.adapted", "loss.retain_blocks", "harmfulness.block"} & problems.keys():
        try:
            blocks = resolve_blocks(spec, card.block_count)
        except SpecError as error:
            problems["blocks.targets" if str(error).startswith("Target") else "blocks.adapted"] = str(error)
    return Checked(spec, blocks, problems)


def count_rows(
    spec: RunSpec, prompts: Mapping[Label, list[Prompt] | None]
) -> tuple[dict[Label, RowCounts], dict[str, str]]:
    """Rows of each side that the spec selects, and what is wrong with the selection."""
    counts: dict[Label, RowCounts] = {}
    problems: dict[str, str] = {}
    for label, rows in prompts.items():
        if rows is None:
            continue
        try:
            apart = held_apart(rows)
            selected = chosen_rows(apart, spec.data, label=label, seed=spec.seed)
        except DataError as error:
            problems[SIDES[label]] = str(error)
            continue
        if label == "benign" and spec.harmfulness.probe:
            try:
                need_borderline(held_out_borderline(apart, spec.data))
            except DataError as error:
                problems["harmfulness.probe"] = str(error)
        training, everything = len(selected["train"]), [row for split in selected.values() for row in split]
        remarks = list[str]()
        if asked_in_training := len(rows) - len(apart):
            remarks.append(f"Left out of the held-out rows, as training rows ask the same: {asked_in_training}.")
        if label == "benign" and (idle := idle_borderline_share(spec.data, map(kind_of, selected["train"]))):
            remarks.append(idle)
        counts[label] = RowCounts(training, len(everything) - training, asked_rows(everything), tuple(remarks))
        if missing := missing_answers(spec.data, label, selected):
            problems["data.answers"] = missing
    return counts, problems


def _spec_with(content: Fields, valid: Fields, problems: Mapping[str, str]) -> RunSpec | None:
    """The content with the last valid values where it has problems; None where these do not fit together."""
    mended = {path: valid[path] for path in problems if path in valid}
    try:
        return RunSpec.model_validate(nested(dict(content) | mended))
    except ValidationError:
        return None


def _sentence(where: str, kind: str, message: str) -> str:
    if kind == "string_too_short":
        return (
            "No block is chosen: choose at least one." if "block" in where or "target" in where else "Write something."
        )
    message = message.removeprefix("Value error, ").rstrip(".")
    return f"{message[:1].upper()}{message[1:]}."


def _try_blocks(path: str, text: str, block_count: int, problems: dict[str, str]) -> None:
    try:
        parse_blocks(text, block_count)
    except SpecError as error:
        problems[path] = str(error)


def _module_problems(spec: RunSpec, card: ModelCard) -> dict[str, str]:
    unknown = unknown_modules(card.modules, spec.adapter.modules)
    if not unknown:
        return {}
    known = ", ".join(card.modules)
    return {"adapter.modules": f"{', '.join(unknown)} is no linear module of this model: choose from {known}."}
