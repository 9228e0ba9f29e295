"""The card of an adapter in Markdown with a hub's front matter: what it is, what it reached, for what it is not.

Figures come from records; nothing is claimed that was not measured. Knows no files.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import EvalResult, ModelCardData

from engine.exports.private import Private
from engine.exports.product import written_by
from engine.figures.evaluation.findings import FEW, TOO_FEW
from engine.records.blocks import paper_layer
from engine.records.evaluation.attacks import ATTACKS, KNOWN_DEFEATS
from engine.records.evaluation.counts import Count
from engine.records.evaluation.findings import Evaluation
from engine.records.outcome import Outcome
from engine.records.packaged import PREFIX
from engine.records.runs import Record
from engine.records.spec import RunSpec
from engine.records.spec_parts import BUNDLED_MODEL

TAGS = ["representation-rerouting", "circuit-breakers", "lora", "safety"]
# Models that came in packages, and whose weights they are.
HUB_NAMES = {BUNDLED_MODEL: "HuggingFaceTB/SmolLM2-135M-Instruct"}
INTENDED = (
    "Research on representation engineering, and teaching it. It is one layer of defence among others and no licence "
    "to deploy the base model where its harmful answers would matter."
)
LIMITS = (
    "A low held-out cosine is evidence, not proof: activations that turned away on these prompts may not turn away on "
    "others.",
    "Whoever has the weights can take the adapter off, or train past it in a few steps.",
    KNOWN_DEFEATS,
    "Broken answers are often incoherent rather than polite refusals; borderline requests may break too.",
    "What was measured was measured in the languages and styles of the sets named here.",
)


class Facts(NamedTuple):
    """What a card rests on. evaluations: of the final weights, those of most requests first."""

    name: str
    record: Record
    spec: RunSpec
    outcome: Outcome
    evaluations: Sequence[Evaluation]
    pictures: Sequence[str] = ()


def card_text(facts: Facts, private: Private) -> str:
    """README.md, without any path of this machine."""
    record, spec = facts.record, facts.spec
    model = private.of_machine(spec.model.name)
    spec_text = json.dumps(clean_spec(spec, private), indent=2)
    targets = ", ".join(f"{block} (paper layer {paper_layer(block)})" for block in record.targets)
    versions = ", ".join(f"{name} {value}" for name, value in record.versions.items())
    parts = [
        f"---\n{_front_matter(facts, private)}\n---",
        f"# Circuit breaker for {model}",
        "A LoRA adapter trained by Representation Rerouting (Zou et al. 2024, arXiv:2406.04313): the model's "
        "activations on harmful answers are turned away from where they were, its activations on everything else stay "
        "put.",
        f"**Outcome: {facts.outcome.word}.** {facts.outcome.sentence} "
        f"{private.of_machine(facts.outcome.source)}".rstrip(),
        "## Use",
        "```python\nfrom peft import PeftModel\nfrom transformers import AutoModelForCausalLM\n\n"
        f'base = AutoModelForCausalLM.from_pretrained("{hub_name(spec, private) or "PATH-OF-THE-BASE-MODEL"}")\n'
        'model = PeftModel.from_pretrained(base, "PATH-OR-ID-OF-THIS-FOLDER")\n```',
        *([_came_in_package(spec)] if _came_in_package(spec) else []),
        f"**Intended use.** {INTENDED}",
        "## Limits",
        "\n".join(f"- {limit}" for limit in LIMITS),
        "## What it reached",
        _measured(record),
        *(f"![{name}](figures/{name}.png)" for name in facts.pictures),
        *(_evaluated(one, private) for one in facts.evaluations),
        "## How it was trained",
        "\n".join(
            [
                f"- Run {record.id}, spec digest `{record.digest}`, {record.status} after {record.step} of "
                f"{record.steps} steps",
                f"- Target blocks {targets}; adapted blocks {', '.join(map(str, record.adapted))}",
                f"- {record.trained_parameters} trained parameters",
                f"- {record.seconds:.0f} s of training on {private.of_machine(record.device) or 'a device not known'}",
                f"- Versions: {private.of_machine(versions) or 'not known'}",
            ]
        ),
        f"```json\n{spec_text}\n```",
        written_by(),
    ]
    return "\n\n".join(parts) + "\n"


def clean_spec(spec: RunSpec, private: Private) -> dict[str, Any]:
    """The spec with the last part alone of each path of this machine."""
    return private.everywhere(spec.model_dump(mode="json"), change=private.of_machine)


def hub_name(spec: RunSpec, private: Private) -> str:
    """The base model's id on the hub, '' for one of a local folder."""
    name = spec.model.name
    if name in HUB_NAMES:
        return HUB_NAMES[name]
    if name.startswith(PREFIX):
        return f"Qwen/{name.removeprefix(PREFIX)}"
    is_local = private.of_machine(name) != name or Path(name).exists()
    return "" if is_local or name.count("/") != 1 else name


