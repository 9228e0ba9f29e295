"""What stands behind the ids of pictures: vectors that a model's tower and projector make, once a picture.

Base and rerouted model share them. Knows nothing of templates, adapters or jobs.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformers import PreTrainedModel

from engine.compute.model.pictures import FIRST_ID, POSITION_BITS, PictureTokens
from engine.records.conversation import Picture
from engine.records.errors import ModelError

# Of vectors, in the processor's memory: those of pictures that were not looked at for longest are made again.
KEPT_BYTES = 2**30


class Sight:
    """The pictures that a model was shown, as vectors in the place of words.

    published: the whole model, of which the language half is a part.  tokens: the ids of its pictures.
    """

    def __init__(self, published: PreTrainedModel, tokens: PictureTokens, *, kept_bytes: int = KEPT_BYTES) -> None:
        """From now on, and as long as the model is in memory, its embedding layer takes ids of pictures too."""
        self.published, self.tokens, self.kept_bytes = published, tokens, kept_bytes
        self._kept: OrderedDict[int, Tensor] = OrderedDict()
        self._given: dict[int, Tensor] = {}
        embedding: Any = published.get_input_embeddings()
        embedding.__dict__["forward"] = partial(self._looked_up, embedding.forward)

    def vectors(self, picture: Picture) -> Float[Tensor, "token d_model"]:
        """What stands at a picture's positions. Raises as PictureTokens.ids_of does, and ModelError where tower and
        processor do not fit each other."""
        return self._vectors(self.tokens.ids_of(picture)[0])

    @contextmanager
    def given(self, picture: Picture, vectors: Float[Tensor, "token d_model"]) -> Iterator[None]:
        """Inside, these vectors stand at the picture's positions; they may require a gradient."""
        ids = self.tokens.ids_of(picture)
        assert len(vectors) == len(ids), "one vector a position"
        self._given[ids[0]] = vectors
        try:
            yield
        finally:
            del self._given[ids[0]]

    def _looked_up(
        self, of_words: Callable[[Tensor], Tensor], ids: Int[Tensor, "*places"]
    ) -> Float[Tensor, "*places d_model"]:
        of_pictures = ids >= FIRST_ID
        if not bool(of_pictures.any()):
            return of_words(ids)
        words = of_words(ids.masked_fill(of_pictures, 0))
        shown = ids[of_pictures]
        positions = shown & (2**POSITION_BITS - 1)
        openings, which = (shown - positions).unique(return_inverse=True)
        tables = [self._vectors(opening).to(words) for opening in openings.tolist()]
        starts = torch.tensor([0, *map(len, tables[:-1])], device=ids.device).cumsum(0)
        seen = torch.cat(tables)[starts[which] + positions]
        return words.masked_scatter(of_pictures[..., None].expand_as(words), seen)

    def _vectors(self, opening: int) -> Tensor:
        if opening in self._given:
            return self._given[opening]
        if opening not in self._kept:
            self._kept[opening] = self._made(self.tokens.picture_at(opening))
        self._kept.move_to_end(opening)
        found = self._kept[opening]
        while len(self._kept) > 1 and sum(vectors.nbytes for vectors in self._kept.values()) > self.kept_bytes:
            self._kept.popitem(last=False)
        return found

    def projected(self, inputs: Mapping[str, Tensor]) -> Float[Tensor, "token d_model"]:
        """What tower and projector make of one picture, as its processor prepared it; a gradient comes back."""
        published: Any = self.published
        weights = next(published.base_model.multi_modal_projector.parameters())
        moved = {
            name: value.to(weights.device, weights.dtype if value.is_floating_point() else value.dtype)
            for name, value in inputs.items()
        }
        return published.get_image_features(**moved).pooler_output[0]

    @torch.no_grad()
    def features(
        self, pixel_values: Float[Tensor, "picture 3 height width"]
    ) -> Float[Tensor, "picture token d_vision"]:
        """What the projector is given of pictures that their processor prepared."""
        published: Any = self.published
        read: list[Tensor] = []
        projector = published.base_model.multi_modal_projector
        hook = projector.register_forward_pre_hook(lambda _, given: read.append(given[0]))
        try:
            self.projected({"pixel_values": pixel_values})
        finally:
            hook.remove()
        return read[0].cpu()

    @torch.no_grad()
    def _made(self, picture: Picture) -> Tensor:
        inputs, positions = self.tokens.processed(picture)
        vectors = self.projected(inputs)
        if len(vectors) != positions:
            raise ModelError(
                f"The model's tower makes {len(vectors)} vectors of the picture {picture.file}, and its processor "
                f"leaves room for {positions}: mend patch_size and vision_feature_select_strategy in "
                "processor_config.json."
            )
        return vectors.cpu()
