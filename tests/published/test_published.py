"""Five steps of a run with the paper presets' settings are those of the published code, on figures that it made itself.

published_steps.json, adapter_start and adapter_after_5_steps were written by the published training code on a random
Llama of 6 blocks: float32, dropout 0, AdamW 1e-3, clip 1, alpha 10, rows and padding as the file says.
"""

import json
import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from making import byte_tokenizer
from safetensors.torch import load_file
from torch import Tensor, nn

from benchmarks.published_step import PublishedStep
from engine.compute.model.adapters import adapter_parameters, remove_adapter
from engine.compute.model.load import load_model
from engine.compute.model.loaded import LoadedModel
from engine.compute.training.checkpoints import Position, list_checkpoints, save_checkpoint
from engine.compute.training.rows import Row
from engine.compute.training.train import train
from engine.compute.training.trainer import Rows
from engine.records.blocks import resolve_blocks
from engine.records.events import StepResult
from engine.records.settings import SAMPLE_DATA
from engine.records.spec import RunSpec
from engine.records.spec_parts import ModelSpec
from engine.records.spec_text import build_spec, read_spec

HERE = Path(__file__).parent
PUBLISHED = json.loads((HERE / "published_steps.json").read_text())
PADDED = 24
# Share of the adapter's weights that rounding may move by more than 1e-6: 8 of 8,192.
ROUNDED = 1e-3


class Trained(NamedTuple):
    steps: list[StepResult]
    adapter: dict[str, Tensor]


@pytest.fixture
def model(tmp_path: Path, settings) -> LoadedModel:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copyfile(HERE / name, folder / name)
    tokenizer = byte_tokenizer()
    # The byte tokenizer's own padding lies beyond this model's 96 tokens.
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(PUBLISHED["padding"]["pad_id"])
    tokenizer.save_pretrained(folder)
    return load_model(ModelSpec(name=str(folder), device="cpu", dtype="float32"), settings)


@pytest.fixture
def rows() -> Rows:
    given = PUBLISHED["rows"]
    pairs = zip(given["harmful_request"], given["harmful_response"], strict=True)
    harmful = [
        Row(f"harmful-{number}", "harmful", False, (*request, *response), len(request))
        for number, (request, response) in enumerate(pairs)
    ]
    benign = [Row(f"benign-{number}", "benign", False, tuple(ids), 1) for number, ids in enumerate(given["retain"])]
    return Rows(harmful, benign, [], [])


def published_spec(preset: str = "paper-llama-3-8b", **optimizer: int) -> RunSpec:
    """The preset with the sizes, rates and rows of the published figures; losses and schedule are the preset's own."""
    spec = read_spec(SAMPLE_DATA / "presets" / f"{preset}.json").model_dump(mode="json")
    spec["data"]["max_tokens"] = PADDED
    spec["blocks"] = {"targets": PUBLISHED["target_blocks"], "adapted": f"0-{PUBLISHED['layers_kept'] - 1}"}
    spec["adapter"] |= {"rank": PUBLISHED["rank"], "alpha": PUBLISHED["lora_alpha"], "dropout": 0.0}
    # The presets' rate and alpha belong to models of 7 and 8 billion parameters.
    spec["schedule"]["alpha"] = PUBLISHED["alpha"]
    spec["optimizer"] |= {
        "steps": 5, "learning_rate": PUBLISHED["learning_rate"], "circuit_breaker_batch": 3, "retain_batch": 3,
    } | optimizer  # fmt: skip
    spec["captures"] |= {"probe_prompts": 0, "capture_every": 0, "checkpoint_every": 100}
    return build_spec(spec)


def trained(model: LoadedModel, spec: RunSpec, rows: Rows, folder: Path, *, stop_after: int = 5) -> Trained:
    """A run that begins with the published adapter: it resumes from a checkpoint of step 0."""
    if not list_checkpoints(folder):
        start = [
            (name, nn.Parameter(weights)) for name, weights in load_file(HERE / "adapter_start.safetensors").items()
        ]
        save_checkpoint(folder, Position(0, 0.0), start, torch.optim.AdamW([weights for _, weights in start]))
    blocks = resolve_blocks(spec, model.card.block_count)
    generator = train(model=model, name="default", spec=spec, blocks=blocks, rows=rows, checkpoints=folder)
    steps: list[StepResult] = []
    for event in generator:
        if isinstance(event, StepResult):
            steps.append(event)
            if len(steps) == stop_after:
                generator.close()
                break
    adapter = {name: weights.detach().clone() for name, weights in adapter_parameters(model, "default")}
    remove_adapter(model, "default")
    return Trained(steps, adapter)


