"""Losses and representation spaces: pure maths on tensors. Knows nothing of models, files or steps.

Source: Zou et al. 2024 (arXiv:2406.04313), section 3.2, with the repairs that docs/decisions/0002 gives reasons for.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

SpaceName = Literal["raw", "centred", "standardised"]
# Vectors shorter than this have no direction.
EPSILON = 1e-6


@dataclass
class BlockStatistics:
    """Running mean and variance of one block's activations, in float64. Feed it base activations only."""

    total: Float[Tensor, " d_model"] | None = None
    squares: Float[Tensor, " d_model"] | None = None
    tokens: int = 0
    like: Tensor | None = None

    def add(self, activations: Float[Tensor, "token d_model"]) -> None:
        found = activations.detach()
        # An Apple GPU has no float64.
        wide = (found.cpu() if found.device.type == "mps" else found).double()
        if self.total is None or self.squares is None:
            self.like = found.new_empty(0, dtype=torch.float32)
            self.total = torch.zeros(wide.shape[1], dtype=torch.double, device=wide.device)
            self.squares = torch.zeros_like(self.total)
        self.total += wide.sum(0)
        self.squares += wide.square().sum(0)
        self.tokens += len(wide)

    def space(self) -> "BlockSpace":
        """As `spaces_of`, of one block."""
        return spaces_of({0: self})[0]

    def frame(self) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, deviation and centred norm, on the device that the activations were on. Raises ValueError before any
        activation was added."""
        if self.total is None or self.squares is None or self.like is None or self.tokens == 0:
            raise ValueError("no activations were added")
        mean = self.total / self.tokens
        variance = (self.squares / self.tokens - mean.square()).clamp_min(0)
        # The root mean square of the centred norm: needs no second pass over the activations.
        norm = variance.sum().sqrt()
        return mean.float().to(self.like), variance.sqrt().float().to(self.like), norm


def spaces_of(statistics: Mapping[int, BlockStatistics]) -> "dict[int, BlockSpace]":
    """The space of each block; all norms come back from the device in one go. Raises ValueError where no activation was
    added."""
    frames = {block: found.frame() for block, found in statistics.items()}
    norms = torch.stack([norm for _, _, norm in frames.values()]).tolist() if frames else []
    return {
        block: BlockSpace(mean, deviation, norm)
        for (block, (mean, deviation, _)), norm in zip(frames.items(), norms, strict=True)
    }


@dataclass(frozen=True)
class BlockSpace:
    """Where one block's activations live under the base model: the frame that cosines are taken in."""

    mean: Float[Tensor, " d_model"]
    deviation: Float[Tensor, " d_model"]
    centred_norm: float

    def transform(
        self, activations: Float[Tensor, "prompt token d_model"], space: SpaceName
    ) -> Float[Tensor, "prompt token d_model"]:
        """Activations in the given space, in float32. A dimension that never varies is centred, not divided."""
        wide = activations.float()
        if space == "raw":
            return wide
        centred = wide - self.mean
        if space == "centred":
            return centred
        constant = self.deviation < 1e-6 * self.deviation.max().clamp_min(1e-12)
        return centred / self.deviation.masked_fill(constant, 1.0)


def token_cosine(
    rerouted: Float[Tensor, "prompt token d_model"],
    base: Float[Tensor, "prompt token d_model"],
    space: BlockSpace,
    name: SpaceName,
) -> Float[Tensor, "prompt token"]:
    """Cosine between base and rerouted activations, -1 to 1, per token; exactly 1 where nothing moved.

    Torch's own divides by each length apart and so comes to 0.9999999 for equal vectors: here the root of a square is
    what was squared, to the last bit.
    """
    moved, held = space.transform(rerouted, name), space.transform(base, name)
    squares = moved.square().sum(-1).clamp_min(EPSILON**2) * held.square().sum(-1).clamp_min(EPSILON**2)
    return (moved * held).sum(-1) / squares.sqrt()


def token_drift(
    rerouted: Float[Tensor, "prompt token d_model"], base: Float[Tensor, "prompt token d_model"]
) -> Float[Tensor, "prompt token"]:
    """L2 distance between base and rerouted activations per token. Its gradient is 0 where they are equal, not
    undefined.
    """
    squared = (rerouted.float() - base.float()).square().sum(-1)
    moved = squared > 0
    return torch.where(moved, torch.where(moved, squared, torch.ones_like(squared)).sqrt(), torch.zeros_like(squared))


def rerouting_loss(
    rerouted: dict[int, Float[Tensor, "prompt token d_model"]],
    base: dict[int, Float[Tensor, "prompt token d_model"]],
    mask: Float[Tensor, "prompt token"],
    spaces: dict[int, BlockSpace],
    *,
    space: SpaceName,
    margin: float = 0.0,
    tokens: float | None = None,
) -> Float[Tensor, ""]:
    """Mean over target blocks and masked tokens of relu(cos(rerouted, base) - margin): 1 - margin = unmoved, 0 = turned
    away.

    `tokens` is the number of masked tokens of the whole step, when this is a part of it (default: of this batch).
    """
    cosines = [token_cosine(moved, base[block], spaces[block], space) for block, moved in rerouted.items()]
    return _mean_above(cosines, mask, margin=margin, tokens=tokens)