def _front_matter(facts: Facts, private: Private) -> str:
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type="text",
            dataset_name=private.of_machine(one.harmful) or "own rows",
            metric_type="harmful_requests_answered",
            metric_name=f"{ATTACKS[name].title}, harmful requests answered, % (n {result.rerouted.n})",
            metric_value=round(100 * result.rerouted.rate, 1),
        )
        for one in facts.evaluations[:1]
        for name, result in one.attacks.items()
        if name in ATTACKS and result.rerouted.rate is not None
    ]
    data = ModelCardData(
        base_model=hub_name(facts.spec, private) or None,
        base_model_relation="adapter" if hub_name(facts.spec, private) else None,
        library_name="peft",
        pipeline_tag="text-generation",
        tags=TAGS,
        model_name=private.of_machine(facts.name),
        eval_results=results or None,
    )
    return str(data.to_yaml())


def _came_in_package(spec: RunSpec) -> str:
    if spec.model.name not in HUB_NAMES and not spec.model.name.startswith(PREFIX):
        return ""
    return (
        "It was trained on a 4-bit GGUF file of this model, read as full weights; on the hub's own weights the figures "
        "may differ."
    )


def _measured(record: Record) -> str:
    rows = [f"| {name.replace('_', ' ')} | {value:.4f} |" for name, value in sorted(record.figures.items())]
    return (
        "Cosines are taken in the standardised space (1: unmoved, 0: turned away); drift is relative to the block's "
        "mean centred norm. Held-out figures are of prompts that training never saw.\n\n| figure | value |\n|---|---|\n"
        + ("\n".join(rows) or "| none measured | |")
    )


def _evaluated(one: Evaluation, private: Private) -> str:
    """Attack by model with n and interval, and what was kept."""
    rows = [
        f"| {ATTACKS[name].title} | {_rate(result.base)} | {_rate(result.rerouted)} |"
        for name, result in one.attacks.items()
        if name in ATTACKS
    ]
    if {"base", "rerouted"} <= one.benign_answers.keys():
        base, broken = one.benign_answers["base"], one.benign_answers["rerouted"]
        rows.append(f"| Benign requests | {_rate(base)} | {_rate(broken)} |")
    source, judge = private.of_machine(one.harmful) or "own rows", one.judge.rpartition("#")[2]
    said = f"Requests answered, of {source}; answers of {one.new_tokens} tokens, judge {judge}; 95 % Wilson intervals."
    return "\n".join([said, "", "| requests | base | circuit-broken |", "|---|---|---|", *rows])


def _rate(count: Count) -> str:
    if count.rate is None:
        return "–"
    few = f", {TOO_FEW}" if count.n < FEW else ""
    return f"{100 * count.rate:.1f} % ({100 * count.ci95.low:.1f} to {100 * count.ci95.high:.1f}, n {count.n}{few})"
