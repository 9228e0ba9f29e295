"""The file that describes clusters, and the note of a job in a run's folder: what is wrong is said with its value."""

import pytest

from engine.desk import sending
from engine.desk.queue import Queue
from engine.records.cluster_jobs import (
    ClusterJob,
    forget_job,
    is_on_cluster,
    read_job,
    served_runs,
    settings_of,
    write_job,
)
from engine.records.clusters import Resources, find_cluster, need_shared, read_clusters
from engine.records.errors import ClusterError, RunError
from engine.records.installed import differing, versions
from engine.records.runs import create_run
from engine.records.settings import read_settings

GOOD = 'partition = "gpu"\ngpus = 2\ncpus = 8\nmemory_gb = 64\nhours = 8\n'


@pytest.fixture
def described(settings, monkeypatch):
    def write(text: str):
        settings.runs.mkdir(parents=True, exist_ok=True)
        (settings.runs.parent / "clusters.toml").write_text(text)
        return settings

    monkeypatch.delenv("WORKBENCH_CLUSTERS", raising=False)
    return write


def test_without_a_file_there_is_no_cluster_and_a_file_may_lie_elsewhere(settings, tmp_path, monkeypatch):
    monkeypatch.delenv("WORKBENCH_CLUSTERS", raising=False)
    assert read_clusters(settings) == {}
    monkeypatch.setenv("WORKBENCH_CLUSTERS", str(tmp_path / "mine.toml"))
    with pytest.raises(ClusterError, match=r"mine\.toml, which is not there: write it, or unset it"):
        read_clusters(settings)
    (tmp_path / "mine.toml").write_text("[a100]\n" + GOOD)
    assert list(read_clusters(settings)) == ["a100"]


def test_a_job_asks_for_what_the_cluster_says_unless_it_is_told_otherwise(described):
    cluster = find_cluster(described(f"[a100]\n{GOOD}"), "a100")
    assert cluster.asked().model_dump() == {"partition": "gpu", "gpus": 2, "cpus": 8, "memory_gb": 64, "hours": 8}
    assert cluster.asked(hours=2.5, partition="short", gpus=None).hours == 2.5
    with pytest.raises(ClusterError, match=r"hours is 721: it must be less than or equal to 720"):
        cluster.asked(hours=721)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a100]\ngpus = 1", r"\[a100\]: partition is missing: a cluster needs, for example, partition = "),
        (f"[a100]\n{GOOD}gpu = 1", r"\[a100\]: gpu is no setting of a cluster: choose from partition, gpus"),
        (f"[a100]\n{GOOD}".replace("gpus = 2", "gpus = -1"), r"gpus is -1: it must be greater than or equal to 0"),
        (f"[a100]\n{GOOD}".replace("hours = 8", 'hours = "long"'), r"hours is 'long': it must be a valid number"),
        (f"[a100]\n{GOOD}".replace('"gpu"', '"gpu; rm -rf"'), r"partition is 'gpu; rm -rf': it must match pattern"),
        ("partition = 'gpu'", r"'partition' stands outside a table: write \[NAME\] first"),
        ("[a100", r"cannot be read: .* It must be a TOML file"),
    ],
)
def test_what_is_wrong_in_the_file_is_said_with_its_place_and_value(described, text, said):
    with pytest.raises(ClusterError, match=said):
        read_clusters(described(text))


def test_an_unknown_cluster_is_answered_with_those_there_are(described):
    settings = described(f"[a100]\n{GOOD}[cpu]\n{GOOD}")
    with pytest.raises(ClusterError, match=r"No cluster is called 'b200' in .*: choose one of a100, cpu"):
        find_cluster(settings, "b200")
    with pytest.raises(ClusterError, match=r"name it there: \[b200\], then partition = "):
        find_cluster(described(""), "b200")


def test_runs_must_lie_where_the_nodes_see_them(described, tmp_path):
    settings = described(f'[a100]\n{GOOD}shared = ["/nowhere"]')
    with pytest.raises(ClusterError, match=r"runs folder .* is in none of the folders that the nodes see \(/nowhere\)"):
        need_shared(find_cluster(settings, "a100"), settings)


def test_a_cluster_s_run_has_a_desk_of_its_own_and_no_other_worker_serves_it(described, tiny_spec):
    settings = described(f"[a100]\n{GOOD}")
    here, there = create_run(settings.runs, tiny_spec()), create_run(settings.runs, tiny_spec())
    job = ClusterJob(cluster="a100", asked=find_cluster(settings, "a100").asked(), job="12_3")
    write_job(there, job)
    assert read_job(there) == job and read_job(here) is None and is_on_cluster(there)
    assert [run.id for run in served_runs(settings)] == [here.id]
    own = settings_of(there, settings)
    assert own.desk == there.folder / "desk" and [run.id for run in served_runs(own)] == [there.id]
    assert settings_of(here, settings) == settings
    (there.folder / "cluster.json").write_text("{")
    with pytest.raises(RunError, match=r"no readable cluster\.json: delete it where no job"):
        read_job(there)


def test_versions_that_differ_are_named_and_python_is_not_counted():
    here = versions()
    assert set(here) >= {"python", "torch", "peft", "transformers"}
    assert differing(here, here) == "" and differing(here, {"python": "2.7"}) == ""
    assert (
        differing({"torch": "2.13.0", "peft": "1"}, {"torch": "2.12.0", "peft": "1"})
        == "torch 2.13.0 in place of 2.12.0"
    )


