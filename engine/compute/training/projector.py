"""Training the projector of a model that sees: what a frozen tower made of pictures becomes vectors that a frozen
language half can read. Knows nothing of where pictures come from.

Randomness is a function of (seed, step), so a training that was broken off goes on as one that was not.
"""

import math
import shutil
import time
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache

from engine.compute.model.loaded import LoadedModel
from engine.compute.model.pictures import is_of_picture
from engine.compute.model.reading import embed, for_each, read_before
from engine.compute.model.text import text_ids, tokens_of
from engine.compute.seeds import mix
from engine.compute.training.checkpoints import Position, list_checkpoints, load_checkpoint, save_checkpoint
from engine.records.conversation import Conversation, Message, Picture, Text
from engine.records.errors import TrainingError

CHECKPOINT_STEPS = 25
WARMUP_STEPS = 10


class Lesson(NamedTuple):
    """picture: which row of the features.  question, begun: what is asked and how the answer begins.  answer: what
    follows, whose tokens alone the loss sees."""

    picture: int
    question: str
    begun: str
    answer: str


class ProjectorSettings(NamedTuple):
    """rows: lessons a step.  seconds: at most so long, then it stops, and goes on from there when it is run again."""

    steps: int
    rows: int = 16
    learning_rate: float = 2e-3
    seed: int = 0
    seconds: float = math.inf


class ProjectorStep(NamedTuple):
    """step: so many are done.  loss: nats a token of the answers."""

    step: int
    loss: float


def train_projector(
    model: LoadedModel,
    picture: Picture,
    features: Float[Tensor, "picture token d_vision"],
    lessons: Sequence[Lesson],
    settings: ProjectorSettings,
    folder: Path,
) -> Generator[ProjectorStep, None, bool]:
    """Train the model's own projector in place, and return whether all steps are done; checkpoints lie in `folder`, and
    it goes on from the last one there.

    picture: any one, which shows where pictures stand in a question.  Raises TrainingError where the loss is not
    finite, RunError where the disk is full or a checkpoint is damaged.
    """
    # In float32 whatever the halves beside it are: a step of the optimizer is smaller than bfloat16 resolves.
    projector = _projector(model).float()
    parameters = list(projector.named_parameters())
    _begin(projector, features, settings.seed)
    projector.requires_grad_(True)
    optimizer = torch.optim.AdamW(projector.parameters(), lr=settings.learning_rate, weight_decay=0.0)
    done = 0
    if there := list_checkpoints(folder):
        done = load_checkpoint(there[-1], parameters, optimizer).step
    around = {one: _around(model, picture, *one) for one in {(lesson.question, lesson.begun) for lesson in lessons}}
    # A picture opens what is asked, so that the same stands before it whatever that is.
    before, _ = next(iter(around.values()))
    opening = read_before(model, None, embed(model, before)) if before else None
    started = time.monotonic()
    try:
        while done < settings.steps and time.monotonic() - started < settings.seconds:
            loss = _step(model, features, _drawn(lessons, settings, done), around, opening)
            if not math.isfinite(value := loss.item()):
                raise TrainingError(f"The loss of step {done + 1} is {value}: train again with another seed.")
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * _rate(done, settings.steps)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(projector.parameters(), 1.0)
            optimizer.step()
            done += 1
            if done % CHECKPOINT_STEPS == 0 or done == settings.steps:
                _keep(folder, Position(done, time.monotonic() - started), parameters, optimizer)
            yield ProjectorStep(done, value)
        if done and done % CHECKPOINT_STEPS and done != settings.steps:
            _keep(folder, Position(done, time.monotonic() - started), parameters, optimizer)
        return done >= settings.steps
    finally:
        projector.requires_grad_(False).to(model.dtype)
        optimizer.zero_grad(set_to_none=True)


def projector_weights(model: LoadedModel) -> dict[str, Tensor]:
    """As they are shipped: two bytes each."""
    return {name: weight.detach().to(torch.bfloat16).cpu() for name, weight in _projector(model).state_dict().items()}


def _projector(model: LoadedModel) -> nn.Module:
    published: Any = model.published
    return published.base_model.multi_modal_projector


