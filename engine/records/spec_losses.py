"""The parts of a spec that say what is trained towards: the losses, and their weights over the steps.

Validation is pure: no files, no model, no clock.
"""

from typing import Literal

from pydantic import Field, model_validator

from engine.records.spec_parts import BlockText, Part, TokenMask
from engine.records.versions import since


class LossSpec(Part):
    space: Literal["raw", "centred", "standardised"] = Field(
        "standardised", description="Space of the rerouting cosine; standardised removes rogue dimensions."
    )
    mask: TokenMask = Field(
        "response",
        description="Tokens of harmful rows that are rerouted; with tools also calls, or what leads up to one; with "
        "pictures what follows.",
    )
    skip_response_tokens: int = Field(0, ge=0, description="Response tokens left out at the start of the mask.")
    lead_tokens: int = Field(
        0, ge=0, description="Prompt tokens just before the answer that a response mask includes, on both sides."
    )
    retain_scale: Literal["absolute", "relative"] = Field(
        "relative", description="Retain distance as it is, or divided by the block's mean centred norm."
    )
    retain_mask: TokenMask = Field("all", description="Tokens of benign rows that are held still.")
    retain_blocks: BlockText = Field("adapted", min_length=1, description="Blocks held still: 'adapted' or a list.")
    retain_weight: float = Field(10.0, ge=0, description="Constant factor on the retain loss.")
    retain_mean: Literal["tokens", "positions"] = Field(
        "tokens",
        description="Retain mean over held tokens; or, as published, over max_tokens positions a row and the unmoved "
        "embeddings too.",
        json_schema_extra=since(2),
    )
    final_norm: bool = Field(
        False,
        description="Compare the last retain block's output behind the model's final norm, as published: its code cuts "
        "the model off there.",
        json_schema_extra=since(2),
    )

    reroute_margin: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Cosine below which a harmful token counts as turned away, and is left alone.",
        json_schema_extra=since(7),
    )
    retain_margin: float = Field(
        0.0,
        ge=0,
        description="Drift, in the retain scale's unit, up to which a benign token counts as held still.",
        json_schema_extra=since(7),
    )

    answer_weight: float = Field(
        0.0,
        ge=0,
        description="Weight of the KL divergence of both models' next-token predictions on kept answers; 0: none.",
        json_schema_extra=since(7),
    )
    answer_temperature: float = Field(
        2.0,
        gt=0,
        le=100,
        description="Temperature of both models' predictions in it; higher: unlikely tokens count more.",
        json_schema_extra=since(7),
    )
    answer_rows: Literal["borderline", "benign"] = Field(
        "borderline",
        description="Whose answers are held by these predictions: borderline rows', or all benign ones'.",
        json_schema_extra=since(7),
    )

    overlap_cosine: float = Field(
        0.0,
        ge=0,
        le=1,
        description="A harmful row this near to a borderline one (cosine, base model) counts half; 0: all count.",
        json_schema_extra=since(7),
    )
    overlap_width: float = Field(
        0.05,
        gt=0,
        le=1,
        description="How softly a harmful row's weight falls about that cosine, from whole to none.",
        json_schema_extra=since(7),
    )
    twin_weight: float = Field(
        0.0,
        ge=0,
        description="Factor on the loss that keeps harmful rows from where their borderline twins lie; 0: none.",
        json_schema_extra=since(7),
    )
    twin_margin: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Cosine with its borderline twin that a harmful token may have.",
        json_schema_extra=since(7),
    )

    @property
    def needs_neighbours(self) -> bool:
        """Whether a harmful row's nearest borderline rows are found."""
        return self.overlap_cosine > 0 or self.twin_weight > 0

    @model_validator(mode="after")
    def _normed_distances_are_absolute(self) -> "LossSpec":
        if self.final_norm and self.retain_scale == "relative":
            raise ValueError(
                "behind the final norm a distance has no relative unit: choose the retain scale 'absolute', or turn "
                "the final norm off."
            )
        return self


class KeyPoint(Part):
    progress: float = Field(ge=0, le=1, description="Share of the horizon, 0 to 1.")
    reroute: float = Field(ge=0, description="Rerouting weight there, in units of alpha.")
    retain: float = Field(ge=0, description="Retain weight there, in units of alpha.")


class ScheduleSpec(Part):
    kind: Literal["linear", "cosine", "constant", "step", "custom"] = Field(
        "linear", description="How weight moves from rerouting to retaining; linear is the paper's."
    )
    alpha: float = Field(5.0, gt=0, description="Height of both weights.")
    horizon: int = Field(0, ge=0, description="Steps over which the curve runs to its end; 0: twice the steps (paper).")
    first_step: int = Field(
        0,
        ge=0,
        le=1,
        description="What progress counts the first step as: 0, or 1 as in the published code.",
        json_schema_extra=since(2),
    )
    switch_at: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Kind 'step': progress at which the weights swap; with horizon 0 a run ends at 0.5.",
    )
    points: tuple[KeyPoint, ...] = Field((), description="Kind 'custom': the curve, straight between key points.")

    @model_validator(mode="after")
    def _points_make_a_curve(self) -> "ScheduleSpec":
        progress = [point.progress for point in self.points]
        if self.kind == "custom" and len(progress) < 2:
            raise ValueError(f"a custom schedule needs at least two key points, not {len(progress)}: add some.")
        if progress != sorted(set(progress)):
            raise ValueError(f"key points must rise in progress, not {progress}: sort them and remove doubles.")
        return self
