"""Choose requests that show pictures, the attacks that are tried on them, and how pixels are searched."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import streamlit as st

from engine.records.checkpoints import parse_checkpoint
from engine.records.errors import DataError, WorkbenchError
from engine.records.evaluation.attacks import PICTURE_ATTACKS, PIXEL_ATTACKS
from engine.records.evaluation.pictured import SAMPLE
from engine.records.evaluation.pixels import PixelSearch
from engine.records.evaluation.plan import AttackChoice
from engine.records.model_files import sees_pictures
from engine.records.runs import open_run
from workbench.evaluate.budgets import attack_budgets, attack_pills
from workbench.evaluate.row_files import FILE, named_file
from workbench.kit.state import settings
from workbench.kit.words import plain

SOURCES = {"": "none", SAMPLE: "sample set, test split: harmful, benign, borderline", FILE: "a JSONL file"}
DEFAULT = ["direct", "pgd"]
FORM = (
    'A JSON object a line: {"prompt": ..., "picture": path, "target": optional, "harmful": true or false}. Paths are '
    "relative to the file."
)


class PictureChoice(NamedTuple):
    """kind: '' for none.  source: as a plan names it, '' before there is a file.  search: of attacks on pixels."""

    kind: str = ""
    source: str = ""
    attacks: tuple[AttackChoice, ...] = ()
    search: PixelSearch = PixelSearch()

    def fields(self) -> dict[str, Any]:
        """Of a plan. Raises DataError where a file is still to be named."""
        if not self.kind:
            return {}
        if not self.source:
            raise DataError("There is no file of requests that show pictures yet: name one, or choose none.")
        return {"pictures": self.source, "picture_attacks": self.attacks, "pixels": self.search}


def picture_choice(checkpoints: Sequence[str]) -> PictureChoice:
    """checkpoints: of the runs that are chosen; where one's model sees nothing the choice is held back, and says so."""
    blind = blind_reason(checkpoints)
    left, right = st.columns([1, 1.4], vertical_alignment="top")
    kind = left.selectbox(
        "Requests that show pictures",
        list(SOURCES),
        key="evaluate_pictures",
        persist_state="session",
        disabled=bool(blind),
        format_func=lambda one: SOURCES[one],
        help=plain(blind)
        or "For models that see: whether the model answers harmful requests about a picture, also with its pixels "
        "attacked, and still answers harmless ones.",
    )
    if blind or not kind:
        return PictureChoice()
    source = str(kind)
    if kind == FILE:
        source = named_file(
            left, "pictures", label="Path of the file of pictures", placeholder="/path/pictures.jsonl", form=FORM
        )
    key = "evaluate_picture_attacks"
    names = attack_pills(right, "Attacks with pictures", PICTURE_ATTACKS, default=DEFAULT, key=key)
    attacks = attack_budgets(names, key="picture_budget")
    search = _search() if any(name in PIXEL_ATTACKS for name in names) else PixelSearch()
    return PictureChoice(str(kind), source, attacks, search)


def blind_reason(checkpoints: Sequence[str]) -> str:
    """Which of the chosen runs cannot be shown pictures, and what to do; '' where all can, or it is not known yet."""
    for one in checkpoints:
        try:
            run = open_run(settings().runs, parse_checkpoint(one).run_id)
            model = run.spec().model.name
        except WorkbenchError:
            continue
        if sees_pictures(settings().models, model) is False:
            return (
                f"{run.name} is a run of {model}, which sees no pictures: choose runs of a model that does (LLaVA, "
                "LLaVA-NeXT, or one that `python -m engine assemble` makes)."
            )
    return ""


def _search() -> PixelSearch:
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom", key="evaluate_pixels"):
        epsilon = st.number_input(
            "Distance (of 255)",
            1,
            255,
            32,
            key="pixels_epsilon",
            persist_state="session",
            width=150,
            help="Epsilon: how far every colour may move. Published: 32.",
        )
        size = st.number_input(
            "Step size (of 255)", 0.1, 255.0, 2.0, step=0.5, key="pixels_step_size", persist_state="session", width=150
        )
        restarts = st.number_input(
            "Restarts",
            1,
            20,
            1,
            key="pixels_restarts",
            persist_state="session",
            width=150,
            help="Searches, of which the one with the lowest loss of the target is kept.",
        )
        start = st.toggle(
            "Random start",
            True,
            key="pixels_random_start",
            persist_state="session",
            help="Begin anywhere within the distance; off: at the picture itself.",
        )
    return PixelSearch(epsilon=epsilon, step_size=size, restarts=restarts, random_start=start)
