"""How queries that share keys read them. Knows nothing of answers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from engine.compute.model.loaded import LoadedModel

# Read by transformers at every pass.
_FORCED = "TRANSFORMERS_SDPA_FORCE_GQA"


@contextmanager
def without_copies(model: LoadedModel, columns: Tensor) -> Iterator[None]:
    """Where several queries share a key, many rows behind long prompts are read on a processor without copies of keys
    and values: in a fifth of the time. Of single tokens transformers makes no copies anyway; on a GPU torch would take
    its slowest way."""
    before = os.environ.get(_FORCED, "0")
    os.environ[_FORCED] = "1" if model.device.type == "cpu" and columns.shape[1] > 1 else before
    try:
        yield
    finally:
        os.environ[_FORCED] = before
