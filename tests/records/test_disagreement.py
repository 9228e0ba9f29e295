"""Where models differ, and what people say of answers, by hand-worked cases."""

import json
import threading

import pytest

from engine.records.chats.asked import Column
from engine.records.chats.disagreement import agreement, by_difference, difference
from engine.records.chats.marks import mark_lines, read_marks, set_note, set_thumb
from engine.records.chats.sets import NOT_ASKED, SetRequest, SetRow, new_set
from engine.records.errors import RunError
from engine.records.spec_parts import ModelSpec

BASE = Column(checkpoint="base")


def row(prompt_id: str, *words: str) -> SetRow:
    nothing = ("",) * len(words)
    return SetRow(prompt_id=prompt_id, prompt="ask", label="benign", answers=nothing, words=words, reasons=nothing)


@pytest.fixture
def answers(settings):
    """A set whose three prompts were answered by two columns."""
    made = new_set(settings, SetRequest(model=ModelSpec(), columns=(BASE, BASE), source="some.jsonl", label="benign"))
    for one in (
        row("a", "complied", "refused"),
        row("b", "complied", "complied"),
        row("c/../d", "incoherent", "complied"),
    ):
        made.append(one)
    return made


def test_what_the_breaker_broke_comes_first_then_its_opposite_then_other_words_then_what_is_alike():
    rows = [
        row("alike", "complied", "complied", "complied"),
        row("words", "refused", "incoherent", "refused"),
        row("back", "refused", "complied", "refused"),
        row("one", "complied", "refused", "complied"),
        row("both", "complied", "refused", "incoherent"),
        row("unasked", NOT_ASKED, NOT_ASKED, NOT_ASKED),
    ]
    assert [one.prompt_id for one in by_difference(rows)] == ["both", "one", "back", "words", "alike", "unasked"]
    assert difference(("complied", "refused", "complied"), reference=1) == "broken, then complied"


def test_thumbs_are_counted_against_verdicts_with_their_n(answers):
    """Up on a complied and a refused answer, down on a complied one: one of three agrees."""
    set_thumb(answers, "a", 0, "up")
    set_thumb(answers, "a", 1, "up")
    set_thumb(answers, "b", 1, "down")
    rows, marks = answers.rows(), read_marks(answers)
    found = agreement(rows, marks, [0, 1])
    assert (found.n, found.agree) == (3, 1)
    assert found.counts == {("complied", "complied"): 1, ("complied", "refused"): 1, ("not complied", "complied"): 1}
    assert agreement(rows, marks, [0])[:2] == (1, 1)


def test_two_tabs_that_mark_two_answers_of_a_row_at_once_lose_neither(answers):
    threads = [
        threading.Thread(target=set_thumb, args=(answers, "c/../d", column, thumb))
        for column, thumb in ((0, "down"), (1, "up"))
    ]
    threads.append(threading.Thread(target=set_note, args=(answers, "c/../d", "odd")))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    mark = read_marks(answers)["c/../d"]
    assert mark.thumbs == ("down", "up") and mark.note == "odd"
    assert {file.parent for file in answers.folder.rglob("*.json")} == {answers.folder, answers.folder / "marks"}


def test_a_thumb_is_taken_back_and_a_mark_that_says_nothing_is_none(answers):
    set_thumb(answers, "a", 0, "up")
    set_thumb(answers, "a", 0, None)
    assert read_marks(answers) == {}


def test_a_damaged_mark_is_passed_over_and_the_others_are_read(answers):
    set_thumb(answers, "a", 0, "up")
    set_thumb(answers, "b", 0, "up")
    file = next(file for file in (answers.folder / "marks").glob("*.json") if '"a"' in file.read_text())
    file.write_text("{")
    assert set(read_marks(answers)) == {"b"}
    set_thumb(answers, "a", 1, "down")
    assert read_marks(answers)["a"].thumbs == (None, "down")


def test_a_note_that_is_too_long_is_refused_with_its_length_and_the_old_one_stays(answers):
    set_note(answers, "a", "short")
    with pytest.raises(RunError, match=r"The note has 5,000 letters: shorten it to 4,000\."):
        set_note(answers, "a", "x" * 5_000)
    assert read_marks(answers)["a"].note == "short"


def test_labels_are_lines_that_name_model_label_and_verdict(answers):
    set_thumb(answers, "a", 1, "down")
    set_note(answers, "b", "both fine")
    lines = mark_lines(answers, ["Base", "run"])
    assert [(line["id"], line["model"], line["label"], line["verdict"], line["note"]) for line in lines] == [
        ("a", "run", "not complied", "refused", ""),
        ("b", "Base", "", "complied", "both fine"),
        ("b", "run", "", "complied", "both fine"),
    ]
    assert json.loads(json.dumps(lines)) == lines
