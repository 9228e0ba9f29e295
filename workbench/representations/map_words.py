"""What a map's figures mean, in words. Knows nothing of Streamlit or files."""

from engine.records.captures.projections import MapFigures
from workbench.kit.words import figure

GOOD_NEIGHBOURS = 0.8


def map_sentences(figures: MapFigures) -> list[str]:
    """What may be concluded from one map, and what may not: one sentence each."""
    return [sentence for sentence in (_separation(figures), _neighbours(figures)) if sentence]


def is_chance(figures: MapFigures) -> bool:
    """Whether harmful and benign lie no further apart on the map than shuffled labels would."""
    if figures.map_auc is None or figures.shuffled_auc is None:
        return False
    return figures.map_auc <= figures.shuffled_auc


def _separation(figures: MapFigures) -> str:
    if figures.map_auc is None or figures.shuffled_auc is None:
        return "Too few harmful or too few benign prompts for an AUC: no separation can be claimed. Capture more."
    seen = f"AUC {figure(figures.map_auc, 2)}, shuffled labels reach {figure(figures.shuffled_auc, 2)}"
    if not is_chance(figures):
        return f"Harmful and benign separate on this map better than chance ({seen})."
    hidden = figures.auc is not None and figures.auc > figures.shuffled_auc
    more = f" The activations themselves do separate (AUC {figure(figures.auc, 2)})." if hidden else ""
    return f"On this map harmful and benign separate no better than chance ({seen}).{more}"


def _neighbours(figures: MapFigures) -> str:
    if figures.trustworthiness is None or figures.trustworthiness >= GOOD_NEIGHBOURS:
        return ""
    return (
        "Many neighbours on this map are none in the activations (trustworthiness "
        f"{figure(figures.trustworthiness, 2)}): do not read meaning into small clusters."
    )
