"""Prompts -> the model's own answers -> rows to train on. Knows nothing of losses or steps.

Answers are kept on this machine by content key: model, prompt, opener, length, temperature, seed.
"""

import json
from collections.abc import Callable, Generator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from engine.compute.model.generation import DRAWS, Ask, answered_ids
from engine.compute.model.load import model_fingerprint
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.room import answer_bytes, by_halves, rows_at_once
from engine.compute.model.text import decode, tokens_of
from engine.compute.seeds import mix
from engine.compute.steps import told
from engine.compute.team import team_size
from engine.records.chats.asked import Sampling
from engine.records.errors import DataError
from engine.records.events import Progress
from engine.records.files import append_line
from engine.records.prompts import Prompt, opener_for
from engine.records.spec_parts import DataSpec
from engine.records.versions import key_of

_REFUSALS = (
    "i'm sorry", "i am sorry", "sorry, but", "i cannot", "i can't", "i can not", "i apologize", "i apologise",
    "i'm unable", "i am unable", "i'm not able", "i am not able", "i won't", "i will not", "as an ai",
    "i must decline", "i'm afraid", "it is not appropriate", "it's not appropriate", "i do not have the ability",
)  # fmt: skip

# How many answers of each label are shown as they come, and how often.
SHOWN_EACH_SIDE = 2
TOKENS_BETWEEN_LOOKS = 4
# Of how answers are elicited: another number, and they are elicited anew.
ANSWERS = 1


class Pair(NamedTuple):
    """A prompt with the answer whose activations are rerouted or held."""

    prompt: Prompt
    answer: str


def elicit(
    model: LoadedModel,
    prompts: Sequence[Prompt],
    data: DataSpec,
    *,
    answers_folder: Path,
    seed: int,
    heard: Callable[[Sequence[Pair]], None] | None = None,
) -> Generator[Progress, None, list[Pair]]:
    """The base model's answers to all prompts, from the cache where they are known; refusals may be dropped.

    heard: is shown a few of the model's own answers, of both labels, as they grow; those that are known first.
    Raises DataError when the spec wants given answers and a row has none, or when nothing is left.
    """
    if data.answers == "given":
        pairs = [Pair(prompt, _given(prompt)) for prompt in prompts]
    else:
        asked = [prompt for prompt in prompts if not prompt.keeps_answer]
        said = iter((yield from _own_answers(model, asked, data, answers_folder, seed, heard or (lambda _: None))))
        pairs = [Pair(prompt, _given(prompt)) if prompt.keeps_answer else next(said) for prompt in prompts]
    return [pair for pair in pairs if pair.answer.strip()]


def without_refusals(pairs: Sequence[Pair], data: DataSpec) -> list[Pair]:
    """Harmful pairs that the base model refused are left out if the spec says so. Raises DataError if none remains."""
    kept = [
        pair
        for pair in pairs
        if not (data.drop_refusals and pair.prompt.label == "harmful" and looks_refused(pair.answer))
    ]
    if pairs and not kept:
        raise DataError(
            f"The base model refused all {len(pairs)} harmful prompts, so there is nothing to reroute: "
            "raise the opener share, use given answers, or keep refusals (drop refusals: off)."
        )
    return kept


def looks_refused(answer: str) -> bool:
    """Whether an answer opens like a refusal. A rule of thumb for cleaning training data, not a judge."""
    opening = answer[:160].lower().replace("\u2019", "'")
    return any(phrase in opening for phrase in _REFUSALS)


