"""Of the cosines along a text those over the patches of the pictures that it shows. Knows nothing of answers."""

from collections.abc import Iterator, Sequence

from jaxtyping import Float
from torch import Tensor

from engine.compute.model.loaded import LoadedModel
from engine.compute.model.patches import patch_grid
from engine.records.chats.chat import Exchange
from engine.records.chats.replies import PictureTrip
from engine.records.conversation import Picture

DIGITS = 3


def picture_trips(
    model: LoadedModel,
    exchange: Exchange,
    column: int,
    prompt: Sequence[int],
    cosines: Float[Tensor, "block token"],
) -> Iterator[PictureTrip]:
    """One for each picture of this exchange whose positions make a grid. prompt: what the column read, whose tokens the
    first cosines are of."""
    pictures = dict.fromkeys(part for part in exchange.parts if isinstance(part, Picture))
    for picture in pictures:
        grid = patch_grid(model, picture)
        if grid is None or model.sight is None:
            continue
        opening = model.sight.tokens.ids_of(picture)[0]
        # A picture may have been shown in an earlier turn as well: this one's stands last.
        start = len(prompt) - 1 - list(reversed(prompt)).index(opening) + grid.first
        yield PictureTrip(
            column=column,
            picture=picture.sha256,
            side=grid.side,
            box=grid.box,
            cosines=rounded(cosines[:, start : start + grid.side**2]),
        )


def rounded(cosines: Float[Tensor, "block token"]) -> tuple[tuple[float, ...], ...]:
    """As they are written down."""
    return tuple(tuple(round(value, DIGITS) for value in block) for block in cosines.tolist())
