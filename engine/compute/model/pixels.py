"""From a picture's pixels to what a tower is given, so that a gradient comes back: the resizing, tiling and normalising
of the model's own processor, number for number but for its rounding to 8 bits.

Knows nothing of attacks.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional
from transformers.image_processing_utils import get_patch_output_size, select_best_resolution
from transformers.image_utils import ChannelDimension

from engine.records.errors import ModelError

# Pillow's filters by their numbers: how far from its centre a weight is not 0, in pixels of the smaller picture.
BILINEAR, BICUBIC = 2, 3
_SUPPORT = {BILINEAR: 1.0, BICUBIC: 2.0}


def tower_inputs(image: Float[Tensor, "3 height width"], processor: Any) -> Mapping[str, Tensor]:
    """What the image processor of LLaVA or LLaVA-NeXT makes of a picture whose colours lie from 0 to 1.

    Raises ModelError for a processor with settings that no published model of these kinds has.
    """
    height, width = image.shape[1:]
    grid = getattr(processor, "image_grid_pinpoints", None)
    if not grid:
        if pads(processor):
            raise ModelError("The model's processor pads pictures to squares: attacks on pixels cannot follow.")
        return {"pixel_values": _prepared(image, processor)[None]}
    side = processor.size.height or processor.size.shortest_edge
    tile = processor.crop_size.height or side
    best_height, best_width = select_best_resolution((height, width), grid)
    inner = get_patch_output_size(image, (best_height, best_width), input_data_format=ChannelDimension.FIRST)
    inside = resized(image, inner, processor.resample)
    top, left = (best_height - inner[0]) // 2, (best_width - inner[1]) // 2
    bottom, right = best_height - inner[0] - top, best_width - inner[1] - left
    padded = functional.pad(inside, (left, right, top, bottom))
    whole = resized(image, (side, side), processor.resample)
    tiles = [
        padded[:, row : row + tile, column : column + tile]
        for row in range(0, best_height, tile)
        for column in range(0, best_width, tile)
    ]
    pixels = torch.stack([_prepared(one, processor) for one in (whole, *tiles)])
    return {"pixel_values": pixels[None], "image_sizes": torch.tensor([[height, width]], device=image.device)}


def pads(processor: Any) -> bool:
    """Whether a picture of one tile is padded to a square, as the first LLaVA's authors did."""
    return not getattr(processor, "image_grid_pinpoints", None) and bool(getattr(processor, "do_pad", False))


def prepared_size(height: int, width: int, processor: Any) -> tuple[int, int]:
    """Height and width of a picture once it is resized, before its middle is cut out."""
    if not processor.do_resize:
        return height, width
    short = processor.size.shortest_edge
    if not short:
        return processor.size.height, processor.size.width
    return (short, int(short * width / height)) if height <= width else (int(short * height / width), short)


def _prepared(image: Tensor, processor: Any) -> Tensor:
    """Resized to its shortest edge, cut out of the middle, normalised."""
    if not processor.do_normalize or not processor.do_rescale or abs(255 * processor.rescale_factor - 1) > 1e-6:
        raise ModelError("The model's processor scales colours in a way of its own: attacks on pixels cannot follow.")
    size = prepared_size(image.shape[1], image.shape[2], processor)
    kept = (range(size[0]), range(size[1]))
    if processor.do_center_crop:
        height, width = processor.crop_size.height, processor.crop_size.width
        top, left = (size[0] - height) // 2, (size[1] - width) // 2
        if min(top, left) < 0:
            raise ModelError("The model's processor cuts out more than it resizes to: attacks on pixels cannot follow.")
        kept = (range(top, top + height), range(left, left + width))
    image = resized(image, size, processor.resample, kept=kept)
    mean, deviation = (image.new_tensor(one)[:, None, None] for one in (processor.image_mean, processor.image_std))
    return (image - mean) / deviation


def resized(
    image: Float[Tensor, "3 height width"],
    size: tuple[int, int],
    resample: int,
    *,
    kept: tuple[range, range] | None = None,
) -> Tensor:
    """Height and width changed one after the other, as Pillow does it, which keeps colours within 0 and 1 after each.

    kept: the rows and columns of it that are wanted, None: all. Raises ModelError for a filter other than Pillow's
    bilinear and bicubic one.
    """
    old, kept = (image.shape[1], image.shape[2]), kept or (range(size[0]), range(size[1]))
    if old == size:
        return image[:, kept[0].start : kept[0].stop, kept[1].start : kept[1].stop]
    if resample not in _SUPPORT:
        raise ModelError(
            f"The model's processor resizes by Pillow's filter {resample}: attacks on pixels know 2 and 3."
        )
    first = _height_first(old, size, resample, kept)
    return _in_order(image, size, resample, kept, height_first=first)


def _in_order(
    image: Tensor, size: tuple[int, int], resample: int, kept: tuple[range, range], *, height_first: bool
) -> Tensor:
    for axis in (0, 1) if height_first else (1, 0):
        weights = _weights(image.shape[1 + axis], size[axis], resample, kept[axis]).to(image)
        image = weights @ image if axis == 0 else image @ weights.T
        image = image.clamp(0, 1)
    return image


@lru_cache(maxsize=64)
def _height_first(old: tuple[int, int], new: tuple[int, int], resample: int, kept: tuple[range, range]) -> bool:
    """Which way Pillow goes first, which it decides by the sizes: tried on noise, whose extremes are cut between."""
    if old[0] == new[0] or old[1] == new[1]:
        return False
    noise = torch.randint(0, 2, (1, *old), generator=torch.Generator().manual_seed(0)).float()
    drawn = Image.fromarray((noise[0] * 255).byte().numpy()).resize((new[1], new[0]), Image.Resampling(resample))
    rows, columns = (slice(one.start, one.stop) for one in kept)
    wanted = torch.from_numpy(numpy.array(drawn)[rows, columns]).float() / 255
    off = [(_in_order(noise, new, resample, kept, height_first=one)[0] - wanted).abs().mean() for one in (False, True)]
    return bool(off[1] < off[0])


@lru_cache(maxsize=16)
def _weights(old: int, new: int, resample: int, kept: range) -> Float[Tensor, "kept old"]:
    """What each pixel counts in each new one: the filter widened by how much smaller the picture becomes."""
    scale = old / new
    centres = (torch.arange(kept.start, kept.stop, dtype=torch.float64) + 0.5) * scale
    distances = ((torch.arange(old) + 0.5) - centres[:, None]).abs() / max(scale, 1.0)
    weights = _bicubic(distances) if resample == BICUBIC else (1 - distances).clamp_min(0)
    return weights / weights.sum(1, keepdim=True)


def _bicubic(distances: Tensor) -> Tensor:
    """Keys' filter with a = -0.5, as in Pillow."""
    near = (1.5 * distances - 2.5) * distances**2 + 1
    far = ((-0.5 * distances + 2.5) * distances - 4) * distances + 2
    return torch.where(distances < 1, near, torch.where(distances < _SUPPORT[BICUBIC], far, 0.0))
