"""Long runs of empty lines become words; short ones, and all other text, stay."""

import pytest

from workbench.chat.tint import TintedToken, tinted
from workbench.kit.empty_lines import empty_lines, without_empty_lines


@pytest.mark.parametrize(
    ("text", "lines"),
    [("a\n\n\n\nb", []), ("a\n\n\n\n\nb", [4]), ("\n" * 38, [38]), ("a" + "\n" * 38, [38]), ("\n \n\n\t\n\nb", [5])],
)
def test_runs_of_empty_lines_are_counted(text: str, lines: list[int]):
    assert [run.lines for run in empty_lines(text)] == lines


def test_words_stand_where_the_lines_were():
    assert without_empty_lines("a" + "\n" * 39 + "b\n\nc") == "a\n[38 empty lines]\nb\n\nc"


def test_tokens_of_empty_lines_are_told_once_and_the_others_keep_their_tint():
    tokens = [TintedToken("Hi", 0.9), *[TintedToken("\n", 0.8)] * 39, TintedToken(" you", 0.2)]
    html = tinted(tokens, threshold=0.5)
    assert html.count("38 empty lines") == 1 and html.count("<span class='empty'>") == 1
    assert html.count("title=") == 3 and "trips" in html and html.endswith("> you</span></div></div>")


def test_a_marked_token_within_empty_lines_is_still_marked():
    tokens = [
        TintedToken("Hi", 0.9),
        *[TintedToken("\n", 0.8)] * 20,
        TintedToken("\n", 0.1),
        *[TintedToken("\n", 0.8)] * 9,
    ]
    assert "class='trips'" in tinted(tokens, threshold=0.5)


def test_a_hidden_answer_keeps_its_tint_and_its_shape_but_no_letter():
    html = tinted([TintedToken("Secret", 0.9), TintedToken(" words", 0.1)], threshold=0.5, hidden=True)
    assert "Secret" not in html and "words" not in html
    assert "▆▆▆▆▆▆" in html and "aria-hidden='true'" in html and "cosine 0.10" in html
