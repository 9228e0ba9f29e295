"""A transcript as JSON and as Markdown. Draws nothing."""

import json
import time

from engine.records.chats.chat import Chat, Exchange
from engine.records.chats.replies import Reply
from workbench.chat.parts import part_markdown


def chat_json(chat: Chat) -> str:
    """All exchanges, those that were asked anew too, with all that was measured."""
    content = [
        {
            "number": number,
            "asked": chat.exchange(number).model_dump(mode="json"),
            "answers": [reply.text(column) for column in range(len(reply.answers))],
            "answered": reply.answered.model_dump(mode="json") if reply.answered else None,
            "trips": [trip.model_dump(mode="json") for trip in reply.trips],
            "verdicts": [verdict.model_dump(mode="json") for verdict in reply.verdicts],
            "error": reply.error,
        }
        for number in chat.numbers()
        for reply in [chat.reply(number)]
    ]
    return json.dumps({"chat": chat.id, "exchanges": content}, indent=1, ensure_ascii=False)


def chat_markdown(chat: Chat) -> str:
    """The conversation as it stands, to read."""
    parts = [f"# Chat {chat.id}"]
    system = ""
    for number in chat.thread():
        exchange, reply = chat.exchange(number), chat.reply(number)
        if exchange.system.strip() and exchange.system != system:
            system = exchange.system
            parts.append(f"**System**\n\n{_quoted(system)}")
        asked = time.strftime("%Y-%m-%d %H:%M", time.localtime(exchange.created))
        message = exchange.message
        said = "\n\n".join(map(part_markdown, message.parts))
        read = "" if not exchange.turn else ", on its own" if exchange.alone else ", after the turns above"
        parts.append(f"**{message.role.capitalize()}** ({asked}{read})\n\n{_quoted(said)}")
        parts += [_answer(exchange, reply, column) for column in range(len(exchange.columns))]
    return "\n\n".join(parts) + "\n"


def _answer(exchange: Exchange, reply: Reply, index: int) -> str:
    column = exchange.columns[index]
    about = [str(column.checkpoint)]
    if not column.checkpoint.is_base and column.dose != 1:
        about.append(f"adapter strength {column.dose:g}")
    about += [verdict.word for verdict in reply.verdicts if verdict.column == index]
    if reply.error:
        about.append(reply.error)
    return f"**{' · '.join(about)}**\n\n{_quoted(exchange.prefill + reply.text(index))}"


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}" for line in text.splitlines()) or "> "
