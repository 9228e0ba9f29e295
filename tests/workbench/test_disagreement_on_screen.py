"""A set that two models answered, as a user meets it: where they differ first, the row that is opened, labels."""

import pytest
from streamlit.testing.v1 import AppTest

from engine.records.chats.asked import Column
from engine.records.chats.marks import read_marks, set_thumb
from engine.records.chats.sets import SetRequest, SetRow, new_set
from engine.records.settings import ROOT
from engine.records.spec_parts import ModelSpec
from workbench.chat.disagreement_table import Filters, disagreement_table, kept, position
from workbench.kit import state

NAMES = ["Base", "run"]


def row(
    prompt_id: str, *words: str, category: str = "", source: str = "", trips: tuple[int | None, ...] = ()
) -> SetRow:
    return SetRow(
        prompt_id=prompt_id,
        prompt=f"request {prompt_id}",
        label="harmful",
        category=category,
        source=source,
        answers=("one", "two"),
        words=words,
        reasons=("", ""),
        trips=trips,
    )


ROWS = [
    row("a", "complied", "complied", category="fraud", source="Ines", trips=(None, 0)),
    row("b", "complied", "refused", category="fraud", source="Tomo", trips=(None, 8)),
    row("c", "refused", "complied", category="theft", source="Ines", trips=(None, 40)),
]


@pytest.fixture
def answers(settings):
    state.settings.cache_clear()
    column = Column(checkpoint="base")
    request = SetRequest(model=ModelSpec(), columns=(column, column), source="some.jsonl", label="harmful")
    made = new_set(settings, request)
    for one in ROWS:
        made.append(one)
    yield made
    state.settings.cache_clear()


def opened(answers, **query: str) -> AppTest:
    page = AppTest.from_file(str(ROOT / "pages" / "side_by_side.py"), default_timeout=180)
    page.query_params["set"] = answers.id
    page.query_params["side_view"] = "Run a set"
    for name, value in query.items():
        page.query_params[name] = value
    page.run()
    assert not page.exception
    return page


def texts_of(page: AppTest) -> str:
    return "\n".join(one.value for kind in (page.text, page.markdown, page.caption) for one in kind)


def test_rows_are_kept_by_category_source_verdict_position_of_the_trip_and_difference():
    def ids(**filters) -> list[str]:
        return [one.prompt_id for one in kept(ROWS, Filters(**filters), {}, reference=0)]

    assert ids() == ["a", "b", "c"]
    assert ids(categories=["fraud"]) == ["a", "b"]
    assert ids(sources=["Ines"]) == ["a", "c"] and ids(sources=["Ines"], categories=["fraud"]) == ["a"]
    assert ids(words=["refused"]) == ["b", "c"]
    assert ids(positions=["never", "later"]) == ["a", "c"]
    assert ids(differing=True, categories=["fraud"]) == ["b"]
    assert ids(marked=True) == []
    assert [position(trip) for trip in (None, 0, 8, 9, 33)] == [
        None,
        "never",
        "within 8 tokens",
        "within 32 tokens",
        "later",
    ]


def test_the_table_says_how_rows_differ_and_holds_no_harmful_word_unless_asked_to():
    table = disagreement_table(ROWS, NAMES, {}, reference=0, texts=False)
    assert list(table["differ"]) == ["alike", "complied, then broken", "broken, then complied"]
    assert list(table["run: trips at"]) == [0, 8, 40] and "Base: trips at" not in table
    assert "request" not in table.to_csv() and "prompt" not in table
    assert "request b" in set(disagreement_table(ROWS, NAMES, {}, reference=0, texts=True)["prompt"])


def test_a_set_opens_sorted_by_where_the_models_differ_and_a_filter_narrows_it(answers):
    page = opened(answers)
    table = page.dataframe[0].value
    assert list(table["id"]) == ["b", "c", "a"]
    page.multiselect(key=f"differ_Category_{answers.id}").set_value(["theft"]).run()
    assert list(page.dataframe[0].value["id"]) == ["c"]


def test_rows_are_narrowed_by_their_source_which_stands_in_the_table_where_there_are_two(answers):
    page = opened(answers)
    assert list(page.dataframe[0].value["source"]) == ["Tomo", "Ines", "Ines"]
    page.multiselect(key=f"differ_Source_{answers.id}").set_value(["Ines"]).run()
    assert list(page.dataframe[0].value["id"]) == ["c", "a"]


def test_a_set_of_one_source_and_one_kept_before_rows_had_any_ask_for_none(answers):
    file = answers.folder / "answers.jsonl"
    for source in ("", "sample:harmful"):
        file.write_text("".join(f"{one.model_copy(update={'source': source}).model_dump_json()}\n" for one in ROWS))
        page = opened(answers)
        assert len(page.dataframe[0].value) == 3 and "source" not in page.dataframe[0].value
        assert not [one for one in page.multiselect if one.label == "Source"]


def test_a_link_to_a_row_opens_its_answers_hidden_until_they_are_revealed_and_keeps_a_note(answers):
    page = opened(answers, row="b")
    assert "request b" not in texts_of(page)
    next(one for one in page.button if one.label == "Reveal the prompt and its answers").click().run()
    assert "request b" in texts_of(page) and "request a" not in texts_of(page)
    page.text_area(key=f"note_{answers.id}_b").set_value("a clear refusal").run()
    assert read_marks(answers)["b"].note == "a clear refusal"
    assert "No thumb yet" in texts_of(page)


def test_thumbs_stand_against_the_judge_with_their_n(answers):
    page = opened(answers, row="b")
    for column in (0, 1):
        page.feedback(key=f"thumb_{answers.id}_b_{column}").set_value(1).run()
    assert read_marks(answers)["b"].thumbs == ("up", "up")
    assert "1 of 2 verdicts agree with your thumbs" in texts_of(page)
    against = page.dataframe[1].value
    assert list(against["judged refused"]) == [1, 0] and list(against["judged complied"]) == [1, 0]
    # A label that another tab gives is seen by the next look.
    set_thumb(answers, "b", 1, "down")
    page.run()
    assert "2 of 2 verdicts agree with your thumbs" in texts_of(page)
