"""`python -m engine evaluate` from the first argument to the report, on a tiny model that was trained."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from making import drain
from making_bfcl import write_bfcl
from making_kept import copied, trained_by_command

from engine.__main__ import main
from engine.compute.evaluation import runner
from engine.desk.lock import owned
from engine.desk.queue import PRIORITY, Queue
from engine.device import Device
from engine.jobs.evaluation import _least_harmful, evaluate, evaluate_job
from engine.records.conversation import Conversation
from engine.records.errors import RunError
from engine.records.evaluation.findings import read_evaluations, read_samples
from engine.records.evaluation.plan import EvaluationPlan
from engine.records.evaluation.rows import EvaluationRow
from engine.records.evaluation.sides import SidedRows
from engine.records.runs import Run
from engine.records.settings import Settings
from engine.records.spec import RunSpec
from engine.worker import Worker


@pytest.fixture
def rows(tmp_path: Path) -> tuple[str, str]:
    """Harmful rows, one with a target and one without, and one benign row."""
    harmful, benign = tmp_path / "h.jsonl", tmp_path / "b.jsonl"
    harmful.write_text('{"prompt": "Say abc.", "target": "Sure, abc"}\n{"prompt": "Which letters come first?"}\n')
    benign.write_text('{"prompt": "Say def."}\n')
    return str(harmful), str(benign)


@pytest.fixture(scope="module")
def made(lasting_spec: Callable[..., RunSpec], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Each test gets a copy of it."""
    return trained_by_command(
        tmp_path_factory.mktemp("made"), lasting_spec(**{"optimizer.steps": 4, "adapter.noise": 0.2})
    )


@pytest.fixture
def trained(made: Run, settings: Settings) -> Run:
    return copied(made, settings)


def weights(run: Run) -> dict[str, str]:
    """Digests of all that training wrote."""
    files = [file for file in run.folder.rglob("*") if file.is_file() and "evaluations" not in file.parts]
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_the_command_writes_its_report_and_leaves_the_run_as_it_was(
    trained: Run, rows: tuple[str, str], tmp_path: Path
):
    before, out = weights(trained), tmp_path / "deep" / "out.json"
    arguments = ["evaluate", trained.id, "--harmful", rows[0], "--benign", rows[1], "--tokens", "8"]
    assert main([*arguments, "--attack", "direct", "--attack", "prefill", "--json", str(out)]) == 0
    report = json.loads(out.read_text())
    assert report["run"] == trained.id
    assert list(report["attacks"]) == ["direct", "prefill"]
    for attack in report["attacks"].values():
        for side in ("base", "rerouted"):
            assert attack[side]["n"] == 2
            assert attack[side]["complied"] + attack[side]["refused"] + attack[side]["incoherent"] == 2
            assert 0 <= attack[side]["ci95"][0] <= attack[side]["rate"] <= attack[side]["ci95"][1] <= 1
    assert report["benign"]["base"]["n"] == report["benign"]["rerouted"]["n"] == 1
    harmful = report["loss"]["harmful"]
    assert harmful["base"] > 0 and harmful["base"] != harmful["rerouted"]
    targets = harmful["targets"]
    assert targets["n"] == 1 and targets["lost"] in (0, 1) and set(targets["rest"]) == {"base", "rerouted"}
    assert weights(trained) == before


def test_an_attack_that_the_runs_own_rows_are_not_for_is_named(trained: Run, capsys: pytest.CaptureFixture[str]):
    arguments = ["evaluate", trained.id, "--harmful", "own", "--benign", "own", "--tokens", "4", "--limit", "1"]
    assert main([*arguments, "--attack", "direct", "--attack", "forced_call"]) == 0
    said = capsys.readouterr()
    assert "forced_call      asked nothing" in said.err and "direct           asked" not in said.err
    assert "  direct           base" in said.out
    assert main(arguments) == 0
    assert "asked nothing" not in capsys.readouterr().err


