"""What the worker writes down of one exchange, event by event, and what these come to. Knows no files."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from engine.records.chats.answer_calls import AnswerCalls
from engine.records.chats.asked import Column, Frozen

# How an answer ended; "not asked": this column could not be asked, or had made no call whose results it could go on
# with.
Reason = Literal["end", "length", "stopped", "probe", "not asked"]


class Read(Frozen):
    """How many tokens each column reads before it answers: conversation, message, and the words that begin its answer.
    begun: those words, where a call was forced, which the model's chat template has."""

    kind: Literal["read"] = "read"
    tokens: tuple[int, ...]
    begun: tuple[str, ...] = Field((), exclude_if=lambda begun: not begun)


class Pieces(Frozen):
    """What each column has said since the last event, a text a token. A token may be an incomplete character: ''."""

    kind: Literal["pieces"] = "pieces"
    columns: tuple[tuple[str, ...], ...]


class Answered(Frozen):
    """All columns have ended. ids: each answer's tokens, without the prefill. reasons: end, length, stopped, probe: the
    harmfulness probe fired at the last token, or not asked."""

    kind: Literal["answered"] = "answered"
    ids: tuple[tuple[int, ...], ...]
    reasons: tuple[Reason, ...]
    first_token_seconds: float
    seconds: float
    time: float = Field(default_factory=time.time)


class Unasked(Frozen):
    """One column that could not be asked, and why; the others answer."""

    kind: Literal["unasked"] = "unasked"
    column: int
    message: str


class Called(Frozen):
    """One column's answer to an exchange with tools, as a message. pieces: the text of each token, of the words that
    begin the answer and then of its own, with the special tokens that begin or end a call, which other texts leave
    out."""

    kind: Literal["called"] = "called"
    column: int
    answer: AnswerCalls
    pieces: tuple[str, ...] = ()


class Turning(Frozen):
    """Cosines of the next tokens of one column's text while it still comes, at one block, behind those of earlier
    events; the Trip of the whole answer takes their place.

    prefill: as many tokens at the front of all were put in the model's mouth.
    """

    kind: Literal["turning"] = "turning"
    column: int
    block: int
    prefill: int
    cosines: tuple[float, ...]


class Trip(Frozen):
    """Cosine between base and rerouted activations along one column's text, per block and token (prefill and answer).

    against: the column that the base model is compared with.  pieces: the text of each token.
    prefill: as many tokens at the front were put in the model's mouth.
    """

    kind: Literal["trip"] = "trip"
    column: int
    against: Column
    prefill: int
    pieces: tuple[str, ...]
    cosines: tuple[tuple[float, ...], ...]


class PictureTrip(Frozen):
    """The same over the patches of a picture that was shown, read by the model of one column: a square grid of side x
    side patches, row by row from the top left.

    picture: its sha256.  box: left, top, right and bottom of what the grid covers, as shares of width and height.
    """

    kind: Literal["picture_trip"] = "picture_trip"
    column: int
    picture: str
    side: int
    box: tuple[float, float, float, float]
    cosines: tuple[tuple[float, ...], ...]


class Judged(Frozen):
    """What became of one column's request: complied, refused, or incoherent."""

    kind: Literal["judged"] = "judged"
    column: int
    word: str
    reason: str
    nats_per_token: float | None = None


class Failed(Frozen):
    """The worker could not answer, and why."""

    kind: Literal["failed"] = "failed"
    message: str


ChatEvent = Annotated[
    Read | Pieces | Answered | Unasked | Called | Turning | Trip | PictureTrip | Judged | Failed,
    Field(discriminator="kind"),
]
parse_chat_event: TypeAdapter[ChatEvent] = TypeAdapter(ChatEvent)


@dataclass(frozen=True)
class Reply:
    """What is known of one exchange so far."""

    answers: tuple[tuple[str, ...], ...]
    answered: Answered | None = None
    trips: tuple[Trip, ...] = ()
    verdicts: tuple[Judged, ...] = ()
    error: str = ""
    read: tuple[int, ...] = ()
    begun: tuple[str, ...] = ()
    called: tuple[Called, ...] = ()
    picture_trips: tuple[PictureTrip, ...] = ()
    # By column, all that came so far.
    turning: Mapping[int, Turning] = field(default_factory=dict)
    # By column, why it could not be asked.
    unasked: Mapping[int, str] = field(default_factory=dict)

    def text(self, column: int) -> str:
        return "".join(self.answers[column])

    def is_ended_by_probe(self, column: int) -> bool:
        return self.answered is not None and self.answered.reasons[column] == "probe"

    def is_asked(self, column: int) -> bool:
        """Whether this column was asked at all, as far as is known."""
        if column in self.unasked:
            return False
        return self.answered is None or self.answered.reasons[column] != "not asked"

    def calls(self, column: int) -> Called | None:
        """A column's answer as a message, where tools were offered and it has answered."""
        return next((called for called in self.called if called.column == column), None)


def reply_of(columns: int, events: Iterable[ChatEvent]) -> Reply:
    """What the events of an exchange of so many columns come to."""
    answers: list[list[str]] = [[] for _ in range(columns)]
    answered, error = None, ""
    read = Read(tokens=())
    unasked: dict[int, str] = {}
    called: dict[int, Called] = {}
    turning: dict[int, Turning] = {}
    trips: dict[int, Trip] = {}
    picture_trips: dict[tuple[int, str], PictureTrip] = {}
    verdicts: dict[int, Judged] = {}
    for event in events:
        if isinstance(event, Pieces):
            for answer, pieces in zip(answers, event.columns, strict=False):
                answer += pieces
        elif isinstance(event, Read):
            read = event
        elif isinstance(event, Unasked):
            unasked[event.column] = event.message
        elif isinstance(event, Answered):
            answered, error = event, ""
        elif isinstance(event, Called):
            called[event.column] = event
        elif isinstance(event, Turning):
            before = turning[event.column].cosines if event.column in turning else ()
            turning[event.column] = event.model_copy(update={"cosines": (*before, *event.cosines)})
        elif isinstance(event, Trip):
            trips[event.column] = event
        elif isinstance(event, PictureTrip):
            picture_trips[event.column, event.picture] = event
        elif isinstance(event, Judged):
            # The last thing of a measurement: an earlier one that failed is made good.
            verdicts[event.column], error = event, ""
        elif isinstance(event, Failed):
            error = event.message
    return Reply(
        tuple(map(tuple, answers)),
        answered,
        tuple(trips.values()),
        tuple(verdicts.values()),
        error,
        read.tokens,
        read.begun,
        tuple(called.values()),
        tuple(picture_trips.values()),
        turning,
        unasked,
    )
