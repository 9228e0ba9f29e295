"""What a tower is given of a picture's pixels is what the model's processor gives it, and a gradient comes back."""

import numpy
import pytest
import torch
from making_seers import painted, write_tiny_llava
from PIL import Image
from transformers import CLIPImageProcessorPil, LlavaNextImageProcessorPil

from engine.compute.model.load import load_model
from engine.compute.model.pixels import tower_inputs
from engine.records.errors import ModelError
from engine.records.pictures import picture_at
from engine.records.spec_parts import ModelSpec

GRID = [[336, 672], [672, 336], [672, 672], [1008, 336], [336, 1008]]
PROCESSORS = {
    "llava": CLIPImageProcessorPil(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}),
    "llava_next": LlavaNextImageProcessorPil(
        size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336}, image_grid_pinpoints=GRID
    ),
}


def pixels_of(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(numpy.array(image)).permute(2, 0, 1) / 255


@pytest.mark.parametrize(
    "size", [(336, 336), (640, 480), (97, 301), (1200, 200), (50, 40), (540, 1170), (60, 4200)], ids=str
)
@pytest.mark.parametrize("kind", PROCESSORS)
def test_pixels_are_prepared_as_the_processor_does_at_its_published_sizes(kind, size, tmp_path):
    """Noise of hard edges, where a filter overshoots most. Pillow rounds to whole steps of 255 twice, which is all that
    differs: half a step each, the first a little louder behind the second filter."""
    processor = PROCESSORS[kind]
    noise = numpy.random.default_rng(0).integers(0, 256, (size[1] // 3 + 1, size[0] // 3 + 1, 3), dtype=numpy.uint8)
    image = Image.fromarray(noise).resize(size, Image.Resampling.NEAREST)
    expected = processor([image], return_tensors="pt")
    made = tower_inputs(pixels_of(image), processor)
    assert made.keys() == {name for name in ("pixel_values", "image_sizes") if name in expected}
    assert made["pixel_values"].shape == expected["pixel_values"].shape
    deviation = torch.tensor(processor.image_std)[:, None, None]
    difference = ((made["pixel_values"] - expected["pixel_values"]).abs() * deviation).amax()
    assert difference < 1.1 / 255
    mean = ((made["pixel_values"] - expected["pixel_values"]).abs() * deviation).mean()
    assert mean < 0.35 / 255
    if "image_sizes" in made:
        assert made["image_sizes"].tolist() == expected["image_sizes"].tolist()


@pytest.mark.parametrize("next", [False, True], ids=["llava", "llava_next"])
def test_the_gradient_of_pixels_is_that_of_finite_differences(next, tmp_path, settings):
    """In double precision, through resizing, tiles, tower and projector."""
    model = load_model(ModelSpec(name=str(write_tiny_llava(tmp_path / "model", next=next))), settings)
    model.published.double()
    processor = model.sight.tokens.processor.image_processor
    image = pixels_of(Image.open(painted(tmp_path / "a.png", size=(23, 19)))).double() * 0.8 + 0.1

    def score(pixels):
        vectors = model.sight.projected(tower_inputs(pixels, processor))
        return (vectors * torch.arange(vectors.numel(), dtype=torch.float64).view_as(vectors).cos()).sum()

    moving = image.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(score(moving), moving)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        direction = torch.randn(image.shape, generator=generator, dtype=torch.float64) * 1e-6
        with torch.no_grad():
            difference = (score(image + direction) - score(image - direction)) / 2
        torch.testing.assert_close(difference, (gradient * direction).sum(), rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"do_pad": True}, "pads pictures to squares"),
        ({"rescale_factor": 1 / 127.5}, "scales colours in a way of its own"),
        ({"do_normalize": False}, "scales colours in a way of its own"),
    ],
)
def test_what_a_processor_does_beside_it_is_refused_and_not_passed_over(changes, words):
    processor = CLIPImageProcessorPil(size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8})
    for name, value in changes.items():
        setattr(processor, name, value)
    with pytest.raises(ModelError, match=words):
        tower_inputs(torch.zeros(3, 9, 12), processor)


def test_a_filter_that_is_not_known_is_refused():
    processor = CLIPImageProcessorPil(size={"shortest_edge": 8}, crop_size={"height": 8, "width": 8}, resample=1)
    with pytest.raises(ModelError, match="resizes by Pillow's filter 1"):
        tower_inputs(torch.zeros(3, 4, 4), processor)


@pytest.mark.parametrize("size", [(1, 100_000), (100_000, 1)], ids=str)
def test_a_picture_so_thin_that_the_processor_would_fill_all_memory_is_refused(size, tmp_path, settings):
    """Resized to its shortest edge it would be 16 x 1,600,000; tiles are cut from within a grid, whatever its shape."""
    Image.new("RGB", size).save(tmp_path / "thin.png")
    shown = picture_at(tmp_path / "thin.png")
    one = load_model(ModelSpec(name=str(write_tiny_llava(tmp_path / "model"))), settings)
    words = rf"thin.png is {size[0]} x {size[1]}, so thin that .* (1,600,000 x 16|16 x 1,600,000): cut a part out"
    with pytest.raises(ModelError, match=words):
        one.sight.tokens.ids_of(shown)
    tiled = load_model(ModelSpec(name=str(write_tiny_llava(tmp_path / "tiled", next=True))), settings)
    assert tiled.sight.tokens.ids_of(shown)
