"""A unit of lessons as its file says it: steps with a text, a view of the workbench, a task, hints and a check.

Knows nothing of files or records: what a check asks for is here, whether it is met is in `checking`.
"""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from engine.records.evaluation.attacks import ATTACKS
from engine.records.spec import RunSpec, flat
from engine.records.spec_parts import Part
from engine.records.versions import FORMAT, FormatVersion

# A run in a view, a figure or a check: the one that ships, whatever its id.
SHIPPED = "shipped"
_CHAT = frozenset({"run", "chat", "model"})
_STEERING = frozenset({"steer", "steer_capture", "steer_block", "strengths"})
_MAP = frozenset({"method", "dimensions", "space", "plane", "layout"})
# Pages by their names, and what a link to each may say.
PAGES: dict[str, frozenset[str]] = {
    "home": frozenset(),
    "train": frozenset({"preset", "like", *flat(RunSpec())}),
    "runs": frozenset({"run", "compare", "view", "q", "sort", "status"}),
    "representations": _MAP | {"run", "capture", "tab", "block", "step", "tokens", "averaged", "selected"},
    "side_by_side": _CHAT | _STEERING | {"set", "side_view", "prompt", "message", "prefill", "harmful"},
    "tools": _CHAT | {"set", "tools_view"},
    "pictures": _CHAT | {"pictures_view", "attack"},
    "evaluate": frozenset({"run"}),
}
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,59}$")]
Text = Annotated[str, Field(min_length=1)]


class View(Part):
    """A page, and what its link says. settings: the page's own parameters; of the run that ships: `run: shipped`."""

    page: str
    settings: dict[str, str] = Field(default_factory=dict)

    @field_validator("page")
    @classmethod
    def _known_page(cls, page: str) -> str:
        if page not in PAGES:
            raise ValueError(f"there is no view '{page}': choose from {', '.join(PAGES)}")
        return page

    @field_validator("settings", mode="before")
    @classmethod
    def _as_text(cls, settings: object) -> object:
        """YAML reads 19 as a number: in a link all is text."""
        if not isinstance(settings, dict):
            return settings
        plain = (str, int, float)
        return {k: str(v) if isinstance(v, plain) and not isinstance(v, bool) else v for k, v in settings.items()}

    @model_validator(mode="after")
    def _known_settings(self) -> "View":
        unknown = sorted(set(self.settings) - PAGES[self.page])
        if unknown:
            known = ", ".join(sorted(PAGES[self.page])[:14]) or "nothing"
            raise ValueError(f"the view {self.page} knows no setting '{unknown[0]}': its link says {known}")
        return self


class Figure(Part):
    """A small figure beside the text, drawn from a run's records.

    kind: losses or held-out figures over steps; cosines a prompt; cosines a block and step; answers under attack, and
    to harmless requests; how well each block tells harmful from benign; the map of how far prompts moved.  recorded:
    curves that a file beside the lesson holds.
    """

    kind: Literal["losses", "heldout", "prompts", "blocks", "attacks", "kept", "separation", "movement", "recorded"]
    run: Text = SHIPPED
    block: int | None = Field(None, ge=0)
    while_training: bool = Field(False, description="Of the capture that was made while the run trained.")
    file: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+\.json$")] | None = None


class Hints(Part):
    """What helps, each more than the one before."""

    nudge: Text
    suggestion: Text
    show_me: Text


class RunExists(Part):
    """A run of the learner's own. cosine_below, benign_above: of its held-out figures.  settings: fields of its spec
    that have these values.  targets: the first and last block that its targets may be."""

    kind: Literal["run_exists"]
    preset: str = ""
    status: Literal["finished", "stopped", "begun"] = "finished"
    cosine_below: float | None = None
    cosine_above: float | None = None
    benign_above: float | None = None
    targets: tuple[int, int] | None = None
    settings: dict[str, str | int | float | bool] = Field(default_factory=dict)

    @field_validator("settings")
    @classmethod
    def _known_fields(cls, settings: dict) -> dict:
        if unknown := sorted(set(settings) - set(flat(RunSpec()))):
            raise ValueError(f"a run's spec has no field '{unknown[0]}'")
        return settings

    @model_validator(mode="after")
    def _has_figures(self) -> "RunExists":
        bounds = {"cosine_below": self.cosine_below, "cosine_above": self.cosine_above}
        bounds["benign_above"] = self.benign_above
        if self.status == "begun" and (named := [name for name, value in bounds.items() if value is not None]):
            raise ValueError(
                f"a run that has begun has no figures yet: leave {named[0]} out, or ask for another status"
            )
        return self


