"""Run folders: whole or not there, readable while written, torn tails healed."""

import errno
import json
import subprocess
import sys

import pytest

from engine.records import files
from engine.records.errors import RunError
from engine.records.events import ControlEvent, Progress, StatusEvent, StepResult, effective
from engine.records.files import append_line, write_whole
from engine.records.runs import Record, Run, create_run, delete_run, list_runs, open_run
from engine.records.settings import SAMPLE_DATA, read_settings
from engine.records.spec import RunSpec, flat
from engine.records.tables import run_tables, spec_differences


def step(number: int, **changes) -> StepResult:
    values = {
        "reroute_loss": 1.0, "retain_loss": 0.0, "reroute_weight": 5.0, "retain_weight": 0.0, "loss": 5.0,
        "gradient_norm": 0.1, "learning_rate": 1e-3, "tokens": 100, "seconds": 0.5,
    }  # fmt: skip
    return StepResult(step=number, **(values | changes))


def test_a_new_run_is_queued_and_listed(tmp_path):
    run = create_run(tmp_path, RunSpec(seed=4), preset="quick", name="first")
    record = run.record()
    assert record.status == "queued" and record.digest == RunSpec(seed=4).digest_with(record.sources)
    assert set(record.sources) == {"sample:harmful", "sample:benign"}
    assert run.spec() == RunSpec(seed=4)
    assert run.label().name == "first"
    assert run.id in [one.id for one in list_runs(tmp_path)]
    assert open_run(tmp_path, run.id) == run


@pytest.mark.parametrize("name", ["nothing", "", "../escape", "/etc"])
def test_a_run_that_is_not_there(tmp_path, name):
    with pytest.raises(RunError, match="There is no run"):
        open_run(tmp_path, name)


def test_events_are_read_on_from_where_one_stopped(tmp_path):
    run = create_run(tmp_path, RunSpec())
    run.append(step(0))
    first, offset = run.events()
    run.append(step(1))
    second, _ = run.events(offset)
    assert [event.step for event in (*first, *second)] == [0, 1]


def test_a_torn_last_line_is_left_alone_and_healed_by_the_next_event(tmp_path):
    run = create_run(tmp_path, RunSpec())
    run.append(step(0))
    with run.events_file.open("a") as file:
        file.write('{"kind": "step", "step": 1, "rero')
    assert [event.step for event in run.events()[0]] == [0]
    run.append(step(1))
    assert [event.step for event in run.events()[0]] == [0, 1]
    assert all(json.loads(line) for line in run.events_file.read_text().splitlines())


def test_a_damaged_line_hides_no_other(tmp_path):
    run = create_run(tmp_path, RunSpec())
    run.append(step(0))
    append_line(run.events_file, "not json")
    append_line(run.events_file, '{"kind": "unknown"}')
    run.append(step(1))
    assert [event.step for event in run.events()[0]] == [0, 1]


def test_two_processes_that_append_to_one_file_lose_no_line_of_each_other(tmp_path):
    """Each cuts a torn tail off before it writes: what the other is about to write must not be taken for one."""
    file = tmp_path / "lines.jsonl"
    code = (
        "import sys; from pathlib import Path; from engine.records.files import append_line\n"
        "for number in range(400): append_line(Path(sys.argv[1]), sys.argv[2] + str(number) + 'x' * 2000)"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, str(file), name]) for name in ("a", "b")]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    lines = [line.rstrip("x") for line in file.read_text().splitlines()]
    assert sorted(lines) == sorted(f"{name}{number}" for name in ("a", "b") for number in range(400))


@pytest.mark.parametrize("content", [b"", b"{", b'{"id": 3}', b"\xff\xff"])
def test_a_damaged_record_is_named(tmp_path, content):
    run = create_run(tmp_path, RunSpec())
    (run.folder / "record.json").write_bytes(content)
    with pytest.raises(RunError, match=run.id):
        run.record()


