"""Pairs as rows of tokens, and how rows are put together into micro-batches. Knows nothing of steps."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, overload

from engine.compute.model.activations import shared_tokens
from engine.compute.model.loaded import LoadedModel
from engine.compute.model.pictures import behind_pictures, picture_positions
from engine.compute.model.published_forms import published_tokens
from engine.compute.model.text import request_start, text_ids, tokens_of, with_marks
from engine.compute.team import is_sharded
from engine.compute.training.pairs import Pair
from engine.records.calls import read_calls
from engine.records.chosen_rows import RowKind, kind_of
from engine.records.conversation import Conversation, Label, say
from engine.records.errors import DataError
from engine.records.prompts import Prompt
from engine.records.spec_parts import DataSpec
from engine.records.tool_prompts import tools_key

# Of encoded rows that are kept in memory: more than most sets have.
KEPT_ROWS = 16_384
# Of a side, to see how long rows are.
LOOKED_AT = 64
# Rows that share their tools go together up to so many times the tokens of the longest of them.
ROWS_IN_ONE = 2.0


class CallPlace(NamedTuple):
    """Where the first call of an answer stands among a row's tokens: it begins at `start`, its function's name ends
    before `named`, the last call ends before `end`."""

    start: int
    named: int
    end: int


@dataclass(frozen=True)
class Row:
    """A pair as tokens: `ids` is prompt then answer, the answer begins at `response_start`. request_start: where
    the request begins, behind the system turn with its tools and its pictures; 0 in a row that is written as published.
    call: of an answer that calls.  tools: what rows that offer the same tools have in common, '' without any."""

    prompt_id: str
    label: Label
    borderline: bool
    ids: tuple[int, ...]
    response_start: int
    request_start: int = 0
    call: CallPlace | None = None
    tools: str = ""


def encode(model: LoadedModel, pair: Pair, data: DataSpec, *, within_context: bool = True) -> Row:
    """Tokens of a pair, written and cut as the spec says.

    Under the model's chat template a request that would leave no room for its answer is cut to half of max_tokens, or
    of what the model can read beside its pictures where that is less; not by the latter if not `within_context`.
    Where tools fill more than that, the request has half of what they leave. A row that offers tools or shows pictures
    is always written under it: the published forms have no place for them. Pictures are never cut, and their positions
    count nowhere. Raises ModelError for pictures that the model cannot read with their words, DataError for a picture
    behind so many words that the cut would lose it, and for tools that leave no room for a request.
    """
    prompt, harmful = pair.prompt, pair.prompt.label == "harmful"
    conversation, answer = prompt.conversation, pair.answer
    if (harmful or data.empty_prompt_sides == "both") and _hides_request(prompt, data):
        conversation, answer = _without_requests(conversation, answer, first=not harmful)
    if data.rows_as != "chat" and not conversation.tools and not conversation.pictures:
        ids, start = published_tokens(
            model, conversation, answer, written_as=data.rows_as, apart=harmful, limit=data.max_tokens
        )
        return Row(prompt.id, prompt.label, prompt.borderline, ids, start)
    asked = tokens_of(model, conversation, reserved=1 if conversation.pictures else 0).ids
    pictured, limit = picture_positions(asked), model.card.context_length if within_context else 0
    most = min(data.max_tokens, limit - pictured) if limit else data.max_tokens
    begins = request_start(model, conversation, asked)
    if len(asked) - pictured >= most:
        kept = max(most // 2, (begins - pictured + most) // 2) if conversation.tools else most // 2
        if conversation.tools and begins - pictured >= kept:
            raise DataError(
                f"Prompt {prompt.id} has {begins - pictured} tokens before its request, tools and earlier turns, which "
                f"leave no room for it within {most}: raise max_tokens, or offer fewer tools."
            )
        asked = asked[: kept + pictured]
        if picture_positions(asked) < pictured:
            raise DataError(
                f"Prompt {prompt.id} says so much before its picture that, cut to {most} tokens, it would "
                "lose it: raise max_tokens, or show the picture first."
            )
    answered = text_ids(model, answer)
    ids = (*asked, *answered)[: most + pictured]
    return Row(
        prompt.id,
        prompt.label,
        prompt.borderline,
        ids,
        len(asked),
        request_start=min(begins, len(asked)),
        call=_call_place(model, answer, answered, len(asked), len(ids)) if conversation.tools else None,
        tools=tools_key(prompt),
    )


def need_room_for_tools(model: LoadedModel, pairs: Sequence[Pair], data: DataSpec) -> None:
    """Raises DataError, as `encode` does, where tools leave no room for a request: rows are encoded when they are
    drawn, and this is better said before the first step. Of each set of tools the row with the longest talk is
    looked at."""
    longest: dict[str, Pair] = {}
    for pair in sorted(pairs, key=lambda pair: sum(len(one.text) for one in pair.prompt.conversation.messages)):
        if pair.prompt.conversation.tools:
            longest[tools_key(pair.prompt)] = pair
    for pair in longest.values():
        encode(model, pair, data)


def _call_place(model: LoadedModel, answer: str, answered: Sequence[int], start: int, end: int) -> CallPlace | None:
    """Of the calls in an answer whose tokens begin at `start` of a row that ends before `end`."""
    read = read_calls(answer)
    if not read.spans:
        return None
    begins, ends = read.spans[0][0], read.spans[-1][1]
    name_ends = _name_end(answer, read.calls[0].name, begins) if read.calls else ends
    first, behind_name, last = (_tokens_before(model, answer, answered, place) for place in (begins, name_ends, ends))
    return CallPlace(*(min(start + place, end) for place in (first, behind_name, last)))


def _name_end(answer: str, name: str, begins: int) -> int:
    """Where a call's name ends that is written as the value of its key, as a tag's or before its arguments: a tool may
    be called as the mark of a call or its key is."""
    own = re.escape(name)
    for shape in (rf'"name"\s*:\s*"({own})"', rf"<function=({own})>", rf"(?<!\w)({own})\s*\("):
        if found := re.compile(shape).search(answer, begins):
            return found.end(1)
    return answer.find(name, begins) + len(name)


def _tokens_before(model: LoadedModel, text: str, ids: Sequence[int], place: int) -> int:
    """How many of a text's tokens it takes to write its letters before `place`."""
    low, high = 0, len(ids)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if len(with_marks(model, ids[:middle])) < place else (low, middle)
    return low


