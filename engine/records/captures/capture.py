"""Captured activations on disk: which prompts, blocks and tokens, of the base model and of a run at some of its steps.

    <folder>/capture.json             what was captured, replaced when a step is added
             answers.json             the answers that the response activations belong to, by prompt id
             spaces.safetensors       mean and deviation of the base activations per block
             base.000.safetensors     vectors of the base model, at most 64 MiB a file
             step-000040.000.safetensors   vectors after 40 steps, and how far each prompt moved
             random.000.safetensors   the same under a random adapter of the same size: what nothing looks like
             projections/  examinations/  tokens/      what was made of it
Knows nothing of models. Screen and worker read through here.
"""

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open

from engine.records.conversation import Label
from engine.records.errors import RunError
from engine.records.files import write_whole
from engine.records.prompts import Split
from engine.records.runs import open_run
from engine.records.settings import SAMPLE_DATA, Settings, read_settings
from engine.records.spec_parts import BlockText, DataSpec, ModelSpec, Part
from engine.records.versions import FORMAT, FormatVersion, key_of, since, stable

TokenChoice = Literal["last_prompt", "response_mean", "position", "every"]
Measure = Literal["cosine", "raw_cosine", "drift", "norm_ratio"]
MEASURES: tuple[Measure, ...] = ("cosine", "raw_cosine", "drift", "norm_ratio")
# Which tokens of a prompt a measure is a mean over; all: all but the first, an attention sink.
Averaged = Literal["answer", "all", "last_prompt"]
AVERAGED: tuple[Averaged, ...] = ("answer", "all", "last_prompt")
BASE, INDEX_FILE = "base", "capture.json"
TRAINING = "training"
# Made once when a run has finished: more prompts at fewer blocks.
FINAL = "final"
# No step of a run, and never among the checkpoints.
RANDOM = "random"
# Of how vectors are captured: another number, and they are captured anew.
CAPTURES = 1


class CaptureRequest(Part):
    """What to capture. Steps are not part of the key: more of them can be added to a capture later."""

    run_id: str = Field("", description="The run that is captured beside the base model; '': base alone.")
    steps: tuple[int, ...] = Field((), description="Steps of the run: its checkpoints, or the last step.")
    model: ModelSpec = Field(ModelSpec(), description="The base model (of a run: that of its spec).")
    data: DataSpec = Field(DataSpec(), description="Prompt sets and how their answers are made (of a run: its spec's).")
    splits: tuple[Split, ...] = Field(("validation", "test"), min_length=1, description="Splits to take prompts from.")
    prompts_per_side: int = Field(48, ge=1, description="At most this many harmful and as many benign prompts.")
    blocks: BlockText = Field("0%-100%", min_length=1, description="Blocks to capture.")
    tokens: tuple[TokenChoice, ...] = Field(
        ("last_prompt", "response_mean"), min_length=1, description="Which tokens: one vector a prompt for each choice."
    )
    position: int = Field(0, ge=0, description="Choice 'position': this response token, from 0.")
    seed: int = Field(0, ge=0, description="Decides which prompts are taken.")
    averaged: tuple[Averaged, ...] = Field(
        (),
        description="Which tokens movement is averaged over, for harmful and benign prompts alike; none: harmful ones "
        "over their answers and benign ones over all tokens, as version 0.1 did.",
        json_schema_extra=since(2),
    )

    @property
    def key(self) -> str:
        content = {name: value for name, value in stable(self).items() if name != "steps"}
        return key_of(json.dumps(content, sort_keys=True), version=CAPTURES, length=12)


