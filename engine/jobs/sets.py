"""A whole prompt set answered by several models in the background, a batch of prompts at a time."""

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

from engine.compute.evaluation.attacks.attempt import Attempt
from engine.compute.evaluation.judges import Verdict, judge_answers
from engine.compute.evaluation.tool_judge import judge_calls
from engine.compute.model.generation import Ask, answered_ids
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.mixed import Voice
from engine.compute.model.room import answer_bytes, by_halves, rows_at_once
from engine.compute.model.text import Tokens, decode, need_askable, tokens_of
from engine.compute.steps import told
from engine.compute.training.sources import reading
from engine.device import Tools
from engine.jobs.calls import answer_in, forced_words
from engine.jobs.trips import SpaceOfBlock, first_trips, spaces_of_columns
from engine.jobs.voices import voices_of
from engine.records.chats.asked import ForcedCall
from engine.records.chats.sets import NOT_ASKED, AnswerSet, SetRequest, SetRow, open_set
from engine.records.conversation import Conversation, say
from engine.records.errors import DataError, MemoryShortage, WorkbenchError
from engine.records.evaluation.rows import EvaluationRow
from engine.records.evaluation.sides import row_of
from engine.records.events import Event, Progress
from engine.records.prompts import Prompt
from engine.records.shown import short
from engine.records.tool_prompts import expected_call

Job = Generator[Event | None, None, None]


class _Asked(NamedTuple):
    """A prompt that is asked, as it is asked, and the words that begin its answers."""

    prompt: Prompt
    conversation: Conversation
    begun: str

    @property
    def evaluated(self) -> EvaluationRow:
        """As an evaluation takes it, so that both say the same of it."""
        return row_of(self.prompt)._replace(conversation=self.conversation)


# Rows of one batch: the time of a step grows slowly up to here.
ROWS = {"cpu": 24}
ROWS_GPU = 128


