"""RunSpec: all that decides a training result and nothing else. Validation is pure: no files, no model, no clock."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator

from engine.records.spec_losses import LossSpec, ScheduleSpec
from engine.records.spec_parts import (
    AdapterSpec,
    BlocksSpec,
    CaptureSpec,
    DataSpec,
    HarmfulnessSpec,
    ModelSpec,
    OptimizerSpec,
    Part,
)
from engine.records.versions import key_of, since, stable

SPEC_VERSION = 2
# Fields that change no training result.
WITHOUT_RESULT = {
    "model.device", "captures.trackers", "captures.probe_every", "captures.probe_prompts", "captures.probe_tokens",
    "captures.evaluation_rows", "captures.final_prompts", "captures.final_answers", "harmfulness.probe",
    "harmfulness.block", "harmfulness.false_alarms", "optimizer.gradient_checkpointing",
}  # fmt: skip


class RunSpec(Part):
    """All that decides a training result. The same spec has the same digest."""

    model: ModelSpec = Field(ModelSpec(), description="The base model.")
    data: DataSpec = Field(DataSpec(), description="Circuit-breaker set, retain set, and their answers.")
    blocks: BlocksSpec = Field(BlocksSpec(), description="Where to reroute and where to adapt.")
    adapter: AdapterSpec = Field(AdapterSpec(), description="The LoRA adapter.")
    loss: LossSpec = Field(LossSpec(), description="Rerouting loss and retain loss.")
    schedule: ScheduleSpec = Field(ScheduleSpec(), description="Weights of both losses over the steps.")
    optimizer: OptimizerSpec = Field(OptimizerSpec(), description="AdamW, batch sizes and length.")
    captures: CaptureSpec = Field(CaptureSpec(), description="What is measured while training.")
    harmfulness: HarmfulnessSpec = Field(
        HarmfulnessSpec(),
        description="A probe that ends harmful answers, beside the adapter.",
        json_schema_extra=since(3),
    )
    seed: int = Field(0, ge=0, le=2**31 - 1, description="Source of all randomness of the run.")
    version: int = Field(
        2, ge=1, description="Of the spec's form: decides how its digest is made.", json_schema_extra=since(2)
    )

    @field_validator("version")
    @classmethod
    def _is_known(cls, version: int) -> int:
        if version > SPEC_VERSION:
            raise ValueError(
                "the spec was written by a newer version of the workbench (this one reads forms up to "
                f"{SPEC_VERSION}): update the workbench."
            )
        return version

    @property
    def digest(self) -> str:
        """Twelve hexadecimal digits that two specs share only when they train the same on the same files."""
        return self.digest_with({})

    def digest_with(self, sources: Mapping[str, str]) -> str:
        """As `digest`, with the content hashes of the files that the spec names.

        Fields at their defaults are left out, so that a new one changes no old digest, and so is what changes no
        result: device, trackers, probe answers. A spec of version 1 keeps the digest that it had then: of all fields of
        that time.
        """
        content: dict[str, Any] = stable(self)
        if self.version == 1:
            return key_of(_canonical({name: value for name, value in content.items() if name != "version"}), length=12)
        standard = flat(RunSpec())
        chosen = {
            name: value for name, value in flat(self).items() if value != standard[name] and name not in WITHOUT_RESULT
        }
        return key_of(_canonical(chosen | {"sources": dict(sources)}), version=self.version, length=12)

    def to_json(self) -> str:
        return self.model_dump_json(indent=2) + "\n"


def flat(spec: RunSpec) -> dict[str, Any]:
    """All fields of a spec but its version under dotted names, as JSON values: {'loss.space': 'standardised', ...}."""
    found: dict[str, Any] = {}
    for part, content in spec.model_dump(mode="json", exclude={"version"}).items():
        if isinstance(content, dict):
            found |= {f"{part}.{name}": value for name, value in content.items()}
        else:
            found[part] = content
    return found


def field_description(path: str) -> str:
    """The one-line description of a field, for help texts: field_description('loss.space')."""
    part: Any = RunSpec
    *outer, last = path.split(".")
    for name in outer:
        part = part.model_fields[name].annotation
    return part.model_fields[last].description


def _canonical(content: Mapping[str, Any]) -> str:
    return json.dumps(content, sort_keys=True, separators=(",", ":"))
