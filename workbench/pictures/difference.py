"""What an attack changed in a picture, made visible. Pure: knows nothing of Streamlit."""

import io

import numpy as np
from PIL import Image

from workbench.kit.pictures import fitted

MIDDLE = 128


def difference_png(original: Image.Image, perturbed: Image.Image, *, epsilon: int, edge: int) -> bytes:
    """Grey where nothing changed; each colour's change times `difference_scale`, around the middle. Both pictures are
    of one size. edge: as in `fitted`."""
    change = np.asarray(perturbed, dtype=np.int16) - np.asarray(original, dtype=np.int16)
    visible = np.clip(MIDDLE + np.rint(difference_scale(epsilon) * change), 0, 255).astype(np.uint8)
    out = io.BytesIO()
    fitted(Image.fromarray(visible), edge).save(out, "PNG")
    return out.getvalue()


def difference_scale(epsilon: int) -> float:
    """By what a change is multiplied so that the farthest one reaches black or white. epsilon: of 255."""
    return (MIDDLE - 1) / epsilon