class CapturedPrompt(BaseModel):
    """In the order of the vectors. text: the last request.  pictures: the keys of what it shows.  key: of all turns."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    id: str
    label: Label
    borderline: bool = False
    category: str = ""
    style: str = ""
    split: Split
    text: str
    pictures: tuple[str, ...] = Field((), exclude_if=lambda pictures: not pictures)
    key: str = Field("", exclude_if=lambda key: not key)
    prompt_tokens: int
    response_tokens: int

    @property
    def group(self) -> str:
        """harmful, benign or borderline: the three colours of every map."""
        return "borderline" if self.borderline else self.label


class CaptureIndex(BaseModel):
    """capture.json. `checkpoints` in order: 'base', 'step-000020', ... Only those that are whole are named."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True, serialize_by_alias=True)

    run_id: str
    key: str
    request: CaptureRequest
    model: str
    d_model: int
    block_count: int
    blocks: tuple[int, ...]
    targets: tuple[int, ...] = ()
    adapted: tuple[int, ...] = ()
    tokens: tuple[TokenChoice, ...]
    position: int = 0
    averaged: tuple[Averaged, ...] = Field((), description="As in the request; all checkpoints hold these.")
    prompts: tuple[CapturedPrompt, ...]
    checkpoints: tuple[str, ...] = Field(alias="states")
    random: int = Field(
        0,
        description="The step whose adapter the random one is as large as; 0: there is none.",
        exclude_if=lambda step: not step,
    )
    as_trained: tuple[str, ...] = Field(
        (),
        description="Of a run whose strength is not 1: steps captured at the strength that they were trained at.",
        exclude_if=lambda names: not names,
    )
    digest: str = Field("", description="Changes when vectors were written anew.")
    version: FormatVersion = FORMAT


@dataclass(frozen=True)
class Capture:
    """One capture folder. Reading never changes it."""

    folder: Path
    index: CaptureIndex

    @property
    def results_folder(self) -> Path:
        """Where maps, examinations and token views of it lie: inside, or in the cache where it ships."""
        if self.folder.is_relative_to(SAMPLE_DATA):
            return read_settings().cache / "captures" / f"{self.index.run_id}-{self.index.key}"
        return self.folder

    @property
    def steps(self) -> list[int]:
        return sorted(checkpoint_step(checkpoint) for checkpoint in self.index.checkpoints if checkpoint != BASE)

    @property
    def has_random(self) -> bool:
        """Whether a random adapter was captured beside the steps, which can be read."""
        return bool(self.index.random) and self.holds(RANDOM)

    def vectors(self, checkpoint: str, choice: TokenChoice, block: int) -> Float[np.ndarray, "prompt d_model"]:
        """One vector a prompt (choice 'every': one a token, see `token_offsets`). Raises RunError when damaged."""
        return self._column(checkpoint, f"{choice}/{block}")

    def token_offsets(self, checkpoint: str) -> np.ndarray:
        """Choice 'every': where each prompt's tokens begin, and the end."""
        lengths = self._column(checkpoint, "lengths").astype(int)
        return np.concatenate([[0], np.cumsum(lengths)])

    def measure(
        self, checkpoint: str, name: Measure, block: int, averaged: Averaged | None = None
    ) -> Float[np.ndarray, " prompt"]:
        """How far each prompt's activations moved from the base model's, a mean over tokens. None: over the tokens that
        the losses are over, which are the answer's of harmful prompts and all but the first of benign ones. Not a
        number where a prompt has no such token."""
        return self._column(checkpoint, f"{averaged}/{name}/{block}" if averaged else f"{name}/{block}")

    def space(self, block: int) -> tuple[Float[np.ndarray, " d_model"], Float[np.ndarray, " d_model"]]:
        """Mean and deviation per dimension of the base activations at a block."""
        with self._opened(self.folder / "spaces.safetensors") as file:
            return file.get_tensor(f"mean/{block}"), file.get_tensor(f"deviation/{block}")

    def holds(self, checkpoint: str) -> bool:
        """Whether a checkpoint's vectors are there and can be read; of the base model also the spaces that all others
        are seen in."""
        try:
            self._column(checkpoint, f"{self.index.tokens[0]}/{self.index.blocks[0]}")
            for block in self.index.blocks if checkpoint == BASE else ():
                self.space(block)
        except RunError:
            return False
        return True

    def answers(self) -> dict[str, str]:
        """Answers by prompt id, {} where they were not kept."""
        try:
            content = json.loads((self.folder / "answers.json").read_text(encoding="utf-8"))
            return {str(key): str(value) for key, value in content.items()}
        except (OSError, ValueError, AttributeError):
            return {}

    def _column(self, checkpoint: str, name: str) -> np.ndarray:
        files = sorted(self.folder.glob(f"{checkpoint}.*.safetensors"))
        if not files:
            raise RunError(
                f"The capture {self.folder} has no checkpoint '{checkpoint}': "
                f"choose from {', '.join(self.index.checkpoints)}."
            )
        parts = []
        for path in files:
            with self._opened(path) as file:
                if name not in file.keys():  # noqa: SIM118 - a safetensors file is no mapping
                    raise RunError(
                        f"The capture {self.folder} holds no {name} for '{checkpoint}': capture it with other settings."
                    )
                parts.append(file.get_tensor(name))
        # A capture that ships is stored in half precision.
        return np.concatenate(parts).astype(np.float32, copy=False)

    @contextmanager
    def _opened(self, path: Path) -> Iterator:
        try:
            with safe_open(path, framework="np") as file:
                yield file
        except (OSError, SafetensorError) as error:
            raise RunError(f"The captured activations {path} cannot be read: {error}. Capture them again.") from error


