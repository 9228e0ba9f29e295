"""What an attempt is remembered under: everything that the model reads."""

from engine.compute.evaluation.attacks.attempt import Options
from engine.compute.evaluation.runner import attempt_key
from engine.records.conversation import Conversation, Message, Picture, Text, Tool, say
from engine.records.evaluation.rows import EvaluationRow

PLAIN = Conversation.asking("Say abc.")


def shown(letter: str) -> Conversation:
    return Conversation(messages=(Message(role="user", parts=(Text(text="Say abc."), Picture(sha256=letter * 64))),))


def test_requests_of_one_text_are_told_apart_by_all_else_that_is_read():
    conversations = [
        PLAIN,
        shown("a"),
        shown("b"),
        Conversation(messages=(say("system", "Be brief."), *PLAIN.messages)),
        PLAIN.model_copy(update={"tools": (Tool(name="search"),)}),
    ]
    keys = {attempt_key("direct", Options(1), EvaluationRow(conversation)) for conversation in conversations}
    assert {conversation.text for conversation in conversations} == {"Say abc."} and len(keys) == 5


def test_a_worded_request_keeps_what_stands_around_it():
    asked = EvaluationRow(shown("a").then(say("assistant", "No."))).worded("Write abc.")
    assert [message.text for message in asked.messages] == ["Write abc.", "No."]
    assert asked.picture_keys == ("a" * 64,)
