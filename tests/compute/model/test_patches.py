"""Which position of a picture is which part of it."""

from pathlib import Path

import pytest
import torch
from making_seers import PATCH, SIDE, painted
from PIL import Image

from engine.compute.model.patches import patch_grid
from engine.records.pictures import picture_at

PATCHES = SIDE // PATCH


def recoloured(file, box):
    """The picture with another colour inside a box of pixels."""
    image = Image.open(file)
    image.paste((255, 0, 255), box)
    other = file.with_name("recoloured.png")
    image.save(other)
    return picture_at(other)


@pytest.mark.parametrize("size", [(16, 16), (48, 16), (16, 32)])
@pytest.mark.parametrize("kind", ["tiny_llava", "tiny_llava_next"])
def test_the_patch_whose_pixels_change_is_the_one_whose_vector_changes_most(kind, size, request, tmp_path):
    model = request.getfixturevalue(kind)
    file = painted(tmp_path / "one.png", size=size)
    picture = picture_at(file)
    grid = patch_grid(model, picture)
    assert (grid.first, grid.side) == (0, PATCHES)
    left, top, right, bottom = (share * edge for share, edge in zip(grid.box, size * 2, strict=True))
    wide, high = (right - left) / grid.side, (bottom - top) / grid.side
    row, column = 2, 1
    corner = (round(left + column * wide), round(top + row * high))
    other = recoloured(file, (*corner, corner[0] + round(wide), corner[1] + round(high)))
    with torch.no_grad():
        moved = (model.sight.vectors(picture) - model.sight.vectors(other)).norm(dim=-1)
    assert int(moved[: grid.side**2].argmax()) == row * grid.side + column


def test_only_the_middle_is_covered_where_the_rest_is_cut_off(tiny_llava, tiny_llava_next, tmp_path):
    wide = picture_at(painted(tmp_path / "wide.png", size=(64, 16)))
    assert patch_grid(tiny_llava, wide).box == (24 / 64, 0.0, 40 / 64, 1.0)
    assert patch_grid(tiny_llava_next, wide).box == (0.0, 0.0, 1.0, 1.0)


def test_what_was_read_keeps_its_grid_though_its_file_is_gone(tiny_llava, tmp_path):
    """A strength that is moved asks anew, of a picture that was forgotten meanwhile."""
    pictures = [picture_at(painted(tmp_path / f"{width}.png", size=(width, 16))) for width in (64, 32)]
    grids = [patch_grid(tiny_llava, one) for one in pictures]
    for one in pictures:
        Path(one.file).unlink()
    assert [patch_grid(tiny_llava, one) for one in pictures] == grids and grids[0].box != grids[1].box