def test_of_several_runs_none_is_left_queued_where_one_cannot_be_handed_over(described, tiny_spec, monkeypatch):
    described('[a100]\npartition = "gpu"\n')
    settings = read_settings()
    first, second = (create_run(settings.runs, tiny_spec(), name=name) for name in ("first", "second"))
    first.update(status="interrupted")
    called_back = []
    queued_again = sending._queued_again

    def held(run, *given):
        if run.id == second.id:
            raise RunError("held by another")
        return queued_again(run, *given)

    monkeypatch.setattr(sending, "need_accepted", lambda *_: None)
    monkeypatch.setattr(sending, "_submitted", lambda *_, **__: ["7_0", "7_1"])
    monkeypatch.setattr(sending.slurm, "call_back", called_back.append)
    monkeypatch.setattr(sending, "_queued_again", held)
    with pytest.raises(RunError, match="held by another"):
        sending.send([first, second], to="a100", settings=settings)
    assert called_back == ["7_0", "7_1"] and read_job(first) is None and read_job(second) is None
    assert [run.record().status for run in (first, second)] == ["interrupted", "queued"]
    assert [event.status for event in first.events()[0] if event.kind == "status"][-1] == "interrupted"


def test_of_several_runs_one_that_is_cancelled_meanwhile_is_not_sent(described, tiny_spec, monkeypatch):
    described('[a100]\npartition = "gpu"\n')
    settings = read_settings()
    first, second = (create_run(settings.runs, tiny_spec(), name=name) for name in ("first", "second"))
    called_back = []

    def submitted(_cluster, _asked, commands, *_, **__):
        first.update(status="stopped")
        return [f"7_{place}" for place in range(len(commands))]

    monkeypatch.setattr(sending, "need_accepted", lambda *_: None)
    monkeypatch.setattr(sending, "_submitted", submitted)
    monkeypatch.setattr(sending.slurm, "call_back", called_back.append)
    (job,) = sending.send([first, second], to="a100", settings=settings)
    assert job.job == "7_1" and read_job(second) == job and second.record().status == "queued"
    assert called_back == ["7_0"] and read_job(first) is None and first.record().status == "stopped"
    first.update(status="queued")
    with pytest.raises(RunError, match="was cancelled while it was handed over"):
        sending.send([first], to="a100", settings=settings)
    assert read_job(first) is None


@pytest.fixture
def resumable(described, tiny_spec, monkeypatch):
    """A run that the cluster's job 5 has left, where sending it gives number 7."""
    described('[a100]\npartition = "gpu"\n')
    run = create_run(read_settings().runs, tiny_spec())
    run.update(status="interrupted", step=3)
    write_job(run, ClusterJob(cluster="a100", asked=Resources(partition="gpu"), job="5", submitted=1.0))
    monkeypatch.setattr(sending, "need_accepted", lambda *_: None)
    monkeypatch.setattr(sending, "_submitted", lambda *_, **__: ["7"])
    return run


def test_of_two_who_resume_a_run_at_once_the_second_is_told_so_and_the_first_one_s_job_keeps_it(resumable, monkeypatch):
    called_back, settings = [], read_settings()
    monkeypatch.setattr(sending.slurm, "call_back", called_back.append)
    checked = sending._need_free

    def second_one_begins(*given):
        """Both have looked, and found the run free."""
        monkeypatch.setattr(sending, "_need_free", checked)
        status = checked(*given)
        numbers.append(sending.send([resumable], to="a100", settings=settings)[0].job)
        return status

    numbers: list[str] = []
    monkeypatch.setattr(sending, "_need_free", second_one_begins)
    with pytest.raises(RunError, match=r"is on a100 already \(job 7\): wait, or take it back"):
        sending.send([resumable], to="a100", settings=settings)
    assert read_job(resumable).job == numbers[0] == "7" and called_back == []
    assert resumable.record().status == "queued"


def test_while_a_run_is_being_sent_nobody_else_sends_it(resumable, monkeypatch):
    settings, refused = read_settings(), []

    def submitted(*_, **__):
        with pytest.raises(RunError, match=r"is on a100 already \(job to come\)"):
            sending.send([resumable], to="a100", settings=settings)
        refused.append(read_job(resumable).job)
        return ["7"]

    monkeypatch.setattr(sending, "_submitted", submitted)
    sending.send([resumable], to="a100", settings=settings)
    assert refused == [""] and read_job(resumable).job == "7"


def test_a_run_that_was_taken_home_while_it_was_sent_stays_at_home(resumable, monkeypatch):
    settings, called_back = read_settings(), []
    monkeypatch.setattr(sending.slurm, "call_back", called_back.append)

    def submitted(*_, **__):
        forget_job(resumable)
        Queue(settings.desk).submit("train", run_id=resumable.id)
        return ["7"]

    monkeypatch.setattr(sending, "_submitted", submitted)
    with pytest.raises(RunError, match="was cancelled while it was handed over"):
        sending.send([resumable], to="a100", settings=settings)
    assert not is_on_cluster(resumable) and resumable.record().status == "interrupted" and "7" in called_back
    assert [job.run_id for job in Queue(settings.desk).newest("train")] == [resumable.id]


def test_a_job_with_gpus_takes_a_process_for_each_whatever_this_machine_s_worker_takes(described):
    settings = described(f'[a100]\n{GOOD}setup = ["module load cuda"]\n[cpu]\n{GOOD.replace("gpus = 2", "gpus = 0")}')
    setups = {}
    for name in ("a100", "cpu"):
        cluster = find_cluster(settings, name)
        setups[name] = sending._parameters(cluster, cluster.asked(), "one").get("slurm_setup")
    # The cluster's own lines are last: what they say holds.
    assert setups == {"a100": ["unset WORKBENCH_PROCESSES", "module load cuda"], "cpu": None}
