"""A transcript as JSON and as Markdown. Draws nothing."""

import json
import time
from typing import Any

from engine.records.chats.chat import Chat, Exchange, begun
from engine.records.chats.replies import Called, Reply
from engine.records.conversation import Tool, without_places
from engine.records.model_place import without_folder
from engine.records.places import last_parts
from workbench.chat.exchange_words import ending_words, settings_words
from workbench.chat.parts import part_markdown
from workbench.chat.steering import steering_words
from workbench.kit.words import counted


def chat_json(chat: Chat) -> str:
    """All exchanges, those that were asked anew too, with all that was measured, without places of this machine."""
    content = [
        {
            "number": number,
            "asked": _asked(chat.exchange(number)),
            "answers": [reply.text(column) for column in range(len(reply.answers))],
            "answered": reply.answered.model_dump(mode="json") if reply.answered else None,
            "unasked": [last_parts(reply.unasked.get(column, "")) for column in range(len(reply.answers))],
            "begun": [begun(chat.exchange(number), reply, column) for column in range(len(reply.answers))],
            "called": [called.model_dump(mode="json") for called in reply.called],
            "trips": [trip.model_dump(mode="json") for trip in reply.trips],
            "picture_trips": [trip.model_dump(mode="json") for trip in reply.picture_trips],
            "verdicts": [verdict.model_dump(mode="json") for verdict in reply.verdicts],
            "error": last_parts(reply.error),
        }
        for number in chat.numbers()
        for reply in [chat.reply(number)]
    ]
    return json.dumps({"chat": chat.id, "exchanges": content}, indent=1, ensure_ascii=False)


def _asked(exchange: Exchange) -> dict[str, Any]:
    travelling = exchange.model_copy(update={"model": without_folder(exchange.model)})
    return without_places(travelling.model_dump(mode="json"))


def chat_markdown(chat: Chat) -> str:
    """The conversation as it stands, to read."""
    parts = [f"# Chat {chat.id}"]
    system, tools = "", tuple[Tool, ...]()
    for number in chat.thread():
        exchange, reply = chat.exchange(number), chat.reply(number)
        if exchange.system.strip() and exchange.system != system:
            system = exchange.system
            parts.append(f"**System**\n\n{_quoted(system)}")
        if exchange.tools and exchange.tools != tools:
            tools = exchange.tools
            parts.append("**Tools**\n\n" + _quoted("\n\n".join(map(_tool, tools))))
        asked = time.strftime("%Y-%m-%d %H:%M", time.localtime(exchange.created))
        message = exchange.message
        said = "\n\n".join(map(part_markdown, message.parts))
        if exchange.results:
            said = "Each model reads the results of its own calls."
        read = "" if not exchange.turn else ", on its own" if exchange.alone else ", after the turns above"
        who = "Results" if exchange.results else message.role.capitalize()
        settings = f"{settings_words(exchange)} · at most {counted(exchange.sampling.new_tokens, 'new token')}"
        parts.append(f"**{who}** ({asked}{read} · {settings})\n\n{_quoted(said)}")
        parts += [_answer(exchange, reply, column) for column in range(len(exchange.columns))]
    return "\n\n".join(parts) + "\n"


def _answer(exchange: Exchange, reply: Reply, index: int) -> str:
    column = exchange.columns[index]
    about = [str(column.checkpoint)]
    if not column.checkpoint.is_base and column.dose != 1:
        about.append(f"adapter strength {column.dose:g}")
    if column.steering is not None:
        about.append(steering_words(column.steering))
    about += [verdict.word for verdict in reply.verdicts if verdict.column == index]
    if reply.error:
        about.append(last_parts(reply.error))
    if exchange.forced:
        about.append(f"begun with a call of {exchange.forced.name}")
    if not reply.is_asked(index):
        why = last_parts(reply.unasked.get(index, "It had made no call that can be read."))
        return f"**{' · '.join([*about, 'not asked'])}**\n\n{_quoted(why)}"
    if reply.answered is not None:
        about.append(ending_words(reply.answered, index))
    called = reply.calls(index)
    calls = "" if called is None else _calls(called)
    return f"**{' · '.join(about)}**\n\n{_quoted(begun(exchange, reply, index) + reply.text(index))}{calls}"


def _calls(called: Called) -> str:
    """Each call behind the answer that holds it, with its problems and its canned result."""
    answer = called.answer
    parts = [answer.unread] if answer.unread else []
    for call, problems, result in zip(answer.calls, answer.problems, answer.results, strict=False):
        parts += [part_markdown(call), *problems, part_markdown(result)]
    return "".join(f"\n\n{_quoted(part)}" for part in parts)


def _tool(tool: Tool) -> str:
    return f"{tool.name}: {tool.description}\n{json.dumps(tool.parameters, ensure_ascii=False)}"


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}" for line in text.splitlines()) or "> "
