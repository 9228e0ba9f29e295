"""python -m benchmarks.words: at which blocks a probe of our prompts tells other people's harmful from borderline ones.

For each block a logistic probe is fitted on the last token of sample prompts' requests; printed is, as a table, for the
own test split and for each author, the area under the curve and the share of borderline prompts that are lost where
90 % of harm is found. An author of harmful prompts is held against all borderline ones of its half, and the other way
round. Minutes where a training takes hours: blocks can be chosen by it, on the development half. --json keeps each
block's whole front too, which docs/gallery/fronts.py draws beside breakers.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from jaxtyping import Float

from engine.compute.geometry.reach import Reach, probe_scores, reach, worst
from engine.compute.model.activations import block_activations
from engine.compute.model.adapters import adapted
from engine.compute.model.load import load_model
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.padding import batch_of
from engine.compute.model.text import tokens_of
from engine.records.blocks import parse_blocks
from engine.records.conversation import Conversation, Label
from engine.records.errors import WorkbenchError
from engine.records.others.authors import HALVES
from engine.records.others.reading import others_prompts
from engine.records.prompt_files import read_source
from engine.records.prompts import Prompt, Split, select
from engine.records.settings import Settings, read_settings
from engine.records.spec_parts import BUNDLED_MODEL, DataSpec, ModelSpec

OWN = "own test split"
# Sample sets in other registers and on other topics, by the middle of their names.
ALSO = ("registers", "persons")
# Of one pass.
ROWS = 16

# Requests by side, of one group.
Groups = dict[str, dict[str, list[Conversation]]]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.words", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default=BUNDLED_MODEL)
    parser.add_argument(
        "--dtype",
        default="auto",
        choices=get_args(ModelSpec.model_fields["dtype"].annotation),
        help="of the model's weights",
    )
    parser.add_argument("--blocks", default="33%,50%,66%", help="such as 8-16 or 33%%,50%%")
    parser.add_argument("--prompts", type=int, default=200, help="sample prompts a side that the probe is fitted on")
    parser.add_argument("--rows", type=int, default=80, help="of each label of an author at most; 0: all")
    parser.add_argument("--half", default="development", choices=HALVES)
    parser.add_argument(
        "--also",
        action="append",
        default=[],
        choices=ALSO,
        help="fit it on these sample sets' prompts too, all of them",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found there, fronts included")
    options = parser.parse_args()
    try:
        _measured(options)
    except WorkbenchError as error:
        parser.error(str(error))


def _measured(options: argparse.Namespace) -> None:
    settings = read_settings()
    asked = groups(settings, options.half, rows=options.rows)
    model = load_model(ModelSpec(name=options.model, dtype=options.dtype), settings)
    blocks = parse_blocks(options.blocks, model.card.block_count)
    found = measure(model, blocks, asked, prompts=options.prompts, also=options.also)
    harmful, benign = (len(_fitted(label, options.prompts, options.also)) for label in ("harmful", "benign"))
    print(f"{options.model}, probe fitted on {harmful:,} + {benign:,} sample prompts", *options.also, sep=", ")
    print(table(found))
    if options.json:
        told = {block: {name: one._asdict() for name, one in of.items()} for block, of in found.items()}
        options.json.write_text(json.dumps({"model": options.model, "half": options.half, "blocks": told}) + "\n")


def groups(settings: Settings, half: str, *, rows: int) -> Groups:
    """The own test split and each author of a half."""
    own = {
        label: [prompt.conversation for prompt in _own(label, "test", rows or 10**6, borderline=label == "benign")]
        for label in ("harmful", "benign")
    }
    named: Groups = {OWN: {"harmful": own["harmful"], "borderline": own["benign"]}}
    for name, prompts in others_prompts(half, settings, rows=rows).items():  # type: ignore[arg-type]
        named[name] = {
            label: [Conversation.asking(one.prompt) for one in prompts if one.label == label]
            for label in ("harmful", "borderline")
        }
    return named


def measure(
    model: LoadedModel, blocks: Sequence[int], asked: Groups, *, prompts: int, also: Sequence[str] = ()
) -> dict[int, dict[str, Reach]]:
    """By block and group. prompts: of each side. also: further sample sets, of which all that is for training."""
    sides = [[one.conversation for one in _fitted(label, prompts, also)] for label in ("harmful", "benign")]
    fitted = last_tokens(model, [one for side in sides for one in side], blocks)
    harmful = np.arange(sum(map(len, sides))) < len(sides[0])
    vectors = {
        (name, label): last_tokens(model, of, blocks) for name, by in asked.items() for label, of in by.items() if of
    }
    found: dict[int, dict[str, Reach]] = {}
    for block in blocks:
        given = {key: one[block] for key, one in vectors.items()}
        scores = probe_scores(fitted[block], harmful, given)
        found[block] = {name: reached(scores, name) for name in asked}
    return found


def table(found: Mapping[Any, dict[str, Reach]], head: str = "block") -> str:
    """Markdown: a line a block (or what `head` names), 'AUC; lost' of each group, and the author of others on whom most
    is lost."""
    names = list(next(iter(found.values())))
    first = next(iter(found.values()))
    heads = [
        head,
        *(f"{name} (n {first[name].harmful} + {first[name].borderline})" for name in names),
        "worst author",
    ]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for block, of in found.items():
        others = {name: one for name, one in of.items() if name != OWN}
        cells = [f"{of[name].auc:.3f}; {of[name].lost:.2f}" for name in names]
        name = worst(others)
        lines.append(f"| {block} | {' | '.join(cells)} | {name}: {others[name].lost:.2f} |")
    return "\n".join(lines)


def last_tokens(
    model: LoadedModel, asked: Sequence[Conversation], blocks: Sequence[int]
) -> dict[int, Float[np.ndarray, "prompt d_model"]]:
    """Activations of the base model at the last token before an answer, by block."""
    rows = [tokens_of(model, one).ids for one in asked]
    found = {block: np.zeros((len(rows), model.d_model), dtype=np.float32) for block in blocks}
    order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
    for start in range(0, len(order), ROWS):
        group = order[start : start + ROWS]
        ends = [len(rows[place]) - 1 for place in group]
        with torch.no_grad(), adapted(model, None):
            outputs = block_activations(model, batch_of(model, [rows[place] for place in group]), blocks).outputs
        for block in blocks:
            found[block][group] = outputs[block][range(len(group)), ends].float().cpu().numpy()
    return found


def _fitted(label: Label, count: int, also: Sequence[str]) -> list[Prompt]:
    return _own(label, "train", count) + [
        prompt
        for name in also
        for prompt in read_source(f"sample:{name}-{label}", label=label)
        if prompt.split == "train"
    ]


def _own(label: Label, split: Split, count: int, *, borderline: bool = False) -> list[Prompt]:
    """So many of a sample set, in the order of a spec's seed 0; borderline: these alone."""
    prompts = read_source(f"sample:{label}", label=label)
    chosen = select(prompts, DataSpec(), label=label, split=split, seed=0)
    return [one for one in chosen if one.borderline or not borderline][:count]


def reached(scores: dict[tuple[str, str], np.ndarray], name: str) -> Reach:
    """Own rows against each other; an author's against all of the other side that are not our own."""
    if name == OWN:
        return reach(scores[OWN, "harmful"], scores[OWN, "borderline"])
    sides = {label: scores.get((name, label), _joined(scores, label)) for label in ("harmful", "borderline")}
    return reach(sides["harmful"], sides["borderline"])


def _joined(scores: dict[tuple[str, str], np.ndarray], label: str) -> np.ndarray:
    return np.concatenate([one for (name, of), one in scores.items() if of == label and name != OWN])


if __name__ == "__main__":
    main()