class PausedAndResumed(Part):
    """A run of the learner's own was paused while it trained, and went on."""

    kind: Literal["paused_and_resumed"]


class Asked(Part):
    """A message was asked and answered. label: as the message is marked, or borderline as its sample prompt is.  run:
    among the models that were asked.  steered: at least as strongly, either way, in one of the columns."""

    kind: Literal["asked"]
    label: Literal["", "harmful", "benign", "borderline"] = ""
    prefill: bool = False
    forced_call: bool = False
    steered: float | None = Field(None, gt=0)
    blocks: tuple[int, int] | None = None
    run: str = ""
    tripped: bool = False

    @model_validator(mode="after")
    def _is_read(self) -> "Asked":
        if self.blocks is not None and self.steered is None:
            raise ValueError("blocks are those that are steered: name steered too, or leave blocks out")
        return self


class Captured(Part):
    """Activations were captured. of: a base model alone, a run, or either."""

    kind: Literal["captured"]
    of: Literal["base", "run", "any"] = "any"
    prompts: int = Field(1, ge=1, description="At least so many prompts in all.")


class Looked(Part):
    """Something was made of a capture of at least so many prompts: a map by a method at a block, an examination of its
    blocks, tokens."""

    kind: Literal["looked"]
    at: Literal["map", "separation", "tokens"]
    method: Literal["", "pca", "umap", "difference", "probe", "movement"] = ""
    blocks: tuple[int, int] | None = None
    run: str = ""
    prompts: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _is_read(self) -> "Looked":
        if self.at != "map" and (self.method or self.blocks is not None):
            raise ValueError(f"method and blocks are of a map, not of {self.at}: leave them out")
        return self


class Evaluated(Part):
    """A run was evaluated on this machine. attacks: all of these in one evaluation.  tools: requests to agents."""

    kind: Literal["evaluated"]
    attacks: tuple[str, ...] = ()
    tools: bool = False
    run: str = ""

    @field_validator("attacks")
    @classmethod
    def _known_attacks(cls, attacks: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := sorted(set(attacks) - set(ATTACKS)):
            raise ValueError(f"there is no attack '{unknown[0]}': choose from {', '.join(ATTACKS)}")
        return attacks


class Answer(Part):
    """A question that the learner answers. choices and right, or number and tolerance.  why: what is said once it is
    answered rightly."""

    kind: Literal["answer"]
    question: Text
    choices: tuple[Text, ...] = ()
    right: int | None = Field(None, ge=1, description="Which choice is right, counted from 1.")
    number: float | None = None
    tolerance: float = Field(0.0, ge=0)
    why: Text

    @model_validator(mode="after")
    def _one_kind_of_answer(self) -> "Answer":
        if bool(self.choices) == (self.number is not None):
            raise ValueError("a question has either choices or a number for its answer")
        if self.choices and (self.right is None or self.right > len(self.choices)):
            raise ValueError(f"which of the {len(self.choices)} choices is right is not said: give right from 1")
        if not self.choices and self.right is not None:
            raise ValueError("right counts choices, and there are none")
        return self


CHECKS = ("run_exists", "paused_and_resumed", "asked", "captured", "looked", "evaluated", "answer")
Check = Annotated[
    RunExists | PausedAndResumed | Asked | Captured | Looked | Evaluated | Answer, Field(discriminator="kind")
]


class Step(Part):
    """optional: the unit is done without it; for what takes minutes."""

    id: Name
    title: Text
    text: Text
    view: View | None = None
    figure: Figure | None = None
    task: Text
    hints: Hints
    check: Check
    optional: bool = False


class Unit(Part):
    """minutes: about how long it takes.  learns: what one knows afterwards, one sentence."""

    title: Text
    minutes: int = Field(ge=1, le=600)
    order: int
    learns: Text
    steps: tuple[Step, ...] = Field(min_length=1)
    version: FormatVersion = FORMAT

    @field_validator("steps")
    @classmethod
    def _no_two_alike(cls, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        ids = [step.id for step in steps]
        if twice := next((one for one in ids if ids.count(one) > 1), None):
            raise ValueError(f"two steps have the id '{twice}': progress is kept by it")
        return steps
