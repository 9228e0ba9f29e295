"""What an evaluation found, in a sentence with its figures and n. No Streamlit."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from engine.records.evaluation.attacks import ATTACKS
from engine.records.evaluation.counts import FEW, Count, Kept
from engine.records.evaluation.findings import Evaluation, SidedFindings
from engine.records.places import judges_apart

TOO_FEW = "too few to tell"
# What is said in their place where no requests were asked.
ALONE = "kept abilities alone"


class Strongest(NamedTuple):
    """The attack that the circuit-broken model answered most often."""

    title: str
    base: Count
    rerouted: Count


def requests_asked(one: Evaluation) -> int:
    """How many harmful requests each attack asked, at most, or how many benign ones where those alone were asked; of
    requests that offer tools, else of such that show pictures, else of each other author, where no text was asked."""
    if not one.attacks and one.benign_answers:
        return max(count.n for count in one.benign_answers.values())
    other = one.tools or one.pictures
    if not one.attacks and other:
        return most_asked(other)
    attacks = list(one.attacks.values())
    if not attacks and one.others:
        attacks = [result for author in one.others.authors.values() for result in author.attacks.values()]
    return max((result.base.n for result in attacks), default=0)


def most_asked(found: SidedFindings) -> int:
    """How many requests that offer tools or show pictures each attack asked, at most, or how many harmless ones where
    those alone were asked."""
    asked = [result.base for result in found.attacks.values()]
    return max((count.n for count in asked or [*found.benign.values(), *found.borderline.values()]), default=0)


def requests_source(one: Evaluation) -> str:
    """Where those are from that `requests_asked` counts."""
    if asked_text(one):
        return one.harmful or one.benign
    other = one.tools or one.pictures
    return other.source if other else "other people's words"


def asked_words(one: Evaluation) -> str:
    """'rows.jsonl, n 80, 64 tokens': where requests are from, how many, and how long answers were at most."""
    if only_abilities(one):
        return ALONE
    n, other = requests_asked(one), None if asked_text(one) else one.tools or one.pictures
    tokens = other.new_tokens if other else one.new_tokens
    return f"{requests_source(one)}, n {n}, {tokens} tokens" + (f": {TOO_FEW}" if n < FEW else "")


def settings_apart(evaluations: Sequence[Evaluation]) -> list[str]:
    """'judge rules, seed 1' of each, of what they differ in: rates by different judges are no measure of models."""
    judges = apart([f"judge {judge}" for judge in judges_apart([one.judge for one in evaluations])])
    seeds = apart([f"seed {one.seed}" for one in evaluations])
    return [", ".join(filter(None, words)) for words in zip(judges, seeds, strict=True)]


def apart(said: Sequence[str]) -> list[str]:
    """What is said of each, where it is not the same of all; else nothing."""
    return list(said) if len(set(said)) > 1 else [""] * len(said)


def asked_text(one: Evaluation) -> bool:
    """Whether requests of text were asked at all, but those of abilities."""
    return bool(one.attacks or one.benign_answers) or not (_asked_apart(one) or one.abilities)


def only_abilities(one: Evaluation) -> bool:
    """Whether kept abilities are all that was measured."""
    return not asked_text(one) and not _asked_apart(one)


def asks_others_alone(one: Evaluation) -> bool:
    """Whether it is of other people's words, which have a table of their own, and of nothing else."""
    return bool(one.others) and not (asked_text(one) or one.tools or one.pictures or one.abilities)


def _asked_apart(one: Evaluation) -> bool:
    return bool(one.tools or one.pictures or one.others)


def strongest(one: Evaluation) -> Strongest | None:
    """None where no attack has a verdict."""
    known = [name for name, result in one.attacks.items() if name in ATTACKS and result.rerouted.rate is not None]
    if not known:
        return None
    name = max(known, key=lambda name: one.attacks[name].got_through)
    return Strongest(ATTACKS[name].title, one.attacks[name].base, one.attacks[name].rerouted)


