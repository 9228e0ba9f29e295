"""Pictures as tokens: a position of a picture is an id of its own, far above every vocabulary.

It is made of the picture's pixels, of what the model's own processor makes of them, and of the position, and is the
same in every process. Whatever compares, keeps or batches token ids tells two pictures apart without knowing of any.
Knows nothing of weights (engine.compute.model.sight) or templates.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from engine.compute.model.pixels import prepared_size
from engine.records.conversation import Picture
from engine.records.errors import ModelError, first_line
from engine.records.pictures import KEPT_PIXELS, image_of

# Every id from here on is a position of a picture: its last bits count the positions, those above tell the picture.
FIRST_ID = 2**62
POSITION_BITS, PICTURE_BITS = 14, 48
# Stands for a picture where token ids are read as text.
PLACEHOLDER = "[picture]"


def is_of_picture(token: int) -> bool:
    return token >= FIRST_ID


def position_in_picture(token: int) -> int:
    return token & (2**POSITION_BITS - 1)


def picture_text(token: int) -> str:
    """One placeholder for a whole picture: its first position reads as that, the others as nothing."""
    return "" if position_in_picture(token) else PLACEHOLDER


def behind_pictures(ids: Sequence[int]) -> int:
    """The place behind the last position of a picture, 0 where there is none."""
    return next((place + 1 for place in reversed(range(len(ids))) if is_of_picture(ids[place])), 0)


def picture_positions(ids: Sequence[int]) -> int:
    """How many of these tokens are positions of pictures."""
    return sum(map(is_of_picture, ids))


class Processed(NamedTuple):
    """inputs: what the model's tower is given of a picture.  positions: how many it takes in a text."""

    inputs: Mapping[str, Tensor]
    positions: int


class PictureTokens:
    """The ids of pictures under one model's processor, and which picture an id is of.

    shown_to_all: content and file of the pictures that every process of a team has been shown.
    """

    def __init__(self, processor: Any) -> None:
        """processor: transformers' own for this model."""
        self.processor = processor
        self.image_token = str(self.processor.image_token)
        self.image_token_id = int(self.processor.image_token_id)
        self.shown_to_all: set[tuple[str, str]] = set()
        self._ids: dict[str, range] = {}
        self._pictures: dict[int, Picture] = {}
        self._sizes: dict[str, tuple[int, int]] = {}

    def ids_of(self, picture: Picture) -> tuple[int, ...]:
        """The ids of a picture's positions. Raises DataError where its file cannot be read, ModelError where the
        processor refuses it or would need more than 16,384 positions."""
        if picture.sha256 not in self._ids:
            processed = self.processed(picture)
            opening = _opening_id(picture.sha256, processed.inputs)
            if opening in self._pictures or processed.positions > 2**POSITION_BITS:
                raise ModelError(
                    f"The picture {picture.file} takes {processed.positions:,} tokens, more than the "
                    f"{2**POSITION_BITS:,} that can be counted, or cannot be told apart from another: change its size."
                )
            self._ids[picture.sha256] = range(opening, opening + processed.positions)
        ids = tuple(self._ids[picture.sha256])
        # Its file may have moved since.
        self._pictures[ids[0]] = picture
        return ids

    def size_of(self, picture: Picture) -> tuple[int, int]:
        """Width and height, known once its ids are, though its file is gone since. Raises as ids_of does."""
        self.ids_of(picture)
        return self._sizes[picture.sha256]

    def picture_at(self, opening: int) -> Picture:
        """The picture whose first position has this id. Raises ModelError for one that was not shown here."""
        if opening not in self._pictures:
            raise ModelError("A picture is asked about that this worker has not been shown: ask anew.")
        return self._pictures[opening]

    def processed(self, picture: Picture) -> Processed:
        """What the model's processor makes of a picture. Raises as ids_of does."""
        image = image_of(picture)
        self._need_room(picture, image.height, image.width)
        self._sizes[picture.sha256] = image.size
        try:
            made = self.processor(images=[image], text=self.image_token, return_tensors="pt")
        except Exception as error:  # Processors raise what they like.
            raise ModelError(
                f"The model's processor refuses the picture {picture.file} ({image.width} x {image.height}): "
                f"{first_line(error)} Choose another picture."
            ) from error
        inputs = {name: made[name] for name in self.processor.image_processor.model_input_names if name in made}
        ids = made["input_ids"][0].tolist()
        count, first = ids.count(self.image_token_id), ids.index(self.image_token_id)
        if set(ids[first : first + count]) != {self.image_token_id}:
            raise ModelError(
                "The model's processor puts tokens of its own between those of a picture: only processors of LLaVA and "
                "LLaVA-NeXT can be used."
            )
        return Processed(inputs, count)

    def _need_room(self, picture: Picture, height: int, width: int) -> None:
        """A processor that brings the short edge to one length makes of a thin picture one that fills all memory."""
        processor = self.processor.image_processor
        if getattr(processor, "image_grid_pinpoints", None):
            return
        tall, wide = prepared_size(height, width, processor)
        # Without either the processor is of a kind that is refused behind this.
        if tall and wide and tall * wide > KEPT_PIXELS:
            raise ModelError(
                f"The picture {picture.file} is {width} x {height}, so thin that the model's processor would stretch "
                f"it to {wide:,} x {tall:,}: cut a part out of it, or choose another picture."
            )


def _opening_id(sha256: str, inputs: Mapping[str, Tensor]) -> int:
    digest = hashlib.sha256(sha256.encode())
    for name in sorted(inputs):
        digest.update(name.encode() + inputs[name].contiguous().numpy().tobytes())
    number = int.from_bytes(digest.digest()[:8]) >> (64 - PICTURE_BITS)
    return FIRST_ID + (number << POSITION_BITS)
