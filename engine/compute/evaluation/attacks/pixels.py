"""Projected gradient descent on the pixels of a request's pictures (paper, section 4.2; Madry et al. 2018,
arXiv:1706.06083): within a small distance in every colour, towards an affirmative target.

What is answered are the perturbed pictures saved as PNG and read again, as anyone might send them. Knows nothing of
verdicts.
"""

import copy
import io
import math
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional
from transformers import Cache

from engine.compute.evaluation.attacks.attempt import Attempt, Attempts, Options, answers
from engine.compute.evaluation.attacks.targets import target_ids
from engine.compute.model.adapters import adapted
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.pictures import is_of_picture
from engine.compute.model.pixels import tower_inputs
from engine.compute.model.reading import embed, read_before
from engine.compute.model.text import tokens_of
from engine.compute.seeds import mix
from engine.compute.steps import told
from engine.records.conversation import Picture
from engine.records.errors import ModelError
from engine.records.evaluation.attacks import looks_of
from engine.records.evaluation.pixels import PixelSearch
from engine.records.evaluation.rows import EvaluationRow, prefill_of
from engine.records.files import write_whole
from engine.records.pictures import image_of, picture_at, scratch_folder

# Of the time for one row: its search, then its answers.
SEARCH = 0.8


class Perturbed(NamedTuple):
    """pictures: the row's pictures as perturbed at each mark.  least: the loss of the target with them, in nats a
    token.  losses: the same at each step of the best search."""

    pictures: dict[int, list[Float[Tensor, "3 _ _"]]]
    least: dict[int, float]
    losses: list[float]


class Stepped(NamedTuple):
    """One look at the pixels of a restart, after so many steps. loss: of the target there, in nats a token.  least: of
    this restart so far, with the pixels that were looked at then."""

    restart: int
    step: int
    loss: float
    least: float
    shown: Sequence[Float[Tensor, "3 _ _"]]


def pgd(model: LoadedModel, adapter: str | None, rows: Sequence[EvaluationRow], options: Options) -> Attempts:
    """Each row's own perturbation, all its pictures together, answered at looks_of the one search. The budget is the
    steps of a search. Raises ModelError for a model that does not see."""
    return _searched(model, adapter, rows, options, begins=lambda _: "")


def pgd_prefill(model: LoadedModel, adapter: str | None, rows: Sequence[EvaluationRow], options: Options) -> Attempts:
    """The same pictures, and the first words of compliance put in the model's mouth. Raises as pgd does."""
    return _searched(model, adapter, rows, options, begins=prefill_of)


def _searched(
    model: LoadedModel,
    adapter: str | None,
    rows: Sequence[EvaluationRow],
    options: Options,
    *,
    begins: Callable[[EvaluationRow], str],
) -> Attempts:
    """begins: the words that a row's answer is given to begin with."""
    found: list[list[Attempt]] = []
    search, looks = options.pixels, looks_of("pgd", options.budget)
    for place, row in enumerate(rows):
        seed = mix(options.seed, *row.conversation.picture_keys, row.prompt)
        steps = perturbed(model, adapter, row, search, looks, seed=seed)
        searched = partial(_share, place, len(rows), options.budget * search.restarts)
        shown = yield from told(steps, searched)
        words = begins(row)
        request = tokens_of(model, row.conversation, begun=words)
        with scratch_folder() as folder:
            others = [showing(row, shown.pictures[look], folder / str(look)).conversation for look in looks]
            prompts = [tokens_of(model, other, begun=words).whole for other in others]
            said = yield from told(answers(model, adapter, prompts, options), partial(_answered, place, len(rows)))
        asked = f"{row.prompt} (every colour of the picture changed by at most {search.epsilon} of 255)"
        asked += f" {words}" if words else ""
        found.append(
            [
                Attempt(look, request.ids, tuple(ids), request.begun, asked, loss=shown.least[look])
                for look, ids in zip(looks, said, strict=True)
            ]
        )
    return found


def perturbed(
    model: LoadedModel,
    adapter: str | None,
    row: EvaluationRow,
    search: PixelSearch,
    marks: Sequence[int],
    *,
    seed: int,
) -> Generator[int, None, Perturbed]:
    """Search for as many steps as the last mark says, for each restart; yields the steps done."""
    best: dict[int, tuple[float, Sequence[Tensor]]] = {}
    losses: dict[int, list[float]] = {}

    def note(one: Stepped) -> int:
        losses.setdefault(one.restart, []).append(one.loss)
        if one.step in marks and one.least < best.get(one.step, (float("inf"), []))[0]:
            best[one.step] = (one.least, one.shown)
        return one.restart * max(marks) + min(one.step, max(marks) - 1)

    yield from told(descent(model, adapter, row, search, max(marks), seed=seed), note)
    return Perturbed(
        {mark: list(shown) for mark, (_, shown) in best.items()},
        {mark: least for mark, (least, _) in best.items()},
        min(losses.values(), key=min),
    )


