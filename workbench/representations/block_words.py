"""What the charts over blocks show, in one sentence each. Knows nothing of Streamlit or files."""

import pandas as pd

from engine.figures.labels import figure
from engine.records.captures.capture import Averaged
from engine.records.captures.projections import Examination

MOVED = 0.9
WHERE: dict[Averaged | None, str] = {
    "answer": "over answer tokens",
    "all": "over all tokens",
    "last_prompt": "at the last prompt token",
    None: "harmful over answer tokens, benign over all tokens",
}


def separation_finding(examination: Examination) -> str:
    """Which block separates best, how sure that is, and of how many prompts."""
    borderline = any(one.auc_borderline is not None for one in examination.blocks)
    what = "borderline" if borderline else "benign"
    name = "auc_borderline" if borderline else "auc"
    known = [one for one in examination.blocks if getattr(one, name) is not None]
    count = ""
    if examination.harmful:
        others = examination.borderline if borderline else examination.benign or examination.borderline
        count = f"; n = {examination.harmful} harmful + {others} {what}"
    if not known:
        return f"Too few prompts for an AUC{count}"
    suggested = [one for one in known if str(one.block) == examination.targets]
    best = max(suggested or known, key=lambda one: getattr(one, name))
    auc, low, high, chance = (getattr(best, f"{name}{part}") for part in ("", "_low", "_high", "_chance"))
    if low is None or high is None or chance is None:
        return f"Harmful and {what} are furthest apart at block {best.block}: AUC {figure(auc, 2)}{count}"
    told = f"AUC {figure(auc, 2)} ({figure(low, 2)} to {figure(high, 2)}), shuffled labels {figure(chance, 2)}{count}"
    if low <= chance:
        return f"No block surely tells harmful from {what}: best is block {best.block}, {told}"
    return f"Block {best.block} tells harmful from {what}: {told}"


def movement_finding(table: pd.DataFrame, averaged: Averaged | None) -> str:
    """Which block turned harmful prompts furthest at the last step, and what it did to the others there."""
    harmful = table[(table["group"] == "harmful") & table["cosine"].notna()]
    if harmful.empty:
        return ""
    last = harmful[harmful["step"] == harmful["step"].max()]
    furthest = last.loc[last["cosine"].idxmin()]
    block, step = int(furthest["block"]), int(furthest["step"])
    here = table[(table["block"] == block) & (table["step"] == step)].set_index("group")
    cosines = {str(group): float(cosine) for group, cosine in here["cosine"].items()}
    figures = [f"{group} {figure(cosine, 2)}" for group, cosine in cosines.items()]
    counts = " + ".join(str(int(here.loc[group, "prompts"])) for group in here.index)
    told = f"cosine {', '.join(figures)}; {WHERE[averaged]}, step {step}, n = {counts}"
    if float(furthest["cosine"]) > MOVED:
        return f"No block turned harmful answers away; furthest is block {block}: {told}"
    return f"Block {block} turned harmful answers furthest: {told}"
