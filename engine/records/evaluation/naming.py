"""Naming pictures, as an ability: the question, the kinds to choose from, and the pictures that are asked about, all of
names that no projector made here was trained on. Knows nothing of models."""

import random
from typing import NamedTuple

from engine.records.conversation import Conversation, Message, Text
from engine.records.evenly import evenly
from engine.records.picture_sets import KINDS, NamedPicture, held_out_pictures, named_pictures
from engine.records.pictures import picture_at
from engine.records.settings import Settings

ABILITY = "naming"
WORDS = tuple(KINDS)
QUESTION = f"Which kind of thing does the picture show: {', '.join(WORDS[:-1])} or {WORDS[-1]}?"
BEGUN = "Kind:"
# Of held-out names, by category: in a design that was trained on, in one that was not, and two controls of the first.
NAMES, DESIGN, SHUFFLED, BLIND = "held-out names", "held-out design", "shuffled pictures", "without the picture"
CATEGORIES = (NAMES, DESIGN, SHUFFLED, BLIND)
ABOUT = {
    NAMES: "pictures of designs that were trained on",
    DESIGN: "pictures of a design that was not",
    SHUFFLED: "control: the first with the pictures of others",
    BLIND: "control: the first without them",
}
TAKEN = 200


class Naming(NamedTuple):
    """conversation: the question.  kind: the right answer, of the picture that the row stands for."""

    category: str
    conversation: Conversation
    kind: str


def read_namings(settings: Settings, *, limit: int = 0) -> list[Naming]:
    """Questions of each category, `limit` (0: 200) pictures at most, evenly taken; controls ask about the same rows as
    the held-out names. Raises DataError where the packages of pictures are not fetched."""
    held_out = held_out_pictures(named_pictures(settings))
    names, design = (evenly(held_out[part], limit or TAKEN) for part in ("names", "design"))
    # Half a turn away: alphabetical neighbours are often of one kind.
    order = list(range(len(names)))
    random.Random(0).shuffle(order)
    # Each has the picture of the next, so that none has its own.
    others = dict(zip(order, order[1:] + order[:1], strict=True))
    return [
        *(Naming(NAMES, _asked(one), one.kind) for one in names),
        *(Naming(DESIGN, _asked(one), one.kind) for one in design),
        *(Naming(SHUFFLED, _asked(names[others[place]]), one.kind) for place, one in enumerate(names)),
        *(Naming(BLIND, _asked(None), one.kind) for one in names),
    ]


def _asked(shown: NamedPicture | None) -> Conversation:
    pictures = (picture_at(shown.file),) if shown else ()
    return Conversation(messages=(Message(role="user", parts=(*pictures, Text(text=QUESTION))),))
