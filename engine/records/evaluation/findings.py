"""What an evaluation found: counts with intervals per attack and model, losses, kept abilities, and where that is kept.

runs/<id>/evaluations/<key>.json         the figures: no prompt and no answer, so it may be passed on
                     /<key>.rows.jsonl   what was asked and answered, for the page's samples alone
Runs that ship are read-only: what is found about them goes to the desk. Knows nothing of models.
"""

import json
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from engine.records.conversation import Picture
from engine.records.errors import RunError
from engine.records.evaluation.counts import CallCount, Count, CurvePoint, Interval, Kept, Side, Word, got_through
from engine.records.evaluation.losses import Losses
from engine.records.evaluation.pixels import PixelSearch
from engine.records.evaluation.written import (
    ability_figures,
    attack_figures,
    curve_figures,
    others_figures,
    seconds_figures,
    side_figures,
    sided_figures,
    spent_figures,
)
from engine.records.files import read_lines, write_whole
from engine.records.runs import Run
from engine.records.settings import Settings
from engine.records.versions import FORMAT, FormatVersion

# What the run's own held-out rows are called beside authors.
OWN_SPLIT = "own split"


class Change(BaseModel):
    """rerouted - base of the same n questions, with its 95 % interval, in the ability's unit."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    value: float
    ci95: Interval
    n: int


class Ability(BaseModel):
    """One kept ability. base and rerouted are figures in `unit`, rates where it is empty.  counts: the verdicts, where
    answers were judged.  categories: of function calling and of naming; base and rerouted are then the means over them,
    of naming over those that are no controls.  kinds: of naming, by what held-out pictures show.  change: of the same
    questions, where both models were asked one by one.  kept: of requests, by what the base model does with them."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    base: float | None
    rerouted: float | None
    unit: str = ""
    n: int = 0
    ci95: dict[Side, Interval] = {}
    counts: dict[Side, Count] = {}
    categories: dict[str, dict[Side, CallCount]] = Field({}, exclude_if=lambda categories: not categories)
    kinds: dict[str, dict[Side, CallCount]] = Field({}, exclude_if=lambda kinds: not kinds)
    change: Change | None = Field(None, exclude_if=lambda change: change is None)
    kept: Kept | None = Field(None, exclude_if=lambda kept: kept is None)


class AttackResult(BaseModel):
    """One attack on both models. styles: questions and imperatives apart.  categories: of harm.  seconds: that all
    attempts on a model took, judging aside.  version: of the attack.  candidates: of GCG, a step.  0: not known."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    base: Count
    rerouted: Count
    styles: dict[str, dict[Side, Count]] = {}
    categories: dict[str, dict[Side, Count]] = {}
    curve: dict[Side, tuple[CurvePoint, ...]] = {}
    budget: int = 1
    seconds: dict[Side, float] = Field({}, exclude_if=lambda seconds: not seconds)
    version: int = Field(0, exclude_if=lambda version: not version)
    candidates: int = Field(0, exclude_if=lambda candidates: not candidates)

    @property
    def got_through(self) -> tuple[float, float]:
        return got_through(self.base, self.rerouted)


class WithProbe(BaseModel):
    """The same with a harmfulness probe, which ends an answer where it fires: an answer that was ended is refused.

    false_alarms: the rate that was asked for, on the answers that its threshold was set by.  attacks: of each attack
    that says something beside a probe.  kept: of benign and of borderline requests.  fired: in how many of the answers
    to these the probe fired.  without: the verdicts on borderline requests without it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: str
    block: int
    false_alarms: float
    attacks: dict[str, dict[Side, Count]] = {}
    kept: dict[Literal["benign", "borderline"], dict[Side, Count]] = {}
    fired: dict[Literal["benign", "borderline"], dict[Side, int]] = {}
    without: dict[Side, Count] = {}


class Beside(BaseModel):
    """What a count does not say. cut: answers that end within a call, at the length that was asked for.  elsewhere:
    whose calls are of other tools than the one expected.  in_words: that say something in place of a call."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    cut: int = 0
    elsewhere: int = 0
    in_words: int = 0


class SidedFindings(BaseModel):
    """The same on requests of another kind, all sides of which are in one source."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    source: str = ""
    judge: str = ""
    new_tokens: int = 64
    attacks: dict[str, AttackResult] = {}
    benign: dict[Side, Count] = {}
    borderline: dict[Side, Count] = {}


class ToolFindings(SidedFindings):
    """The same on requests that offer tools. complied: the harmful call was made; of benign and borderline requests:
    they got the right call, or none where none was due.  beside: by attack, and of benign and borderline ones."""

    new_tokens: int = 128
    beside: dict[str, dict[Side, Beside]] = {}


class PictureFindings(SidedFindings):
    """The same on requests that show pictures. pixels: how attacks on pixels searched, None where none was tried.
    perturbations: what an attack made for all pictures, by attack and model: the names of files beside the figures."""

    pixels: PixelSearch | None = None
    perturbations: dict[str, dict[Side, tuple[str, ...]]] = {}


class AuthorFindings(SidedFindings):
    """The same on one author's requests of text. kept: of harmless ones, by what the base model does with them."""

    kept: dict[Literal["benign", "borderline"], Kept] = {}