def checkpoint_name(step: int) -> str:
    return f"step-{step:06d}"


def checkpoint_step(checkpoint: str) -> int:
    """The step of a checkpoint's name; the base model is step 0."""
    return 0 if checkpoint == BASE else int(checkpoint.removeprefix("step-"))


def capture_folder(settings: Settings, run_id: str, key: str) -> Path:
    """Where a capture is or will be: with its run, or in the cache for the base model alone and runs that ship.

    Raises RunError for a key that no capture has: it may come from a link, and must not lead out of the folder.
    """
    if not re.fullmatch(r"[A-Za-z0-9-]{1,40}", key):
        raise RunError(f"There is no capture '{key:.60}': choose one of the list.")
    if run_id:
        run = open_run(settings.runs, run_id)
        inside = run.representations_folder / key
        if not run.read_only or inside.exists():
            return inside
        return settings.cache / "captures" / f"{run_id}-{key}"
    return settings.cache / "captures" / key


def read_capture(folder: Path) -> Capture | None:
    """The capture in a folder, or None where there is none yet. Raises RunError when its index is damaged."""
    file = folder / INDEX_FILE
    try:
        return Capture(folder, CaptureIndex.model_validate_json(file.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise RunError(
            f"The capture {file} cannot be read: delete it on Representations, or its folder, and capture again."
        ) from error


def run_captures(settings: Settings, run_id: str) -> list[Capture]:
    """All readable captures of a run, the one made while training first."""
    found = [path.parent for path in open_run(settings.runs, run_id).representations_folder.glob(f"*/{INDEX_FILE}")]
    found += [path.parent for path in (settings.cache / "captures").glob(f"{run_id}-*/{INDEX_FILE}")]
    captures = []
    for folder in sorted(found, key=lambda folder: (folder.name != TRAINING, folder.name)):
        try:
            capture = read_capture(folder)
        except RunError:
            continue
        if capture is not None:
            captures.append(capture)
    return captures


def end_of(steps: Sequence[int], *, kept: int) -> int:
    """Of the steps there are that whose weights a run keeps, else the last one. kept: of the run's record."""
    return kept if kept in steps else max(steps)


def fullest(captures: Sequence[Capture], *, kept: int) -> Capture | None:
    """What shows a run's end best: of the captures that hold the step whose weights it keeps, else the last captured
    one, the one of most prompts. Every token of few prompts is for other questions.

    kept: of the run's record; a run that keeps its best checkpoint was captured beyond it while it trained.
    """
    end = end_of([0, *(step for capture in captures for step in capture.steps)], kept=kept)
    reaching = [one for one in captures if end in (one.steps or [0]) and "response_mean" in one.index.tokens]
    return max(reaching, key=lambda one: len(one.index.prompts), default=captures[0] if captures else None)


def write_index(folder: Path, index: CaptureIndex) -> None:
    write_whole(folder / INDEX_FILE, index.model_dump_json(indent=1))


def write_answers(folder: Path, answers: dict[str, str]) -> None:
    write_whole(folder / "answers.json", json.dumps(answers))