def test_a_checkpoint_is_another_model_than_the_finished_adapter(
    trained: Run, rows: tuple[str, str], settings: Settings
):
    def found(state: str) -> float | None:
        plan = EvaluationPlan(checkpoint=state, harmful=rows[0], benign=rows[1], new_tokens=4)
        _, evaluation = drain(evaluate(plan, Device(settings).tools(0)))
        assert evaluation.run == state
        return evaluation.loss["harmful"].rerouted

    assert found(f"{trained.id}@2") != found(trained.id)


def test_what_is_wrong_is_said_and_exits_with_two(
    trained: Run, rows: tuple[str, str], capsys: pytest.CaptureFixture[str]
):
    cases = [
        (["no-such-run"], "There is no run 'no-such-run'"),
        ([f"{trained.id}@999"], "no checkpoint of step 999"),
        ([trained.id, "--harmful", "/nowhere.jsonl"], "/nowhere.jsonl does not exist"),
        ([trained.id, "--attack", "magic"], "There is no attack 'magic'"),
        ([trained.id, "--ability", "magic"], "There is no ability 'magic'"),
        ([trained.id, "--tokens", "0"], "--tokens: "),
        ([trained.id, "--json", "/proc/out.json"], "/proc/out.json"),
    ]
    for arguments, said in cases:
        assert main(["evaluate", "--harmful", rows[0], "--benign", rows[1], *arguments]) == 2, arguments
        assert said in capsys.readouterr().err


