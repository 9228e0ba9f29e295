"""The parts of a spec: model, data, blocks, adapter, optimizer, captures, harmfulness probe.

Validation is pure: no files, no model, no clock. Losses and their schedule: spec_losses.py.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from engine.records.others.authors import is_others
from engine.records.sources import source_texts
from engine.records.versions import since

BUNDLED_MODEL = "bundled/SmolLM2-135M-Instruct"


def _block_text(value: Any) -> Any:
    """Block lists may be given as [9, 19]; they are kept as text, so that fractions and ranges fit the same field."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, (list, tuple)) and all(isinstance(item, int | str) for item in value):
        return ", ".join(str(item) for item in value)
    return value


BlockText = Annotated[str, BeforeValidator(_block_text)]


# Which tokens of a row a loss sees: see engine.compute.training.masks.
TokenMask = Literal["response", "all", "request_and_response", "call", "function_name", "after_picture"]


class Part(BaseModel):
    """A part of the spec: frozen, and a key it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class ModelSpec(Part):
    name: str = Field(BUNDLED_MODEL, min_length=1, description="Hugging Face id, local folder, or the bundled model.")
    device: Literal["auto", "cpu", "cuda", "mps"] = Field("auto", description="Where it runs; auto: cuda, mps, cpu.")
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = Field(
        "auto",
        description="Weights' number format; auto: bfloat16 on GPUs that compute it, else float32 (gradients bfloat16 "
        "on CPUs that have it).",
    )
    chat_template: Literal["model", "plain", "tools_in_words"] = Field(
        "model",
        description="The model's own chat template; plain 'User: ... Assistant:'; or its own with tools as words of "
        "its messages.",
    )


class DataSpec(Part):
    circuit_breaker: str = Field(
        "sample:harmful",
        description="Harmful set: sample:NAME, published:FILE, hub:DATASET or a file; several with their shares, "
        "divided by ';' (see docs/data.md).",
    )
    retain: str = Field("sample:benign", description="Benign set: sources as for the harmful one.")
    categories: tuple[str, ...] = Field((), description="Keep these categories of the harmful set; empty keeps all.")
    styles: tuple[str, ...] = Field((), description="Keep these styles on both sides; empty keeps all.")
    circuit_breaker_rows: int = Field(0, ge=0, description="At most this many harmful training rows; 0: all.")
    retain_rows: int = Field(0, ge=0, description="At most this many benign training rows; 0: all.")
    heldout_rows: int = Field(
        0, ge=0, description="At most this many held-out rows per side and split; 0: all. Never trained on."
    )
    borderline_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of borderline prompts in each retain batch (beside a tool_share, among its rows without "
        "tools); 0: as they come.",
    )
    tool_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of rows with tools in each batch, those of a step with the same tools; 0: as they come.",
        json_schema_extra=since(5),
    )
    picture_steps: Literal["mixed", "alternating"] = Field(
        "mixed",
        description="Rows with pictures among the others as they come, or, as published, steps of text and steps of "
        "pictures in turn.",
        json_schema_extra=since(6),
    )
    answers: Literal["elicit", "given"] = Field(
        "elicit", description="elicit: the model's own answers; given: the answers in the files."
    )
    answer_field: str = Field("", description="Field that holds the answer in the files; empty: found by itself.")
    opener_share: float = Field(
        0.5, ge=0, le=1, description="Share of elicited answers, on both sides alike, that begin with an opener."
    )
    openers: tuple[str, ...] = Field(
        ("Sure, here is", "Of course!", "Here are", "Certainly.", "Let me explain."),
        description="Words put in the model's mouth, the same mix on both sides.",
    )
    new_tokens: int = Field(48, ge=4, le=4096, description="Length of an elicited answer, in tokens.")
    call_tokens: int = Field(
        96,
        ge=4,
        le=4096,
        description="Length of an elicited answer to a request with tools, in tokens.",
        json_schema_extra=since(5),
    )
    temperature: float = Field(0.0, ge=0, le=2, description="Sampling temperature of elicited answers; 0: greedy.")
    drop_refusals: bool = Field(True, description="Leave out harmful prompts that the base model refuses.")
    empty_prompt_share: float = Field(
        0.0, ge=0, le=1, description="Share of rows shown without their request (the paper's augmentation)."
    )
    empty_prompt_sides: Literal["harmful", "both"] = Field(
        "harmful",
        description="Which rows lose their request: harmful ones, or benign ones too.",
        json_schema_extra=since(3),
    )
    rows_as: Literal["chat", "llama-3", "mistral"] = Field(
        "chat",
        description="How rows are written and cut: under the model's chat template, or as in the published code.",
        json_schema_extra=since(3),
    )
    max_tokens: int = Field(1024, ge=16, description="Rows are cut to this many tokens, their beginning kept.")

    @field_validator("circuit_breaker", "retain")
    @classmethod
    def _are_not_measured_on(cls, text: str) -> str:
        for source in source_texts(text):
            if is_others(source):
                raise ValueError(
                    f"'{source}' are words of other people that breakers are measured on and never trained on: name "
                    "another source, and evaluate with --others."
                )
        return text


class BlocksSpec(Part):
    targets: BlockText = Field(
        "33%, 66%",
        min_length=1,
        description="Blocks whose output is rerouted, from 0: '9, 19', '8-10', '33%'. Paper layer L is block L - 1.",
    )
    adapted: BlockText = Field("0%-66%", min_length=1, description="Blocks that get a LoRA adapter: '0-19', '0%-66%'.")


class AdapterSpec(Part):
    rank: int = Field(16, ge=1, le=1024, description="LoRA rank r.")
    alpha: int = Field(16, gt=0, description="LoRA alpha; the update is scaled by alpha / r.")
    dropout: float = Field(0.05, ge=0, lt=1, description="LoRA dropout, as a share of inputs.")
    modules: tuple[str, ...] = Field((), description="Linear modules of a block that are adapted; empty: all of them.")
    noise: float = Field(
        1e-3, ge=0, le=1, description="Standard deviation of B at the start; 0 leaves the cosine without gradient."
    )
    null_space: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of the energy of benign inputs that A may not read, layer by layer; 0: it reads all.",
        json_schema_extra=since(7),
    )
    strength: float = Field(
        1.0,
        gt=0,
        le=4,
        description="How strongly the finished adapter acts: behind the last step B is multiplied by this.",
        json_schema_extra=since(8),
    )


class OptimizerSpec(Part):
    steps: int = Field(150, ge=1, le=1_000_000, description="Optimizer steps.")
    learning_rate: float = Field(1e-3, gt=0, le=1, description="AdamW learning rate.")
    warmup_steps: int = Field(0, ge=0, description="Steps over which the learning rate rises from 0.")
    decay: Literal["constant", "linear", "cosine"] = Field(
        "constant", description="Learning rate after warm-up: constant, or falling to 0 along a line or a cosine."
    )
    weight_decay: float = Field(0.0, ge=0, description="AdamW weight decay.")
    clip_norm: float = Field(1.0, ge=0, description="Gradient norm is clipped to this; 0: never.")
    circuit_breaker_batch: int = Field(16, ge=1, description="Harmful rows a step.")
    retain_batch: int = Field(16, ge=1, description="Benign rows a step.")
    tokens_per_micro_batch: int = Field(4096, ge=16, description="Tokens, padding included, that go through at once.")
    gradient_checkpointing: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Compute blocks anew backwards: less memory, a third more time; auto: where a row would not fit.",
        json_schema_extra=since(4),
    )
    gradient_surgery: bool = Field(
        False,
        description="Take out of the rerouting gradient what points against the benign rows' gradient.",
        json_schema_extra=since(7),
    )
    keep: Literal["last", "best"] = Field(
        "last",
        description="Which weights a finished run keeps: the last ones, or its best checkpoint by validation rows.",
        json_schema_extra=since(7),
    )
    keep_drift: float = Field(
        0.2,
        gt=0,
        description="How far borderline validation rows may drift at the checkpoint that is kept as the best.",
        json_schema_extra=since(7),
    )
    keep_answers: float = Field(
        0.0,
        ge=0,
        le=1,
        description="The least cosine that answers of borderline validation rows must keep at that checkpoint; 0: any.",
        json_schema_extra=since(7),
    )
    stop_drift: float = Field(
        0.0,
        ge=0,
        description="Stop, and keep what was learned, when benign validation rows drift further than this; 0: never.",
        json_schema_extra=since(3),
    )


class CaptureSpec(Part):
    heldout_every: int = Field(20, ge=1, description="Steps between held-out measurements (validation split).")
    probe_every: int = Field(25, ge=1, description="Steps between probe answers.")
    probe_prompts: int = Field(2, ge=0, le=16, description="Probe prompts per side.")
    probe_tokens: int = Field(32, ge=1, le=512, description="Length of a probe answer, in tokens.")
    capture_every: int = Field(20, ge=0, description="Steps between captures of the probe set's activations; 0: never.")
    capture_prompts: int = Field(12, ge=0, le=500, description="Prompts per side whose activations are captured.")
    final_prompts: int = Field(
        96,
        ge=0,
        le=2000,
        description="Held-out prompts per side that are captured at the end, at three blocks; 0: none.",
        json_schema_extra=since(2),
    )
    final_answers: Literal["known", "elicit"] = Field(
        "known",
        description="Fewer held-out rows than that: make do with them, or let the base model answer more prompts.",
        json_schema_extra=since(2),
    )
    checkpoint_every: int = Field(25, ge=1, description="Steps between checkpoints.")
    trackers: tuple[str, ...] = Field(
        (), description="Experiment trackers of accelerate, if installed: tensorboard, trackio, wandb."
    )
    evaluation_rows: int = Field(
        16,
        ge=0,
        le=1000,
        description="Held-out requests a side that a small evaluation asks by itself after training; 0: none.",
        json_schema_extra=since(3),
    )


class HarmfulnessSpec(Part):
    """The paper's harmfulness probe (arXiv:2406.04313, section 4.4): it reads each token of an answer and ends the
    answer where it fires."""

    probe: bool = Field(
        False,
        description="Fit a harmfulness probe, linear and MLP 64-32, on both models' answer tokens when training ends.",
    )
    block: BlockText = Field("", description="The block whose output the probe reads; empty: the last target.")
    false_alarms: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Share of borderline answers that the probe may end: its threshold is set on held-out ones.",
    )
