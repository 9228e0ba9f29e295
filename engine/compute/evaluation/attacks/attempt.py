"""What every attack is given and what it gives back, and the plain way to ask. Knows nothing of any one attack."""

from collections.abc import Callable, Generator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from engine.compute.model.generation import Ask, answered_ids
from engine.compute.model.harmfulness import Probe
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.mixed import Voice
from engine.compute.model.openings import answered_together
from engine.compute.model.room import answer_bytes, by_halves
from engine.compute.seeds import mix
from engine.compute.steps import told
from engine.compute.team import team_size
from engine.records.chats.asked import Sampling
from engine.records.errors import SpecError
from engine.records.evaluation.pixels import PixelSearch
from engine.records.evaluation.rows import EvaluationRow

# Of a processor.
BATCH_ROWS = 32


# How strong GCG's search is: as published, but on a processor, where that would take hours.
CANDIDATES = 512
CANDIDATES_ON_A_PROCESSOR = 32


class Options(NamedTuple):
    """budget: in the attack's own unit (see engine.records.evaluation.attacks).  new_tokens: length of an answer.
    packages: the folder of jailbreak templates, where they are installed.  probe: a harmfulness probe that a search
    knows and aims past.  pixels: how the pixels of pictures are searched.  others: of an attack on all rows together,
    what tells these rows from others.  keep: where it may leave files, beside what is remembered.  candidates: of GCG,
    a step."""

    budget: int
    seed: int = 0
    new_tokens: int = 64
    packages: str = ""
    probe: Probe | None = None
    pixels: PixelSearch = PixelSearch()
    others: str = ""
    keep: Path | None = None
    candidates: int = CANDIDATES_ON_A_PROCESSOR

    @property
    def marks(self) -> list[int]:
        """After how much of the budget a search is answered: half-way and at its end."""
        return sorted({max(1, self.budget // 2), self.budget})


class Attempt(NamedTuple):
    """One answer. budget: what had been spent when it was given.  prompt_ids: what the model read, up to where the
    answer begins (the plain request, where it read vectors).  asked: the same as text, '' for the plain request.
    fired: the token of the answer, from 1, at which the probe that was there fired, 0: at none; None: there was no
    probe, or the answer's tokens tell.  loss: of the target when it was given, in nats a token; None where the attack
    tells none.  seconds: that it took, of what was asked together an equal share; None where nobody looked."""

    budget: int
    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    prefill_ids: tuple[int, ...] = ()
    asked: str = ""
    fired: int | None = None
    loss: float | None = None
    seconds: float | None = None


# For each row its attempts, in order of budget; what is yielded on the way is the share that is done, 0 to 1.
Attempts = Generator[float, None, list[list[Attempt]]]
Attack = Callable[[LoadedModel, str | None, Sequence[EvaluationRow], Options], Attempts]


def answers(
    model: LoadedModel,
    adapter: str | None,
    prompts: Sequence[Sequence[int]],
    options: Options,
    *,
    temperature: float = 0.0,
    seed: int = 0,
) -> Generator[float, None, list[list[int]]]:
    """Answers to token prompts, in batches; one that leaves no room in the model's context is cut at its beginning.

    Sampled, a prompt draws for itself, whatever else is asked.
    """
    context = model.card.context_length or 1_000_000
    room = context - options.new_tokens
    if room < 1:
        raise SpecError(
            f"Answers of {options.new_tokens} tokens leave no room for a request in the model's context of {context} "
            "tokens: ask for shorter answers."
        )
    sampling = Sampling(temperature=temperature, new_tokens=options.new_tokens)

    def answered(batch: Sequence[Sequence[int]]) -> Generator[int, None, list[list[int]]]:
        asks = [Ask(list(prompt)[-room:], Voice(adapter), mix(seed, *prompt)) for prompt in batch]
        return answered_ids(model, asks, sampling)

    found: list[list[int]] = []
    while len(found) < len(prompts):
        start = len(found)
        following = [prompt[-room:] for prompt in prompts[start:]]
        size = team_size() * answered_together(model, following, options.new_tokens, most=BATCH_ROWS)
        row_bytes = answer_bytes(model, max(map(len, following[:size])) + options.new_tokens)
        tokens = by_halves(model, prompts[start : start + size], answered, row_bytes=row_bytes)
        found += yield from told(tokens, partial(_share, start, size, len(prompts), options.new_tokens))
    return found


def _share(start: int, size: int, rows: int, new_tokens: int, done: int) -> float:
    return (start + min(size, rows - start) * done / new_tokens) / rows
