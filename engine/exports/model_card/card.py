"""The card of an adapter in Markdown with a hub's front matter: what it is, what it reached, for what it is not.

Figures come from records; nothing is claimed that was not measured. Knows no files.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import EvalResult, ModelCardData

from engine.exports.private import Private
from engine.exports.product import written_by
from engine.figures.evaluation.findings import TOO_FEW
from engine.records.assembled import ASSEMBLED_PREFIX
from engine.records.blocks import paper_layer
from engine.records.evaluation.attacks import ATTACKS, KNOWN_DEFEATS
from engine.records.evaluation.counts import FEW, Count, Side
from engine.records.evaluation.findings import AttackResult, Evaluation, SidedFindings
from engine.records.outcome import Outcome
from engine.records.packaged import PREFIX
from engine.records.places import judge_words
from engine.records.runs import Record
from engine.records.spec import RunSpec
from engine.records.spec_parts import BUNDLED_MODEL

TAGS = ["representation-rerouting", "circuit-breakers", "lora", "safety"]
# Models that came in packages, and whose weights they are.
HUB_NAMES = {BUNDLED_MODEL: "HuggingFaceTB/SmolLM2-135M-Instruct"}
# Of requests of one kind.
MOST_TABLES = 2
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
    """What a card rests on. evaluations: of the final weights, those of most requests first.  sees: whether the base
    model can be shown pictures."""

    name: str
    record: Record
    spec: RunSpec
    outcome: Outcome
    evaluations: Sequence[Evaluation]
    pictures: Sequence[str] = ()
    sees: bool = False


# What rates of requests with tools are of.
CALLS_MADE = "Harmful calls made, and harmless requests served as they should be"


class _Asked(NamedTuple):
    """Requests of one kind that one evaluation asked. of: which, in words.  attacks, kept: by what the table calls
    them.  counted: what the rates are of, and metric: the same of harmful ones, for the card's head."""

    of: str
    new_tokens: int
    judge: str
    attacks: Mapping[str, AttackResult]
    kept: Mapping[str, Mapping[Side, Count]]
    counted: str = "Requests answered"
    metric: str = "harmful requests answered"


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
        f"```python\nfrom peft import PeftModel\nfrom transformers import {_loader(facts)}\n\n"
        f'base = {_loader(facts)}.from_pretrained("{hub_name(spec, private) or "PATH-OF-THE-BASE-MODEL"}")\n'
        'model = PeftModel.from_pretrained(base, "PATH-OR-ID-OF-THIS-FOLDER")\n```',
        *([_came_in_package(spec)] if _came_in_package(spec) else []),
        f"**Intended use.** {INTENDED}",
        "## Limits",
        "\n".join(f"- {limit}" for limit in LIMITS),
        "## What it reached",
        _measured(record),
        *(f"![{name}](figures/{name}.png)" for name in facts.pictures),
        *(_evaluated(one) for one in _asked(facts.evaluations, private)),
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
    """The base model's id on the hub, '' for one of a local folder or one that is put together here."""
    name = spec.model.name
    if name.startswith(ASSEMBLED_PREFIX):
        return ""
    if name in HUB_NAMES:
        return HUB_NAMES[name]
    if name.startswith(PREFIX):
        return f"Qwen/{name.removeprefix(PREFIX)}"
    is_local = private.of_machine(name) != name or Path(name).exists()
    return "" if is_local or name.count("/") != 1 else name


def _front_matter(facts: Facts, private: Private) -> str:
    task = "image-text-to-text" if facts.sees else "text-generation"
    results = [
        EvalResult(
            task_type=task,
            dataset_type="text",
            dataset_name=one.of,
            metric_type=one.metric.replace(" ", "_"),
            metric_name=f"{name}, {one.metric}, % (n {result.rerouted.n})",
            metric_value=round(100 * result.rerouted.rate, 1),
        )
        for one in _asked(facts.evaluations, private)[:1]
        for name, result in one.attacks.items()
        if result.rerouted.rate is not None
    ]
    data = ModelCardData(
        base_model=hub_name(facts.spec, private) or None,
        base_model_relation="adapter" if hub_name(facts.spec, private) else None,
        library_name="peft",
        pipeline_tag=task,
        tags=TAGS,
        model_name=private.of_machine(facts.name),
        eval_results=results or None,
    )
    return str(data.to_yaml())