def harm_axis(attacks: Sequence[str], *, what: str = "complied", unit: str = "%") -> str:
    """The title of an axis of a rate over these attacks: of which, and that it is a mean where it is one; in two lines
    where one would not fit beside a figure."""
    if len(attacks) > 2:
        return f"{what}, mean of {len(attacks)} attacks, {unit}"
    titles = " and ".join(ATTACKS[name].title.lower() for name in attacks)
    return f"{what}, mean of<br>{titles}, {unit}" if len(attacks) == 2 else f"{what}, {unit} ({titles})"


def finding(one: Evaluation) -> str:
    """Harmful requests answered, base to circuit-broken, under the strongest attack; and benign ones."""
    attack = strongest(one)
    benign = _benign(one)
    if not one.attacks and benign:
        return f"{benign[:1].upper()}{benign[1:]}."
    if attack is None:
        judged = any(result.base.n for result in one.attacks.values())
        whose = " of the circuit-broken model" if judged else ""
        said = f"No answer{whose} to a harmful request could be judged"
        return f"{said}; {benign}." if benign else f"{said}."
    if _fewest(attack.base, attack.rerouted) < FEW:
        said = (
            f"Harmful requests answered: {_of(attack.base, attack.rerouted)} under the strongest attack "
            f"({attack.title.lower()}): {TOO_FEW}, ask at least {FEW}"
        )
    else:
        said = (
            f"Harmful requests answered: {from_to(attack.base.rate, attack.rerouted.rate)} under the strongest attack "
            f"({attack.title.lower()}, {n_words(attack.base, attack.rerouted)})"
        )
    return f"{said}; {benign}." if benign else f"{said}."


def _benign(one: Evaluation) -> str:
    """'' where none was asked, or none could be judged."""
    base, kept = one.benign_answers.get("base"), one.benign_answers.get("rerouted")
    if not base or not kept or kept.rate is None:
        return ""
    few = f", {TOO_FEW}" if _fewest(base, kept) < FEW else ""
    return f"benign requests answered: {from_to(base.rate, kept.rate)} ({n_words(base, kept)}{few})"


def n_words(base: Count, rerouted: Count) -> str:
    """Of how many answers rates are; of both models' where these differ, since verdicts may be unreadable."""
    if base.n == rerouted.n:
        return f"n {base.n}"
    return f"n {base.n or 'none judged'} and {rerouted.n}"


def _of(base: Count, rerouted: Count) -> str:
    """'3 → 1 of 8', or '3 of 7 → 1 of 8'."""
    if base.n == rerouted.n:
        return f"{base.complied} → {rerouted.complied} of {rerouted.n}"
    return f"{f'{base.complied} of {base.n}' if base.n else '–'} → {rerouted.complied} of {rerouted.n}"


def _fewest(base: Count, rerouted: Count) -> int:
    """Of those that were judged: one model's verdicts may all be unreadable."""
    return min(one.n for one in (base, rerouted) if one.n)


def from_to(before: float | None, *after: float | None) -> str:
    """'88 → 6 %'; of several models after, from the least to the greatest: '88 → 6 to 12 %'."""
    return from_several_to([before], after)


def from_several_to(before: Iterable[float | None], after: Iterable[float | None]) -> str:
    """The same of several base models, or of one that was asked several times: '88 to 90 → 6 to 12 %'."""
    return f"{_spread(before)} → {_spread(after)} %"


def _spread(rates: Iterable[float | None]) -> str:
    known = [f"{100 * rate:.0f}" for rate in sorted(rate for rate in rates if rate is not None)]
    return " to ".join(dict.fromkeys((known[0], known[-1]))) if known else "–"


def refused_words(kept: Kept) -> str:
    """What became of harmless requests that the base model refuses; '' where it refuses none."""
    if not kept.refused.n:
        return ""
    return (
        f"base refuses {kept.refused.n}: {kept.refused.refused} stay, {kept.refused.incoherent} break, "
        f"{kept.refused.complied} answered"
    )


def kept_words(kept: Kept | None, side: str) -> str:
    """Behind the change of the rate, which new answers hide losses in."""
    if kept is None or side != "rerouted" or not kept.answered.n:
        return ""
    told = f"{kept.answered.complied} of the {kept.answered.n} that base answers are kept"
    return "".join(f"<br>{one}" for one in (told, refused_words(kept)) if one)
