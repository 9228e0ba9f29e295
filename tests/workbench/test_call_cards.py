"""A call's card: arguments tinted by their tokens, problems in words, the canned result; hidden, cut, and hostile."""

import re

from engine.records.calls import read_calls
from engine.records.chats.answer_calls import answer_calls
from engine.records.chats.replies import Called
from engine.records.conversation import CannedResult, Tool
from workbench.chat.call_cards import MOST_CARDS, MOST_LETTERS, Tint, call_cards, first_in_arguments, tinted_words

SEND = Tool(
    name="send",
    parameters={
        "type": "object",
        "properties": {"to": {"type": "string"}, "count": {"type": "integer"}},
        "required": ["to"],
    },
    results=(CannedResult(text="sent to {to}"),),
)


def called(text: str, *, letters: int = 4) -> Called:
    """An answer whose tokens have so many letters each."""
    pieces = tuple(text[place : place + letters] for place in range(0, len(text), letters))
    return Called(column=0, answer=answer_calls(read_calls(text), [SEND]), pieces=pieces)


def call(arguments: str, name: str = "send") -> str:
    return f'<tool_call>{{"name": "{name}", "arguments": {arguments}}}</tool_call>'


def test_each_argument_is_tinted_by_its_own_tokens_and_the_first_below_is_marked_there():
    """The value Bern stands in letters 52 to 55, so in token 13 alone; earlier tokens are no argument's."""
    text = "xxx" + call('{"to": "Bern"}')
    answer = called(text)
    assert text.index("Bern") == 52
    cosines = [0.1] * 13 + [0.25] + [1.0] * (len(answer.pieces) - 14)
    html = call_cards(answer, [SEND], Tint(cosines, 0.5))
    spans = re.findall(r"<span class='trips'[^>]*title='([^']*)'>([^<]*)</span>", html)
    assert spans == [("answer token 14: cosine 0.25, the first below the threshold", "Bern")]
    assert (
        first_in_arguments(answer, Tint(cosines, 0.5)) == 13 and first_in_arguments(answer, Tint(cosines, 0.2)) is None
    )
    assert "sent to Bern" in html and "nothing was carried out" in html


def test_without_a_measurement_the_values_stand_untinted():
    html = call_cards(called(call('{"to": "Bern", "count": 3}')), [SEND], Tint())
    assert "Bern" in html and ">3<" in html and "cosine" not in html


def test_what_is_wrong_is_said_and_no_result_is_given():
    html = call_cards(called(call('{"count": "many", "colour": "red"}')), [SEND], Tint())
    assert (
        "Does not fit its tool" in html and "Argument to is missing" in html and "where the tool takes integer" in html
    )
    assert "The model is told so as an error." in html and "sent to" not in html


def test_hidden_nothing_but_what_the_tool_defines_is_in_the_page():
    text = call('{"to": "secretplace", "secretname": 1}') + call('{"to": "hiddenplace"}', name="secretfunction")
    html = call_cards(called(text), [SEND], Tint(), hidden=True)
    assert not re.search("secret|hidden(?=place)", html.replace("aria-hidden", ""))
    assert ">send</span>" in html and ">to</th>" in html and "▆" in html
    shown = call_cards(called(text), [SEND], Tint())
    assert {"secretplace", "secretname", "secretfunction", "hiddenplace"} <= set(re.findall(r"\w+", shown))


def test_a_hundred_thousand_letters_are_cut_with_a_note():
    html = call_cards(called(call('{"to": "' + "a" * 100_000 + '"}')), [SEND], Tint([1.0] * 30_000, 0.5))
    assert f"{100_000 - MOST_LETTERS:,} more letters are in the download." in html
    assert len(html) < 120_000


def test_many_calls_are_cut_with_a_note():
    html = call_cards(called("".join(call('{"to": "x"}') for _ in range(MOST_CARDS + 3))), [SEND], Tint())
    assert html.count("class='call'") == MOST_CARDS and "3 more calls are in the download." in html


def test_letters_of_a_page_stay_letters():
    text = call('{"to": "<script>alert(1)</script>", "<b>": "\'"}', name="<i>")
    html = call_cards(called(text), [SEND], Tint())
    assert "<script>" not in html and "<b>:" not in html and "<i>" not in html and "&lt;script&gt;" in html


def test_a_call_that_was_written_as_code_is_shown_without_tint():
    html = call_cards(called('[send(to="Bern")]'), [SEND], Tint([0.0] * 99, 0.5))
    assert "Bern" in html and "cosine" not in html


def test_words_beside_a_call_are_tinted_by_their_own_tokens():
    answer = called("I will send it.\n" + call('{"to": "Bern"}'))
    cosines = [0.02] * 4 + [1.0] * (len(answer.pieces) - 4)
    html = tinted_words(answer, Tint(cosines, 0.5))
    assert "cosine 0.02" in html and "Bern" not in html and "".join(re.findall(r">([^<]*)<", html)) == "I will send it."
    hidden = tinted_words(answer, Tint(cosines, 0.5), hidden=True)
    assert "send" not in hidden and "cosine 0.02" in hidden and "aria-hidden" in hidden
    assert tinted_words(answer, Tint()) == ""


def test_words_that_an_argument_holds_too_are_tinted_where_they_are_said_and_marked_there():
    text = call('{"to": "Done."}') + "\nDone."
    answer = called(text)
    said = text.rindex("Done.") // 4
    cosines = [0.9] * said + [0.03] * (len(answer.pieces) - said)
    html = tinted_words(answer, Tint(cosines, 0.5))
    assert f"answer token {said + 1}: cosine 0.03" in html and "trips" in html and "0.90" not in html
    assert tinted_words(called("One." + "\n" * 300 + "Two. " + call('{"to": "B"}')), Tint([0.9] * 200, 0.5)) == ""
