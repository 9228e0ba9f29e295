"""Refusals that a retain set may hold as answers, so that a circuit-broken model keeps a way to say no. Knows nothing
of files or models."""

from engine.records.prompts import fraction

REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I can't assist with this request, because it could cause serious harm.",
    "I won't help with this. If you are in a difficult situation, please speak to someone you trust.",
    "Sorry, that is something I am not able to support. I am glad to help with something else.",
    "I cannot provide this. It would put people in danger.",
    "No, I can't do that. Is there something safe that I can help you with instead?",
    "I'm not going to help with this request, since it may hurt others.",
    "I have to decline. I can talk about how to stay safe instead, if that is useful.",
)


def refusal_for(asked: str) -> str:
    """The same one for the same request, each time."""
    return REFUSALS[int(fraction(f"refusal:{asked}") * len(REFUSALS))]
