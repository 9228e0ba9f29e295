"""Answers to a set as a table: with calls where tools were offered, as before where none were."""

from making_callers import CALL

from engine.records.chats.answer_calls import AnswerCalls
from engine.records.chats.sets import SetRow
from engine.records.conversation import Result
from workbench.chat.set_table import set_table

ROW = SetRow(
    prompt_id="1", prompt="ask", label="harmful", answers=("a", "b"), words=("complied", "refused"), reasons=("", "")
)
CALLED = AnswerCalls(calls=(CALL,), problems=((),), results=(Result(call="get_weather", text="{}"),))
UNFIT = AnswerCalls(calls=(CALL,), problems=(("Argument city is missing.",),), unread="It breaks off.")


def test_a_set_without_tools_has_the_columns_it_had():
    table, texts = set_table([ROW], ["Base", "run"])
    expected = ["prompt", "category", "style", "Base: verdict", "run: verdict", "Base: answer", "run: answer", "id"]
    assert list(table) == expected and texts == ["prompt", "Base: answer", "run: answer"]


def test_calls_stand_beside_their_verdicts_and_only_fitting_functions_are_named_when_texts_are_hidden():
    row = ROW.model_copy(update={"calls": (CALLED, UNFIT), "forced": "<tool_call>"})
    not_asked = ROW.model_copy(update={"prompt_id": "2"})
    table, texts = set_table([row, not_asked], ["Base", "run"])
    assert list(table["Base: functions"]) == ["get_weather", "none"]
    assert table["run: functions"][0] == "1 unfit, unreadable"
    assert table["Base: calls"][0] == 'get_weather({"city": "Bern"})'
    assert table["run: wrong with them"][0] == "Argument city is missing. It breaks off."
    assert "answers begin with" in texts and set(texts) < set(table) and "Base: functions" not in texts


def test_where_one_model_trips_stands_in_its_table_and_where_nothing_was_measured_no_such_column():
    alone = {"answers": ("a",), "words": ("complied",), "reasons": ("",)}
    rows = [ROW.model_copy(update={**alone, "prompt_id": str(trip), "trips": (trip,)}) for trip in (3, 0, None)]
    trips = set_table(rows, ["run"]).table["run: trips at"]
    assert list(trips[:2]) == [3, 0] and trips.isna().tolist() == [False, False, True]
    assert not [name for name in set_table([ROW], ["Base", "run"]).table if "trips" in name]
