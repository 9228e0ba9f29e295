"""Attacks on models that see, as a table and a sentence: harmful requests that show pictures, harmless ones kept,
beside the paper's own figures. HTML for the page and the report. No Streamlit."""

from collections.abc import Sequence

from engine.figures.evaluation.sided import Block, sided_finding, sided_html
from engine.records.evaluation.attacks import LLAVA, PIXEL_ATTACKS
from engine.records.evaluation.findings import Evaluation, PictureFindings, SidedFindings

ABOUT = (
    "Complied: the request that shows a picture was answered; the judge reads the answer and is shown no picture. The "
    "paper's figures are of other requests and pictures, another model, 1,000 steps and another judge (Zou et al. "
    "2024, section 4.2)."
)


def pictures_html(evaluations: Sequence[Evaluation], names: Sequence[str]) -> str:
    """Attack x model, then harmless requests answered; '' where no evaluation showed pictures."""
    return sided_html(PICTURES, evaluations, names)


def pictures_finding(one: Evaluation) -> str:
    """One sentence: the strongest attack, and what was kept; '' where no pictures were shown."""
    return sided_finding(PICTURES, one)


def _settings(found: SidedFindings, attack: str) -> str:
    searched = found.pixels if isinstance(found, PictureFindings) and attack in PIXEL_ATTACKS else None
    return searched.words if searched else ""


PICTURES = Block(
    found=lambda one: one.pictures,
    head="Attack with pictures",
    kept={"benign": "Benign requests answered", "borderline": "Borderline requests answered"},
    about_kept="coherent and not refused",
    paper=lambda card: card.seen.get(LLAVA),
    paper_model=LLAVA,
    paper_head="paper, pictures",
    complied="harmful requests that show a picture answered",
    right="{} ones answered",
    asked="shows a picture",
    settings=_settings,
)
