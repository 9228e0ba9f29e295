"""Below the table of requests that show pictures: what each attack had reached as it went on, and what one made for all
pictures at once. Knows figures and files, not how they came about."""

from collections.abc import Sequence

import streamlit as st

from engine.figures.drawing import CONFIG
from engine.figures.evaluation.fronts import budget_figures, loss_figures, of_pictures
from engine.records.errors import DataError
from engine.records.evaluation.attacks import ATTACKS
from engine.records.evaluation.counts import SIDE_NAMES
from engine.records.evaluation.findings import Evaluation
from engine.records.evaluation.perturbed import perturbation_path
from engine.records.pictures import image_of, picture_at
from engine.records.runs import Run
from workbench.kit.charts import on_screen
from workbench.kit.pictures import THUMBNAIL, fitted
from workbench.kit.state import settings
from workbench.kit.words import plain

ABOUT = (
    "One change of the colours for all pictures, around middle grey, made on one half of the requests and tried on the "
    "other. Add what differs from 128 of 255 to a picture's colours to attack it."
)


def picture_curves(evaluations: Sequence[Evaluation], names: Sequence[str]) -> None:
    """Share answered and loss of the targets against what had been spent, side by side for each attack."""
    shares = budget_figures(evaluations, names, asked=of_pictures)
    losses = loss_figures(evaluations, names)
    if not shares:
        return
    st.subheader("Pictures: success against budget", anchor=False)
    figures = {}
    for name, figure in shares.items():
        figures[f"{name}_share"] = figure
        if name in losses:
            figures[f"{name}_loss"] = losses[name]
    places = st.columns(2, gap="medium")
    for index, (key, figure) in enumerate(figures.items()):
        places[index % 2].plotly_chart(
            on_screen(figure), key=f"picture_curve_{key}", config=CONFIG, alt=figure.layout.title.text
        )


def perturbations(shown: Sequence[tuple[Run, Evaluation, str]]) -> None:
    """Every change that was made for all pictures, to look at and to save."""
    for run, one, name in shown:
        for attack, sides in (one.pictures.perturbations if one.pictures else {}).items():
            of = f", {name}" if len(shown) > 1 else ""
            st.markdown(f"**{plain(ATTACKS[attack].title + of)}**")
            st.caption(ABOUT)
            with st.container(horizontal=True, key=f"perturbations_{run.id}_{one.key}_{attack}"):
                for side, files in sides.items():
                    for half, file in enumerate(files, start=1):
                        _perturbation(run, file, f"against {SIDE_NAMES[side]}, tried on half {half}")


def _perturbation(run: Run, file: str, title: str) -> None:
    with st.container(width=THUMBNAIL + 40):
        try:
            path = perturbation_path(run, settings(), file)
            image = image_of(picture_at(path))
        except DataError as error:
            st.caption(plain(str(error)))
            return
        st.image(fitted(image, THUMBNAIL), caption=title, width=THUMBNAIL)
        st.download_button(
            "PNG",
            path.read_bytes,
            file_name=file,
            mime="image/png",
            key=f"save_{run.id}_{file}",
            icon=":material/download:",
            on_click="ignore",
        )
