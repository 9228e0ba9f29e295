"""One type for what is said: text is written and keyed as ever, and a picture is in every key that a text is in."""

import json

import pytest
from pydantic import ValidationError

from engine.records.conversation import Call, CannedResult, Conversation, Message, Picture, Result, Text, Tool, say

CAT, DOG = Picture(sha256="a" * 64, file="cat.png", alt="a cat"), Picture(sha256="b" * 64)


def pictured(picture: Picture) -> Conversation:
    return Conversation(messages=(Message(role="user", parts=(Text(text="What is this?"), picture)),))


def test_a_message_of_one_text_is_written_as_role_and_content():
    message = say("user", "Hi there")
    assert message.model_dump_json() == '{"role":"user","content":"Hi there"}'
    assert Message.model_validate_json('{"role": "user", "content": "Hi there"}') == message
    assert Conversation(messages=(message,)).model_dump_json() == '{"messages":[{"role":"user","content":"Hi there"}]}'


@pytest.mark.parametrize(
    "message",
    [
        Message(role="user", parts=(Text(text="What is this?"), CAT)),
        Message(role="assistant", parts=(Call(name="search", arguments={"for": "cats"}, id="1"),)),
        Message(role="tool", parts=(Result(call="1", text="none"),)),
    ],
    ids=["picture", "call", "result"],
)
def test_any_other_message_is_written_with_its_parts_and_read_again(message):
    written = json.loads(message.model_dump_json())
    assert list(written) == ["role", "parts"] and Message.model_validate(written) == message
    assert Message.model_validate({"role": written["role"], "content": written["parts"]}) == message


@pytest.mark.parametrize(
    "wrong",
    [
        {"role": "user", "parts": []},
        {"role": "robot", "content": "Hi"},
        {"role": "user", "content": [{"type": "sound", "text": "Hi"}]},
        {"role": "user", "content": [{"type": "picture", "sha256": "../secret"}]},
        {"role": "user", "content": "Hi", "more": 1},
    ],
    ids=["no part", "role", "kind of part", "hash", "field"],
)
def test_what_is_no_message_is_refused(wrong):
    with pytest.raises(ValidationError):
        Message.model_validate(wrong)


def test_the_text_is_that_of_the_last_user_message():
    talk = Conversation(messages=(say("user", "first"), say("assistant", "yes"), say("user", "second")))
    assert talk.text == talk.asked == "second"
    assert talk.then(say("assistant", "no")).text == "second"
    assert Conversation(messages=(say("system", "brief"),)).text == ""


def test_with_text_changes_the_last_user_text_alone():
    talk = Conversation(messages=(say("user", "first"), say("user", "second"), say("assistant", "yes")))
    shouted = talk.with_text(str.upper)
    assert [message.text for message in shouted.messages] == ["first", "SECOND", "yes"]
    assert talk.text == "second"
    changed = pictured(CAT).with_text(lambda text: f"{text} Say it.")
    assert changed.text == "What is this? Say it." and changed.pictures == (CAT,)
    wordless = Conversation(messages=(Message(role="user", parts=(CAT,)),)).with_text(lambda text: f"{text}?")
    assert wordless.messages[0].parts == (CAT, Text(text="?"))
    two = Message(role="user", parts=(Text(text="a"), CAT, Text(text="b")))
    assert two.with_text(str.upper).parts == (Text(text="A\nB"), CAT)


def test_a_picture_is_in_the_key_by_its_bytes_alone():
    plain = Conversation.asking("What is this?")
    assert len({plain.key, pictured(CAT).key, pictured(DOG).key}) == 3
    moved = CAT.model_copy(update={"file": "elsewhere.png", "alt": "a tiger"})
    assert pictured(moved).key == pictured(CAT).key and pictured(moved).asked == pictured(CAT).asked
    assert pictured(CAT).asked != pictured(DOG).asked != plain.asked


def test_tools_are_in_the_key():
    plain = Conversation.asking("Hi")
    tools = [(Tool(name="search"),), (Tool(name="search", description="of the web"),)]
    assert len({plain.key, *(plain.model_copy(update={"tools": one}).key for one in tools)}) == 3


def test_canned_results_are_written_and_are_in_no_key():
    """The key of the tool without them is what it was before tools had any."""
    bare = Conversation(messages=(say("user", "Hi"),), tools=(Tool(name="search"),))
    canned = Tool(name="search", results=(CannedResult(text="none", when={"for": "cats"}), CannedResult(text="one")))
    answering = bare.model_copy(update={"tools": (canned,)})
    assert bare.key == answering.key == "e9066a2c8fa6c2d634a00c17"
    assert json.loads(canned.model_dump_json())["results"] == [
        {"text": "none", "when": {"for": "cats"}},
        {"text": "one"},
    ]
    assert Conversation.model_validate_json(answering.model_dump_json()) == answering
    assert bare.model_dump()["tools"] == ({"name": "search", "description": "", "parameters": {}},)


def test_what_keys_are_made_of_is_for_text_what_version_0_1_wrote():
    talk = Conversation(messages=(say("system", "s"), say("user", "u")))
    assert json.dumps(talk.content) == '[{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]'
