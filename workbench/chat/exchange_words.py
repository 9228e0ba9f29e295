"""How a message was asked and how an answer to it ended, in words. Pure: knows nothing of Streamlit."""

from engine.records.chats.chat import Exchange
from engine.records.chats.replies import Answered, Reason
from engine.records.harmfulness import TITLES
from workbench.kit.words import counted

ENDINGS: dict[Reason, str] = {
    "end": "",
    "length": ", cut at the limit",
    "stopped": ", stopped",
    "probe": ", then the harmfulness probe fired",
    "not asked": "",
}


def settings_words(exchange: Exchange) -> str:
    """'temperature 0.7 · seed 3 · with a system prompt'."""
    sampling = exchange.sampling
    parts = ["greedy"] if sampling.temperature == 0 else [f"temperature {sampling.temperature:g}"]
    if sampling.temperature and sampling.top_p < 1:
        parts.append(f"top-p {sampling.top_p:g}")
    if sampling.temperature:
        parts.append(f"seed {sampling.seed}")
    if exchange.system.strip():
        parts.append("with a system prompt")
    if exchange.probe:
        parts.append(f"with the {TITLES[exchange.probe]} harmfulness probe")
    return " · ".join(parts)


def ending_words(answered: Answered, column: int) -> str:
    """How long a column's answer is, and how it ended: '96 tokens, cut at the limit'."""
    return counted(len(answered.ids[column]), "token") + ENDINGS[answered.reasons[column]]
