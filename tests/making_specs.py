"""Specs of the tiny model, with the prompt files that they name. No fixtures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from making import write_prompts

from engine.records.spec import RunSpec
from engine.records.spec_text import build_spec


def spec_maker(model: Path, folder: Path) -> Callable[..., RunSpec]:
    """Makes specs for the tiny model, with prompt files in the folder."""
    harmful = write_prompts(folder / "harmful.jsonl", kind="harmful")
    benign = write_prompts(folder / "benign.jsonl", kind="benign")

    def make(**changes: Any) -> RunSpec:
        content: dict[str, Any] = {
            "model": {"name": str(model), "device": "cpu"},
            "data": {"circuit_breaker": str(harmful), "retain": str(benign), "answers": "given", "max_tokens": 128},
            "blocks": {"targets": "1", "adapted": "0-1"},
            "adapter": {"rank": 4, "alpha": 4.0},
            "optimizer": {"steps": 6, "circuit_breaker_batch": 3, "retain_batch": 3, "tokens_per_micro_batch": 256},
            "captures": {
                "heldout_every": 3,
                "probe_every": 3,
                "probe_prompts": 1,
                "probe_tokens": 4,
                "checkpoint_every": 2,
                "evaluation_rows": 0,
                "final_prompts": 0,
            },
        }
        for name, value in changes.items():
            part, _, field = name.partition(".")
            if field:
                content.setdefault(part, {})[field] = value
            else:
                content[part] = value
        return build_spec(content)

    return make
