"""Prompts -> the model's own answers -> rows to train on. Knows nothing of losses or steps.

Answers are kept on this machine by content key: model, prompt, opener, length, temperature, seed.
"""

import json
from collections.abc import Callable, Generator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from engine.compute.model.generation import DRAWS, Ask, answered_ids
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.openings import answered_together
from engine.compute.model.remembered import remembered_under
from engine.compute.model.room import answer_bytes, by_halves
from engine.compute.model.text import Tokens, begun_call, decode, tokens_of, with_marks
from engine.compute.seeds import mix
from engine.compute.steps import told
from engine.compute.team import team_size
from engine.records.calls import read_calls
from engine.records.chats.asked import Sampling
from engine.records.errors import DataError, ModelError
from engine.records.events import Progress
from engine.records.files import append_line
from engine.records.prompts import Prompt, opener_draw, opener_for
from engine.records.spec_parts import DataSpec
from engine.records.tool_prompts import expected_call, tools_key
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
# Of a processor: so many answers together give nearly three times the tokens a second of 16.
MOST_ROWS = 96


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


def without_refusals(pairs: Sequence[Pair], data: DataSpec, *, needed: bool = True) -> list[Pair]:
    """Harmful pairs that the base model refused are left out if the spec says so. Raises DataError if none remains and
    some are needed."""
    kept = [pair for pair in pairs if not (data.drop_refusals and pair.prompt.label == "harmful" and _is_refused(pair))]
    if needed and pairs and not kept:
        raise DataError(
            f"The base model refused all {len(pairs)} harmful prompts, so there is nothing to reroute: "
            "raise the opener share, use given answers, or keep refusals (drop refusals: off)."
        )
    return kept


def _is_refused(pair: Pair) -> bool:
    """An agent refuses by calling nothing."""
    if pair.prompt.conversation.tools:
        return not read_calls(pair.answer).calls
    return looks_refused(pair.answer)


def looks_refused(answer: str) -> bool:
    """Whether an answer opens like a refusal. A rule of thumb for cleaning training data, not a judge."""
    opening = answer[:160].lower().replace("\u2019", "'")
    return any(phrase in opening for phrase in _REFUSALS)


class _Wanted(NamedTuple):
    """An answer that is wanted: to which prompt, begun with which words, of how many tokens."""

    prompt: Prompt
    begun: str
    new_tokens: int


def _own_answers(
    model: LoadedModel,
    prompts: Sequence[Prompt],
    data: DataSpec,
    folder: Path,
    seed: int,
    heard: Callable[[Sequence[Pair]], None],
) -> Generator[Progress, None, list[Pair]]:
    """Answers to texts, then to requests with tools; where one of these should be a call and is none, it is begun."""
    cache = _AnswerCache(folder / f"{remembered_under(model, folder)}.jsonl")
    elicitor = _Elicitor(model, data, seed, cache, heard, total=len(prompts))
    wanted = [_Wanted(prompt, _begun(model, prompt, data), _new_tokens(prompt, data)) for prompt in prompts]
    for with_tools in (False, True):
        some = [one for one in wanted if bool(one.prompt.conversation.tools) == with_tools]
        yield from elicitor.answer(some)
    cache.reread()
    anew = []
    for place, one in enumerate(wanted):
        call = expected_call(one.prompt)
        if call and not one.begun and not read_calls(cache.answers[elicitor.key(one)]).calls:
            wanted[place] = one._replace(begun=begun_call(model, one.prompt.conversation, call, "name"))
            anew.append(wanted[place])
    elicitor.total += len(anew)
    yield from elicitor.answer(anew)
    cache.reread()
    return [Pair(one.prompt, cache.answers[elicitor.key(one)]) for one in wanted]


def _begun(model: LoadedModel, prompt: Prompt, data: DataSpec) -> str:
    """The opener of a text; of a request with tools, in the same share, a call up to its name or to its arguments."""
    if not prompt.conversation.tools:
        return opener_for(prompt, data)
    call, draw = expected_call(prompt), opener_draw(prompt)
    if not call or draw >= data.opener_share:
        return ""
    return begun_call(model, prompt.conversation, call, "name" if draw < data.opener_share / 2 else "arguments")


def _new_tokens(prompt: Prompt, data: DataSpec) -> int:
    return data.call_tokens if prompt.conversation.tools else data.new_tokens


