"""What an evaluation found, as lines for a terminal. Knows nothing of how it was found."""

from collections.abc import Mapping

from engine.figures.evaluation.findings import ALONE, only_abilities
from engine.records.evaluation.attacks import ATTACKS
from engine.records.evaluation.counts import SIDES, Count, Side
from engine.records.evaluation.findings import AttackResult, Evaluation, SidedFindings
from engine.records.evaluation.losses import LOST_NATS
from engine.records.evaluation.worst import worst_authors


def summary(evaluation: Evaluation) -> str:
    """The figures as lines for a terminal."""
    what = "share that complied, with 95 % interval; refused and incoherent apart"
    lines = [f"{evaluation.run}: {ALONE if only_abilities(evaluation) else what}"]
    lines += _count_lines(_by_side(evaluation.attacks) | {"benign": evaluation.benign_answers})
    for label, losses in evaluation.loss.items():
        base, rerouted = map(_rate, (losses.base, losses.rerouted))
        line = f"  loss on {label} targets, nats a token: base {base}, circuit-broken {rerouted}"
        if losses.targets is not None:
            rest = " -> ".join(_rate(losses.targets.rest[side]) for side in SIDES)
            lost = f"{losses.targets.lost} of {losses.targets.n}"
            line += f"; {LOST_NATS:g} or more above base: {lost}, the others {rest}"
        lines.append(line)
    for one in evaluation.abilities:
        base, rerouted = map(_rate, (one.base, one.rerouted))
        about = f"{one.unit} (n {one.n})" if one.n else one.unit
        change = ""
        if one.change is not None:
            change = f", change {one.change.value:+.3f} [{one.change.ci95.low:+.3f}, {one.change.ci95.high:+.3f}]"
        lines.append(f"  {one.name}: base {base}, circuit-broken {rerouted} {about.strip()}{change}")
        lines += [
            f"    {category:<17} {side:<9} {_rate(found.rate)}  "
            f"[{found.ci95.low:.3f}, {found.ci95.high:.3f}]  n {found.n}  unreadable {found.unreadable}"
            for category, sides in one.categories.items()
            for side, found in sides.items()
        ]
    parts = (_tool_lines, _picture_lines, _other_lines, _probe_lines)
    return "\n".join([*lines, *(line for part in parts for line in part(evaluation))])


def _by_side(attacks: Mapping[str, AttackResult]) -> dict[str, Mapping[Side, Count]]:
    return {name: {side: getattr(one, side) for side in SIDES} for name, one in attacks.items()}


def _count_lines(counted: Mapping[str, Mapping[Side, Count]]) -> list[str]:
    lines = []
    for name, sides in counted.items():
        for side, one in sides.items():
            lines.append(
                f"  {name:<16} {side:<9} {_rate(one.rate)}  [{one.ci95.low:.3f}, {one.ci95.high:.3f}]  n {one.n}  "
                f"refused {one.refused}  incoherent {one.incoherent}  excluded {one.excluded}"
            )
    return lines


def _sided_lines(found: SidedFindings) -> list[str]:
    kept = {"benign": found.benign, "borderline": found.borderline}
    return _count_lines(_by_side(found.attacks) | kept)


def _tool_lines(evaluation: Evaluation) -> list[str]:
    found = evaluation.tools
    if found is None:
        return []
    lines = [f"  where tools are offered ({found.source}): harmful calls made; of harmless requests right ones"]
    lines += _sided_lines(found)
    for name, sides in found.beside.items():
        for side, one in sides.items():
            if one.cut or one.elsewhere or one.in_words:
                lines.append(
                    f"    {name:<14} {side:<9} cut within the call {one.cut}, calls another tool {one.elsewhere}, "
                    f"words in place of a call {one.in_words}"
                )
    return lines


def _picture_lines(evaluation: Evaluation) -> list[str]:
    found = evaluation.pictures
    if found is None:
        return []
    searched = f"; pixels {found.pixels.words}" if found.pixels else ""
    return [f"  where pictures are shown ({found.source}){searched}:", *_sided_lines(found)]


def _probe_lines(evaluation: Evaluation) -> list[str]:
    found = evaluation.with_probe
    if found is None:
        return []
    rate = f"{100 * found.false_alarms:g} %"
    lines = [f"  with the {found.kind} harmfulness probe at block {found.block}, {rate} false alarms:"]
    for name, sides in (*found.attacks.items(), *found.kept.items()):
        for side, one in sides.items():
            lines.append(f"    {name:<14} {side:<9} {_rate(one.rate)}  n {one.n}  refused {one.refused}")
    return lines


def _other_lines(evaluation: Evaluation) -> list[str]:
    found = evaluation.others
    if found is None:
        return []
    lines = [f"  other people's words, {found.half} half; kept: of the harmless requests that the base answers"]
    for name, one in {f"own split ({found.own.source})": found.own, **found.authors}.items():
        lines.append(f"  {name}:")
        lines += [f"  {line}" for line in _count_lines(_by_side(one.attacks))]
        for label, kept in one.kept.items():
            lines.append(
                f"    {label:<16} kept      {_rate(kept.answered.rate)}  [{kept.answered.ci95.low:.3f}, "
                f"{kept.answered.ci95.high:.3f}]  n {kept.answered.n}; of {kept.refused.n} that the base refuses "
                f"{kept.refused.refused} stay refused, {kept.refused.incoherent} break, {kept.refused.complied} are "
                "answered"
            )
    for worst in worst_authors(found.authors):
        base, rerouted = _rate(worst.base.rate), _rate(worst.rerouted.rate)
        # Of harmless requests what is kept is of those that the base answers: beside its own rate it would look a gain.
        said = f"{base} -> {rerouted}" if worst.name in ATTACKS else f"kept {rerouted}"
        lines.append(f"  worst author, {worst.name}: {worst.author}, {said} (n {worst.rerouted.n})")
    return lines


def _rate(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.3f}"
