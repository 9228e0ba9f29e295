"""Pictures, calls and results are shown as cards that name what they are."""

from streamlit.testing.v1 import AppTest


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
