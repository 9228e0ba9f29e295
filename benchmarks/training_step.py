"""A training step of this engine against the published compute: same model, same rows, same losses, interleaved.

On the processor with the bundled model, 8 + 8 rows of 96 tokens; `benchmarks/gpu.py` does the same on one GPU at the
Llama-3-8B shape. The floor is the arithmetic that no implementation can
leave out, at the speed of a large matrix product here: 6 operations a parameter and real token (forward of the base
model, forward and backward of the adapted one), 4 where the base activations are kept. On a processor that multiplies
bfloat16, this engine's gradients do so (`engine/compute/low_rank.py`): then the floor is given at both speeds.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from benchmarks.published_step import PublishedStep
from benchmarks.rows import Row, alone
from engine.compute.model.load import load_model
from engine.compute.model.loaded import LoadedModel, find_blocks, linear_modules, module_shape
from engine.compute.model.low_rank import narrows_gradients
from engine.compute.seeds import mix
from engine.compute.training.rows import Row as TrainingRow
from engine.compute.training.train import Losses, train
from engine.compute.training.trainer import Rows
from engine.machine import matrix_speed
from engine.records.blocks import resolve_blocks
from engine.records.cards import CacheShape, ModelCard
from engine.records.conversation import Label
from engine.records.events import StepResult
from engine.records.settings import read_settings
from engine.records.spec import RunSpec
from engine.records.spec_parts import ModelSpec
from engine.records.spec_text import build_spec

SIDE_ROWS, TOKENS = 8, 96
REAL_TOKENS, PADDED_TOKENS = 15_485, 1024
# Both losses are compared at the first step, where all kinds hold the same weights.
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2}


class Case(NamedTuple):
    """One model with its rows. `whole`: adapted blocks as published; `upper`: the upper half of them alone, or ''."""

    name: str
    model: LoadedModel
    harmful: list[TrainingRow]
    benign: list[TrainingRow]
    targets: str
    whole: str
    upper: str
    padded: int
    checkpointing: bool


def measure(repeats: int) -> list[Row]:
    rows = compared(_bundled_case(), repeats)
    for kind, row in enumerate(rows):
        row.figures["GiB at the peak"] = alone(_peak, kind)
    return rows


def compared(case: Case, repeats: int) -> list[Row]:
    """Median seconds of a step of each kind in turn, with what they say about each other."""
    prepared = {name: prepare() for name, prepare in _kinds(case).items()}
    published = {name: step for name, step in prepared.items() if isinstance(step, PublishedStep)}
    kinds: dict[str, Callable[[], Losses]] = {
        name: partial(step, case.harmful, case.benign) if isinstance(step, PublishedStep) else step
        for name, step in prepared.items()
    }
    first = {name: step() for name, step in kinds.items()}
    _check_equal(case, [losses for name, losses in first.items() if case.upper not in name or not case.upper])
    seconds: dict[str, list[float]] = {name: [] for name in kinds}
    memory: dict[str, float] = {}
    speeds: list[float] = []
    narrow_speeds: list[float] = []
    for _ in range(repeats):
        # Among the steps, in the same state of the machine.
        speeds.append(matrix_speed(case.model.device, case.model.dtype))
        if narrows_gradients(case.model):
            narrow_speeds.append(matrix_speed(case.model.device, torch.bfloat16))
        for name, step in kinds.items():
            with peak_memory(case.model.device) as peak:
                started = time.perf_counter()
                step()
                _wait_for(case.model.device)
                seconds[name].append(time.perf_counter() - started)
            memory[name] = max(memory.get(name, 0.0), peak[0])
    for baseline in published.values():
        baseline.close()
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    reference, fair = (medians[name] for name in published)
    tokens = sum(len(row.ids) for row in (*case.harmful, *case.benign))
    speed = statistics.median(speeds)
    rows = []
    for name, median in medians.items():
        blocks = case.upper if case.upper and case.upper in name else case.whole
        operations = _floor_operations(case, blocks, tokens, kept="kept" in name)
        values = {
            "s": median,
            "real tokens a second": tokens / median,
            "GiB at the peak": memory[name],
            "% of the arithmetic floor": 100 * operations / speed / median,
            "times the published compute": reference / median,
            "times the fairer baseline": fair / median,
        }
        if narrow_speeds and name not in published:
            # Half of the operations are forward, in float32.
            narrow_floor = operations / 2 / speed + operations / 2 / statistics.median(narrow_speeds)
            values["% of the floor with gradients in bfloat16"] = 100 * narrow_floor / median
        rows.append(Row(f"training step, {case.name}: {name}", values))
    return rows


def small_spec(
    adapted_blocks: str, targets: str = "14, 19", *, rows: int = SIDE_ROWS, padded: int = PADDED_TOKENS
) -> RunSpec:
    """Both losses as published for rows padded to `padded`, both weights 1, no dropout: what the baseline computes."""
    return build_spec(
        {
            "data": {"max_tokens": padded},
            "blocks": {"targets": targets, "adapted": adapted_blocks},
            "adapter": {"dropout": 0.0},
            "loss": {
                "space": "raw", "mask": "all", "retain_scale": "absolute", "retain_weight": 1.0,
                "retain_mean": "positions", "final_norm": True,
            },
            "schedule": {"kind": "constant", "alpha": 1.0},
            "optimizer": {
                "steps": 10_000, "circuit_breaker_batch": rows, "retain_batch": rows, "learning_rate": 1e-4,
            },
            "captures": {"probe_prompts": 0, "capture_every": 0, "checkpoint_every": 100_000},
        }
    )  # fmt: skip


def side_rows(label: Label, lengths: Sequence[int] = (TOKENS,) * SIDE_ROWS) -> list[TrainingRow]:
    generator = torch.Generator().manual_seed(len(label))
    return [
        TrainingRow(
            f"{label}-{n}", label, False, tuple(torch.randint(5, 40_000, (length,), generator=generator).tolist()),
            length // 3,
        )
        for n, length in enumerate(lengths)
    ]  # fmt: skip


def engine_steps(
    model: LoadedModel, spec: RunSpec, harmful: list, benign: list, *, name: str = ""
) -> Iterator[StepResult]:
    """One step after another of a real run; base activations of rows that come back are kept before the first."""
    events = train(
        model=model,
        name=name or f"engine-{spec.blocks.adapted}",
        spec=spec,
        blocks=resolve_blocks(spec, model.card.block_count),
        rows=Rows(harmful, benign, [], []),
        checkpoints=Path(tempfile.mkdtemp()),
    )
    return (event for event in events if isinstance(event, StepResult))


@torch.no_grad()
def llama_shape(
    tokenizer: PreTrainedTokenizerBase,
    *,
    blocks: int = 21,
    width: int = 4096,
    device: str = "cuda",
    dtype=torch.bfloat16,
) -> LoadedModel:
    """Random weights in the shape of Llama-3-8B's first blocks, with its embedding and LM head."""
    heads = width // 128 or 1
    config = LlamaConfig(
        vocab_size=128_256 if width == 4096 else 40_001,
        hidden_size=width,
        intermediate_size=int(3.5 * width),
        num_hidden_layers=blocks,
        num_attention_heads=heads,
        num_key_value_heads=max(1, heads // 4),
        max_position_embeddings=8192,
    )
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            model = LlamaForCausalLM(config)
    finally:
        torch.set_default_dtype(default)
    model.requires_grad_(False)
    model.eval()
    card = ModelCard(
        name="llama-shape", family="llama", block_count=blocks, d_model=width,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        block_parameters=sum(parameter.numel() for parameter in model.model.layers[0].parameters()),
        context_length=8192, has_chat_template=False, device=device, dtype=str(dtype).removeprefix("torch."),
        modules={name: module_shape(module) for name, module in linear_modules(model.model.layers[0])},
        cache=CacheShape(values=2 * blocks * max(1, heads // 4) * (width // heads)),
    )  # fmt: skip
    spec = ModelSpec(name="llama-shape")
    return LoadedModel(
        spec, model, tokenizer, model.model, find_blocks(model), card, torch.device(device), dtype
    )  # fmt: skip


def published_lengths(rows: int, *, real: int = REAL_TOKENS, longest: int = PADDED_TOKENS) -> list[int]:
    """Row lengths with the published data's mix: `real` tokens in all of rows x longest padded ones."""
    generator = torch.Generator().manual_seed(0)
    shares = torch.rand(rows, generator=generator) + 0.15
    lengths = [min(longest, int(share)) for share in shares / shares.sum() * real]
    while (missing := real - sum(lengths)) > 0:
        place = min(range(rows), key=lengths.__getitem__)
        lengths[place] += min(missing, longest - lengths[place])
    return lengths


def _kinds(case: Case) -> dict[str, Callable[[], PublishedStep | Callable[[], Losses]]]:
    """What is compared, by name, each prepared when it is called."""
    longest = max(len(row.ids) for row in (*case.harmful, *case.benign))
    specs = {
        blocks: small_spec(blocks, case.targets, rows=len(case.harmful), padded=case.padded)
        for blocks in filter(None, (case.whole, case.upper))
    }
    spec = specs[case.whole]
    published = partial(
        PublishedStep,
        case.model,
        spec,
        seed=mix(spec.seed, "adapter"),
        checkpointing=case.checkpointing,
        positions=case.padded,
    )
    kinds: dict[str, Callable[[], PublishedStep | Callable[[], Losses]]] = {
        f"published compute, padded to {case.padded}": partial(published, tokens=case.padded),
        "published compute, padded to the longest row": partial(published, tokens=longest),
    }
    for blocks, spec in specs.items():
        kinds[f"this engine, adapters on blocks {blocks}, base activations kept"] = partial(_engine, case, spec)
    return kinds


def _peak(kind: int) -> float:
    """GiB at the peak of two steps of one kind, which this process does nothing else than."""
    case = _bundled_case()
    step = list(_kinds(case).values())[kind]()
    with peak_memory(case.model.device) as peak:
        for _ in range(2):
            if isinstance(step, PublishedStep):
                step(case.harmful, case.benign)
            else:
                step()
    return peak[0]


def _bundled_case() -> Case:
    model = load_model(ModelSpec(device="cpu"), read_settings())
    return Case(
        "bundled model", model, side_rows("harmful"), side_rows("benign"), "14, 19", "0-20", "10-20",
        int(2.7 * TOKENS), False,
    )  # fmt: skip


def _engine(case: Case, spec: RunSpec) -> Callable[[], Losses]:
    steps = engine_steps(case.model, spec, case.harmful, case.benign)

    def step() -> Losses:
        result = next(steps)
        return Losses(result.reroute_loss, result.retain_loss, answer=0.0, twin=0.0)

    return step


def _check_equal(case: Case, first: Sequence[Losses]) -> None:
    """Raises AssertionError when two kinds do not compute the same losses."""
    tolerance = TOLERANCE[case.model.dtype]
    for losses in first[1:]:
        for one, other in zip(first[0], losses, strict=True):
            assert abs(one - other) <= tolerance * max(abs(one), abs(other)), f"the losses differ: {first}"


def _floor_operations(case: Case, blocks: str, tokens: int, *, kept: bool) -> float:
    """What no implementation can leave out: passes from the first adapted block to the last that is needed."""
    first, _, last = blocks.partition("-")
    parameters = (int(last) + 1 - (int(first) if kept else 0)) * case.model.card.block_parameters
    return (4 if kept else 6) * parameters * tokens


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


class peak_memory:
    """GiB at the peak while it is entered: of the GPU's tensors, else of this process. 0 where it cannot be read."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.found = [0.0]

    def __enter__(self) -> list[float]:
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        else:
            try:
                Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
            except OSError:
                self.device = torch.device("meta")
        return self.found

    def __exit__(self, *_: object) -> None:
        if self.device.type == "cuda":
            self.found[0] = torch.cuda.max_memory_allocated() / 2**30
        elif self.device.type == "cpu":
            status = Path("/proc/self/status").read_text(encoding="utf-8")
            self.found[0] = int(status.split("VmHWM:")[1].split()[0]) / 2**20
