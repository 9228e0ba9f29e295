"""Why a run was interrupted is in its record and on its page, until it goes on."""

from collections.abc import Callable, Iterator

import pytest
from streamlit.testing.v1 import AppTest

from engine import worker as worker_module
from engine.bookkeeping import reconciled
from engine.records.errors import TeamError
from engine.records.runs import Run, create_run
from engine.records.settings import ROOT, Settings
from engine.records.spec import RunSpec
from engine.worker import Worker
from workbench.kit import state

BROKEN = "Process 2 of 2 has ended. The last checkpoint is kept: restart the worker, then resume the run."
ORDINARY = "The worker ended while this run was going. Resume it: it goes on exactly from its last checkpoint."


@pytest.fixture
def run(settings: Settings, tiny_spec: Callable[..., RunSpec]) -> Run:
    return create_run(settings.runs, tiny_spec())


@pytest.fixture
def page(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Run], str]]:
    """The warnings of a run's page."""
    for module in ("engine.desk.launch", "workbench.sidebar", "workbench.runs.controls"):
        monkeypatch.setattr(f"{module}.ensure_worker", lambda _: None)
    state.settings.cache_clear()

    def opened(run: Run) -> str:
        page = AppTest.from_file(str(ROOT / "pages" / "runs.py"), default_timeout=60)
        page.query_params["run"] = run.id
        page.run()
        assert not page.exception
        return "\n".join(part.value for part in page.warning).replace("\\", "")

    yield opened
    state.settings.cache_clear()


def until(worker: Worker, run: Run, status: str) -> None:
    worker.queue.submit("train", run_id=run.id)
    while run.record().status != status:
        assert worker.turn()


def test_of_a_team_that_broke_its_sentence_is_told_and_forgotten_when_the_run_goes_on(
    run: Run, settings: Settings, page: Callable[[Run], str], monkeypatch: pytest.MonkeyPatch
):
    def breaks(*_: object, **__: object) -> Iterator[None]:
        yield None
        raise TeamError(BROKEN)

    with monkeypatch.context() as broken:
        broken.setattr(worker_module, "train_run", breaks)
        until(Worker(settings), run, "interrupted")
    assert run.record().error == BROKEN and BROKEN in page(run)
    worker = Worker(settings)
    worker.queue.submit("train", run_id=run.id)
    worker.turn()
    assert run.record().status == "running" and run.record().error == ""
    until(worker, run, "finished")
    assert run.record().error == ""


def test_of_a_worker_that_ended_the_page_says_what_to_do(run: Run, settings: Settings, page: Callable[[Run], str]):
    worker = Worker(settings)
    until(worker, run, "running")
    (task,) = worker.tasks
    worker._leave(task)
    assert run.record().error == "The worker ended" and ORDINARY in page(run)
    run.update(status="running", error="")
    reconciled(settings)
    assert run.record().error == "The worker died" and ORDINARY in page(run)
