"""In how many ways two runs may have been asked: attacks and harmless requests, of text, with tools, with pictures, of
other authors.

Knows evaluations alone: neither runs nor forms.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from engine.figures.evaluation.agents import AGENTS
from engine.figures.evaluation.pictures import PICTURES
from engine.figures.evaluation.sided import Block
from engine.records.evaluation.attacks import ATTACKS, PICTURE_ATTACKS, PIXEL_ATTACKS, TEXT_ATTACKS, TOOL_ATTACKS
from engine.records.evaluation.counts import Count
from engine.records.evaluation.findings import Evaluation, PictureFindings, SidedFindings
from engine.records.evaluation.plan import OTHER_SAMPLES, PICTURE_SAMPLES, TOOL_SAMPLES, other_sample
from engine.records.others.authors import AUTHORS

BENIGN = "benign"
_SIDED: Mapping[str, Block] = {TOOL_SAMPLES: AGENTS, PICTURE_SAMPLES: PICTURES}

# By the name that samples of it have, what is counted in words; in the order of a report.
WAYS: Mapping[str, str] = {
    **{name: f"{ATTACKS[name].title}, answered" for name in TEXT_ATTACKS},
    BENIGN: "Benign requests, answered",
    "borderline": "Borderline requests, answered",
    "overrefusal": "Borderline requests of another author, answered",
    **{TOOL_SAMPLES + name: f"{ATTACKS[name].title}, harmful calls made" for name in TOOL_ATTACKS},
    **{TOOL_SAMPLES + kind: title for kind, title in AGENTS.kept.items()},
    **{PICTURE_SAMPLES + name: f"{ATTACKS[name].title}, with pictures, answered" for name in PICTURE_ATTACKS},
    **{PICTURE_SAMPLES + kind: f"With pictures: {title.lower()}" for kind, title in PICTURES.kept.items()},
    **{
        other_sample(author, name): f"{about.title}: {ATTACKS[name].title.lower()}, answered"
        for author, about in AUTHORS.items()
        for name in TEXT_ATTACKS
    },
    **{
        other_sample(author, kind): f"{about.title}: {kind} requests, answered"
        for author, about in AUTHORS.items()
        for kind in ("borderline", "benign")
    },
}


class Asked(NamedTuple):
    """What became of the circuit-broken model's answers.  key: of the evaluation.  terms: source, length of answers,
    judge, how pixels were searched, budget and the seed that an attack drew by, which must be the same for two runs to
    be compared.  strength: the attack's version and candidates."""

    key: str
    verdicts: Count
    terms: tuple[Any, ...]
    strength: tuple[int, ...] = ()

    def is_as(self, other: "Asked") -> bool:
        """What is not known (0), as of older files, is as anything."""
        alike = zip(self.strength, other.strength, strict=False)
        return self.terms == other.terms and all(one == another or not (one and another) for one, another in alike)


def asked(one: Evaluation, way: str) -> Asked | None:
    """One of WAYS in an evaluation; None where it was not asked so."""
    if way.startswith(OTHER_SAMPLES):
        return _of_author(one, *way.removeprefix(OTHER_SAMPLES).split(": "))
    for samples, block in _SIDED.items():
        if way.startswith(samples):
            found = block.found(one)
            return _of_sided(one, found, way.removeprefix(samples)) if found else None
    if result := one.attacks.get(way):
        terms = (one.harmful, one.new_tokens, one.judge, result.budget, _seed(one, way))
        return Asked(one.key, result.rerouted, terms, (result.version, result.candidates))
    if way == BENIGN:
        counts, source = one.benign_answers, one.benign
    else:
        counts, source = next((ability.counts for ability in one.abilities if ability.name == way), {}), way
    return Asked(one.key, counts["rerouted"], (source, one.new_tokens, one.judge)) if "rerouted" in counts else None


def _of_author(one: Evaluation, author: str, name: str) -> Asked | None:
    found = one.others.authors.get(author) if one.others else None
    told = _of_sided(one, found, name) if found else None
    return told._replace(terms=(*told.terms, one.others.rows)) if told and one.others else None


def _seed(one: Evaluation, attack: str) -> int | None:
    """None where it asks alike under any."""
    return one.seed if ATTACKS[attack].draws else None


def _of_sided(one: Evaluation, found: SidedFindings, name: str) -> Asked | None:
    terms = (found.source, found.new_tokens, found.judge)
    if result := found.attacks.get(name):
        searched = found.pixels if isinstance(found, PictureFindings) and name in PIXEL_ATTACKS else None
        asked_so = (*terms, searched, result.budget, _seed(one, name))
        return Asked(one.key, result.rerouted, asked_so, (result.version, result.candidates))
    counts = {"benign": found.benign, "borderline": found.borderline}.get(name, {})
    return Asked(one.key, counts["rerouted"], terms) if "rerouted" in counts else None
