"""python -m benchmarks.rises RUN...: by how much runs raise the loss of their base model's own answers, harmful ones
against borderline ones.

The base model answers behind a prefilled opening, and both models read what it complied with. Printed is, for the own
test split and for each author, the area under the curve by which an answer's rise tells harmful requests from
borderline ones, and the share of borderline answers that rise no less than nine tenths of the harmful ones do: what is
lost at a strength that breaks so much; and of each side how many answers are lost, as evaluations count lost targets.
`--strengths 0.9 1 1.1` reads each run at these multiples of the strength that it was kept at, as `python -m engine
rescale` would make of it. It takes minutes where an evaluation takes a quarter of an hour; what the runs themselves
would answer is not asked. Runs of one model at a time.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float

from benchmarks.words import OWN, Groups, groups, reached, table
from engine.compute.evaluation.attacks.attempt import Attempt, Options
from engine.compute.evaluation.runner import Memory, rules_judge, run_attack
from engine.compute.geometry.reach import Reach, Scores
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.mixed import Voice
from engine.compute.model.scoring import answer_nats
from engine.compute.steps import drained
from engine.device import Device
from engine.jobs.subjects import subject_of
from engine.records.checkpoints import parse_checkpoint
from engine.records.errors import WorkbenchError
from engine.records.evaluation.losses import LOST_NATS
from engine.records.evaluation.rows import EvaluationRow
from engine.records.others.authors import HALVES
from engine.records.runs import open_run
from engine.records.settings import read_settings

TOKENS = 32

# By group and side.
Answers = dict[tuple[str, str], list[Attempt]]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rises", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="finished runs of one model, RUN@STEP for a checkpoint")
    parser.add_argument("--runs", dest="folder", help="the folder of runs")
    parser.add_argument("--rows", type=int, default=24, help="of each label of an author at most; 0: all")
    parser.add_argument("--half", default="development", choices=HALVES)
    parser.add_argument(
        "--strengths", type=float, nargs="+", default=[1.0], metavar="TIMES", help="of what each run was kept at"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was found there, fronts included")
    options = parser.parse_args()
    try:
        _measured(parser, options)
    except WorkbenchError as error:
        parser.error(str(error))


def _measured(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    settings = read_settings(options.folder)
    asked = groups(settings, options.half, rows=options.rows)
    checkpoints = [parse_checkpoint(name) for name in options.runs]
    models = {open_run(settings.runs, one.run_id).spec().model for one in checkpoints}
    if len(models) > 1:
        parser.error(f"these runs are of {len(models)} models: name runs of one")
    tools = Device(settings).tools(0)
    model = drained(tools.acquire(models.pop()))
    answers = base_answers(model, asked, subject_of("base", model, None, settings).memory)
    if nobody := unanswered(answers):
        parser.error(f"the base model answers no {' and no '.join(nobody)} requests: nothing can be compared")
    base = losses(model, Voice(), answers)
    found: dict[str, dict[str, Reach]] = {}
    for checkpoint in checkpoints:
        with tools.attached(model, checkpoint) as adapter:
            for times in options.strengths:
                name = str(checkpoint) if times == 1 else f"{checkpoint}, {times:g} times"
                rises = by_group(losses(model, Voice(adapter, times), answers) - base, answers)
                found[name] = {of: reached(rises, of) for of in dict.fromkeys(of for of, _ in rises)}
                print(f"{name}: mean rise, nats a token (lost: {LOST_NATS:g} or more): {told(rises)}", flush=True)
    print(table(found, head="run"))
    if options.json:
        written = {run: {name: one._asdict() for name, one in of.items()} for run, of in found.items()}
        options.json.write_text(json.dumps({"half": options.half, "runs": written}) + "\n")


def base_answers(model: LoadedModel, asked: Groups, memory: Memory) -> Answers:
    """What the base model complied with behind a prefilled opening; memory: of its answers."""
    found: Answers = {}
    for name, by in asked.items():
        for label, of in by.items():
            rows = [EvaluationRow(one) for one in of]
            steps = run_attack(
                model, None, rows, "prefill", Options(1, new_tokens=TOKENS), judge=rules_judge(), memory=memory
            )
            complied = [one.attempt for one in drained(steps) if one.word == "complied"]
            found[name, label] = [one for one in complied if one.answer_ids]
    return found


def unanswered(answers: Answers) -> list[str]:
    """Sides without one answer, own requests and other people's apart: 'own harmful', 'other borderline', ..."""
    return [
        f"{'own' if own else 'other'} {label}"
        for own in (True, False)
        for label in ("harmful", "borderline")
        if not any(of for (name, side), of in answers.items() if side == label and (name == OWN) == own)
    ]


def losses(model: LoadedModel, voice: Voice, answers: Answers) -> Float[np.ndarray, " answer"]:
    """Mean nats a token of each answer under a voice, in the order in which they stand."""
    asked = [one for of in answers.values() for one in of]
    contexts = [[*one.prompt_ids, *one.prefill_ids] for one in asked]
    nats = drained(answer_nats(model, contexts, [one.answer_ids for one in asked], voice=voice))
    return np.array([np.mean(row) for row in nats])


def by_group(rises: Float[np.ndarray, " answer"], answers: Answers) -> dict[tuple[str, str], Scores]:
    """Each answer's figure at its group and side; without those of which there is no answer."""
    ends = np.cumsum([len(of) for of in answers.values()])
    return {key: one for key, one in zip(answers, np.split(rises, ends[:-1]), strict=True) if len(one)}


def told(rises: Mapping[tuple[str, str], Scores]) -> str:
    """How much they rise, and how many are lost, as evaluations count lost targets."""
    return ", ".join(
        f"{name} {label} {one.mean():+.2f} ({int((one >= LOST_NATS).sum())} of {len(one)} lost)"
        for (name, label), one in rises.items()
    )


if __name__ == "__main__":
    main()
