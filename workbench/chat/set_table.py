"""Answers to a whole set as a table, calls where tools were offered. Pure: knows nothing of Streamlit."""

import json
from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from engine.records.chats.answer_calls import AnswerCalls
from engine.records.chats.sets import SetRow
from engine.records.conversation import Call

# Of one cell: a table holds many.
MOST_LETTERS = 4_000


class SetTable(NamedTuple):
    """texts: the columns that hold what was asked and said, which may be harmful."""

    table: pd.DataFrame
    texts: list[str]


def set_table(rows: Sequence[SetRow], names: Sequence[str]) -> SetTable:
    """A line a prompt. names: a heading for each column that answered. Where a column trips is a token from 1, 0: at
    none; no such column without a trip that was measured."""
    of_tools = any(row.calls for row in rows)
    texts = ["prompt"]
    if of_tools:
        texts += [f"{name}: {what}" for name in names for what in ("calls", "wrong with them")]
    if any(row.forced for row in rows):
        texts.append("answers begin with")
    texts += [f"{name}: answer" for name in names]
    table = pd.DataFrame([_line(row, names, of_tools=of_tools) for row in rows])
    if len({row.source for row in rows}) == 1:
        table = table.drop(columns="source")
    if "answers begin with" not in texts:
        table = table.drop(columns="answers begin with")
    for place, name in enumerate(names):
        trips = [row.trips[place] if row.trips else None for row in rows]
        if any(trip is not None for trip in trips):
            table[f"{name}: trips at"] = pd.array(trips, dtype="Int64")
    return SetTable(table, texts)


def _line(row: SetRow, names: Sequence[str], *, of_tools: bool) -> dict[str, str]:
    line = {"prompt": row.prompt, "category": row.category, "style": row.style, "source": row.source}
    line |= {f"{name}: verdict": word for name, word in zip(names, row.words, strict=True)}
    if of_tools:
        # A prompt that could not be asked has no answers.
        answers = row.calls or (AnswerCalls(),) * len(names)
        line |= {f"{name}: functions": _functions(one) for name, one in zip(names, answers, strict=True)}
        for name, one in zip(names, answers, strict=True):
            line[f"{name}: calls"] = "\n".join(map(_call, one.calls))[:MOST_LETTERS]
            line[f"{name}: wrong with them"] = _wrong(one)[:MOST_LETTERS]
    line["answers begin with"] = row.forced
    line |= {f"{name}: answer": answer for name, answer in zip(names, row.answers, strict=True)}
    return line | {"id": row.prompt_id}


def _functions(answer: AnswerCalls) -> str:
    """The functions that are called: those of calls that fit their tool by name, others counted, since a name that no
    tool has is the model's own word."""
    fitting = [call.name for call, problems in zip(answer.calls, answer.problems, strict=False) if not problems]
    unfit = len(answer.calls) - len(fitting)
    parts = [*fitting, *([f"{unfit} unfit"] if unfit else []), *(["unreadable"] if answer.unread else [])]
    return ", ".join(parts) or "none"


def _call(call: Call) -> str:
    return f"{call.name}({json.dumps(call.arguments, ensure_ascii=False)})"


def _wrong(answer: AnswerCalls) -> str:
    said = [sentence for problems in answer.problems for sentence in problems]
    return " ".join([*said, *([answer.unread] if answer.unread else [])])