def test_an_evaluation_is_of_the_time_at_which_its_weights_were_attached(
    trained: Run, rows: tuple[str, str], settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    """What is trained while it asks is newer than what it measures."""
    clock = iter(range(1000, 1_000_000))
    monkeypatch.setattr("engine.jobs.evaluation.time.time", lambda: float(next(clock)))
    asked: list[float] = []
    direct = runner.ATTACK_FUNCTIONS["direct"]

    def recorded(*given):
        asked.append(float(next(clock)))
        return direct(*given)

    monkeypatch.setitem(runner.ATTACK_FUNCTIONS, "direct", recorded)
    plan = EvaluationPlan(checkpoint=trained.id, harmful=rows[0], benign="", new_tokens=4)
    _, evaluation = drain(evaluate(plan, Device(settings).tools(0)))
    assert asked and evaluation.created < asked[0]


def test_speed_is_measured_on_the_least_harmful_requests_that_there_are(
    trained: Run, rows: tuple[str, str], settings: Settings
):
    """Benign ones, else borderline ones, else harmful ones: an evaluation of harmful requests alone has a speed too."""
    plan = EvaluationPlan(checkpoint=trained.id, harmful=rows[0], benign="", abilities=("speed",), new_tokens=4)
    _, evaluation = drain(evaluate(plan, Device(settings).tools(0)))
    [speed] = evaluation.abilities
    assert speed.name == "speed" and speed.base and speed.rerouted
    harmful, benign, borderline = ([EvaluationRow(Conversation.asking(one))] for one in ("h", "b", "e"))
    assert _least_harmful(SidedRows(harmful, benign, borderline)) is benign
    assert _least_harmful(SidedRows(harmful, [], borderline)) is borderline
    assert _least_harmful(SidedRows(harmful, [], [])) is harmful


def test_an_evaluation_that_was_broken_off_asks_nothing_twice(
    trained: Run, rows: tuple[str, str], settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    asked: list[tuple[str, int]] = []
    for name, function in list(runner.ATTACK_FUNCTIONS.items()):

        def recorded(model, adapter, rows, options, *, name=name, function=function):
            asked.append((name, len(rows)))
            return function(model, adapter, rows, options)

        monkeypatch.setitem(runner.ATTACK_FUNCTIONS, name, recorded)
    plan = EvaluationPlan(checkpoint=trained.id, harmful=rows[0], benign=rows[1], new_tokens=4)
    steps = evaluate(plan, Device(settings).tools(0))
    while ("prefill", 2) not in asked:
        next(steps)
    steps.close()
    assert asked == [("direct", 2), ("prefill", 2)]
    drain(evaluate(plan, Device(settings).tools(0)))
    base_prefill_again = asked.count(("prefill", 2)) - 2
    assert base_prefill_again <= 1
    whole = len(asked)
    assert asked.count(("direct", 2)) == 2
    drain(evaluate(plan, Device(settings).tools(0)))
    assert len(asked) == whole


def test_the_worker_evaluates_beside_training_and_a_cancel_leaves_no_report(
    trained: Run, rows: tuple[str, str], settings: Settings
):
    queue = Queue(settings.desk)
    plan = EvaluationPlan(checkpoint=trained.id, harmful=rows[0], benign=rows[1], new_tokens=4)
    with owned(settings):
        worker = Worker(settings)
        first = queue.submit("evaluate", run_id=trained.id, payload=plan.model_dump(mode="json"))
        worker.turn()
        worker.turn()
        queue.cancel(first)
        while worker.turn():
            pass
        assert queue.job(first).status == "cancelled" and not read_evaluations(trained, settings)
        second = queue.submit("evaluate", run_id=trained.id, payload=plan.model_dump(mode="json"))
        while worker.turn():
            pass
    assert queue.job(second).status == "done", queue.job(second).error
    assert queue.progress(second).phase.startswith("loss")
    [found] = read_evaluations(trained, settings)
    assert len(read_samples(trained, settings, found.key)) == 2 * (1 + 2 * 2)
    assert PRIORITY["evaluate"] == PRIORITY["train"]


def test_two_evaluations_take_turns_so_that_the_base_model_is_asked_once(
    trained: Run, rows: tuple[str, str], settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    asked: list[str | None] = []
    direct = runner.ATTACK_FUNCTIONS["direct"]

    def recorded(model, adapter, rows, options):
        asked.append(adapter)
        return direct(model, adapter, rows, options)

    monkeypatch.setitem(runner.ATTACK_FUNCTIONS, "direct", recorded)
    queue = Queue(settings.desk)
    with owned(settings):
        worker = Worker(settings)
        for state in (trained.id, f"{trained.id}@2"):
            plan = EvaluationPlan(checkpoint=state, harmful=rows[0], benign=rows[1], new_tokens=4)
            queue.submit("evaluate", run_id=trained.id, payload=plan.model_dump(mode="json"))
        while worker.turn() or worker.tasks:
            pass
    assert len(read_evaluations(trained, settings)) == 2
    assert asked.count(None) == 2


def test_a_run_in_training_is_evaluated_at_a_checkpoint_alone(trained: Run, rows: tuple[str, str], settings: Settings):
    trained.update(status="running")
    plan = EvaluationPlan(checkpoint=trained.id, harmful=rows[0], benign=rows[1], new_tokens=4)
    with pytest.raises(RunError, match="its weights still move"):
        drain(evaluate(plan, Device(settings).tools(0)))
    drain(evaluate(plan.model_copy(update={"checkpoint": f"{trained.id}@2"}), Device(settings).tools(0)))


def test_a_job_of_the_worker_reads_the_plan_as_json(trained: Run, rows: tuple[str, str], settings: Settings):
    plan = EvaluationPlan(checkpoint=trained.id, harmful=rows[0], benign=rows[1], new_tokens=4, abilities=("speed",))
    drain(evaluate_job(json.loads(plan.model_dump_json()), Device(settings).tools(0)))
    [found] = read_evaluations(trained, settings)
    assert found.abilities[0].name == "speed" and (found.abilities[0].base or 0) > 0


def test_function_calling_that_the_template_has_no_place_for_is_refused_before_any_attack(
    trained: Run, rows: tuple[str, str], settings: Settings, capsys: pytest.CaptureFixture
):
    write_bfcl(settings)
    arguments = ["evaluate", trained.id, "--harmful", rows[0], "--benign", rows[1], "--ability", "bfcl:parallel"]
    assert main(arguments) == 2
    assert "leaves the tools out that are offered (lamp.set)" in capsys.readouterr().err
    assert not (settings.cache / "evaluations").exists()
