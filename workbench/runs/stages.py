"""The stages of a run: chips while it goes on, a line with the times afterwards, and the time that is left in all."""

import time
from typing import Literal, NamedTuple

import streamlit as st

from engine.records.events import Progress
from engine.records.runs import ACTIVE, Record, Run
from engine.records.sample_answers import sample_answers
from engine.records.stages import STAGES, Stage
from workbench.kit.blur import blurred, harmful_text, reveal_button
from workbench.kit.status import MOVING
from workbench.kit.where import queues_of
from workbench.kit.words import duration, phase_words, plain
from workbench.runs.expected import left_in_all
from workbench.runs.follow import Followed

WORDS: dict[str, str] = {
    "load": "Load the model",
    "answer": "Generate training answers",
    "measure": "Measure the base model",
    "train": "Train",
    "test": "Test",
    "evaluate": "Evaluate",
}
DOING: dict[Stage, str] = {
    "load": "loading the model",
    "answer": "generating training answers",
    "measure": "measuring the base model",
    "train": "training",
    "test": "measuring the test split",
}
_LOOKS = {"done": (":material/check:", "green"), "now": (":material/sync:", "blue"), "later": ("", "gray")}


class StageState(NamedTuple):
    """One stage as it is shown. counted: '120 of 720' while it is under way.  seconds: spent in it so far."""

    name: str
    status: Literal["done", "now", "later"]
    counted: str = ""
    seconds: float = 0.0

    @property
    def chip(self) -> str:
        spent = duration(self.seconds) if self.seconds >= 0.5 else ""
        return " · ".join(part for part in (f"{WORDS[self.name]} {self.counted}".strip(), spent) if part)


def stage_states(record: Record, status: str, followed: Followed, now: float) -> list[StageState]:
    """Every stage of a run's training in order."""
    clock = followed.clock
    reached = STAGES.index(clock.stage) if status != "queued" else -1
    if record.step and status == "queued":
        # It gave way to another run: what it did stays done.
        reached = STAGES.index("train")
    states = []
    for place, stage in enumerate(STAGES):
        where: Literal["done", "now", "later"] = "done" if place < reached or status == "finished" else "later"
        if place == reached and status != "finished":
            where = "now"
        counted = _counted(stage, record, followed) if where == "now" else ""
        states.append(
            StageState(stage, where, counted, clock.spent(stage, now) if status in MOVING else _spent(followed, stage))
        )
    return states


def progress(run: Run, record: Record, status: str, followed: Followed) -> None:
    """Where the run stands. Call it in the fragment that ticks."""
    now = time.time()
    evaluation = _evaluation(run, status)
    if status in ACTIVE:
        states = stage_states(record, status, followed, now)
        if evaluation:
            states.append(evaluation)
        with st.container(horizontal=True, gap="small", key="stages"):
            for state in states:
                icon, colour = _LOOKS[state.status]
                if state.status == "now" and status == "paused":
                    icon, colour = ":material/pause:", "yellow"
                st.badge(state.chip, icon=icon or None, color=colour)  # type: ignore[arg-type]
        if status != "queued":
            share, text = bar(record, status, followed, now)
            st.progress(share, text=plain(text))
        return
    line = times_line(followed)
    if evaluation:
        said = "Evaluated" if evaluation.status == "done" else f"Evaluating {evaluation.counted}".rstrip()
        line += f"{' · ' if line else ''}{said}"
    reached = "" if status == "finished" else f"Ended at step {record.step} of {record.steps}. "
    if reached or line:
        st.caption(plain(reached + line))


def bar(record: Record, status: str, followed: Followed, now: float) -> tuple[float, str]:
    """The share of the whole that is done, and in words what is done now and how long all that is left takes."""
    clock = followed.clock
    words = _doing(record, followed)
    spent = sum(clock.spent(stage, now) for stage in STAGES)
    left = left_in_all(record, followed, now=now)
    if left is not None:
        # Of the time, of which a step of the training is but a part.
        share = spent / max(1e-9, spent + left)
        time_left = f"about {duration(left)} left of {duration(spent + left)} in all"
    else:
        left = clock.left_in_stage()
        share = clock.counted.share if clock.counted else record.step / max(1, record.steps)
        time_left = f"about {duration(left)} left in this stage" if left is not None else ""
    if status == "paused":
        words, time_left = f"paused while {words}", f"{time_left} once it goes on" if time_left else ""
    text = words + (f", {time_left}" if time_left else "")
    return min(1.0, share), text[:1].upper() + text[1:]


def times_line(followed: Followed) -> str:
    """'Load the model 3 s · Generate training answers 2 min 10 s · ...', as far as the events tell."""
    said = []
    for stage in STAGES:
        seconds = followed.clock.seconds.get(stage, 0.0)
        if seconds < 0.5:
            continue
        name = "Before the first step" if stage == "load" and followed.clock.coarse else WORDS[stage]
        said.append(f"{name} {duration(seconds)}")
    return " · ".join(said)


def samples(run: Run) -> None:
    """A few answers of the base model, while there are no curves to look at."""
    answers = sample_answers(run)
    if not answers:
        return
    st.caption("What the base model answers: the newest of the answers that the training will rest on.")
    for column, label in zip(st.columns(2, gap="medium"), ("harmful", "benign"), strict=True):
        with column:
            for number, one in enumerate(answer for answer in answers if answer.label == label):
                name = f"sample_{label}_{number}"
                with st.container(border=True, key=f"box_{name}"):
                    with st.container(horizontal=True, vertical_alignment="center"):
                        st.badge(label, color="orange" if label == "harmful" else "blue")
                        hidden = label == "harmful" and reveal_button("sample", of=one.prompt)
                    with blurred(name, hidden=hidden):
                        harmful_text(one.prompt, hidden=hidden)
                        st.caption("Base model")
                        harmful_text(one.answer or "…", hidden=hidden)


def _spent(followed: Followed, stage: Stage) -> float:
    return followed.clock.seconds.get(stage, 0.0)


def _counted(stage: Stage, record: Record, followed: Followed) -> str:
    if stage == "train":
        return f"{record.step} of {record.steps}"
    counted = followed.clock.counted
    return counted.counted.strip() if counted else ""


def _doing(record: Record, followed: Followed) -> str:
    """'generating training answers 120 of 720', 'step 40 of 150'."""
    clock, last = followed.clock, followed.last
    if clock.stage == "train" and record.step:
        words = f"step {record.step} of {record.steps}"
        if isinstance(last, Progress):
            return f"{words}, {phase_words(last.phase)}{last.counted}" + (f": {last.message}" if last.message else "")
        return words
    counted = clock.counted
    if counted is not None and counted.phase in ("waiting", "converting", "fetching", "loading"):
        return f"{counted.phase}{counted.counted}" + (f": {counted.message}" if counted.message else "")
    return f"{DOING[clock.stage]}{counted.counted if counted else ''}"


def _evaluation(run: Run, status: str) -> StageState | None:
    """The evaluation of the run, where one is asked for or done."""
    if status in ("finished", "stopped"):
        # A cluster's job evaluates with its own queue; what is asked for later goes to this machine's worker.
        for of_run, job in [(one, job) for one in queues_of(run) for job in one.under_way("evaluate")]:
            if job.run_id == run.id:
                at = of_run.progress(job.id)
                return StageState("evaluate", "now", at.counted.strip() if at else "")
    if any((run.folder / "evaluations").glob("*.json")):
        return StageState("evaluate", "done")
    return None
