"""The assembled model that sees: a step of projected gradient descent on pixels against a forward and backward pass of
transformers' own, and the first token of a chat about a picture through the real worker.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw
from torch.nn import functional

from benchmarks.chat import asked
from benchmarks.rows import Row
from engine.compute.evaluation.attacks.pixels import descent
from engine.compute.evaluation.attacks.targets import target_ids
from engine.compute.model.load import load_model
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.pictures import is_of_picture
from engine.compute.model.text import tokens_of
from engine.desk.launch import end_worker, ensure_worker
from engine.desk.queue import Queue
from engine.records.assembled import ASSEMBLED, is_assembled
from engine.records.chats.asked import Column, Sampling
from engine.records.chats.chat import Exchange
from engine.records.conversation import Conversation, Message, Text
from engine.records.evaluation.pixels import PixelSearch
from engine.records.evaluation.rows import EvaluationRow
from engine.records.pictures import image_of, picture_at
from engine.records.settings import Settings, read_settings
from engine.records.spec_parts import ModelSpec

NAME = next(iter(ASSEMBLED))
STEPS = 12
# An emoji, a screenshot, a photograph.
SIZES = ((64, 64), (1024, 768), (4000, 3000))
QUESTION = "What does the picture show?"


def measure(repeats: int) -> list[Row]:
    settings = Settings(runs=Path(tempfile.mkdtemp()) / "runs", cache=read_settings().cache)
    if not is_assembled(settings.models, NAME):
        return [Row(f"{NAME}: skipped, `python -m engine assemble` makes it", {})]
    model = load_model(ModelSpec(name=NAME), settings)
    files = [_drawn(settings.runs.parent / f"{size[0]}.png", size) for size in SIZES]
    steps = [_steps(model, file, size, repeats) for file, size in zip(files, SIZES, strict=True)]
    return [*steps, _first_token(settings, files[0], repeats)]


def _drawn(file: Path, size: tuple[int, int]) -> Path:
    drawn = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(drawn).ellipse((10, 12, 50, 56), fill=(220, 40, 40))
    drawn.resize(size).save(file)
    return file


def _steps(model: LoadedModel, file: Path, size: tuple[int, int], repeats: int) -> Row:
    said = Message(role="user", parts=(picture_at(file), Text(text=QUESTION)))
    row = EvaluationRow(Conversation(messages=(said,)))
    search = descent(model, None, row, PixelSearch(), 10**6, seed=0)
    passing = _own_pass(model, row)
    passing()
    next(search)
    ratios, seconds = [], []
    for _ in range(repeats):
        ours = _timed(lambda: [None for _ in islice(search, STEPS)]) / STEPS
        theirs = _timed(lambda: [passing() for _ in range(STEPS)]) / STEPS
        ratios.append(ours / theirs)
        seconds.append(ours)
    return Row(
        f"a step of projected gradient descent on pixels, one picture of {size[0]} x {size[1]}",
        {
            "s": statistics.median(seconds),
            "times a forward and backward pass of transformers' own": statistics.median(ratios),
        },
    )


def _own_pass(model: LoadedModel, row: EvaluationRow) -> Callable[[], None]:
    """The published model's own forward, and the gradient of the same target's loss on its pixels."""
    assert model.sight is not None
    published: Any = model.published
    prompt, target = tokens_of(model, row.conversation).ids, target_ids(model, row)
    place = published.config.image_token_id
    ids = torch.tensor([[place if is_of_picture(one) else one for one in (*prompt, *target)]])
    images = [image_of(picture) for picture in row.conversation.pictures]
    pixels = model.sight.tokens.processor.image_processor(images, return_tensors="pt")["pixel_values"]

    def once() -> None:
        moving = pixels.clone().requires_grad_(True)
        logits = published(input_ids=ids, pixel_values=moving, use_cache=False).logits
        loss = functional.cross_entropy(logits[0, len(prompt) - 1 : -1].float(), ids[0, len(prompt) :])
        torch.autograd.grad(loss, moving)

    return once


def _first_token(settings: Settings, file: Path, repeats: int) -> Row:
    exchange = Exchange(
        model=ModelSpec(name=NAME), columns=(Column(checkpoint="base"),), user=QUESTION, parts=(picture_at(file),),
        sampling=Sampling(new_tokens=24),
    )  # fmt: skip
    pid = ensure_worker(settings).pid
    try:
        queue = Queue(settings.desk)
        asked(settings, queue, exchange)
        first = [asked(settings, queue, exchange)[0] for _ in range(repeats)]
    finally:
        end_worker(pid)
    return Row("a question about a picture, idle: click to first token", {"s": statistics.median(first)})


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
