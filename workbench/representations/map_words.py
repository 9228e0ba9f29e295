"""What a map's figures mean, in words. Knows nothing of Streamlit or files."""

from typing import Literal, NamedTuple

from engine.figures.labels import figure
from engine.records.captures.projections import MapFigures

GOOD_NEIGHBOURS = 0.8


class Said(NamedTuple):
    """A sentence, and what stands before it: it holds (check), it is to be known (info), it is not to be relied on."""

    text: str
    sign: Literal["check", "info", "warning"]


def map_sentences(figures: MapFigures, *, rerouted: bool = False) -> list[Said]:
    """What may be concluded from one map, and what may not.

    rerouted: the map of a circuit-broken model, where harmful and benign need not separate any more: that is what
    rerouting may do, and no fault of the map.
    """
    return [said for said in (_separation(figures, rerouted), _neighbours(figures)) if said is not None]


def is_chance(figures: MapFigures) -> bool:
    """Whether harmful and benign lie no further apart on the map than shuffled labels would, either way round."""
    if figures.map_auc is None or figures.shuffled_auc is None:
        return False
    return 1 - figures.shuffled_auc <= figures.map_auc <= figures.shuffled_auc


def is_reversed(figures: MapFigures) -> bool:
    """Whether they lie apart the other way round, further than shuffled labels would."""
    if figures.map_auc is None or figures.shuffled_auc is None:
        return False
    return figures.map_auc < 1 - figures.shuffled_auc


def _separation(figures: MapFigures, rerouted: bool) -> Said:
    if figures.map_auc is None or figures.shuffled_auc is None:
        text = "Too few harmful or too few benign prompts for an AUC: no separation can be claimed. Capture more."
        return Said(text, "warning")
    reached = 1 - figures.shuffled_auc if is_reversed(figures) else figures.shuffled_auc
    seen = f"AUC {figure(figures.map_auc, 2)}, shuffled labels reach {figure(reached, 2)}"
    if is_reversed(figures):
        return _reversed(seen, rerouted)
    hidden = figures.auc is not None and figures.auc > figures.shuffled_auc
    more = f" The activations themselves do separate (AUC {figure(figures.auc, 2)})." if hidden else ""
    if is_chance(figures):
        if rerouted:
            text = f"After rerouting harmful and benign no longer lie apart on this map ({seen}): it may move them so."
            return Said(text + more, "info")
        return Said(f"On this map harmful and benign separate no better than chance ({seen}).{more}", "warning")
    if rerouted:
        text = (
            f"After rerouting harmful and benign separate on this map ({seen}). How far each moved says what "
            "rerouting did, and not whether they separate."
        )
        return Said(text, "info")
    return Said(f"Harmful and benign separate on this map better than chance ({seen}).", "check")


def _reversed(seen: str, rerouted: bool) -> Said:
    if rerouted:
        text = (
            f"After rerouting harmful and benign lie the other way round ({seen}; 0.5 is chance): rerouting may move "
            "harmful ones past benign ones."
        )
        return Said(text, "info")
    text = (
        f"Harmful and benign separate the other way round ({seen}; 0.5 is chance): what half of the prompts say is the "
        "opposite of what the others say. Read no separation into this map; capture more prompts."
    )
    return Said(text, "warning")


def _neighbours(figures: MapFigures) -> Said | None:
    if figures.trustworthiness is None or figures.trustworthiness >= GOOD_NEIGHBOURS:
        return None
    text = (
        "Many neighbours on this map are none in the activations (trustworthiness "
        f"{figure(figures.trustworthiness, 2)}): do not read meaning into small clusters."
    )
    return Said(text, "warning")
