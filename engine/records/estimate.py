"""What a run will cost, before it starts: pure arithmetic on the spec, the model's card and the machine's speed."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from engine.records.blocks import ResolvedBlocks, is_adapted, probe_block, resolve_blocks
from engine.records.cards import ModelCard
from engine.records.room import (
    BYTES,
    TRAINED_BYTES,
    MemoryPart,
    checkpoints_gradients,
    held_bytes,
    kept_bytes,
    kept_token_bytes,
    learning_bytes,
    on_gpu,
    shares_of,
    weight_bytes,
    whole_room,
)
from engine.records.spec import RunSpec
from engine.records.start_rows import NEIGHBOURS, STATISTICS_ROWS

# What one advance of the worker's loop may take: whoever asks meanwhile waits so long for a first word.
ADVANCE_SECONDS = 1.0
LEAST_TOKENS = 64
# Rows of similar length together are padded by about so much.
PADDED = 1.25
# Of the speed of a large matrix product, as measured: padding, attention and the small operations between.
EFFICIENCY = 0.5
# Of the speed of a large matrix product, reading rows without gradients: 5,789 rows of the default preset, measured.
READING = 0.85
# 96 rows answered together, as a multiple of their products, and what attention and the small operations of a block add
# to each token, in operations: measured on two models. Fewer rows share the reading of the weights among fewer.
ANSWERING = 1.16
BLOCK_OPERATIONS = 5.8e6
MOST_TOGETHER = 96
SHARED_READING = 30
# From disk into memory, what loads the libraries included.
LOADED_BYTES_PER_SECOND = 2e8
# The small evaluation after training: two attacks on the harmful requests and one question for each benign one, asked
# of both models, each answer of so many tokens.
EVALUATED_ANSWERS = 6
# What the harmfulness probes read of each model, and what fitting both kinds takes: libraries, then some thousand
# tokens in one thread.
PROBE_ROWS = 750
PROBE_FIT_SECONDS = 20.0
EVALUATED_TOKENS = 48


class Part(NamedTuple):
    """One stretch of a run, in the words of the screen, and how long it will take."""

    name: str
    seconds: float


class Estimate(NamedTuple):
    """parts: in the order in which they begin, without those that take no time; none where the machine's speed is not
    known yet, so that seconds are None.  memory: what training takes, part by part.  cache_bytes: what the cache of
    keys and values takes while answers are generated, before training and in its place.  checkpointing: whether the
    backward pass computes each block anew, since its activations would not fit."""

    trained_parameters: int
    memory: tuple[MemoryPart, ...]
    cache_bytes: int = 0
    checkpointing: bool = False
    parts: tuple[Part, ...] = ()

    @property
    def memory_bytes(self) -> int:
        """At the peak: training, or the weights and the cache while answers are generated."""
        return max(sum(part.bytes for part in self.memory), self.memory[0].bytes + self.cache_bytes)

    @property
    def seconds(self) -> float | None:
        """From the click to the end, if nothing else runs and no answer is known yet."""
        return sum(part.seconds for part in self.parts) if self.parts else None

    @property
    def eliciting_seconds(self) -> float | None:
        """Of generating answers, before training."""
        return sum(part.seconds for part in self.parts if part.name == ANSWERS) if self.parts else None

    @property
    def training_seconds(self) -> float | None:
        """From the first activations of the base model to the last measurement."""
        return sum(part.seconds for part in self.parts if part.name in TRAINING) if self.parts else None


LOADING, ANSWERS, EVALUATION = "loading the model", "generating answers", "evaluating"
PROBE = "fitting the harmfulness probe"
TRAINING = ("reading the base model's activations", "training", "measuring", "probe answers", "capturing activations")


def micro_batch_tokens(
    spec: RunSpec,
    card: ModelCard,
    speed: float,
    *,
    row_tokens: float,
    room: float = 0,
    checkpointing: bool = False,
    advance_seconds: float = ADVANCE_SECONDS,
) -> int:
    """How many tokens, padding included, go forwards and backwards at once: a step is cut into as few equal parts as
    take `advance_seconds` each on this machine, and no part is larger than the spec and the memory allow.

    speed: operations a second in a large matrix product, 0 where it is not known.  row_tokens: mean length of a row.
    room: bytes that a micro-batch may leave behind, 0: any.  checkpointing: it computes blocks anew.  Raises SpecError
    as estimate does.
    """
    most = spec.optimizer.tokens_per_micro_batch
    if room:
        each = learning_bytes(spec, card, 1, checkpointing=checkpointing)
        most = min(most, max(LEAST_TOKENS, int(room / max(1, each))))
    if not speed:
        return most
    blocks = resolve_blocks(spec, card.block_count)
    rows = spec.optimizer.circuit_breaker_batch + spec.optimizer.retain_batch
    # The opening that all rows share is run once, unless dropout draws anew for each.
    shared = 0.0 if spec.adapter.dropout else min(card.opening_tokens, row_tokens)
    seconds = (
        4.0
        * card.block_parameters
        * (blocks.last + 1 - blocks.first_adapted)
        * (rows * (row_tokens - shared) + shared)
        / (EFFICIENCY * speed)
    )
    parts = math.ceil(seconds / advance_seconds)
    return most if parts <= 1 else min(most, max(LEAST_TOKENS, math.ceil(PADDED * rows * row_tokens / parts)))


def estimate(
    spec: RunSpec,
    card: ModelCard,
    machine: Mapping[str, Any],
    *,
    training_rows: int,
    heldout_rows: int,
    prompt_tokens: float,
    asked_rows: int | None = None,
    alone_tokens: float | None = None,
    with_tools: float = 0.0,
    given: float = 0.0,
    given_tokens: float = 0.0,
    step_share: float = 1.0,
) -> Estimate:
    """Parameters, memory and time of a run.

    machine: as the worker measured it, the speed that of one process. Rows: both sides together. asked_rows: those
    whose answers are made (engine.records.prompts), all unless given.
    prompt_tokens: mean length of a prompt.  alone_tokens, with_tools: see DataCard, of both sides.  given: the share of
    rows whose answers the files give, of so many tokens each.  step_share: how long a step's rows are, by the mean of
    all: a side of few long rows may fill half of each step. Time: as if the machine did nothing else, and had no
    answers to the prompts yet. Raises SpecError when the block lists do not fit the model.
    """
    blocks = resolve_blocks(spec, card.block_count)
    modules = {name: shape for name, shape in card.modules.items() if is_adapted(name, spec.adapter.modules)}
    trained = len(blocks.adapted) * sum(spec.adapter.rank * (inputs + outputs) for inputs, outputs in modules.values())

    elicited = spec.data.new_tokens + with_tools * (spec.data.call_tokens - spec.data.new_tokens)
    answer_tokens = (1 - given) * elicited + given * given_tokens
    row_tokens = min(spec.data.max_tokens, prompt_tokens + answer_tokens)
    batch, rows = spec.optimizer.circuit_breaker_batch + spec.optimizer.retain_batch, training_rows + heldout_rows
    drawn = spec.optimizer.steps * batch
    # Training rows that no step draws again are not kept.
    kept_rows = min(training_rows, max(0, drawn - training_rows)) + heldout_rows
    kept = kept_rows * row_tokens * kept_token_bytes(spec, card)
    # Processes on a processor have one memory, each with a model and a micro-batch of its own.
    processes, shares = int(machine.get("processes", 1)), shares_of(machine)
    times = 1 if on_gpu(machine) else processes
    fixed = (
        MemoryPart("weights", times * held_bytes(card, shares)),
        MemoryPart("adapter and optimizer", times * trained * TRAINED_BYTES),
        MemoryPart("kept base activations", int(min(times * kept, kept_bytes(machine)))),
    )
    checkpointing = checkpoints_gradients(spec, card, machine)
    each = learning_bytes(spec, card, 1, checkpointing=checkpointing)
    micro_tokens = min(batch * row_tokens * step_share, spec.optimizer.tokens_per_micro_batch)
    if room := whole_room(card, machine):
        micro_tokens = min(micro_tokens, max(row_tokens, room / each))
    memory = (*fixed, MemoryPart("a micro-batch", int(times * micro_tokens * each)))
    answered = min(rows, MOST_TOGETHER) if spec.data.answers == "elicit" else 2 * spec.captures.probe_prompts
    cache = int(answered * card.cache.of(row_tokens) * BYTES.get(card.dtype, 4))

    speed = machine.get("flops_per_second")
    if not speed:
        return Estimate(trained, memory, cache, checkpointing)
    # A row that no step draws is not read.
    read, asked = min(training_rows, drawn) + heldout_rows, rows if asked_rows is None else asked_rows
    # Several processes share out the rows; those that hold shares of the weights run all rows of all but the steps.
    speed *= processes / shares
    alone = max(0.0, prompt_tokens - card.opening_tokens) if alone_tokens is None else alone_tokens
    work = _Work(spec, card, blocks, speed, alone_tokens=alone, answer_tokens=answer_tokens, row_tokens=row_tokens)
    seconds = {
        LOADING: weight_bytes(card) / LOADED_BYTES_PER_SECOND,
        ANSWERS: work.answering(asked, new_tokens=elicited) if spec.data.answers == "elicit" else 0.0,
        "reading the base model's activations": work.reading(read + work.read_again(rows), blocks.last + 1),
        "training": spec.optimizer.steps * step_share * work.step() / shares,
        "measuring": work.measuring(heldout_rows),
        "probe answers": work.probing(),
        "capturing activations": work.capturing(),
        PROBE: work.fitting_probes(),
        EVALUATION: work.evaluating(),
    }
    parts = tuple(Part(name, value) for name, value in seconds.items() if value > 0)
    return Estimate(trained, memory, cache, checkpointing, parts)


class _Work(NamedTuple):
    """Seconds of each kind of work on this machine.

    2 operations a parameter and token forwards and 2 backwards, since the weights stay as they are; the opening that
    all prompts share not at all. alone_tokens: of a prompt, what is run for it alone.
    """

    spec: RunSpec
    card: ModelCard
    blocks: ResolvedBlocks
    speed: float
    alone_tokens: float
    answer_tokens: float
    row_tokens: float

    def step(self) -> float:
        # Dropout draws anew for every row, so that each reads its own opening.
        rows = self.spec.optimizer.circuit_breaker_batch + self.spec.optimizer.retain_batch
        tokens = rows * (self.row_tokens if self.spec.adapter.dropout else self._row_alone)
        operations = 4.0 * self.card.block_parameters * self._depth * tokens
        return (operations + self._foretelling()) / (EFFICIENCY * self.speed)

    def _foretelling(self) -> float:
        """Operations a step: rows whose answers are held by what they foretell go on through the blocks above, and
        their answers through the head, there and back and once for the base model."""
        if not self.spec.loss.answer_weight:
            return 0.0
        rows = float(self.spec.optimizer.retain_batch)
        if self.spec.loss.answer_rows == "borderline":
            # Where the spec gives borderline rows no share, as many as not are reckoned with.
            rows *= self.spec.data.borderline_share or 0.5
        above = self.card.block_parameters * (self.card.block_count - self.blocks.last - 1) * self.row_tokens
        return rows * (4.0 * above + 6.0 * self.card.head_parameters * self.answer_tokens)

    def reading(self, rows: float, block_count: int, *, efficiency: float = READING) -> float:
        tokens = rows * self._row_alone
        return 2.0 * self.card.block_parameters * block_count * tokens / (efficiency * self.speed)

    def read_again(self, rows: int) -> int:
        """Of so many rows those that an option reads once more at the start. Half of them are benign."""
        benign = rows // 2
        null_space = min(benign, STATISTICS_ROWS) if self.spec.adapter.null_space else 0
        return null_space + (min(benign, NEIGHBOURS) if self.spec.loss.needs_neighbours else 0)

    def answering(self, rows: int, *, new_tokens: float = 0, together: int = MOST_TOGETHER) -> float:
        """new_tokens: of an answer, 0: as many as the spec says.  together: rows that are answered at once."""
        together = max(1, min(together, rows, MOST_TOGETHER))
        read = self.alone_tokens + (new_tokens or self.answer_tokens)
        fewer = (1 + SHARED_READING / together) / (1 + SHARED_READING / MOST_TOGETHER)
        operations = ANSWERING * 2.0 * self.card.product_parameters + BLOCK_OPERATIONS * self.card.block_count
        return operations * rows * read * fewer / self.speed

    def measuring(self, heldout_rows: int) -> float:
        """Half of the held-out rows are validation rows, measured again and again; the others are tested once."""
        times = 1 + math.ceil(self.spec.optimizer.steps / self.spec.captures.heldout_every)
        return self.reading(heldout_rows / 2 * (times + 1), self._depth, efficiency=EFFICIENCY)

    def probing(self) -> float:
        captures = self.spec.captures
        times = 1 + math.ceil(self.spec.optimizer.steps / captures.probe_every)
        rows = 2 * captures.probe_prompts
        return times * self.answering(rows, new_tokens=captures.probe_tokens, together=rows)

    def capturing(self) -> float:
        """The film: the base model once, then every so many steps, from the first adapted block to the last one."""
        captures, upper = self.spec.captures, self.card.block_count - self.blocks.first_adapted
        every = captures.capture_every if captures.capture_prompts else 0
        times = 2 + math.ceil(self.spec.optimizer.steps / every) if every else 0
        return self.reading(times * 2 * captures.capture_prompts + 3 * 2 * captures.final_prompts, upper)

    def fitting_probes(self) -> float:
        """Answers are read by both models; the fits themselves go on beside the worker."""
        if not self.spec.harmfulness.probe:
            return 0.0
        block = probe_block(self.spec, self.card.block_count)
        return 2 * (self.reading(PROBE_ROWS, block + 1) + PROBE_FIT_SECONDS)

    def evaluating(self) -> float:
        rows = self.spec.captures.evaluation_rows
        return self.answering(EVALUATED_ANSWERS * rows, new_tokens=EVALUATED_TOKENS, together=rows)

    @property
    def _row_alone(self) -> float:
        return min(self.spec.data.max_tokens, self.alone_tokens + self.answer_tokens)

    @property
    def _depth(self) -> int:
        return self.blocks.last + 1 - self.blocks.first_adapted
