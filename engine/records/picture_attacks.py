"""Attacks on the pixels of one picture that a user watches: what was asked, and what came of it step by step. Knows
nothing of models.

picture_attacks/ID/spec.json       what is attacked, written once    job   the job that does it
                  /events.jsonl    appended by the worker
                  /perturbed.png   the best so far, replaced whole
                  /attack.json     beside a picture that was kept: spec and losses, no answers
They lie with the first run that is asked, or on the desk.
"""

import json
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from engine.records.chats.asked import Column, Frozen
from engine.records.chats.homes import folders_of, home_of
from engine.records.conversation import Conversation, Message, Picture, Text, without_places
from engine.records.errors import RunError
from engine.records.evaluation.pixels import Distance, PixelSearch, Restarts, StepSize
from engine.records.files import append_line, read_lines, read_number, write_whole
from engine.records.model_place import without_folder
from engine.records.settings import Settings
from engine.records.spec_parts import ModelSpec
from engine.records.versions import FORMAT, FormatVersion

FOLDER, PERTURBED, KEPT = "picture_attacks", "perturbed.png", "attack.json"
MOST_STEPS = 2000


class PictureAttack(Frozen):
    """What is attacked. columns: who answers, the attacked one among them.  attacked: its place.  target: the words
    that the answer is to begin with.  epsilon, step_size, random_start, restarts: as in PixelSearch.  steps: of each
    restart.  every: after how many steps all columns answer."""

    model: ModelSpec
    columns: tuple[Column, ...] = Field(min_length=1, max_length=2)
    attacked: int = Field(0, ge=0)
    picture: Picture
    request: str = Field(min_length=1)
    target: str = Field("Sure, here is", min_length=1)
    epsilon: Distance = 32
    steps: int = Field(100, ge=1, le=MOST_STEPS)
    step_size: StepSize = 2.0
    random_start: bool = True
    restarts: Restarts = 1
    every: int = Field(25, ge=1, le=MOST_STEPS)
    new_tokens: int = Field(48, ge=1, le=1024)
    seed: int = Field(0, ge=0, lt=2**31)
    harmful: bool = True
    created: float = Field(default_factory=time.time)
    version: FormatVersion = FORMAT

    @property
    def search(self) -> PixelSearch:
        return PixelSearch(
            epsilon=self.epsilon,
            step_size=self.step_size,
            random_start=self.random_start,
            restarts=self.restarts,
        )

    def taken(self, looks: int) -> int:
        """Steps after so many looks at the loss: each search begins with a look."""
        return looks - 1 - (looks - 1) // (self.steps + 1)

    def conversation(self, picture: Picture) -> Conversation:
        """The request with this picture before its words."""
        return Conversation(messages=(Message(role="user", parts=(picture, Text(text=self.request))),))


class PixelStep(Frozen):
    """loss: of the target after so many steps of a restart, in nats a token."""

    kind: Literal["step"] = "step"
    restart: int
    step: int
    loss: float


class PixelAnswers(Frozen):
    """What every column answers to the best picture so far. done: looks at the loss, of all restarts."""

    kind: Literal["answers"] = "answers"
    done: int
    loss: float
    texts: tuple[str, ...]


class PixelSaved(Frozen):
    """The picture that a stop left, better than what was answered last, and not answered. done, loss: as there."""

    kind: Literal["saved"] = "saved"
    done: int
    loss: float


class PixelEnd(Frozen):
    """reason: all steps were done, a user stopped it, or it failed, and why."""

    kind: Literal["end"] = "end"
    reason: Literal["done", "stopped", "failed"]
    message: str = ""
    seconds: float = 0.0


PixelEvent = Annotated[PixelStep | PixelAnswers | PixelSaved | PixelEnd, Field(discriminator="kind")]
_parse: TypeAdapter[PixelEvent] = TypeAdapter(PixelEvent)