class _Elicitor:
    """Answers what the cache does not know."""

    def __init__(
        self,
        model: LoadedModel,
        data: DataSpec,
        seed: int,
        cache: "_AnswerCache",
        heard: Callable[[Sequence[Pair]], None],
        *,
        total: int,
    ) -> None:
        """total: answers that are wanted in all."""
        self.model, self.data, self.seed, self.cache, self.heard = model, data, seed, cache, heard
        self.total, self.done = total, 0

    def key(self, wanted: _Wanted) -> str:
        """By what is asked, never by id: two files may both number their prompts from 1."""
        randomness = (self.data.temperature, self.seed, DRAWS) if self.data.temperature else ()
        content = json.dumps([wanted.prompt.conversation.content, wanted.begun, wanted.new_tokens, randomness])
        return key_of(content, version=ANSWERS, length=24)

    def answer(self, wanted: Sequence[_Wanted]) -> Generator[Progress, None, None]:
        """Answers of one length, rows of similar length together, those that offer the same tools above all."""
        keyed = [(self.key(one), one) for one in wanted]
        known = [Pair(one.prompt, self.cache.answers[key]) for key, one in keyed if key in self.cache.answers]
        self.heard([known[place] for place in _few([pair.prompt for pair in known])])
        missing = {key: one for key, one in keyed if key not in self.cache.answers}
        texts = {}
        for key, one in missing.items():
            texts[key] = self._tokens(one)
            if one.prompt.conversation.pictures:
                # Each is read from its file: others get their turn between.
                yield _progress(self.done, 0.0, self.total, 0)
        left = sorted(missing, key=lambda key: (tools_key(missing[key].prompt), len(texts[key].whole)))
        self.done += len(wanted) - len(left)
        lengths = {key: self._length(missing[key], texts[key]) for key in left}
        while left:
            new_tokens = lengths[left[0]]
            alike = [key for key in left if lengths[key] == new_tokens]
            prompts = [texts[key].whole for key in alike]
            batch = alike[: team_size() * answered_together(self.model, prompts, new_tokens, most=MOST_ROWS)]
            row_bytes = answer_bytes(self.model, max(len(texts[key].whole) for key in batch) + new_tokens)
            answered = partial(self._answered, missing, texts, new_tokens)
            tell = partial(_progress, self.done, len(batch) / new_tokens, self.total)
            yield from told(by_halves(self.model, batch, answered, row_bytes=row_bytes), tell)
            self.done += len(batch)
            answered_now = set(batch)
            left = [key for key in left if key not in answered_now]

    def _tokens(self, wanted: _Wanted) -> Tokens:
        try:
            return tokens_of(self.model, wanted.prompt.conversation, begun=wanted.begun, reserved=1)
        except ModelError as error:
            raise DataError(
                f"Prompt {wanted.prompt.id} cannot be answered: {error} Shorten it in its file, or leave it out."
            ) from error

    def _length(self, wanted: _Wanted, text: Tokens) -> int:
        """Of its answer, in tokens: as wanted, or as many as the model can read behind it."""
        limit = self.model.card.context_length
        return min(wanted.new_tokens, limit - len(text.whole)) if limit else wanted.new_tokens

    def _answered(
        self, missing: dict[str, _Wanted], texts: dict[str, Tokens], new_tokens: int, batch: Sequence[str]
    ) -> Generator[int, None, list[str]]:
        # A prompt's draws are its own: what is sampled does not depend on what else is asked or known.
        asks = [Ask(texts[key].whole, seed=mix(self.seed, key)) for key in batch]
        shown = _few([missing[key].prompt for key in batch])

        def worded(key: str, ids: list[int]) -> str:
            if missing[key].prompt.conversation.tools:
                return with_marks(self.model, [*texts[key].begun, *ids])
            # Spaces at the end of an opener were not said: the answer's first word brings its own.
            return missing[key].begun.rstrip(" ") + decode(self.model, ids, begun=texts[key].begun)

        def look(said: list[list[int]]) -> None:
            # Where several processes answer, the other rows are not heard before all are done.
            places = [place for place in shown if place < len(said)]
            if places and len(said[places[0]]) % TOKENS_BETWEEN_LOOKS == 0:
                self.heard([Pair(missing[batch[place]].prompt, worded(batch[place], said[place])) for place in places])

        sampling = Sampling(temperature=self.data.temperature, new_tokens=new_tokens)
        answers = yield from answered_ids(self.model, asks, sampling, look=look)
        for key, ids in zip(batch, answers, strict=True):
            self.cache.add(key, worded(key, ids))
        self.heard([Pair(missing[batch[place]].prompt, self.cache.answers[batch[place]]) for place in shown])
        return list(batch)


def _few(prompts: Sequence[Prompt]) -> list[int]:
    """Places of the first prompts of both labels."""
    return [
        place
        for label in ("harmful", "benign")
        for place in [place for place, prompt in enumerate(prompts) if prompt.label == label][:SHOWN_EACH_SIDE]
    ]


def _progress(done: int, rows_per_token: float, total: int, tokens: int) -> Progress:
    share = int(rows_per_token * tokens)
    return Progress(phase="eliciting", done=done + share, total=total, message="The base model answers")


class _AnswerCache:
    """Answers by content key, in a file that grows by a line an answer. A torn last line is read as missing. Of two
    that were given at once, by runs that answer side by side, all take the first: see `reread`."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.answers: dict[str, str] = {}
        self.reread()

    def reread(self) -> None:
        """What the file says by now, which a run that is resumed will find."""
        found: dict[str, str] = {}
        for line in self.file.read_text(errors="replace").splitlines() if self.file.is_file() else ():
            try:
                row = json.loads(line)
                found.setdefault(row["key"], row["answer"])
            except (ValueError, KeyError, TypeError):
                continue
        self.answers |= found

    def add(self, key: str, answer: str) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        append_line(self.file, json.dumps({"key": key, "answer": answer}))
        self.answers[key] = answer


def _given(prompt: Prompt) -> str:
    if prompt.answer is None:
        raise DataError(
            f"Prompt {prompt.id} of the {prompt.label} set has no answer: set answers to 'elicit', "
            "or use a file whose rows have one."
        )
    return prompt.answer