def _own_answers(
    model: LoadedModel,
    prompts: Sequence[Prompt],
    data: DataSpec,
    folder: Path,
    seed: int,
    heard: Callable[[Sequence[Pair]], None],
) -> Generator[Progress, None, list[Pair]]:
    cache = _AnswerCache(folder / f"{model_fingerprint(model)}.jsonl")
    # By what is asked, never by id: two files may both number their prompts from 1.
    keys = [_answer_key(prompt, data, seed) for prompt in prompts]
    missing = {
        key: (prompt, tokens_of(model, prompt.conversation, begun=opener_for(prompt, data)))
        for key, prompt in zip(keys, prompts, strict=True)
        if key not in cache.answers
    }
    left = sorted(missing, key=lambda key: len(missing[key][1].whole))
    done = len(prompts) - len(left)
    sampling = Sampling(temperature=data.temperature, new_tokens=data.new_tokens)
    known = [Pair(prompt, cache.answers[key]) for key, prompt in zip(keys, prompts, strict=True) if key not in missing]
    heard([known[place] for place in _few([pair.prompt for pair in known])])

    def worded(key: str, ids: list[int]) -> str:
        prompt, asked = missing[key]
        # Spaces at the end of an opener were not said: the answer's first word brings its own.
        return opener_for(prompt, data).rstrip(" ") + decode(model, ids, begun=asked.begun)

    def answered(batch: Sequence[str]) -> Generator[int, None, list[str]]:
        # A prompt's draws are its own: what is sampled does not depend on what else is asked or known.
        asks = [Ask(missing[key][1].whole, seed=mix(seed, key)) for key in batch]
        shown = _few([missing[key][0] for key in batch])

        def look(said: list[list[int]]) -> None:
            # Where several processes answer, the other rows are not heard before all are done.
            places = [place for place in shown if place < len(said)]
            if places and len(said[places[0]]) % TOKENS_BETWEEN_LOOKS == 0:
                heard([Pair(missing[batch[place]][0], worded(batch[place], said[place])) for place in places])

        answers = yield from answered_ids(model, asks, sampling, look=look)
        for key, ids in zip(batch, answers, strict=True):
            cache.add(key, worded(key, ids))
        heard([Pair(missing[batch[place]][0], cache.answers[batch[place]]) for place in shown])
        return list(batch)

    start = 0
    while start < len(left):
        lengths = [len(missing[key][1].whole) + data.new_tokens for key in left[start:]]
        batch = left[start : start + team_size() * _rows_at_once(model, lengths)]
        row_bytes = answer_bytes(model, lengths[len(batch) - 1])
        tell = partial(_progress, done, len(batch) / data.new_tokens, len(prompts))
        yield from told(by_halves(model, batch, answered, row_bytes=row_bytes), tell)
        done += len(batch)
        start += len(batch)
    return [Pair(prompt, cache.answers[key]) for key, prompt in zip(keys, prompts, strict=True)]


def _few(prompts: Sequence[Prompt]) -> list[int]:
    """Places of the first prompts of both labels."""
    return [
        place
        for label in ("harmful", "benign")
        for place in [place for place, prompt in enumerate(prompts) if prompt.label == label][:SHOWN_EACH_SIDE]
    ]


def _rows_at_once(model: LoadedModel, lengths: Sequence[int]) -> int:
    """How many of the next rows, of rising lengths, are answered together. On two cores 96 rows give nearly three times
    the tokens a second of 16."""
    processor = max(8, min(96, 16_384 // lengths[0]))
    most = rows_at_once(model, answer_bytes(model, lengths[0]), on_a_processor=processor)
    # The last of them is the longest, and all are padded to it.
    longest = lengths[min(most, len(lengths)) - 1]
    return rows_at_once(model, answer_bytes(model, longest), on_a_processor=most, most=most)


def _progress(done: int, rows_per_token: float, total: int, tokens: int) -> Progress:
    share = int(rows_per_token * tokens)
    return Progress(phase="eliciting", done=done + share, total=total, message="The base model answers")


class _AnswerCache:
    """Answers by content key, in a file that grows by a line an answer. A torn last line is read as missing."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.answers: dict[str, str] = {}
        for line in file.read_text(errors="replace").splitlines() if file.is_file() else ():
            try:
                row = json.loads(line)
                self.answers[row["key"]] = row["answer"]
            except (ValueError, KeyError, TypeError):
                continue

    def add(self, key: str, answer: str) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        append_line(self.file, json.dumps({"key": key, "answer": answer}))
        self.answers[key] = answer


def _answer_key(prompt: Prompt, data: DataSpec, seed: int) -> str:
    randomness = (data.temperature, seed, DRAWS) if data.temperature else ()
    content = json.dumps([prompt.conversation.content, opener_for(prompt, data), data.new_tokens, randomness])
    return key_of(content, version=ANSWERS, length=24)


def _given(prompt: Prompt) -> str:
    if prompt.answer is None:
        raise DataError(
            f"Prompt {prompt.id} of the {prompt.label} set has no answer: set answers to 'elicit', "
            "or use a file whose rows have one."
        )
    return prompt.answer
