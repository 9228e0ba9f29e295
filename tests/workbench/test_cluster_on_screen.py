"""A cluster on the screen, with a stand-in for Slurm: where to run, the run in every list, and its end being noted."""

import json
import os
import sys
from collections.abc import Callable, Iterator

import pytest
from streamlit.testing.v1 import AppTest

from engine.desk import cluster, worker_job
from engine.desk.lock import owned
from engine.desk.presence import beat
from engine.desk.queue import Queue
from engine.desk.slurm import Answer, JobState
from engine.records.cluster_jobs import ClusterJob, settings_of, write_job
from engine.records.clusters import Resources
from engine.records.files import write_whole
from engine.records.notices import notices_file
from engine.records.runs import Run, create_run
from engine.records.settings import ROOT, Settings
from engine.records.spec import RunSpec
from workbench.kit import state
from workbench.kit.where import queues_of
from workbench.runs import overview
from workbench.runs.line import waiting_line
from workbench.runs.overview import run_rows

TABLE = '[a100]\npartition = "gpu"\ngpus = 2\ncpus = 8\nmemory_gb = 64\nhours = 8\n'


@pytest.fixture(autouse=True)
def screen(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for module in ("engine.desk.launch", "workbench.sidebar", "workbench.runs.controls"):
        monkeypatch.setattr(f"{module}.ensure_worker", lambda _: None)
    monkeypatch.delenv("WORKBENCH_CLUSTERS", raising=False)
    settings.runs.mkdir(parents=True)
    state.settings.cache_clear()
    yield
    state.settings.cache_clear()


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answer], None]:
    """What Slurm says from now on."""

    class Said:
        answer = Answer()

        def states(self, _jobs, *, patience: float = 1.0) -> Answer:
            return self.answer

    said = Said()
    for module in (cluster, worker_job):
        monkeypatch.setattr(module, "watch", said)

    def say(answer: Answer) -> None:
        said.answer = answer

    return say


@pytest.fixture
def run(settings: Settings, tiny_spec: Callable[..., RunSpec]) -> Run:
    run = create_run(settings.runs, tiny_spec(), name="far away")
    asked = Resources(partition="gpu", gpus=2)
    write_job(run, ClusterJob(cluster="a100", asked=asked, job="12", submitted=1.0))
    return run


def texts(page: AppTest) -> str:
    assert not page.exception
    said = [part.value for part in (*page.caption, *page.markdown, *page.warning, *page.info, *page.error)]
    said += [bar.proto.text for bar in page.get("progress")]
    return "\n".join(said).replace("\\", "")


def opened(name: str, **query: str) -> AppTest:
    page = AppTest.from_file(str(ROOT / "pages" / f"{name}.py"), default_timeout=60)
    for key, value in query.items():
        page.query_params[key] = value
    return page.run()


def test_train_offers_no_place_where_no_cluster_is_described():
    page = opened("train")
    assert not page.exception and "where_to_run" not in {box.key for box in page.selectbox}


def test_train_offers_a_cluster_with_what_it_asks_for_and_the_command_that_does_the_same(settings: Settings):
    (settings.runs.parent / "clusters.toml").write_text(TABLE)
    page = opened("train")
    assert page.selectbox(key="where_to_run").options == ["This machine", "Cluster a100"]
    page.selectbox(key="where_to_run").select("a100").run()
    page.number_input(key="hours_a100").set_value(3.0).run()
    assert "8 cores, 64 GB" in texts(page)
    assert "--cluster a100 \\\n  --partition gpu --gpus 2 --hours 3" in page.code[0].value
    page.text_input(key="partition_a100").set_value("gpu; rm").run()
    assert "partition is 'gpu; rm': it must match" in texts(page)


def test_a_wrong_file_is_said_on_train_and_this_machine_still_trains(settings: Settings):
    (settings.runs.parent / "clusters.toml").write_text("[a100]\ngpus = 1\n")
    page = opened("train")
    assert "[a100]: partition is missing" in texts(page)
    assert "where_to_run" not in {box.key for box in page.selectbox}


def test_a_run_that_waits_on_a_cluster_says_why_in_the_list_on_its_page_and_on_home(run: Run, says: Callable):
    says(Answer({"12": JobState("PENDING", "Resources")}))
    for page in (opened("runs"), opened("runs", run=run.id), opened("home")):
        assert "a100, job 12: PENDING (Resources)" in texts(page)
    page = opened("runs", run=run.id)
    assert "gpu, 2 GPUs, 8 h" in texts(page)
    assert {"take_back", "control_cancel"} <= {button.key for button in page.button}
    # It is not in the line of this machine's worker.
    assert waiting_line(state.queue().worker()) == {} and "The worker is not running" not in texts(page)


def test_a_run_that_moves_is_not_taken_for_interrupted_without_a_local_worker(run: Run, says: Callable):
    run.update(status="running", step=3)
    says(Answer({"12": JobState("RUNNING", "None", "node7")}))
    page = opened("runs", run=run.id)
    assert "a100, job 12: RUNNING" in texts(page) and "control_stop" in {button.key for button in page.button}
    says(Answer({"12": JobState("PENDING", "BeginTime")}))
    page = opened("runs", run=run.id)
    assert run.record().status == "running" and "take_back" in {button.key for button in page.button}


def test_while_slurm_says_nothing_the_run_stays_as_it_was_and_the_page_says_so(run: Run, says: Callable):
    run.update(status="running", step=3)
    says(Answer({"12": JobState("RUNNING", "None")}, "Slurm gives no answer."))
    assert "Slurm gives no answer. The job is shown as it was said last." in texts(opened("runs", run=run.id))
    assert run.record().status == "running"


