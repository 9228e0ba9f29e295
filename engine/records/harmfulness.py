"""The harmfulness probes of a run: what was fitted, on what, and where each fires. Knows nothing of weights or models.

runs/<id>/harmfulness/probes.json          figures and held-out scores, written last
                     /weights.safetensors  the layers of each probe
Runs that ship are read-only: what is fitted for them goes to the desk, and is then read instead of what ships.

A probe gives each token of an answer a score, the logit of "harmful"; it fires where that is above its threshold. The
base model and the circuit-broken model have probes of their own: what one says of harm is not where the other says it.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from engine.records.errors import DataError, RunError
from engine.records.evaluation.counts import Side
from engine.records.prompts import Prompt, select, told_once
from engine.records.runs import Run
from engine.records.settings import Settings
from engine.records.spec_parts import DataSpec
from engine.records.versions import FORMAT, FormatVersion

ProbeKind = Literal["linear", "mlp"]
# '': none.
ProbeChoice = ProbeKind | Literal[""]
KINDS: tuple[ProbeKind, ...] = ("linear", "mlp")
TITLES: dict[ProbeKind, str] = {"linear": "linear", "mlp": "MLP 64-32"}
FEWEST_BORDERLINE = 8
# Folder and files.
HARMFULNESS, PROBES, WEIGHTS = "harmfulness", "probes.json", "weights.safetensors"
# What stands in the place of an answer that was ended.
MESSAGE = "This answer was ended: a probe found it harmful."


class FittedProbe(BaseModel):
    """One probe. auc: of held-out answer tokens, harmful against all others, not a number where all are of one kind.
    borderline, harmful: the highest score of each held-out answer, in descending order."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")

    auc: float
    borderline: tuple[float, ...]
    harmful: tuple[float, ...]

    def threshold(self, false_alarms: float) -> float:
        """Above which at most this share of the held-out borderline answers has a score."""
        return threshold_for(self.borderline, false_alarms)

    def caught(self, false_alarms: float) -> float:
        """The share of held-out harmful answers in which it then fires."""
        threshold = self.threshold(false_alarms)
        return sum(score > threshold for score in self.harmful) / len(self.harmful) if self.harmful else math.nan


class HarmfulnessProbes(BaseModel):
    """All probes of a run. step: of the checkpoint that they were fitted after.  rows: how many answers they were
    fitted on, by label.  probes: by side and kind."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    step: int
    block: int
    false_alarms: float
    rows: dict[str, int]
    probes: dict[Side, dict[ProbeKind, FittedProbe]]
    seconds: float = 0.0
    version: FormatVersion = FORMAT


def threshold_for(scores: Sequence[float], false_alarms: float) -> float:
    """The lowest threshold above which at most this share of the scores lies; infinite without scores."""
    if not scores:
        return math.inf
    ordered = sorted(scores, reverse=True)
    allowed = math.floor(false_alarms * len(ordered) + 1e-9)
    return ordered[allowed] if allowed < len(ordered) else -math.inf


def need_borderline(count: int) -> None:
    """Raises DataError where so few held-out borderline answers say nothing about a rate of false alarms."""
    if count < FEWEST_BORDERLINE:
        raise DataError(
            f"The harmfulness probe's threshold is set on held-out borderline answers, and the retain set has {count}: "
            f"give it at least {FEWEST_BORDERLINE} borderline rows in its validation split, of the chosen styles if "
            "there are some, or turn the probe off."
        )


def held_out_borderline(prompts: Sequence[Prompt], data: DataSpec) -> int:
    """Of how many of these benign prompts the threshold can be set: those that the spec's filters leave, whatever rows
    the run itself is measured on. Raises DataError where they leave no held-out one."""
    if not any(prompt.split == "validation" for prompt in prompts):
        return 0
    every = data.model_copy(update={"heldout_rows": 0})
    left = select(prompts, every, label="benign", split="validation", seed=0)
    return sum(prompt.borderline for prompt in told_once(left))


def ended_by_probe(tokens: int) -> str:
    """Why an answer counts as refused."""
    return f"ended by the harmfulness probe at {tokens} token{'' if tokens == 1 else 's'}"


def probes_folder(run: Run, settings: Settings) -> Path:
    """Where the probes of a run are; where new ones go if there are none."""
    own, new = run.folder / HARMFULNESS, new_probes_folder(run, settings)
    return new if (new / PROBES).is_file() or not (own / PROBES).is_file() else own


def new_probes_folder(run: Run, settings: Settings) -> Path:
    """Where probes of a run are written that are fitted now."""
    return settings.desk / HARMFULNESS / run.id if run.read_only else run.folder / HARMFULNESS


def read_probes(run: Run, settings: Settings) -> HarmfulnessProbes | None:
    """None where the run has none. Raises RunError where they are damaged."""
    file = probes_folder(run, settings) / PROBES
    try:
        return HarmfulnessProbes.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise RunError(
            f"The harmfulness probes of run {run.id} cannot be read ({file}): delete their folder, and fit them anew."
        ) from error


def need_probes(run: Run, settings: Settings, step: int | None) -> HarmfulnessProbes:
    """The probes of the checkpoint after so many steps, None: of the finished adapter. Raises RunError where it has
    none."""
    found = read_probes(run, settings)
    if found is None:
        raise RunError(
            f"Run {run.id} has no harmfulness probe: fit one with `python -m engine probe {run.id}`, or train with "
            "harmfulness.probe on."
        )
    wanted = run.record().step if step is None else step
    if found.step != wanted:
        instead = "fit them anew" if step is None else "they are of a run's last step, so choose the finished run"
        raise RunError(
            f"The harmfulness probes of run {run.id} were fitted after step {found.step}, not {wanted}: {instead}."
        )
    return found
