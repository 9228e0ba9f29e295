"""The harmfulness probes of a run: fitted when its training ends or later, and read back to be used. Knows neither the
queue nor other jobs.
"""

import math
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from engine.child import in_child
from engine.compute.model.activations import block_activations
from engine.compute.model.adapters import adapted
from engine.compute.model.harmfulness import Probe, read_layers, save_layers
from engine.compute.model.loaded import LoadedModel
from engine.compute.training.base_activations import GROUP_TOKENS, row_batch
from engine.compute.training.rows import Row, micro_batches
from engine.device import Tools
from engine.jobs.known_answers import known_rows
from engine.records.blocks import probe_block, resolve_blocks
from engine.records.checkpoints import Checkpoint
from engine.records.conversation import Label
from engine.records.evaluation.counts import SIDES, Side
from engine.records.events import Event, Progress
from engine.records.files import write_whole
from engine.records.harmfulness import (
    KINDS,
    PROBES,
    WEIGHTS,
    FittedProbe,
    HarmfulnessProbes,
    ProbeKind,
    need_borderline,
    new_probes_folder,
    probes_folder,
    read_probes,
)
from engine.records.prompts import Split
from engine.records.runs import Run, open_run
from engine.records.settings import Settings
from engine.records.spec import RunSpec
from engine.records.spec_text import with_fields

# Answers of each label that the probes are fitted on: twice as many moved no token AUC by more than 0.02.
FITTED_ROWS = 256
HELD_OUT_ROWS = 160
# Of the activations that are fitted on. Where all tokens would take more, each answer gives its first ones.
MOST_BYTES = 400_000_000
FEWEST_TOKENS = 8

Job = Generator[Event | None, None, None]


class Tokens(NamedTuple):
    """Activations of answer tokens at one block, and whether the answer that each is of is harmful."""

    activations: Float[np.ndarray, "token d_model"]
    harmful: Bool[np.ndarray, " token"]

    def of_harmful(self) -> "Tokens":
        return Tokens(*(part[self.harmful] for part in self))

    def with_others(self, others: "Tokens") -> "Tokens":
        return Tokens(*(np.concatenate(parts) for parts in zip(self, others, strict=True)))


def fit_probe_job(payload: dict[str, Any], tools: Tools) -> Job:
    """Fit the probes of a finished run, anew if it has some. payload: run, and block and false_alarms where they are
    not to be the spec's."""
    run = open_run(tools.settings.runs, payload["run"])
    spec = run.spec()
    given = {name: payload[name] for name in ("block", "false_alarms") if payload.get(name) is not None}
    spec = with_fields(spec, {f"harmfulness.{name}": value for name, value in given.items()}, name="the probe")
    model = yield from tools.acquire(spec.model)
    with tools.still(model, Checkpoint(run.id)) as adapter:
        yield from fit_probes(run, model, adapter, spec, tools.settings, step=run.record().step)


