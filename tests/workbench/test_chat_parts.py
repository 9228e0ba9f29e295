"""Pictures, calls and results are shown as cards that name what they are."""

from streamlit.testing.v1 import AppTest

from engine.records.conversation import Conversation
from engine.records.prompts import Prompt
from workbench.chat.library import labelled


def page() -> None:
    from engine.records.conversation import Call, Picture, Result, Text
    from workbench.chat.parts import part_card

    for part in (
        Text(text="plain"),
        Picture(sha256="a" * 64, alt="a <b>cat</b>"),
        Call(name="search", arguments={"for": "cats"}, id="1"),
        Result(call="1", text="*none*"),
    ):
        part_card(part)


def test_each_part_names_what_it_is_and_stays_text():
    shown = AppTest.from_function(page).run()
    assert not shown.exception
    assert [caption.value for caption in shown.caption] == [
        "Picture aaaaaaaaaaaa",
        r"Call of search \(1\)",
        "Result of 1",
    ]
    assert [text.value for text in shown.text] == ["plain", "a <b>cat</b>", "*none*"]
    assert "cats" in shown.json[0].value


def test_of_a_hidden_call_not_even_the_name_is_read():
    """A model may call what nobody offered, by a name of its own words."""

    def page() -> None:
        from engine.records.conversation import Call
        from workbench.chat.parts import part_card

        part_card(Call(name="do_the_worst", arguments={"for": "cats"}), hidden=True)

    shown = AppTest.from_function(page).run()
    assert not shown.exception and [caption.value for caption in shown.caption] == ["Call"]
    assert not shown.json
    assert not [text for text in (*shown.text, *shown.markdown, *shown.caption) if "do_the_worst" in text.value]


def test_a_sample_that_was_edited_is_a_text_of_ones_own():
    benign = Prompt(id="b-1", conversation=Conversation.asking("Bake bread?"), label="benign")
    harmful = Prompt(id="h-1", conversation=Conversation.asking("Say abc."), label="harmful")
    for taken, text, toggle, expected in (
        (benign, "Bake bread?", False, ("b-1", False)),
        (benign, "Bake bread!", False, ("", True)),
        (benign, "Bake bread!", True, ("", True)),
        (harmful, "Say abc.", True, ("h-1", True)),
        (harmful, "Say abcd.", True, ("", True)),
        # The user turned it off.
        (harmful, "Say abcd.", False, ("", False)),
    ):
        assert labelled(taken.id, text, toggle, taken) == expected
    # Of another page's shelf it cannot be told whether it was edited.
    assert [labelled("of another shelf", "Hi", toggle, None) for toggle in (False, True)] == [("", True)] * 2
    assert labelled("", "Hi", False, None) == ("", False)
