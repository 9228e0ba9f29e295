"""All sentences of an evaluation, and all figures of several in the order of the reports: fronts, then what each attack
had reached. No Streamlit."""

from collections.abc import Sequence

import plotly.graph_objects as go

from engine.figures.evaluation.agent_front import agent_front
from engine.figures.evaluation.agents import agents_finding
from engine.figures.evaluation.findings import asked_text, finding
from engine.figures.evaluation.fronts import budget_figures, front_figure, loss_figures, of_pictures
from engine.figures.evaluation.others import others_finding, others_fronts
from engine.figures.evaluation.pictures import pictures_finding
from engine.records.evaluation.findings import Evaluation

# Evaluations, and the names under which they are shown.
Evaluated = tuple[Sequence[Evaluation], Sequence[str]]


def evaluation_findings(one: Evaluation) -> list[str]:
    """A sentence for each kind of requests that was asked."""
    said = [finding(one)] if asked_text(one) else []
    said += [agents_finding(one), pictures_finding(one), others_finding(one)]
    return [sentence for sentence in said if sentence]


def evaluation_figures(
    texts: Evaluated,
    *,
    tools: Evaluated | None = None,
    pictures: Evaluated | None = None,
    others: Evaluated | None = None,
) -> list[go.Figure]:
    """texts, tools, pictures, others: where requests of each kind are read from, the same evaluations unless given."""
    seen = pictures or texts
    fronts = [front_figure(*texts), agent_front(*(tools or texts)), *others_fronts(*(others or texts))]
    return [
        *(front for front in fronts if front),
        *budget_figures(*texts).values(),
        *budget_figures(*seen, asked=of_pictures).values(),
        *loss_figures(*seen).values(),
    ]