def answer_set_job(payload: dict[str, Any], tools: Tools) -> Job:
    """Answer what is not answered yet, so that a set that was broken off goes on where it was."""
    answers = open_set(tools.settings, payload["set"])
    request = answers.request()
    prompts = _told_apart((yield from reading(request.source, label=request.label)))
    prompts = prompts[: request.limit] if request.limit else prompts
    known = {row.prompt_id: row.prompt for row in answers.rows()}
    if changed := [one.id for one in prompts if known.get(one.id, one.text) != one.text]:
        raise DataError(
            f"{request.source} has changed since this set was begun: {len(changed)} of its answered rows ask something "
            f"else by now, the first {short(changed[0])}. Answer it as a new set; what this one holds stays."
        )
    left = [prompt for prompt in prompts if prompt.id not in known]
    done, total = len(prompts) - len(left), len(prompts)
    model = yield from tools.acquire(request.model)
    size = max(1, ROWS.get(model.device.type, ROWS_GPU) // len(request.columns))
    for start in range(0, len(left), size):
        batch = left[start : start + size]
        # Anew for each batch: a run that trains may end meanwhile, and is then asked as it ended.
        with ExitStack() as stack:
            voices = yield from voices_of(stack, model, request.columns, tools)
            spaces = (yield from spaces_of_columns(model, request.columns, tools.settings)) if request.trips else {}
            steps = _answer(model, answers, request, batch, voices, spaces)
            yield from told(steps, partial(_progress, done, len(batch), total))
        done += len(batch)
    yield Progress(phase="answering", done=done, total=total)


def _told_apart(prompts: Sequence[Prompt]) -> list[Prompt]:
    """The prompts, each under an id of its own: files of two authors may number their rows alike."""
    counts: Counter[str] = Counter()
    # Also those that a file has: its own "a (2)" keeps its name.
    own, found = {prompt.id for prompt in prompts}, []
    for prompt in prompts:
        counts[prompt.id] += 1
        if counts[prompt.id] > 1:
            while (fresh := f"{prompt.id} ({counts[prompt.id]})") in own:
                counts[prompt.id] += 1
            own.add(fresh)
            prompt = prompt.model_copy(update={"id": fresh})
        found.append(prompt)
    return found


def _progress(done: int, batch: int, total: int, share: float) -> Progress:
    return Progress(phase="answering", done=done + int(batch * share), total=total)


def _answer(
    model: LoadedModel,
    answers: AnswerSet,
    request: SetRequest,
    prompts: Sequence[Prompt],
    voices: Sequence[Voice],
    spaces: Mapping[int, SpaceOfBlock],
) -> Generator[float, None, None]:
    """Answer one batch and write its rows; yields how much of it is done, 0 to 1.

    A prompt that cannot be asked (too long, messages that the chat template refuses) gets a row that says so.
    """
    texts: list[Tokens] = []
    asked: list[_Asked] = []
    for prompt in prompts:
        conversation = _conversation(request, prompt)
        try:
            need_askable(model, conversation)
            begun = _begun(model, request, prompt, conversation)
            texts.append(tokens_of(model, conversation, begun=begun, reserved=1))
        except WorkbenchError as error:
            answers.append(_unasked(prompt, len(voices), str(error)))
            continue
        asked.append(_Asked(prompt, conversation, begun))
    if not asked:
        return
    # A prompt that nearly fills the context leaves less room for its own answer, and for nobody else's.
    limit, wanted = model.card.context_length, request.sampling.new_tokens
    rooms = [min(wanted, limit - len(text.whole)) if limit else wanted for text in texts]
    done = 0
    for room in sorted(set(rooms), reverse=True):
        group = [place for place, own in enumerate(rooms) if own == room]

        def alike(places: Sequence[int], room: int = room) -> Generator[float, None, None]:
            some, own = [asked[at] for at in places], [texts[at] for at in places]
            return _answer_alike(model, answers, request, some, own, room, voices, spaces)

        longest = answer_bytes(model, max(len(texts[place].whole) for place in group) + room)
        while group:
            # As many as the memory holds by now: what did not fit is not tried again.
            rows = rows_at_once(model, longest, on_a_processor=ROWS["cpu"], most=ROWS_GPU)
            some, group = group[: max(1, rows // len(voices))], group[max(1, rows // len(voices)) :]
            whole = partial(_of_batch, done, len(some), len(asked))
            try:
                yield from told(alike(some), whole)
            except MemoryShortage:
                # One by one: what is too much by itself says so, else the set would meet it first whenever it goes on.
                for place in some:
                    try:
                        yield from told(alike([place]), whole)
                    except MemoryShortage as error:
                        answers.append(_unasked(asked[place].prompt, len(voices), str(error)))
            done += len(some)


def _of_batch(done: int, rows: int, all_rows: int, share: float) -> float:
    return (done + rows * share) / all_rows


def _answer_alike(
    model: LoadedModel,
    answers: AnswerSet,
    request: SetRequest,
    asked: Sequence[_Asked],
    texts: Sequence[Tokens],
    new_tokens: int,
    voices: Sequence[Voice],
    spaces: Mapping[int, SpaceOfBlock],
) -> Generator[float, None, None]:
    """As `_answer`, of prompts that leave room for so many tokens."""
    sampling = request.sampling.model_copy(update={"new_tokens": new_tokens})
    asks = [Ask(text.whole, voice) for text in texts for voice in voices]
    row_bytes = answer_bytes(model, max(len(text.whole) for text in texts) + new_tokens)
    steps = by_halves(model, asks, lambda some: answered_ids(model, some, sampling), row_bytes=row_bytes)
    said = yield from told(steps, lambda tokens: tokens / sampling.new_tokens)
    each = len(voices)
    verdicts = yield from told(_verdicts(model, asked, texts, said, sampling.new_tokens), lambda _: 1.0)
    for index, (text, one) in enumerate(zip(texts, asked, strict=True)):
        own = slice(index * each, (index + 1) * each)
        trips = yield from told(first_trips(model, text, said[own], voices, spaces), lambda _: 1.0)
        row = _row(
            one.prompt,
            tuple(decode(model, ids) for ids in said[own]),
            tuple(verdict.word for verdict in verdicts[own]),
            tuple(verdict.reason for verdict in verdicts[own]),
        )
        offered = one.conversation.tools
        calls = tuple(answer_in(model, text.begun, ids, offered) for ids in said[own]) if offered else ()
        forced = one.begun if request.forced and one.begun != request.prefill else ""
        answers.append(row.model_copy(update={"calls": calls, "forced": forced, "trips": trips}))


def _verdicts(
    model: LoadedModel, asked: Sequence[_Asked], texts: Sequence[Tokens], said: Sequence[Sequence[int]], new_tokens: int
) -> Generator[None, None, list[Verdict]]:
    """A word on each answer, in their order: by its calls where tools were offered, else by its words."""
    each = len(said) // len(asked)
    rows = [(asked[place // each], texts[place // each], tuple(ids)) for place, ids in enumerate(said)]
    of_tools = [row for row in rows if row[0].conversation.tools]
    of_words = [row for row in rows if not row[0].conversation.tools]
    by_calls = by_words = iter(list[Verdict]())
    if of_tools:
        attempts = [Attempt(1, text.ids, ids, text.begun) for _, text, ids in of_tools]
        evaluated = [one.evaluated for one, _, _ in of_tools]
        by_calls = iter((yield from judge_calls(model, evaluated, attempts, new_tokens=new_tokens)))
    if of_words:
        judging = judge_answers(
            model,
            [text.ids for _, text, _ in of_words],
            [ids for _, _, ids in of_words],
            prefills=[text.begun for _, text, _ in of_words],
            requests=[one.prompt.text for one, _, _ in of_words],
        )
        by_words = iter((yield from judging))
    return [next(by_calls if one.conversation.tools else by_words) for one, _, _ in rows]


def _begun(model: LoadedModel, request: SetRequest, prompt: Prompt, conversation: Conversation) -> str:
    """The words that begin the answer: those of the row's own call where it is to be forced, else the prefill."""
    name = expected_call(prompt)
    if not request.forced or not name:
        return request.prefill
    return forced_words(model, conversation, ForcedCall(name=name, start=request.forced))


def _unasked(prompt: Prompt, columns: int, why: str) -> SetRow:
    return _row(prompt, ("",) * columns, (NOT_ASKED,) * columns, (why,) * columns)


def _row(prompt: Prompt, answers: tuple[str, ...], words: tuple[str, ...], reasons: tuple[str, ...]) -> SetRow:
    return SetRow(
        prompt_id=prompt.id,
        prompt=prompt.text,
        label=prompt.label,
        category=prompt.category,
        style=prompt.style,
        source=prompt.source,
        answers=answers,
        words=words,
        reasons=reasons,
    )


def _conversation(request: SetRequest, prompt: Prompt) -> Conversation:
    """The prompt's own messages; its system message, if it has one, stands instead of the request's."""
    own = prompt.conversation
    if not request.system.strip() or any(message.role == "system" for message in own.messages):
        return own
    return own.model_copy(update={"messages": (say("system", request.system), *own.messages)})