@dataclass(frozen=True)
class PixelCourse:
    """How an attack has gone so far. picture: when the one that lies there was reached, None before there is one."""

    steps: tuple[PixelStep, ...] = ()
    answers: tuple[PixelAnswers, ...] = ()
    end: PixelEnd | None = None
    picture: PixelAnswers | PixelSaved | None = None

    @property
    def least(self) -> float | None:
        """The lowest loss so far."""
        return min((one.loss for one in self.steps), default=None)


@dataclass(frozen=True)
class AttackFolder:
    """One attack. Reading never changes it."""

    folder: Path

    @property
    def id(self) -> str:
        return self.folder.name

    @property
    def perturbed(self) -> Path:
        return self.folder / PERTURBED

    @property
    def is_there(self) -> bool:
        """Whether it was not deleted."""
        return (self.folder / "spec.json").is_file()

    @property
    def is_kept(self) -> bool:
        return (self.folder / KEPT).is_file()

    def spec(self) -> PictureAttack:
        """Raises RunError when it is missing or damaged."""
        try:
            return PictureAttack.model_validate_json((self.folder / "spec.json").read_bytes())
        except (OSError, ValidationError) as error:
            raise RunError(f"The attack {self.folder} cannot be read: delete its folder, or restore it.") from error

    def set_job(self, job_id: int) -> None:
        write_whole(self.folder / "job", str(job_id))

    def job(self) -> int | None:
        return read_number(self.folder / "job")

    def append(self, event: PixelEvent) -> None:
        append_line(self.folder / "events.jsonl", event.model_dump_json())

    def course(self) -> PixelCourse:
        """What the worker has written so far; a torn last line is left for later, a damaged one is skipped."""
        events = read_lines(self.folder / "events.jsonl", _parse.validate_json)
        ends = [one for one in events if isinstance(one, PixelEnd)]
        pictures = [one for one in events if isinstance(one, PixelAnswers | PixelSaved)]
        return PixelCourse(
            tuple(one for one in events if isinstance(one, PixelStep)),
            tuple(one for one in events if isinstance(one, PixelAnswers)),
            ends[-1] if ends else None,
            pictures[-1] if pictures else None,
        )

    def exported(self) -> str:
        """Spec and losses as JSON, without answers and without places of this machine."""
        course, spec = self.course(), self.spec()
        picture = course.picture
        travelling = spec.model_copy(update={"model": without_folder(spec.model)})
        content = {
            "id": self.id,
            **without_places(travelling.model_dump(mode="json")),
            "picture_after": {"steps": spec.taken(picture.done), "loss": round(picture.loss, 5)} if picture else None,
            "losses": [[one.restart, one.step, round(one.loss, 5)] for one in course.steps],
            "ended": course.end.reason if course.end else "",
        }
        return json.dumps(content, indent=1, ensure_ascii=False)

    def keep(self) -> None:
        """Write down beside the picture how it was made. Raises RunError where there is none yet."""
        if not self.perturbed.is_file():
            raise RunError("There is no attacked picture yet: wait for its first answers.")
        write_whole(self.folder / KEPT, self.exported())


def new_attack(settings: Settings, spec: PictureAttack) -> AttackFolder:
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    made = AttackFolder(home_of(settings, (column.checkpoint for column in spec.columns)) / FOLDER / name)
    write_whole(made.folder / "spec.json", spec.model_dump_json(indent=2))
    return made


def open_attack(settings: Settings, attack_id: str) -> AttackFolder:
    """Raises RunError when there is none."""
    for folder in folders_of(settings, FOLDER):
        if attack_id and folder.name == attack_id:
            return AttackFolder(folder)
    raise RunError(f"There is no attack '{attack_id}' in {settings.runs}: it was deleted, or its run was.")


def list_attacks(settings: Settings) -> list[AttackFolder]:
    """All of them, the newest first."""
    return [AttackFolder(folder) for folder in folders_of(settings, FOLDER)]
