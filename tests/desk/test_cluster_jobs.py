"""Jobs of a cluster without one: what is said of their ends, and what is asked of a Slurm that takes its time."""

import threading
from collections.abc import Callable, Collection

import pytest

from engine.afterwards import begin_evaluation, make_up
from engine.bookkeeping import RunBook
from engine.desk import cluster, launch, slurm, worker_job
from engine.desk.cluster import at_work, control, look_at, settle, take_home
from engine.desk.launch import ensure_worker
from engine.desk.queue import Queue
from engine.desk.slurm import Answer, JobState, Watch
from engine.desk.worker_job import send_worker
from engine.records.cluster_jobs import ClusterJob, write_job
from engine.records.clusters import Resources
from engine.records.errors import RunError
from engine.records.files import write_whole
from engine.records.runs import Run, create_run
from engine.records.settings import Settings
from engine.records.spec import RunSpec

ASKED = Resources(partition="gpu")
JOB = ClusterJob(cluster="a100", asked=ASKED, job="12", submitted=1.0)


@pytest.fixture
def run(settings: Settings, tiny_spec: Callable[..., RunSpec]) -> Run:
    run = create_run(settings.runs, tiny_spec())
    write_job(run, JOB)
    return run


@pytest.fixture
def called_back(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(slurm, "call_back", found.append)
    return found


@pytest.mark.parametrize(
    "state", [None, *map(JobState, ("TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "CANCELLED", "PREEMPTED", "FAILED"))]
)
@pytest.mark.parametrize("status", ["finished", "stopped"])
def test_where_only_the_evaluation_was_lost_its_words_do_not_send_anybody_to_resume_the_run(
    run: Run, settings: Settings, status: str, state: JobState | None
):
    run.update(status=status, step=6, evaluation="due")
    assert settle(run, Answer({"12": state} if state else {}), settings)
    record = run.record()
    assert (record.status, record.evaluation, record.error) == (status, "failed", "")
    assert "ob 12" in record.evaluation_error and "esume" not in record.evaluation_error
    assert record.evaluation_error.endswith(": measure its answers on its page.")


def test_a_cancel_throws_a_run_away_whose_end_another_tab_has_noted_meanwhile(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    states = {"12": JobState("PENDING")}

    def call_back(_: str) -> None:
        states["12"] = JobState("CANCELLED")
        assert settle(run, Answer(states), settings) and run.record().status == "interrupted"

    monkeypatch.setattr(slurm, "call_back", call_back)
    monkeypatch.setattr(slurm, "job_states", lambda _: Answer(states))
    run.update(step=3)
    control(run, settings, "cancel")
    record = run.record()
    assert (record.status, record.step, record.error) == ("stopped", 0, "Cancelled: nothing was kept.")


def test_what_is_taken_back_to_be_gone_on_with_stays_as_it_was_noted(
    run: Run, settings: Settings, called_back: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(slurm, "job_states", lambda _: Answer())
    run.update(status="interrupted", step=3, error="Noted.")
    cluster.take_back(run, settings)
    assert called_back == ["12"] and (run.record().status, run.record().error) == ("interrupted", "Noted.")


def test_the_worker_s_job_that_cannot_be_noted_is_called_back(
    settings: Settings, called_back: list[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(worker_job, "submit_command", lambda *_, **__: "13")

    def full(*_: object) -> None:
        raise RunError("The disk is full.")

    monkeypatch.setattr(worker_job, "write_whole", full)
    with pytest.raises(RunError, match=r"The disk is full\."):
        send_worker(settings, to="a100", asked=ASKED)
    assert called_back == ["13"]


class Slow:
    """A squeue that answers when it is told to, and knows every job as one that waits."""

    def __init__(self) -> None:
        self.asked: list[frozenset[str]] = []
        self.begun, self.may_answer = threading.Semaphore(0), threading.Semaphore(0)

    def __call__(self, jobs: Collection[str]) -> Answer:
        self.asked.append(frozenset(jobs))
        self.begun.release()
        assert self.may_answer.acquire(timeout=30)
        return Answer(dict.fromkeys(jobs, JobState("PENDING")))


@pytest.fixture
def squeue(monkeypatch: pytest.MonkeyPatch) -> Slow:
    slow = Slow()
    monkeypatch.setattr(slurm, "job_states", slow)
    return slow


def test_who_has_patience_is_told_of_new_jobs_though_a_question_about_others_was_under_way(squeue: Slow):
    watch = Watch()
    assert "has not answered yet" in watch.states(["1"], patience=0.0).problem
    assert squeue.begun.acquire(timeout=30)
    answers: list[Answer] = []
    waiting = threading.Thread(target=lambda: answers.append(watch.states(["2"], patience=30)))
    waiting.start()
    squeue.may_answer.release(2)
    waiting.join(30)
    assert squeue.asked == [{"1"}, {"1", "2"}]
    assert answers[0].problem == "" and answers[0].states["2"].waits


def test_no_worker_is_started_beside_one_that_waits_for_its_node_where_slurm_takes_its_time(
    settings: Settings, squeue: Slow, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(worker_job, "watch", Watch())
    started: list[list[str]] = []

    def start(command: list[str], **_: object) -> None:
        started.append(command)
        raise OSError("a worker was started")

    monkeypatch.setattr(launch.subprocess, "Popen", start)
    write_whole(settings.desk / "worker-job.json", JOB.model_dump_json())
    late = threading.Timer(1.5, squeue.may_answer.release)
    late.start()
    assert ensure_worker(settings).status == "dead" and started == []
    late.join()


@pytest.mark.parametrize("dies", [False, True])
def test_evaluations_that_were_to_follow_there_follow_the_training_of_a_run_that_is_taken_home(
    run: Run, settings: Settings, called_back: list[str], dies: bool
):
    """Also where the worker died between the end of the training and their queueing."""
    plan = {"attacks": [{"name": "direct"}], "state": run.id}
    write_job(run, JOB.model_copy(update={"evaluations": (plan,)}))
    queue = Queue(settings.desk)
    for status, planned in (("interrupted", []), ("stopped", []), ("finished", [plan])):
        run.update(status=status, step=6)
        take_home(run, settings)
        make_up(settings, queue) if dies else begin_evaluation(queue, RunBook(run))
        assert [job.payload for job in queue.newest("evaluate")] == planned
    queue.finish(queue.newest("evaluate")[0].id)
    make_up(settings, queue)
    begin_evaluation(queue, RunBook(run))
    assert len(queue.newest("evaluate")) == 1, "once"


class Said:
    """A watch that has these states, and notes what it is asked for."""

    def __init__(self, answer: Answer) -> None:
        self.answer, self.asked = answer, list[str]()

    def states(self, jobs: Collection[str], *, patience: float = 1.0) -> Answer:
        self.asked += jobs
        return self.answer


def test_a_finished_run_is_its_job_s_until_the_evaluations_that_came_with_it_have_ended(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
):
    write_job(run, JOB.model_copy(update={"evaluations": ({"state": run.id},)}))
    run.update(status="finished", step=6)
    said = Said(Answer({"12": JobState("RUNNING")}))
    monkeypatch.setattr(cluster, "watch", said)
    look_at([run], settings)
    place = at_work(run)
    assert place is not None and place.words == "a100, job 12: RUNNING"
    # Without an answer what was said last stands.
    said.answer = Answer({"12": JobState("RUNNING")}, "Slurm gives no answer.")
    assert at_work(run) is not None
    said.answer = Answer({"12": JobState("COMPLETED")})
    assert at_work(run) is None
    said.asked.clear()
    look_at([run], settings)
    assert at_work(run) is None and said.asked == [], "what has ended is not asked for again"


def test_a_finished_run_of_which_slurm_never_said_a_word_is_nobody_s(run: Run, monkeypatch: pytest.MonkeyPatch):
    write_job(run, JOB.model_copy(update={"evaluations": ({"state": run.id},)}))
    run.update(status="finished", step=6)
    monkeypatch.setattr(cluster, "watch", Said(Answer({}, "squeue is not installed here")))
    assert at_work(run) is None
    write_job(run, JOB)
    monkeypatch.setattr(cluster, "watch", Said(Answer({"12": JobState("RUNNING")})))
    assert at_work(run) is None, "no evaluation came with it"