@pytest.mark.parametrize("tokens_per_micro_batch", [4096, 48, 16])
@pytest.mark.parametrize("preset", ["paper-llama-3-8b", "paper-mistral-7b"])
def test_five_steps_are_those_of_the_published_code(model, rows, tmp_path, preset, tokens_per_micro_batch):
    """Whole steps, two rows at once, and each row alone; losses and norms to 1e-5, weights to 1e-6.

    A few weights are let off, and must lie within 5e-5: those whose gradient happens to be thousands of times smaller
    than their neighbours', where AdamW divides a rounding error by itself. The published code differs as much from its
    own figures there: 2.0e-5 (4 weights beyond 1e-6) with its rows padded on the right, 4.9e-6 (3 weights) in float64.
    """
    spec = published_spec(preset, tokens_per_micro_batch=tokens_per_micro_batch)
    steps, adapter = trained(model, spec, rows, tmp_path / "run")
    assert len(steps) == len(PUBLISHED["steps"]) == 5
    for ours, theirs in zip(steps, PUBLISHED["steps"], strict=True):
        assert ours.step + 1 == theirs["call"]
        assert ours.loss == pytest.approx(theirs["loss"], abs=1e-5)
        assert ours.reroute_weight == pytest.approx(theirs["circuit_breaker_coeff"], abs=1e-9)
        assert ours.retain_weight == pytest.approx(theirs["retain_coeff"], abs=1e-9)
        assert ours.reroute_loss == pytest.approx(theirs["circuit_breaker_loss_4_digits"], abs=6e-5)
        assert ours.retain_loss == pytest.approx(theirs["retain_loss_4_digits"], abs=6e-5)
        assert ours.gradient_norm == pytest.approx(theirs["gradient_norm"], abs=1e-5)
    published = load_file(HERE / "adapter_after_5_steps.safetensors")
    assert adapter.keys() == published.keys()
    difference = torch.cat([(adapter[name] - weights).abs().flatten() for name, weights in published.items()])
    assert int((difference > 1e-6).sum()) <= ROUNDED * len(difference)
    assert float(difference.max()) < 5e-5


def test_every_matrix_moved_a_thousand_times_further_than_it_may_differ():
    """Else the comparison above would hold for an adapter that was not trained."""
    start, after = (load_file(HERE / f"adapter_{name}.safetensors") for name in ("start", "after_5_steps"))
    assert min(float((after[name] - start[name]).abs().max()) for name in start) > 1e-3


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("loss", {"retain_mean": "tokens"}),
        ("loss", {"final_norm": False}),
        ("loss", {"mask": "response"}),
        ("loss", {"space": "centred"}),
        ("schedule", {"first_step": 0}),
        ("data", {"max_tokens": PADDED + 1}),
    ],
    ids=str,
)
def test_without_any_one_of_the_settings_the_losses_differ(model, rows, tmp_path, part, change):
    content = published_spec().model_dump(mode="json")
    content[part] |= change
    steps, _ = trained(model, build_spec(content), rows, tmp_path / "run")
    differences = [abs(ours.loss - theirs["loss"]) for ours, theirs in zip(steps, PUBLISHED["steps"], strict=True)]
    assert max(differences) > 1e-3


@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_stopped_and_resumed_published_run_equals_an_unbroken_one(model, rows, tmp_path, stop_after):
    unbroken = trained(model, published_spec(), rows, tmp_path / "unbroken")
    trained(model, published_spec(), rows, tmp_path / "broken", stop_after=stop_after)
    resumed = trained(model, published_spec(), rows, tmp_path / "broken")
    assert [one.step for one in resumed.steps] == list(range(stop_after, 5))
    assert [one.loss for one in resumed.steps] == [one.loss for one in unbroken.steps[stop_after:]]
    for name, weights in unbroken.adapter.items():
        torch.testing.assert_close(resumed.adapter[name], weights, rtol=0, atol=0)


def test_the_benchmarks_baseline_computes_the_published_losses(model, rows):
    """9.9667 x rerouting + 0.0333 x retain loss of the first call, padded to 24 as published, and again to 40."""
    first = PUBLISHED["steps"][0]
    for tokens in (PADDED, 40):
        step = PublishedStep(model, published_spec(), seed=0, tokens=tokens, checkpointing=False, positions=PADDED)
        start = load_file(HERE / "adapter_start.safetensors")
        with torch.no_grad():
            for name, weights in adapter_parameters(model, step.name):
                weights.copy_(start[name.replace(step.name, "default")])
        losses = step(rows.harmful, rows.benign)
        step.close()
        loss = first["circuit_breaker_coeff"] * losses.reroute + first["retain_coeff"] * losses.retain
        assert loss == pytest.approx(first["loss"], abs=1e-5)
        assert losses.retain == pytest.approx(first["retain_loss_4_digits"], abs=6e-5)
