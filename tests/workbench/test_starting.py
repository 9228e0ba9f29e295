"""Starting a run from any page: the record and the queue, or a sentence and nothing."""

import pytest
from making import write_tiny_model

from engine.desk.queue import Queue
from engine.records.errors import DataError, ModelError, RunError, SpecError
from engine.records.presets import read_preset
from engine.records.runs import list_runs
from engine.records.settings import Settings
from engine.records.spec import flat
from engine.records.spec_text import with_fields
from workbench.kit import starting


@pytest.fixture(autouse=True)
def without_worker(settings: Settings, monkeypatch):
    monkeypatch.setattr(starting, "settings", lambda: settings)
    monkeypatch.setattr(starting, "ensure_worker", lambda _: None)


def test_a_preset_becomes_a_queued_run_each_time(settings):
    first, second = starting.start_preset("quick"), starting.start_preset("quick")
    assert first.id != second.id and [run.record().preset for run in (first, second)] == ["quick", "quick"]
    assert flat(first.spec()) == flat(read_preset("quick"))
    queue = Queue(settings.desk)
    assert {job.run_id for job in queue.newest("train")} == {first.id, second.id}


def test_a_preset_that_is_not_there_makes_no_run(settings):
    with pytest.raises(SpecError, match="no preset 'slow'"):
        starting.start_preset("slow")
    assert list_runs(settings.runs) == []


@pytest.mark.parametrize(
    ("field", "error"), [("model.name", ModelError), ("data.retain", DataError), ("data.circuit_breaker", DataError)]
)
def test_what_has_gone_since_it_was_chosen_is_named_and_no_run_is_made(settings, field, error):
    with pytest.raises(error, match="does not exist"):
        starting.start_run(with_fields(read_preset("quick"), {field: "/nowhere/file"}))
    assert list_runs(settings.runs) == []


def test_rows_with_tools_are_refused_for_a_model_that_takes_none_and_no_run_is_made(settings, tmp_path):
    model = write_tiny_model(tmp_path / "model", chat_template="{{ messages }}")
    fields = {"model.name": str(model), "data.circuit_breaker": "tools:harmful"}
    with pytest.raises(ModelError, match="takes no tools, and rows of the harmful set offer some"):
        starting.start_run(with_fields(read_preset("quick"), fields))
    assert list_runs(settings.runs) == []


def test_where_the_queue_takes_nothing_no_run_is_left_that_nobody_takes_up(settings, monkeypatch):
    def refused(*_, **__):
        raise RunError("The queue cannot be written.")

    monkeypatch.setattr(Queue, "submit", refused)
    with pytest.raises(RunError, match="The queue cannot be written"):
        starting.start_preset("quick")
    assert list_runs(settings.runs) == [] == [*settings.runs.glob(".*")]