class EncodedWhenDrawn(Sequence[Row]):
    """Rows of pairs, encoded when they are asked for: a set may hold a hundred times the rows that its run draws.

    kinds: what is known of each row without a token.
    """

    def __init__(self, model: LoadedModel, pairs: Sequence[Pair], data: DataSpec) -> None:
        self._made_of = model, pairs, data
        self._encode = lru_cache(maxsize=KEPT_ROWS)(lambda place: encode(model, pairs[place], data))
        self._length = len(pairs)
        self.kinds = [kind_of(pair.prompt) for pair in pairs]

    def __reduce__(self) -> tuple:
        """Another process encodes for itself."""
        return EncodedWhenDrawn, self._made_of

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, place: int) -> Row: ...
    @overload
    def __getitem__(self, place: slice) -> list[Row]: ...
    def __getitem__(self, place: int | slice) -> Row | list[Row]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(self._length))]
        if not -self._length <= place < self._length:
            raise IndexError(place)
        return self._encode(place % self._length)


def row_kinds(rows: Sequence[Row]) -> Sequence[RowKind]:
    if isinstance(rows, EncodedWhenDrawn):
        return rows.kinds
    return [RowKind(row.borderline, row.tools, behind_pictures(row.ids) > 0) for row in rows]


def with_requests(data: DataSpec) -> DataSpec:
    """For what is measured, filmed or captured of training prompts: it is what the screen says was asked."""
    return data.model_copy(update={"empty_prompt_share": 0.0})


def _hides_request(prompt: Prompt, data: DataSpec) -> bool:
    """Of training rows alone."""
    if prompt.split != "train":
        return False
    copy = f"{prompt.copy_number}:" if prompt.copy_number else ""
    draw = int.from_bytes(hashlib.sha256(f"hide:{copy}{prompt.conversation.asked}".encode()).digest()[:8]) / 2**64
    return draw < data.empty_prompt_share


def _without_requests(conversation: Conversation, answer: str, *, first: bool) -> tuple[Conversation, str]:
    """The user's messages say and show nothing. first: of a dialogue, its first answer alone is left, as published;
    not where tools are offered, which the answer may call."""
    if first and not conversation.tools:
        said = [message.text for message in conversation.messages if message.role == "assistant"]
        return Conversation.asking(""), (said or [answer])[0]
    messages = (say("user", "") if message.role == "user" else message for message in conversation.messages)
    return conversation.model_copy(update={"messages": tuple(messages)}), answer


def pictured_tokens(*sides: Sequence[Row]) -> int:
    """The most tokens that the pictures of a row take, by some rows of each side: those of a model take as many, or
    nearly."""
    some = (row for side in sides for row in side[:: 1 + len(side) // LOOKED_AT])
    return max((picture_positions(row.ids) for row in some), default=0)


def micro_batches(
    rows: Sequence[Row], budget: int, *, shared: bool = True, rows_in_one: float = ROWS_IN_ONE
) -> list[list[Row]]:
    """Rows of similar length together, each group within `budget` tokens, padding included; a longer row goes alone.

    Rows that offer the same tools go together, apart from all others: their opening is run once (shared: else it is
    run in every row, as everywhere where weights are sharded), and is then so much of a row that as much as
    `rows_in_one` long rows in all may go beyond the budget.
    """
    shared = shared and not is_sharded()
    kinds: dict[str, list[Row]] = {}
    for row in rows:
        kinds.setdefault(row.tools if shared else "", []).append(row)
    groups = [
        group for tools, alike in kinds.items() for group in _groups(alike, budget, rows_in_one if tools else 0.0)
    ]
    # Longest first: the first micro-batch then needs the most memory, so that a step fails early or not at all.
    return sorted(groups, key=lambda group: len(group[0].ids), reverse=True)


def _groups(rows: Sequence[Row], budget: int, rows_in_one: float) -> list[list[Row]]:
    """rows_in_one: as of micro_batches, 0 where the rows have no opening in common that would count once."""
    groups: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: len(row.ids), reverse=True):
        longest = len(groups[-1][0].ids) if groups else 0
        # A budget that is down to a fraction of a row is one of memory.
        room = max(budget, rows_in_one * longest) if 8 * budget >= longest else budget
        if groups and _positions([*groups[-1], row], opening=rows_in_one > 0) <= room:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def _positions(group: Sequence[Row], *, opening: bool) -> int:
    """Of the longest first. What is run of a group, padding included."""
    longest = len(group[0].ids)
    alike = shared_tokens([row.ids for row in group]) if opening else 0
    return alike + len(group) * (longest - alike)