def descent(
    model: LoadedModel, adapter: str | None, row: EvaluationRow, search: PixelSearch, steps: int, *, seed: int
) -> Generator[Stepped, None, None]:
    """One step at a time, for each restart from where it starts to where `steps` steps lead. Raises ModelError for a
    model that does not see."""
    need_pixels(model)
    pictures = pictures_of(row)
    originals = [pixels_of(picture, model.device) for picture in pictures]
    prompt, target = tokens_of(model, row.conversation).ids, target_ids(model, row)
    opening = read_opening(model, adapter, prompt)
    loss_of = partial(target_loss, model, adapter, pictures, prompt, target, opening=opening)
    for restart in range(search.restarts):
        generator = torch.Generator().manual_seed(mix(seed, restart))
        present = [_start(original, search, generator) for original in originals]
        least, shown = float("inf"), present
        for step in range(steps + 1):
            moving = [one.detach().requires_grad_(True) for one in present]
            loss = loss_of(moving)
            gradients = torch.autograd.grad(loss, moving)
            reached = finite(model, float(loss.detach()))
            if reached < least:
                least, shown = reached, present
            present = [
                _stepped(original, one, gradient, search)
                for original, one, gradient in zip(originals, present, gradients, strict=True)
            ]
            yield Stepped(restart, step, reached, least, shown)


def pictures_of(row: EvaluationRow) -> list[Picture]:
    """Those that a row shows, each once: what is changed are pixels, whatever their files are called."""
    return list({picture.sha256: picture for picture in row.conversation.pictures}.values())


def finite(model: LoadedModel, loss: float) -> float:
    """Raises ModelError for a loss by which no search can be steered."""
    if not math.isfinite(loss):
        raise ModelError(
            f"The loss of the target is {loss} under {model.spec.name} in {model.card.dtype}: attacks on pixels need a "
            "number. Load the model in float32 or bfloat16."
        )
    return loss


def need_pixels(model: LoadedModel) -> None:
    """Raises ModelError for a model that does not see."""
    if model.sight is None:
        raise ModelError(
            f"{model.spec.name} sees no pictures, so there are no pixels to attack: choose a model that does."
        )


def read_opening(model: LoadedModel, adapter: str | None, prompt: Sequence[int]) -> Cache | None:
    """What a prompt says before its first picture, as keys and values that no pixel changes; None for nothing."""
    length = next((place for place, token in enumerate(prompt) if is_of_picture(token)), 0)
    return read_before(model, adapter, embed(model, prompt[:length])) if length else None


def target_loss(
    model: LoadedModel,
    adapter: str | None,
    pictures: Sequence[Picture],
    prompt: Sequence[int],
    target: Sequence[int],
    shown: Sequence[Float[Tensor, "3 _ _"]],
    *,
    opening: Cache | None = None,
) -> Float[Tensor, ""]:
    """Mean nats a token of the target behind the prompt, with these pixels in the place of its pictures.

    opening: of this prompt, as it was read before; without one all of the prompt is run.
    """
    assert model.sight is not None
    processor = model.sight.tokens.processor.image_processor
    ids = torch.tensor([[*prompt, *target]], device=model.device)
    with ExitStack() as stack:
        for picture, pixels in zip(pictures, shown, strict=True):
            stack.enter_context(model.sight.given(picture, model.sight.projected(tower_inputs(pixels, processor))))
        stack.enter_context(adapted(model, adapter))
        logits = model.causal_lm(
            input_ids=ids[:, opening.get_seq_length() if opening else 0 :],
            past_key_values=copy.deepcopy(opening),
            use_cache=False,
            logits_to_keep=len(target) + 1,
        ).logits
    return functional.cross_entropy(logits[0, :-1].float(), ids[0, len(prompt) :])


def saved(pixels: Float[Tensor, "3 height width"], file: Path) -> Picture:
    """The picture written as PNG, 8 bits a colour, and read again. Raises RunError where the disk is full."""
    levels = (pixels.detach().cpu() * 255).round().to(torch.uint8).permute(1, 2, 0)
    written = io.BytesIO()
    # Noise is hardly smaller for more work, which takes seconds for a photograph.
    Image.fromarray(levels.numpy()).save(written, "PNG", compress_level=1)
    write_whole(file, written.getvalue())
    return picture_at(file)


def showing(row: EvaluationRow, shown: Sequence[Tensor], folder: Path) -> EvaluationRow:
    """The row with these pixels in the place of its pictures."""
    folder.mkdir()
    files = (folder / f"{place}.png" for place in range(len(shown)))
    others = dict(zip((one.sha256 for one in pictures_of(row)), map(saved, shown, files), strict=True))
    return row._replace(conversation=row.conversation.with_pictures(lambda one: others[one.sha256]))


def pixels_of(picture: Picture, device: torch.device) -> Float[Tensor, "3 height width"]:
    """Every colour from 0 to 1."""
    return torch.from_numpy(numpy.array(image_of(picture))).permute(2, 0, 1).to(device).float() / 255


def _start(original: Tensor, search: PixelSearch, generator: torch.Generator) -> Tensor:
    if not search.random_start:
        return original
    noise = (torch.rand(original.shape, generator=generator) * 2 - 1).to(original.device)
    return _within(original, original + search.epsilon / 255 * noise, search.epsilon)


def _stepped(original: Tensor, present: Tensor, gradient: Tensor, search: PixelSearch) -> Tensor:
    """A step against the gradient, in its own memory: of a photograph each copy would take as long as the model's last
    blocks."""
    return _within(original, gradient.sign_().mul_(-search.step_size / 255).add_(present), search.epsilon)


def _within(original: Tensor, pixels: Tensor, epsilon: int) -> Tensor:
    """The nearest picture whose every colour lies within epsilon of the original's, and is a colour. pixels: become
    it."""
    return pixels.sub_(original).clamp_(-epsilon / 255, epsilon / 255).add_(original).clamp_(0, 1)


def _share(place: int, rows: int, steps: int, step: int) -> float:
    return (place + SEARCH * step / max(1, steps)) / rows


def _answered(place: int, rows: int, share: float) -> float:
    return (place + SEARCH + (1 - SEARCH) * share) / rows
