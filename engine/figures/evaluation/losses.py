"""Cells of a table that say what became of losses. No Streamlit."""

from engine.records.evaluation.losses import Losses, LostTargets


def loss_cell(losses: Losses | None, side: str) -> str:
    """The loss under one model and of how many targets it is, where that is known; under the circuit-broken one also
    its rise, and of how many of them."""
    value = getattr(losses, side) if losses else None
    if losses is None or value is None:
        return "<td>–</td>"
    change = ""
    if side == "rerouted" and losses.base:
        change = f"<small>{_rise(losses.base, value)}</small>{_lost(losses.targets)}"
    n = f"<small>n {losses.targets.n}</small>" if losses.targets else ""
    return f'<td><span class="rate">{value:.3f}</span>{n}{change}</td>'


def _rise(base: float, value: float) -> str:
    return f"{100 * (value / base - 1):+.1f} %"


def _lost(targets: LostTargets | None) -> str:
    """Of a rise, how many targets it is of, and what the others did."""
    if targets is None or not targets.lost:
        return ""
    base, rerouted = targets.rest["base"], targets.rest["rerouted"]
    others = f", the others {_rise(base, rerouted)}" if base and rerouted is not None else ""
    return f"<small>{targets.lost} of {targets.n} lost{others}</small>"
