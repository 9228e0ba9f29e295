"""Where the positions of a picture lie in it: a square grid of patches over what a tower is shown of the whole picture.

LLaVA has no other positions; LLaVA-NeXT's finer tiles come after these. Knows nothing of what was measured there.
"""

from math import isqrt
from typing import Any, NamedTuple

from engine.compute.model.loaded import LoadedModel
from engine.compute.model.pixels import pads, prepared_size
from engine.records.conversation import Picture


class PatchGrid(NamedTuple):
    """first: the position of the patch at the top left; the others follow row by row.  side: patches along each edge.
    box: left, top, right and bottom of what the grid covers, as shares of the picture's width and height."""

    first: int
    side: int
    box: tuple[float, float, float, float]


def patch_grid(model: LoadedModel, picture: Picture) -> PatchGrid | None:
    """The grid of a picture; None where its positions make no square. Raises as PictureTokens.ids_of does."""
    assert model.sight is not None
    tokens, config = model.sight.tokens, model.sight.published.config
    positions = len(tokens.ids_of(picture))
    processor = tokens.processor.image_processor
    if getattr(processor, "image_grid_pinpoints", None):
        side = config.vision_config.image_size // config.vision_config.patch_size
        first = int(config.vision_feature_select_strategy == "full")
        return PatchGrid(first, side, (0.0, 0.0, 1.0, 1.0)) if first + side**2 <= positions else None
    if pads(processor):
        return None
    # A tower's token for the whole picture may stand before its patches.
    for first in (0, 1):
        if (side := isqrt(positions - first)) ** 2 == positions - first:
            return PatchGrid(first, side, _shown_part(*tokens.size_of(picture), processor))
    return None


def _shown_part(width: int, height: int, processor: Any) -> tuple[float, float, float, float]:
    """What is left of a picture of this size whose middle alone is cut out."""
    height, width = prepared_size(height, width, processor)
    if not processor.do_center_crop:
        return (0.0, 0.0, 1.0, 1.0)
    top, left = (
        max(0, (whole - kept) // 2) / whole
        for whole, kept in ((height, processor.crop_size.height), (width, processor.crop_size.width))
    )
    right, bottom = (
        min(1.0, start + kept / whole)
        for start, whole, kept in (
            (left, width, processor.crop_size.width),
            (top, height, processor.crop_size.height),
        )
    )
    return (left, top, right, bottom)
