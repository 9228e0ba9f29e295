"""What the sidebar says that the worker does: the job, and the run that it is about."""

from collections.abc import Iterator

import pytest
from making_runs import write_run

from engine.desk.presence import WorkerStatus
from engine.records.settings import Settings
from workbench.kit import state
from workbench.kit.doing import doing_words


@pytest.fixture(autouse=True)
def own_settings(settings: Settings) -> Iterator[None]:
    state.settings.cache_clear()
    yield
    state.settings.cache_clear()


def test_the_name_is_that_of_the_run_which_the_job_is_about_and_not_of_one_that_waits(settings: Settings):
    run, other = write_run(settings, name="quick one"), write_run(settings, name="another")
    assert doing_words(WorkerStatus("busy", doing=f"train {run.id}", run_id=run.id)) == "trains quick one"
    assert doing_words(WorkerStatus("busy", doing=f"evaluate {other.id}", run_id=other.id)).endswith("another")
    # As `engine.tasks.doing` says it while a run trains.
    assert doing_words(WorkerStatus("busy", doing="serve_answer", run_id=run.id)) == "answers a client"
    assert doing_words(WorkerStatus("busy", doing="chat gone", run_id="gone")) == "answers"
    assert doing_words(WorkerStatus("idle", run_id=run.id)) == ""