def test_a_damaged_spec_is_named(tmp_path):
    run = create_run(tmp_path, RunSpec())
    (run.folder / "spec.json").write_text("{")
    with pytest.raises(RunError, match="no readable spec"):
        run.spec()


def test_an_active_run_is_not_deleted(tmp_path):
    run = create_run(tmp_path, RunSpec())
    run.update(status="running")
    with pytest.raises(RunError, match="stop it first"):
        delete_run(run)
    run.update(status="finished")
    delete_run(run)
    assert not run.folder.exists()


def test_an_update_changes_only_what_is_named(tmp_path):
    run = create_run(tmp_path, RunSpec())
    before = run.record()
    after = run.update(step=7)
    assert after == before.model_copy(update={"step": 7}) == run.record()


def test_an_unknown_status_is_refused(tmp_path):
    run = create_run(tmp_path, RunSpec())
    with pytest.raises(ValueError, match="status"):
        run.update(status="sleeping")


def test_writing_is_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "a.json"
    write_whole(file, "old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(RunError, match="disk is full"):
        write_whole(file, "new")
    assert file.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_resume_supersedes_the_steps_after_its_checkpoint():
    events = [step(0), step(1), step(2), StatusEvent(status="resumed", step=2), step(2, loss=9.0), step(3)]
    kept = [event for event in effective(events) if isinstance(event, StepResult)]
    assert [(event.step, event.loss) for event in kept] == [(0, 5.0), (1, 5.0), (2, 9.0), (3, 5.0)]


def test_controls_survive_a_resume():
    events = [ControlEvent(control="alpha", step=5, value=2.0), StatusEvent(status="resumed", step=2)]
    assert any(event.kind == "control" for event in effective(events))


def test_tables_hold_every_step_and_the_speed(tmp_path):
    tables = run_tables([step(0), Progress(phase="loading"), step(1, tokens=50, seconds=2.0)])
    assert list(tables.steps["step"]) == [0, 1]
    assert list(tables.steps["tokens_per_second"]) == [200.0, 25.0]


def test_tables_of_nothing_have_their_columns():
    tables = run_tables([])
    assert len(tables.steps) == 0 and "reroute_loss" in tables.steps
    assert len(tables.heldout) == 0 and "cosine" in tables.heldout


def test_spec_differences_show_only_what_differs():
    first = RunSpec()
    second = first.model_copy(update={"seed": 9})
    differences = spec_differences([first, second])
    assert list(differences.index) == ["seed"]
    assert list(differences.loc["seed"]) == [0, 9]
    assert "loss.space" in flat(first)


def test_a_record_ignores_what_a_later_version_added():
    content = Record(id="a", status="finished", digest="d").model_dump() | {"later": 1}
    assert Record.model_validate(content).id == "a"


def test_a_run_that_ships_is_read_only(tmp_path, monkeypatch):
    monkeypatch.setattr("engine.records.runs.SAMPLE_DATA", tmp_path)
    run = create_run(tmp_path / "runs", RunSpec())
    assert Run(run.folder).read_only
    with pytest.raises(RunError, match="read-only"):
        run.set_label(name="x", note="")
    with pytest.raises(RunError, match="cannot be deleted"):
        delete_run(run)


def test_figures_that_are_not_finite_survive_their_files(tmp_path):
    run = create_run(tmp_path, RunSpec())
    run.update(figures={"heldout_cosine": float("nan"), "heldout_drift": float("inf")})
    assert run.record().figures["heldout_drift"] == float("inf")
    run.append(step(0, loss=float("nan")))
    [event] = run.events()[0]
    assert event.loss != event.loss


def test_what_is_made_of_runs_that_ship_goes_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    shipped = read_settings(SAMPLE_DATA / "runs")
    own = read_settings(tmp_path / "runs")
    assert shipped.desk.is_relative_to(tmp_path / "cache") and own.desk == tmp_path / "runs" / ".workbench"
    for place in (shipped.desk, shipped.cards, shipped.worker_log, shipped.models, shipped.answers):
        assert not place.is_relative_to(SAMPLE_DATA)
