"""Prompts of a run with the base model's own answers, as rows: what spaces and losses outside of training rest on."""

from collections.abc import Generator

from engine.compute.geometry.trip import read_spaces, standard_spaces
from engine.compute.model.loaded import LoadedModel
from engine.compute.training.pairs import elicit, without_refusals
from engine.compute.training.reroute import BlockSpace
from engine.compute.training.rows import Row, encode, with_requests
from engine.compute.training.sources import read_prompts
from engine.records.chosen_rows import held_apart
from engine.records.conversation import Label
from engine.records.errors import DataError
from engine.records.events import Event
from engine.records.prompts import Prompt, Split, select, told_once
from engine.records.runs import Run
from engine.records.settings import Settings
from engine.records.spaces import kept_spaces, packed_spaces
from engine.records.spec import RunSpec
from engine.records.spec_parts import DataSpec

SPACE_PROMPTS = 24
_HELD_OUT: tuple[Split, Split] = ("validation", "test")


def known_rows(
    model: LoadedModel,
    spec: RunSpec,
    settings: Settings,
    *,
    split: Split,
    label: Label,
    limit: int,
    answered: bool = False,
    borderline_first: bool = False,
) -> Generator[Event, None, list[Row]]:
    """Rows of one side and split of a run; answers come from the cache where the run was trained on this machine.

    answered: harmful prompts that the base model refused are left out, if the spec leaves them out of training.
    borderline_first: where there are more rows than `limit`, others are left out before borderline ones are. Where
    the run has no validation rows, those of its test stand in, and the other way round; where its prompt files are gone
    or leave none, prompts of the sets that ship.
    """
    data = spec.data
    try:
        prompts = _prompts(data, label, split, spec.seed)
    except DataError:
        data = DataSpec(new_tokens=data.new_tokens)
        prompts = _prompts(data, label, split, spec.seed)
    if borderline_first:
        taken = {id(prompt) for prompt in sorted(prompts, key=lambda prompt: not prompt.borderline)[:limit]}
        prompts = [prompt for prompt in prompts if id(prompt) in taken]
    pairs = yield from elicit(model, prompts[:limit], data, answers_folder=settings.answers, seed=spec.seed)
    kept = without_refusals(pairs, data) if answered else pairs
    rows = [encode(model, pair, with_requests(data)) for pair in kept]
    return [row for row in rows if len(row.ids) > row.response_start]


def run_spaces(
    model: LoadedModel, run: Run, settings: Settings
) -> Generator[Event | None, None, dict[int, BlockSpace]]:
    """Mean and deviation of the base activations at every block over prompts and answers of both sides of a run."""
    if known := known_spaces(model, run, settings):
        return known
    rows: list[Row] = []
    for label in ("harmful", "benign"):
        rows += yield from known_rows(model, run.spec(), settings, split="train", label=label, limit=SPACE_PROMPTS)
    return (yield from standard_spaces(model, rows, file=kept_spaces(run, settings)))


def known_spaces(model: LoadedModel, run: Run, settings: Settings) -> dict[int, BlockSpace]:
    """As run_spaces, where they were measured before; else empty."""
    return read_spaces(packed_spaces(run), model) or read_spaces(kept_spaces(run, settings), model)


def _prompts(data: DataSpec, label: Label, split: Split, seed: int) -> list[Prompt]:
    source = data.circuit_breaker if label == "harmful" else data.retain
    prompts = held_apart(read_prompts(source, label=label, answer_field=data.answer_field))
    if split in _HELD_OUT and not any(prompt.split == split for prompt in prompts):
        # Of the run's own held-out rows rather the others than those of another set.
        (split,) = set(_HELD_OUT) - {split}
    return told_once(select(prompts, data, label=label, split=split, seed=seed))
