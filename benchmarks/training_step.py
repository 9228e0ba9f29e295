"""A training step of this engine against the published compute, on the same rows, interleaved.

Baselines compute what the published code computes: base and adapted passes of the whole model, LM head included,
for each side, padded to the longest row or 2.7 times as long. The losses are the same; only the work differs.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.rows import Row
from engine.compute.activations import pad
from engine.compute.base_states import row_batch
from engine.compute.elicitation import Row as TrainingRow
from engine.compute.models import LoadedModel, adapted, adapter_parameters, attach_adapter, load_model, remove_adapter
from engine.compute.reroute import BlockSpace, rerouting_loss, retain_loss
from engine.compute.training import Rows, train
from engine.records.results import StepResult
from engine.records.settings import read_settings
from engine.records.spec import ResolvedBlocks, RunSpec, resolve_blocks

SIDE_ROWS, TOKENS = 8, 96


def measure(repeats: int) -> list[Row]:
    """Median seconds of one optimizer step of 8 + 8 rows of 96 tokens, each kind in turn."""
    model = load_model(build_spec({}).model, read_settings())
    harmful, benign = side_rows("harmful"), side_rows("benign")
    engines = {
        "this engine, adapters on blocks 0-19": engine(model, "0-19", harmful, benign),
        "this engine, adapters on blocks 10-19": engine(model, "10-19", harmful, benign),
    }
    baselines = {
        "published compute, padded to the longest row": 1.0,
        "published compute, padded 2.7 times": 2.7,
    }
    seconds: dict[str, list[float]] = {name: [] for name in (*baselines, *engines)}
    for _ in range(repeats):
        for name, padding in baselines.items():
            seconds[name].append(_baseline(model, harmful, benign, padding))
        for name, step in engines.items():
            seconds[name].append(step())
    fair = statistics.median(seconds["published compute, padded to the longest row"])
    tokens = 2 * SIDE_ROWS * TOKENS
    return [
        Row(
            f"training step: {name}",
            {"seconds": median, "tokens a second": tokens / median, "times the fair baseline": fair / median},
        )
        for name, values in seconds.items()
        for median in [statistics.median(values)]
    ]


def engine(
    model: LoadedModel, adapted_blocks: str, harmful: list[TrainingRow], benign: list[TrainingRow]
) -> Callable[[], float]:
    """One step after another of a real run; its base states are cached before the first."""
    name = f"engine-{adapted_blocks}"
    spec = small_spec(adapted_blocks)
    events = train(
        model=model,
        name=name,
        spec=spec,
        blocks=resolve_blocks(spec, model.card.block_count),
        rows=Rows(harmful, benign, [], []),
        checkpoints=Path(tempfile.mkdtemp()),
    )

    def step() -> float:
        return next(event.seconds for event in events if isinstance(event, StepResult))

    step()
    return step


def _baseline(model: LoadedModel, harmful: list[TrainingRow], benign: list[TrainingRow], padding: float) -> float:
    spec = small_spec("0-19")
    blocks = resolve_blocks(spec, model.card.block_count)
    attach_adapter(model, "baseline", spec.adapter, blocks.adapted, seed=0)
    parameters = [parameter for _, parameter in adapter_parameters(model, "baseline")]
    optimizer = torch.optim.AdamW(parameters, lr=1e-4)
    spaces = {block: BlockSpace(torch.zeros(model.d_model), torch.ones(model.d_model), 1.0) for block in range(30)}
    started = time.perf_counter()
    loss = 5 * _side(model, harmful, blocks, spaces, padding, reroute=True)
    loss = loss + 5 * _side(model, benign, blocks, spaces, padding, reroute=False)
    with adapted(model, "baseline", train=True):
        loss.backward()
    optimizer.step()
    seconds = time.perf_counter() - started
    remove_adapter(model, "baseline")
    return seconds


def _side(
    model: LoadedModel,
    rows: list[TrainingRow],
    blocks: ResolvedBlocks,
    spaces: dict[int, BlockSpace],
    padding: float,
    *,
    reroute: bool,
) -> torch.Tensor:
    batch = row_batch(model, rows)
    longest = int(batch.ids.shape[1] * padding)
    if longest > batch.ids.shape[1]:
        batch = pad([[*row.ids, *([0] * (longest - len(row.ids)))] for row in rows], pad_id=0, device=model.device)
        batch.attention[:, max(len(row.ids) for row in rows) :] = 0
    mask = batch.attention.float()
    with torch.no_grad(), adapted(model, None):
        base = model.causal_lm(
            input_ids=batch.ids, attention_mask=batch.attention, output_hidden_states=True
        ).hidden_states
    with adapted(model, "baseline", train=True):
        moved = model.causal_lm(
            input_ids=batch.ids, attention_mask=batch.attention, output_hidden_states=True
        ).hidden_states
    if reroute:
        pick = blocks.targets
        return rerouting_loss(
            {b: moved[b + 1] for b in pick}, {b: base[b + 1] for b in pick}, mask, spaces, space="raw"
        )
    pick = blocks.retain
    return retain_loss({b: moved[b + 1] for b in pick}, {b: base[b + 1] for b in pick}, mask, spaces, scale="absolute")


def small_spec(adapted_blocks: str) -> RunSpec:
    return build_spec(
        {
            "blocks": {"targets": "14, 19", "adapted": adapted_blocks},
            "optimizer": {
                "steps": 10_000, "circuit_breaker_batch": SIDE_ROWS, "retain_batch": SIDE_ROWS, "learning_rate": 1e-4,
            },
            "captures": {"probe_prompts": 0, "capture_every": 0, "checkpoint_every": 100_000},
        }
    )  # fmt: skip


def side_rows(label: str) -> list[TrainingRow]:
    generator = torch.Generator().manual_seed(len(label))
    return [
        TrainingRow(
            f"{label}-{n}", label, False, tuple(torch.randint(5, 40_000, (TOKENS,), generator=generator).tolist()), 32
        )  # type: ignore[arg-type]
        for n in range(SIDE_ROWS)
    ]
