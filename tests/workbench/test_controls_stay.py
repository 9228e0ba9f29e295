"""Where the controls of a run stand on its page."""

from collections.abc import Callable, Iterator

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Block

from engine.desk.lock import owned
from engine.desk.queue import Queue
from engine.records.installed import sources_digest
from engine.records.runs import create_run
from engine.records.settings import ROOT, Settings
from engine.records.spec import RunSpec
from workbench.kit import state
from workbench.runs import controls


@pytest.fixture(autouse=True)
def own_settings(settings: Settings) -> Iterator[None]:
    state.settings.cache_clear()
    yield
    state.settings.cache_clear()


def path(page: AppTest, key: str) -> list[int]:
    """Of the block with this key: its place in each block around it."""

    def below(block: Block) -> list[int] | None:
        for place, one in block.children.items():
            if isinstance(one, Block):
                if one.key == key:
                    return [place]
                if (found := below(one)) is not None:
                    return [place, *found]
        return None

    found = below(page.main)
    assert found is not None
    return found


def test_a_note_and_what_a_run_has_kept_do_not_move_its_controls(settings: Settings, tiny_spec: Callable[..., RunSpec]):
    # Controls whose place changes are drawn twice for a moment, and an open popover among them loses what was typed.
    run = create_run(settings.runs, tiny_spec(), name="one")
    run.update(status="stopped", step=2)
    page = AppTest.from_file(str(ROOT / "pages" / "runs.py"), default_timeout=60)
    page.query_params["run"] = run.id
    page.run()
    before = path(page, "run_controls")
    run.set_label(name="one", note="looks well")
    run.adapter_folder.mkdir()
    (run.adapter_folder / "adapter_config.json").write_text("{}")
    page.run()
    assert not page.exception
    assert page.get_by_key("next_steps") and "looks well" in [one.value for one in page.text]
    assert path(page, "run_controls") == before


def test_resuming_a_run_that_another_tab_has_finished_says_so_and_queues_nothing(
    settings: Settings, tiny_spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch
):
    run = create_run(settings.runs, tiny_spec())
    run.update(status="finished")
    monkeypatch.setattr(controls, "ensure_worker", lambda _: pytest.fail("no worker is needed"))
    said: list[str] = []
    monkeypatch.setattr(controls, "_say", lambda text, _: said.append(text))
    controls._resume(run.id)
    assert said == [f"Run {run.id} is finished and cannot be trained: start another like it."]
    assert Queue(settings.desk).newest("train") == []


def test_a_run_whose_worker_was_killed_is_resumed_though_its_record_says_that_it_runs(
    settings: Settings, tiny_spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch
):
    run = create_run(settings.runs, tiny_spec())
    run.update(status="running")
    monkeypatch.setattr(controls, "ensure_worker", lambda _: None)
    monkeypatch.setattr(controls, "_say", lambda *_: None)
    controls._resume(run.id)
    assert [job.run_id for job in Queue(settings.desk).newest("train")] == [run.id]


def test_a_worker_of_another_version_is_named_in_the_sidebar(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    def drawn() -> list[str]:
        return [caption.value for caption in AppTest.from_function(page).run().caption]

    def page() -> None:
        from workbench.sidebar import _worker_status

        _worker_status()

    with owned(settings):
        Queue(settings.desk).beat(status="idle", sources=sources_digest())
        assert not any("another version" in caption for caption in drawn())
        Queue(settings.desk).beat(status="idle", sources="of-yesterday")
        assert any("another version of the workbench" in caption for caption in drawn())
