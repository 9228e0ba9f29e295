"""Evaluations as the page Evaluate lists them: what each is called, and what tells two of one name apart."""

from collections import Counter
from typing import NamedTuple

from engine.figures.evaluation.findings import TOO_FEW, asks_others_alone, only_abilities, requests_asked
from engine.figures.evaluation.probe import probe_name
from engine.figures.labels import with_differences
from engine.records.evaluation.counts import FEW
from engine.records.evaluation.final import is_final
from engine.records.evaluation.findings import Evaluation
from engine.records.places import judges_apart
from engine.records.runs import Run
from workbench.kit.words import moment


class Listed(NamedTuple):
    """One evaluation with its run, and what it is called on the page."""

    run: Run
    evaluation: Evaluation
    name: str

    @property
    def id(self) -> str:
        return evaluation_id(self.run.id, self.evaluation.key)


def evaluation_id(run_id: str, key: str) -> str:
    return f"{run_id}.{key}"


def evaluation_name(run: Run, evaluation: Evaluation) -> str:
    _, at, step = evaluation.run.partition("@")
    name = run.label().name or run.id
    if at:
        return f"{name}, step {step}"
    return name if is_of_these_weights(run, evaluation) else f"{name}, of earlier weights"


def is_of_these_weights(run: Run, evaluation: Evaluation) -> bool:
    """Whether it names a step, or asked the weights that the run has now: not those that a resume has trained on."""
    return "@" in evaluation.run or is_final(evaluation, run.record())


def about_evaluation(evaluation: Evaluation) -> str:
    if only_abilities(evaluation):
        return f"kept: {', '.join(one.name for one in evaluation.abilities)}, {moment(evaluation.created)}"
    n = requests_asked(evaluation)
    few = f" ({TOO_FEW})" if n < FEW else ""
    if asks_others_alone(evaluation):
        return f"other people's words, n {n}{few}, {moment(evaluation.created)}"
    others = evaluation.others.own if evaluation.others else None
    parts = [one for one in (evaluation, evaluation.tools, evaluation.pictures, others) if one]
    attacks = sum(len(one.attacks) for one in parts)
    return f"{attacks} attack{'s' * (attacks != 1)}, n {n}{few}, {moment(evaluation.created)}"


def names_apart(chosen: list[Listed]) -> list[str]:
    """Two evaluations of one name are told apart by their probe, their judge, their seed, then their time, else by key;
    one of other people's words alone is no second one where no other of its name asked such words: they share no
    table."""
    names, shown = [one.name for one in chosen], [one.evaluation for one in chosen]
    of_others = Counter(one.name for one in chosen if one.evaluation.others)
    kinds = [asks_others_alone(one.evaluation) and of_others[one.name] == 1 for one in chosen]
    tells = (
        [probe_name(one) for one in shown],
        judges_apart([one.judge for one in shown]),
        [f"seed {one.seed}" for one in shown],
        [moment(one.created) for one in shown],
        [one.key for one in shown],
    )
    return with_differences(names, tells, "{} ({})".format, kinds=kinds)