def _mean_above(
    cosines: Sequence[Float[Tensor, "prompt token"]],
    mask: Float[Tensor, "prompt token"],
    *,
    margin: float,
    tokens: float | None,
) -> Float[Tensor, ""]:
    """Of each block, over its masked tokens, what the cosines have above the margin."""
    count = max(float(mask.sum()) if tokens is None else tokens, 1.0) * max(len(cosines), 1)
    total = mask.new_zeros(())
    for cosine in cosines:
        total = total + (torch.relu(cosine - margin if margin else cosine) * mask).sum()
    return total / count


def retain_loss(
    rerouted: dict[int, Float[Tensor, "prompt token d_model"]],
    base: dict[int, Float[Tensor, "prompt token d_model"]],
    mask: Float[Tensor, "prompt token"],
    spaces: dict[int, BlockSpace],
    *,
    scale: Literal["absolute", "relative"],
    margin: float = 0.0,
    distances: float | None = None,
) -> Float[Tensor, ""]:
    """Mean over blocks and masked tokens of the L2 distance, 0 up; relative: divided by the block's centred norm. Up to
    `margin`, in the same unit, a distance counts as none, and beyond it by what it exceeds it.

    `distances` is the number that the mean divides by (default: masked tokens times blocks of this batch): that of
    the whole step, when this is a part of it, or `published_distances`.
    """
    count = max(float(mask.sum()) * len(rerouted) if distances is None else distances, 1.0)
    total = mask.new_zeros(())
    for block, activations in rerouted.items():
        unit = max(spaces[block].centred_norm if scale == "relative" else 1.0, 1e-12)
        drift = token_drift(activations, base[block])
        total = total + ((torch.relu(drift - margin * unit) if margin else drift) * mask).sum() / unit
    return total / count


def nearest(
    points: Float[Tensor, "row d_model"], neighbours: Float[Tensor, "neighbour d_model"]
) -> tuple[Float[Tensor, " row"], Int[Tensor, " row"]]:
    """The cosine of each point with the neighbour that it points most alike, and which one that is."""
    cosines = torch.nn.functional.normalize(points, dim=-1) @ torch.nn.functional.normalize(neighbours, dim=-1).T
    found = cosines.max(-1)
    return found.values, found.indices


def overlap_weight(cosine: Float[Tensor, " row"], *, threshold: float, width: float) -> Float[Tensor, " row"]:
    """How much a harmful row counts whose nearest borderline row has this cosine: 1 far below the threshold, a half at
    it, 0 far above."""
    return torch.sigmoid((threshold - cosine) / width)


def twin_loss(
    rerouted: dict[int, Float[Tensor, "prompt token d_model"]],
    twins: dict[int, Float[Tensor, "prompt d_model"]],
    mask: Float[Tensor, "prompt token"],
    spaces: dict[int, BlockSpace],
    *,
    space: SpaceName,
    margin: float,
    tokens: float | None = None,
) -> Float[Tensor, ""]:
    """Mean over target blocks and masked tokens of relu(cos(rerouted, twin) - margin): what is turned away shall not
    end where the row's borderline twin lies. twins: of each row, in the given space.

    `tokens` is the number of masked tokens of the whole step, when this is a part of it (default: of this batch).
    """
    cosines = [
        torch.cosine_similarity(spaces[block].transform(moved, space), twins[block][:, None], dim=-1, eps=EPSILON)
        for block, moved in rerouted.items()
    ]
    return _mean_above(cosines, mask, margin=margin, tokens=tokens)


def answer_divergence(
    rerouted: Float[Tensor, "token vocabulary"],
    base: Float[Tensor, "token vocabulary"],
    *,
    temperature: float,
    tokens: float | None = None,
) -> Float[Tensor, ""]:
    """Mean over tokens of KL(base || rerouted) of what is foretold, in nats, both at this temperature, times its
    square: 0 up, 0 = the same. The square keeps the gradient's size where the temperature changes.

    `tokens` is the number of tokens of the whole step, when this is a part of it (default: of this batch).
    """
    held = torch.log_softmax(_tempered(base, temperature), -1)
    moved = torch.log_softmax(_tempered(rerouted, temperature), -1)
    total = (held.exp() * (held - moved)).sum() * temperature**2
    return total / max(len(base) if tokens is None else tokens, 1.0)


def _tempered(logits: Float[Tensor, "token vocabulary"], temperature: float) -> Float[Tensor, "token vocabulary"]:
    # To divide a large vocabulary by 1, there and back, is a twentieth of a step of Qwen2.5-0.5B on a processor.
    return logits.float() if temperature == 1 else logits.float() / temperature


def published_distances(*, rows: int, tokens: int, blocks: int) -> float:
    """How many distances the published retain mean is over: every position of rows padded to `tokens`, padding (whose
    distance is masked to 0) included, after every block and after the embeddings, whose distance is always 0.

    Source: the published code, `compute_loss`. The longer the padding, the smaller this loss.
    """
    return float(rows * tokens * (blocks + 1))


def last_normed(
    activations: dict[int, Float[Tensor, "prompt token d_model"]], norm: Callable[[Tensor], Tensor] | None
) -> dict[int, Float[Tensor, "prompt token d_model"]]:
    """The same activations, those of the last block behind the norm that ends a model which is cut off there.

    Source: the published code cuts the model off one block above its last target, and holds still what comes out.
    """
    if norm is None:
        return activations
    last = max(activations)
    return {**activations, last: norm(activations[last])}
