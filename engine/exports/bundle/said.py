"""What was asked and answered, for a bundle: chats side by side, and the answers that a run gave while it trained.

A harmful request and its answers are marked, or left out: None stands for what was left out. Knows nothing of the page.
"""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from engine.records.blocks import parse_blocks
from engine.records.chats.chat import Chat, Exchange, begun, list_chats
from engine.records.chats.replies import Reply
from engine.records.errors import WorkbenchError
from engine.records.events import ProbeResult, Request
from engine.records.runs import Run
from engine.records.settings import Settings

MOST_EXCHANGES = 24
THRESHOLD = 0.5
NO_CHATS = "Nothing was asked of this run in Side by side."
NO_ANSWERS = "This run kept no answers while it trained."


def chats(run: Run, settings: Settings, *, harmful_text: bool) -> dict[str, Any]:
    """Exchanges in which this run was asked, newest chats first, one column a model; damaged ones are left out."""
    shipped = [Chat(folder) for folder in sorted((run.folder / "chats").glob("*"))] if run.read_only else []
    found: list[dict[str, Any]] = []
    for chat in [*list_chats(settings), *shipped]:
        if len(found) >= MOST_EXCHANGES:
            break
        with suppress(WorkbenchError):
            found += _of_chat(chat, run, harmful_text=harmful_text)
    return {"exchanges": found[:MOST_EXCHANGES]} if found else {"missing": NO_CHATS}


def answers_on_the_way(probes: Sequence[ProbeResult], *, harmful_text: bool) -> dict[str, Any]:
    """Each probe prompt with its answers by step; step 0 is the base model's."""
    prompts: dict[Request, dict[str, Any]] = {}
    for probe in probes:
        for request, answer in probe.by_request.items():
            harmful = answer.label == "harmful"
            shown = not harmful or harmful_text
            one = prompts.setdefault(
                request, {"harmful": harmful, "asked": answer.prompt if shown else None, "answers": []}
            )
            one["answers"].append({"step": probe.step, "text": answer.answer if shown else None})
    return {"prompts": list(prompts.values())} if prompts else {"missing": NO_ANSWERS}


def _of_chat(chat: Chat, run: Run, *, harmful_text: bool) -> list[dict[str, Any]]:
    exchanges = []
    for number in chat.thread():
        exchange = chat.exchange(number)
        if all(column.checkpoint.run_id != run.id for column in exchange.columns):
            continue
        harmful = chat.reads_harm(number)
        reply, shown = chat.reply(number), not harmful or harmful_text
        exchanges.append(
            {
                "chat": chat.id,
                "harmful": harmful,
                "asked": _asked(exchange) if shown else None,
                "tools": [tool.name for tool in exchange.tools],
                "columns": [
                    _column(exchange, reply, column, run, shown=shown) for column in range(len(exchange.columns))
                ],
            }
        )
    return exchanges


def _asked(exchange: Exchange) -> str:
    return "Each model reads the results of its own calls." if exchange.results else exchange.message.text


def _column(exchange: Exchange, reply: Reply, column: int, run: Run, *, shown: bool) -> dict[str, Any]:
    verdict = next((one.word for one in reply.verdicts if one.column == column), "")
    is_known = column < len(reply.answers)
    tokens = _tokens(reply, column, run) if shown else []
    return {
        "name": _name(exchange, column, run),
        "verdict": verdict,
        "ended": reply.answered.reasons[column] if reply.answered and is_known else "",
        "text": begun(exchange, reply, column) + reply.text(column) if shown and is_known else None,
        "tokens": tokens,
        "trip": next((place for place, (_, cosine) in enumerate(tokens) if cosine < THRESHOLD), None),
    }


def _tokens(reply: Reply, column: int, run: Run) -> list[tuple[str, float]]:
    """Each token with its cosine at the run's first target block, as Side by side tints it; [] where that was not
    measured."""
    trip = next((one for one in reply.trips if one.column == column), None)
    if trip is None or not trip.cosines or trip.against.checkpoint.run_id != run.id:
        # Of another run's column, or read by another run: its cosines say nothing of this breaker.
        return []
    targets = run.record().targets or parse_blocks(run.spec().blocks.targets, len(trip.cosines))
    block = min(targets[0], len(trip.cosines) - 1)
    return [(piece, round(cosine, 3)) for piece, cosine in zip(trip.pieces, trip.cosines[block], strict=False)]


def _name(exchange: Exchange, column: int, run: Run) -> str:
    """A model in words: 'base', 'circuit-broken', 'circuit-broken at step 40, strength 0.5'."""
    asked = exchange.columns[column]
    if asked.checkpoint.is_base:
        return "base"
    name = "circuit-broken" if asked.checkpoint.run_id == run.id else "another run"
    if asked.checkpoint.step is not None:
        name += f" at step {asked.checkpoint.step}"
    return name if asked.dose == 1 else f"{name}, strength {asked.dose:g}"