@torch.no_grad()
def _begin(projector: Any, features: Tensor, seed: int) -> None:
    """At random, the first layer as if features had mean 0 and variance 1: some channels of a tower are a hundred times
    as large as others."""
    width, flat = features.shape[-1], features.flatten(0, 1).float()
    mean, deviation = flat.mean(0), flat.std(0).clamp_min(1e-4)
    generator = torch.Generator().manual_seed(mix("projector", seed))
    for layer, count in ((projector.linear_1, width), (projector.linear_2, projector.linear_2.in_features)):
        weight = torch.randn(layer.weight.shape, generator=generator) / math.sqrt(count)
        layer.weight.copy_(weight)
        layer.bias.zero_()
    scaled = projector.linear_1.weight.float().cpu() / deviation
    projector.linear_1.weight.copy_(scaled)
    projector.linear_1.bias.copy_(-(scaled @ mean))
    # As long as the vectors of words.
    projector.linear_2.weight.mul_(0.1)


def _drawn(lessons: Sequence[Lesson], settings: ProjectorSettings, step: int) -> list[Lesson]:
    generator = torch.Generator().manual_seed(mix("lessons", settings.seed, step))
    return [lessons[index] for index in torch.randint(len(lessons), (settings.rows,), generator=generator).tolist()]


def _rate(step: int, steps: int) -> float:
    warm = min(1.0, (step + 1) / WARMUP_STEPS)
    return warm * (1 + math.cos(math.pi * step / steps)) / 2


def _step(
    model: LoadedModel,
    features: Tensor,
    lessons: Sequence[Lesson],
    around: Mapping[tuple[str, str], tuple[list[int], list[int]]],
    opening: DynamicCache | None,
) -> Float[Tensor, ""]:
    """The mean loss over the tokens of all answers. around: tokens before and behind the picture, by question.
    opening: those before it, read, which no step changes."""
    seen = _projector(model)(features[[one.picture for one in lessons]].to(model.device, torch.float32)).to(model.dtype)
    rows, labels = [], []
    end = model.tokenizer.eos_token_id
    for lesson, vectors in zip(lessons, seen, strict=True):
        _, behind = around[lesson.question, lesson.begun]
        answer = [*text_ids(model, lesson.answer), end]
        row = torch.cat([vectors, embed(model, [*behind, *answer])])
        label = torch.full((len(row),), -100, dtype=torch.long, device=model.device)
        # What stands at a place is foretold by the place before it.
        label[-len(answer) - 1 : -1] = torch.tensor(answer, device=model.device)
        rows.append(row)
        labels.append(label)
    embedded, wanted = pad_sequence(rows, batch_first=True), pad_sequence(labels, batch_first=True, padding_value=-100)
    read = opening.get_seq_length() if opening else 0
    attention = pad_sequence([torch.ones(read + len(row), dtype=torch.long) for row in rows], batch_first=True)
    hidden = model.decoder(
        inputs_embeds=embedded,
        attention_mask=attention.to(model.device),
        past_key_values=for_each(opening, len(rows)),
        use_cache=False,
    ).last_hidden_state
    head: Any = model.causal_lm.get_output_embeddings()
    counted = wanted != -100
    return functional.cross_entropy(head(hidden[counted]).float(), wanted[counted])


def _around(model: LoadedModel, picture: Picture, question: str, begun: str) -> tuple[list[int], list[int]]:
    """The tokens of a question before and behind its picture."""
    conversation = Conversation(messages=(Message(role="user", parts=(picture, Text(text=question))),))
    ids = tokens_of(model, conversation, begun=begun).whole
    places = [place for place, token in enumerate(ids) if is_of_picture(token)]
    return list(ids[: places[0]]), list(ids[places[-1] + 1 :])


def _keep(folder: Path, position: Position, parameters: list, optimizer: torch.optim.Optimizer) -> None:
    """The last one alone is needed."""
    older = list_checkpoints(folder)
    kept = save_checkpoint(folder, position, parameters, optimizer)
    for one in older:
        if one != kept:
            shutil.rmtree(one)