def test_a_cancel_of_a_run_that_waits_is_done_when_it_is_said(
    run: Run, says: Callable, monkeypatch: pytest.MonkeyPatch
):
    waits = Answer({"12": JobState("PENDING", "Resources")})
    says(waits)
    monkeypatch.setattr(cluster.slurm, "job_states", lambda _: waits)
    monkeypatch.setattr(cluster.slurm, "call_back", lambda _: None)
    monkeypatch.setattr(cluster, "ENDING_SECONDS", 0.5)
    page = opened("runs", run=run.id)
    page.button(key="control_cancel").click().run()
    assert not page.exception and run.record().status == "stopped"
    assert [toast.value.replace("\\", "") for toast in page.toast] == ["The run is cancelled: nothing was kept."]


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ({"12": JobState("NODE_FAIL")}, "The node of job 12 failed, and Slurm did not begin it again: resume it."),
        ({"12": JobState("TIMEOUT")}, "was ended at its limit of 8 hours"),
        ({"12": JobState("OUT_OF_MEMORY")}, "needed more than the 32 GB it asked for: resume it with more."),
        ({"12": JobState("FAILED", "NonZeroExitCode")}, "ended as FAILED (NonZeroExitCode): its log says why."),
        ({}, "Slurm knows job 12 no more"),
    ],
)
def test_a_job_that_ended_without_a_word_leaves_a_run_that_can_be_resumed_there_or_here(
    run: Run, says: Callable, states: dict, said: str
):
    run.update(status="running", step=3)
    says(Answer(states))
    out = state.settings().runs / "told.json"
    script = f"import sys, pathlib; pathlib.Path({str(out)!r}).write_text(sys.stdin.read())"
    notices_file(state.settings()).write_text(f"[bell]\ncommand = {json.dumps([sys.executable, '-c', script])}\n")
    page = opened("runs", run=run.id)
    assert said in texts(page) and run.record().status == "interrupted"
    assert json.loads(out.read_text())["status"] == "interrupted"
    buttons = {button.key: button.label for button in page.button}
    assert buttons["resume_cluster"] == "Resume there" and buttons["resume_run"] == "Resume on this machine"


def test_a_job_that_had_too_little_is_resumed_with_more_and_with_what_was_to_follow(
    run: Run, says: Callable, monkeypatch: pytest.MonkeyPatch
):
    plan = {"attacks": ["direct"]}
    asked = Resources(partition="gpu", gpus=2, hours=0.5)
    write_job(run, ClusterJob(cluster="a100", asked=asked, job="12", submitted=1.0, evaluations=(plan,)))
    run.update(status="interrupted", step=3)
    says(Answer())
    sent = []

    def send(runs, **named):
        sent.append(named)
        return [ClusterJob(cluster="a100", asked=named["asked"], job="13")]

    monkeypatch.setattr("workbench.runs.controls.send", send)
    page = opened("runs", run=run.id)
    assert (
        page.number_input(key=f"resume_hours_{run.id}").value,
        page.number_input(key=f"resume_memory_{run.id}").value,
    ) == (0.5, 32)
    page.number_input(key=f"resume_hours_{run.id}").set_value(20.0)
    page.number_input(key=f"resume_memory_{run.id}").set_value(64.0)
    page.button(key="resume_cluster").click().run()
    assert [toast.value.replace("\\", "") for toast in page.toast] == ["Job 13 on a100 goes on with the run."]
    assert sent[0]["asked"] == asked.model_copy(update={"hours": 20.0, "memory_gb": 64.0})
    assert sent[0]["evaluations"] == {run.id: (plan,)} and sent[0]["to"] == "a100"


def test_a_finished_run_that_its_job_still_evaluates_says_so_and_is_not_deleted(run: Run, says: Callable):
    asked = Resources(partition="gpu", gpus=2)
    plan = {"state": run.id}
    write_job(run, ClusterJob(cluster="a100", asked=asked, job="12", submitted=1.0, evaluations=(plan,)))
    run.update(status="finished", step=6)
    Queue(settings_of(run, state.settings()).desk).submit("evaluate", run_id=run.id, payload=plan)
    says(Answer({"12": JobState("RUNNING", "None")}))
    for page in (opened("runs"), opened("runs", run=run.id)):
        assert "evaluates it on a100, job 12: RUNNING" in texts(page)
    assert [len(queues_of(run)), [row.cluster for row in run_rows()]] == [2, ["evaluates it on a100, job 12: RUNNING"]]
    said: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overview.st, "caption", said.append)
        patch.setattr(overview.st, "checkbox", lambda *_, **__: pytest.fail("a delete was offered"))
        overview._delete(run_rows()[0])
    assert "wait until it has ended" in said[0]
    says(Answer({"12": JobState("COMPLETED")}))
    assert [len(queues_of(run)), [row.cluster for row in run_rows()]] == [1, [""]]


def test_a_worker_that_is_a_cluster_s_job_is_called_back_and_not_said_to_be_restarted(
    settings: Settings, says: Callable
):
    says(Answer({"12": JobState("RUNNING", "None")}))
    asked = Resources(partition="gpu")
    with owned(settings):
        for on_cluster, expected in ((False, "restart_worker"), (True, "call_back")):
            if on_cluster:
                job = ClusterJob(cluster="a100", asked=asked, job="12")
                write_whole(settings.desk / "worker-job.json", job.model_dump_json())
            beat(settings.desk, status="idle", pid=os.getpid())
            page = AppTest.from_string("from workbench.sidebar import sidebar\nsidebar()", default_timeout=60).run()
            keys = {button.key for button in page.button}
            assert not page.exception and {"restart_worker", "call_back"} & keys == {expected}
    assert "It runs on a100, job 12: RUNNING: ends that job." in texts(page)
