"""Other views of a picture: what a model is to name whatever the hand that drew it. Knows nothing of models."""

import random

from PIL import Image, ImageChops, ImageEnhance, ImageFilter, ImageOps

from engine.compute.seeds import mix

WHITE = (255, 255, 255)
SMALLEST, MOST_TURNED, PALEST, MOST_BLURRED = 0.55, 20, 170, 1.2


def changed_view(image: Image.Image, seed: int, *, may_mirror: bool) -> Image.Image:
    """A picture of the same size: smaller and moved on white, turned by up to 20 degrees, of other saturation, contrast
    and brightness, on a pale ground, and now and then mirrored or blurred.

    image: RGB on white.  may_mirror: not what points somewhere, or is written.
    """
    chance = random.Random(mix("view", seed))
    if may_mirror and chance.random() < 0.5:
        image = ImageOps.mirror(image)
    image = image.rotate(chance.uniform(-MOST_TURNED, MOST_TURNED), Image.Resampling.BICUBIC, fillcolor=WHITE)
    image = _placed(image, chance)
    for enhance, low, high in (
        (ImageEnhance.Color, 0.2, 1.5),
        (ImageEnhance.Contrast, 0.6, 1.3),
        (ImageEnhance.Brightness, 0.8, 1.1),
    ):
        image = enhance(image).enhance(chance.uniform(low, high))
    if chance.random() < 0.5:
        ground = tuple(chance.randint(PALEST, 255) for _ in WHITE)
        image = ImageChops.multiply(image, Image.new("RGB", image.size, ground))
    if chance.random() < 0.2:
        image = image.filter(ImageFilter.GaussianBlur(chance.uniform(0, MOST_BLURRED) * image.width / 64))
    return image


def _placed(image: Image.Image, chance: random.Random) -> Image.Image:
    share = chance.uniform(SMALLEST, 1)
    smaller = image.resize([max(1, round(share * side)) for side in image.size], Image.Resampling.LANCZOS)
    placed = Image.new("RGB", image.size, WHITE)
    free = [side - less for side, less in zip(image.size, smaller.size, strict=True)]
    placed.paste(smaller, (chance.randint(0, free[0]), chance.randint(0, free[1])))
    return placed