def _loader(facts: Facts) -> str:
    return "AutoModelForImageTextToText" if facts.sees else "AutoModelForCausalLM"


def _came_in_package(spec: RunSpec) -> str:
    if spec.model.name not in HUB_NAMES and not spec.model.name.startswith(PREFIX):
        return ""
    return (
        "It was trained on a 4-bit GGUF file of this model, read as full weights; on the hub's own weights the figures "
        "may differ."
    )


def _measured(record: Record) -> str:
    known = {name: value for name, value in sorted(record.figures.items()) if math.isfinite(value)}
    digits = {name: 0 if name.endswith("_step") else 4 for name in known}
    rows = [f"| {name.replace('_', ' ')} | {value:.{digits[name]}f} |" for name, value in known.items()]
    return (
        "Cosines are taken in the standardised space (1: unmoved, 0: turned away); drift is relative to the block's "
        "mean centred norm. Held-out figures are of prompts that training never saw.\n\n| figure | value |\n|---|---|\n"
        + ("\n".join(rows) or "| none measured | |")
    )


def _asked(evaluations: Sequence[Evaluation], private: Private) -> list[_Asked]:
    """What was asked, each kind of requests apart: at most MOST_TABLES of a kind, in the order of the evaluations."""
    text, tools, pictures, others = [], [], [], []
    for one in evaluations:
        if one.attacks or one.benign_answers:
            source = private.of_machine(one.harmful) or "own rows"
            kept = {"Benign requests": one.benign_answers}
            text.append(_Asked(source, one.new_tokens, one.judge, _titled(one.attacks), kept))
        if one.tools:
            asked = _sided(one.tools, f"{private.of_machine(one.tools.source)}, which offer tools")
            tools.append(asked._replace(counted=CALLS_MADE, metric="harmful calls made"))
        if one.pictures:
            pictures.append(_sided(one.pictures, f"{private.of_machine(one.pictures.source)}, which show pictures"))
        if one.others:
            attacks: dict[str, AttackResult] = {}
            harmless: dict[str, Mapping[Side, Count]] = {}
            for name, part in one.others.parts.items():
                attacks |= {f"{name}: {title.lower()}": result for title, result in _titled(part.attacks).items()}
                harmless |= {f"{name}: {label} requests": getattr(part, label) for label in ("benign", "borderline")}
            of = f"other people's words, {one.others.half} half"
            others.append(_Asked(of, one.new_tokens, one.judge, attacks, harmless))
    return [one for kind in (text, tools, pictures, others) for one in kind[:MOST_TABLES]]


def _sided(found: SidedFindings, of: str) -> _Asked:
    kept = {"Benign requests": found.benign, "Borderline requests": found.borderline}
    return _Asked(of, found.new_tokens, found.judge, _titled(found.attacks), kept)


def _titled(attacks: Mapping[str, AttackResult]) -> dict[str, AttackResult]:
    return {ATTACKS[name].title: result for name, result in attacks.items() if name in ATTACKS}


def _evaluated(one: _Asked) -> str:
    """Attack by model with n and interval, and what was kept."""
    rows = [f"| {name} | {_rate(result.base)} | {_rate(result.rerouted)} |" for name, result in one.attacks.items()]
    rows += [
        f"| {name} | {_rate(counts['base'])} | {_rate(counts['rerouted'])} |"
        for name, counts in one.kept.items()
        if {"base", "rerouted"} <= counts.keys() and counts["base"].n
    ]
    judge = judge_words(one.judge)
    said = f"{one.counted}, of {one.of}; answers of {one.new_tokens} tokens, judge {judge}; 95 % Wilson intervals."
    return "\n".join([said, "", "| requests | base | circuit-broken |", "|---|---|---|", *rows])


def _rate(count: Count) -> str:
    if count.rate is None:
        return "–"
    few = f", {TOO_FEW}" if count.n < FEW else ""
    return f"{100 * count.rate:.1f} % ({100 * count.ci95.low:.1f} to {100 * count.ci95.high:.1f}, n {count.n}{few})"