class OthersFindings(BaseModel):
    """The same on other people's words, each author apart, and on the run's own held-out rows beside them. half: of the
    authors, development or test.  rows: of each label of an author at most; 0: all."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    half: str
    rows: int = 0
    own: AuthorFindings
    authors: dict[str, AuthorFindings] = {}

    @property
    def parts(self) -> dict[str, AuthorFindings]:
        """The own rows, under OWN_SPLIT, then each author's."""
        return {OWN_SPLIT: self.own, **self.authors}


class Evaluation(BaseModel):
    """All that one evaluation found about one checkpoint of a run. asked: see needed.asked_digest.  kept: of benign
    requests."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    key: str
    run: str
    created: float = Field(default_factory=time.time)
    harmful: str = ""
    benign: str = ""
    judge: str = "rules"
    new_tokens: int = 64
    seed: int = 0
    attacks: dict[str, AttackResult] = {}
    benign_answers: dict[Side, Count] = {}
    kept: Kept | None = Field(None, exclude_if=lambda kept: kept is None)
    loss: dict[Literal["harmful", "benign"], Losses] = {}
    abilities: tuple[Ability, ...] = ()
    with_probe: WithProbe | None = None
    tools: ToolFindings | None = None
    pictures: PictureFindings | None = None
    others: OthersFindings | None = None
    seconds: float = 0.0
    asked: str = ""
    version: FormatVersion = FORMAT

    def report(self) -> dict:
        """The figures under the names that the command line documents."""
        return {
            "run": self.run,
            **attack_figures(self.attacks),
            "curves": curve_figures(self.attacks),
            "seconds": seconds_figures(self.attacks),
            "spent": spent_figures(self.attacks),
            "benign": side_figures(self.benign_answers),
            "kept": self.kept.model_dump(mode="json") if self.kept else None,
            # Written as JSON and read back: what is not a number is null there.
            "loss": {label: json.loads(losses.model_dump_json()) for label, losses in self.loss.items()},
            "abilities": {ability.name: ability_figures(ability) for ability in self.abilities},
            "with_probe": self.with_probe.model_dump(mode="json") if self.with_probe else None,
            "tools": sided_figures(self.tools) if self.tools else None,
            "pictures": sided_figures(self.pictures) if self.pictures else None,
            "others": others_figures(self.others) if self.others else None,
            "settings": {
                "key": self.key,
                "harmful": self.harmful,
                "benign": self.benign,
                "judge": self.judge,
                "new_tokens": self.new_tokens,
                "seed": self.seed,
                "seconds": round(self.seconds, 1),
            },
        }


class Sample(BaseModel):
    """One answer with its verdict. It may hold harmful text: it stays on this machine.

    request: the key of what was requested, tools and pictures with it; '' in older files.  pictures: as the row has
    them."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    attack: str
    side: Side
    prompt: str
    request: str = Field("", exclude_if=lambda request: not request)
    asked: str = Field("", description="What the model was asked, where that is not the prompt.")
    pictures: tuple[Picture, ...] = Field((), exclude_if=lambda pictures: not pictures)
    answer: str
    word: Word
    reason: str = ""
    nats: float | None = None
    budget: int = 0


def evaluations_folder(run: Run, settings: Settings) -> Path:
    return settings.desk / "evaluations" / run.id if run.read_only else run.folder / "evaluations"


def write_evaluation(run: Run, settings: Settings, found: Evaluation, samples: Sequence[Sample]) -> Path:
    """Write samples, then figures: where the figures are, the samples are whole. Returns the figures' file."""
    folder = evaluations_folder(run, settings)
    lines = "".join(sample.model_dump_json() + "\n" for sample in samples)
    write_whole(folder / f"{found.key}.rows.jsonl", lines)
    write_whole(folder / f"{found.key}.json", found.model_dump_json(indent=2))
    return folder / f"{found.key}.json"


def read_evaluations(run: Run, settings: Settings) -> list[Evaluation]:
    """What is known about a run, newest first, what ships with it included; damaged files are left out."""
    return sorted_out(run, settings)[0]


def sorted_out(run: Run, settings: Settings) -> tuple[list[Evaluation], list[Path]]:
    """As read_evaluations, and the files that cannot be read."""
    folders = dict.fromkeys((run.folder / "evaluations", evaluations_folder(run, settings)))
    read = {file: _read(file) for folder in folders for file in sorted(folder.glob("*.json"))}
    whole = sorted((one for one in read.values() if one is not None), key=lambda one: one.created, reverse=True)
    return whole, [file for file, one in read.items() if one is None]


def read_samples(run: Run, settings: Settings, key: str) -> list[Sample]:
    """The answers behind an evaluation, without damaged lines; [] where they are not on this machine."""
    return read_lines(evaluations_folder(run, settings) / f"{key}.rows.jsonl", Sample.model_validate_json)


def _read(file: Path) -> Evaluation | None:
    try:
        stat = file.stat()
        return _read_once(file, stat.st_mtime_ns, stat.st_size)
    except (OSError, ValidationError, RunError):
        return None


@lru_cache(maxsize=2000)
def _read_once(file: Path, _written: int, _size: int) -> Evaluation:
    return Evaluation.model_validate_json(file.read_bytes())