def fit_probes(
    run: Run, model: LoadedModel, adapter: str | None, spec: RunSpec, settings: Settings, *, step: int
) -> Generator[Event | None, None, None]:
    """Fit a linear probe and an MLP on answer tokens of the base model's activations, and of the circuit-broken
    model's; the figures are written last. What stands there for this step and these settings is left alone.

    Raises DataError where too few held-out borderline answers are there to set a threshold by.
    """
    started, block = time.monotonic(), probe_block(spec, model.card.block_count)
    first_adapted = resolve_blocks(spec, model.card.block_count).first_adapted
    if _is_fitted(run, settings, block, spec.harmfulness.false_alarms, step):
        return
    fitted_on = yield from _rows(model, spec, settings, "train", FITTED_ROWS)
    held_out = yield from _rows(model, spec, settings, "validation", HELD_OUT_ROWS)
    borderline = [place for place, row in enumerate(held_out) if row.borderline]
    need_borderline(len(borderline))
    fitted: dict[Side, dict[ProbeKind, Probe]] = {}
    read = yield from _tokens(model, adapter, fitted_on, block, entry_block=first_adapted)
    # The answers that a breaker misses are those whose activations stayed where the base model's are.
    read["rerouted"] = read["rerouted"].with_others(read["base"].of_harmful())
    for side in SIDES:
        tokens = read.pop(side)
        found = yield from in_child(
            "engine.compute.geometry.harmfulness.fit",
            tokens.activations,
            tokens.harmful,
            spec.seed,
            phase="fitting",
            message="Fits the harmfulness probes",
        )
        fitted[side] = {}
        for kind in KINDS:
            here = partial(torch.tensor, device=model.device)
            fitted[side][kind] = Probe(block, tuple((here(w), here(b)) for w, b in found[kind]), math.inf)
    heard = yield from _scores(model, adapter, held_out, fitted, entry_block=first_adapted)
    is_harmful = np.array([row.label == "harmful" for row in held_out])
    probes: dict[Side, dict[ProbeKind, FittedProbe]] = {}
    for side in SIDES:
        areas = yield from in_child(
            "engine.compute.geometry.harmfulness.areas",
            {kind: np.concatenate(heard[side][kind]) for kind in KINDS},
            np.repeat(is_harmful, [len(scores) for scores in heard[side][KINDS[0]]]),
            phase="fitting",
            message="Judges the harmfulness probes",
        )
        probes[side] = {}
        for kind in KINDS:
            highest = _highest(heard[side][kind])
            probes[side][kind] = FittedProbe(
                auc=areas[kind],
                borderline=_descending(highest[borderline]),
                harmful=_descending(highest[is_harmful]),
            )
    folder = new_probes_folder(run, settings)
    # Weights of one block must never stand beside what was said of another's.
    (folder / PROBES).unlink(missing_ok=True)
    save_layers(
        folder / WEIGHTS, {f"{side}.{kind}": one.layers for side in SIDES for kind, one in fitted[side].items()}
    )
    whole = HarmfulnessProbes(
        step=step,
        block=block,
        false_alarms=spec.harmfulness.false_alarms,
        rows={name: sum(_kind(row) == name for row in fitted_on) for name in ("harmful", "borderline", "benign")},
        probes=probes,
        seconds=time.monotonic() - started,
    )
    write_whole(folder / PROBES, whole.model_dump_json(indent=1))


def probe_of(
    run: Run, found: HarmfulnessProbes, side: Side, kind: ProbeKind, settings: Settings, model: LoadedModel,
    *, false_alarms: float | None = None,
) -> Probe:  # fmt: skip
    """One of a run's probes, ready to be used. false_alarms: None for the rate that it was fitted for."""
    rate = found.false_alarms if false_alarms is None else false_alarms
    layers = read_layers(probes_folder(run, settings) / WEIGHTS, f"{side}.{kind}", model.device)
    return Probe(found.block, layers, found.probes[side][kind].threshold(rate))


def probes_of(
    run: Run, found: HarmfulnessProbes, kind: ProbeKind, settings: Settings, model: LoadedModel,
    *, false_alarms: float | None = None,
) -> dict[Side, Probe]:  # fmt: skip
    """As `probe_of`, those of both models."""
    return {side: probe_of(run, found, side, kind, settings, model, false_alarms=false_alarms) for side in SIDES}


def _is_fitted(run: Run, settings: Settings, block: int, false_alarms: float, step: int) -> bool:
    known = read_probes(run, settings)
    return known is not None and (known.block, known.false_alarms, known.step) == (block, false_alarms, step)


def _rows(
    model: LoadedModel, spec: RunSpec, settings: Settings, split: Split, limit: int
) -> Generator[Event, None, list[Row]]:
    """Rows of both sides with their answers, of held-out ones more than the run was measured on, and borderline ones
    before others: they set the threshold."""
    found: list[Row] = []
    labels: tuple[Label, ...] = ("harmful", "benign")
    more = spec.model_copy(update={"data": spec.data.model_copy(update={"heldout_rows": 0})})
    for label in labels:
        found += yield from known_rows(
            model, more, settings, split=split, label=label, limit=limit, answered=True,
            borderline_first=split == "validation",
        )  # fmt: skip
    return found


def _tokens(
    model: LoadedModel, adapter: str | None, rows: Sequence[Row], block: int, *, entry_block: int
) -> Generator[Event | None, None, dict[Side, Tokens]]:
    """Activations of the answers' tokens in both models, as many of each answer as MOST_BYTES hold."""
    most = max(FEWEST_TOKENS, MOST_BYTES // (4 * model.d_model * len(rows)))
    vectors: dict[Side, list[np.ndarray]] = {side: [] for side in SIDES}
    harmful: list[np.ndarray] = []

    def take(row: Row, answers: dict[Side, Tensor]) -> None:
        for side, answer in answers.items():
            vectors[side].append(answer[:most].float().cpu().numpy())
        harmful.append(np.full(len(vectors[SIDES[0]][-1]), row.label == "harmful"))

    yield from _read(model, adapter, rows, block, entry_block=entry_block, take=take)
    return {side: Tokens(np.concatenate(vectors[side]), np.concatenate(harmful)) for side in SIDES}


def _scores(
    model: LoadedModel,
    adapter: str | None,
    rows: Sequence[Row],
    probes: Mapping[Side, Mapping[ProbeKind, Probe]],
    *,
    entry_block: int,
) -> Generator[Event | None, None, dict[Side, dict[ProbeKind, list[np.ndarray]]]]:
    """What each probe makes of every token of each row's answer: whole ones, as they are heard where it is used."""
    found = {side: {kind: [np.empty(0)] * len(rows) for kind in KINDS} for side in SIDES}
    place = {id(row): number for number, row in enumerate(rows)}

    def take(row: Row, answers: dict[Side, Tensor]) -> None:
        for side, answer in answers.items():
            for kind, probe in probes[side].items():
                found[side][kind][place[id(row)]] = probe.scores(answer).cpu().numpy()

    yield from _read(model, adapter, rows, probes["base"][KINDS[0]].block, entry_block=entry_block, take=take)
    return found


def _read(
    model: LoadedModel,
    adapter: str | None,
    rows: Sequence[Row],
    block: int,
    *,
    entry_block: int,
    take: Callable[[Row, dict[Side, Tensor]], None],
) -> Generator[Event | None, None, None]:
    """Have `take` see what the block gives out for each row's answer in both models, at most GROUP_TOKENS through
    either at once. What enters the first adapted block is the same in both: below it nothing is run twice."""
    groups = micro_batches(rows, GROUP_TOKENS)
    moves = adapter is not None and block >= entry_block
    for number, group in enumerate(groups):
        message = "Reads answers for the harmfulness probe"
        yield Progress(phase="fitting", done=number, total=len(groups), message=message)
        batch, outputs = row_batch(model, group), dict[Side, Tensor]()
        with torch.no_grad(), adapted(model, None):
            base = block_activations(model, batch, [block], entry_block=entry_block, keep_entry=moves)
        outputs["base"] = outputs["rerouted"] = base.outputs[block]
        if moves:
            yield None
            with torch.no_grad(), adapted(model, adapter):
                rerouted = block_activations(model, batch, [block], entry_block=entry_block, entry=base.entry)
            outputs["rerouted"] = rerouted.outputs[block]
        for index, row in enumerate(group):
            take(row, {side: outputs[side][index, row.response_start : len(row.ids)] for side in SIDES})


def _highest(scores: Sequence[np.ndarray]) -> np.ndarray:
    """Of each answer the highest score of its tokens: where the probe fires at all."""
    return np.array([found.max(initial=-np.inf) for found in scores])


def _descending(scores: np.ndarray) -> tuple[float, ...]:
    """Rounded up: a threshold is one of them, above which no more may lie than it allows."""
    return tuple(sorted((math.ceil(float(score) * 1e4) / 1e4 for score in scores), reverse=True))


def _kind(row: Row) -> str:
    return "borderline" if row.borderline else row.label
