"""The queue: nothing lost, nothing doubled, and the worker shown as it is."""

import json
import os
import sqlite3
import time
from contextlib import closing

import psutil
import pytest

from engine.desk.lock import owned
from engine.desk.presence import SILENT_SECONDS
from engine.desk.queue import Queue
from engine.records.cards import ModelCard, read_model_card, write_card
from engine.records.errors import RunError, SpecError, WorkerError
from engine.records.estimate import estimate, micro_batch_tokens
from engine.records.events import Progress
from engine.records.spec import RunSpec
from engine.records.spec_text import build_spec


def test_jobs_are_claimed_once_and_urgent_ones_first(tmp_path):
    queue = Queue(tmp_path)
    train = queue.submit("train", run_id="a")
    card = queue.submit("describe_model", payload={"name": "x"})
    assert [job.id for job in queue.claim()] == [card, train]
    assert queue.claim() == []


def test_a_job_reports_how_far_it_is_and_can_be_cancelled_before_and_after_it_began(tmp_path):
    queue = Queue(tmp_path)
    waiting, begun = queue.submit("capture", payload={"a": 1}), queue.submit("capture", payload={"a": 2})
    assert queue.progress(begun) is None
    queue.report(begun, Progress(phase="capturing", done=1, total=2))
    queue.report(begun, Progress(phase="capturing", done=2, total=2))
    assert queue.progress(begun).done == 2
    queue.cancel(waiting)
    assert queue.job(waiting).status == "cancelled"
    assert [job.id for job in queue.claim()] == [begun]
    queue.cancel(begun)
    assert queue.take_unwanted() == {waiting, begun} and queue.take_unwanted() == set()
    queue.finish(begun, status="cancelled")
    assert queue.job(begun).status == "cancelled"


def test_what_a_dead_worker_had_claimed_is_asked_anew_while_the_next_one_starts(tmp_path):
    queue = Queue(tmp_path)
    first = queue.submit("train", run_id="a")
    queue.claim()
    # As `ensure_worker` says it, until the new worker says that it serves.
    queue.beat(status="starting", pid=os.getpid(), started=time.time(), doing="starting")
    assert queue.worker().alive
    second = queue.submit("train", run_id="a")
    assert second != first and [job.id for job in queue.claim()] == [second]


def test_a_waiting_job_is_not_doubled(tmp_path):
    queue = Queue(tmp_path)
    assert queue.submit("train", run_id="a") == queue.submit("train", run_id="a")
    assert queue.submit("train", run_id="b") != queue.submit("train", run_id="a")


def test_what_was_cancelled_does_not_stand_for_what_is_asked_for_after_it(tmp_path):
    """The worker may be in the midst of a step, and closes the cancelled job only behind it."""
    queue = Queue(tmp_path)
    first = queue.submit("evaluate", run_id="a")
    queue.claim()
    queue.cancel(first)
    second = queue.submit("evaluate", run_id="a")
    assert second != first and queue.submit("evaluate", run_id="a") == second
    assert queue.take_unwanted() == {first}
    queue.finish(first, status="cancelled")
    assert [job.id for job in queue.claim()] == [second]


def test_what_a_dead_worker_had_claimed_can_be_asked_for_again(settings):
    queue = Queue(settings.desk)
    with owned(settings):
        queue.beat(status="busy")
        first = queue.submit("train", run_id="a")
        queue.claim()
        assert queue.submit("train", run_id="a") == first
    second = queue.submit("train", run_id="a")
    assert second != first and [job.id for job in queue.claim()] == [second]


def test_a_finished_job_can_be_submitted_again(tmp_path):
    queue = Queue(tmp_path)
    first = queue.submit("train", run_id="a")
    queue.claim()
    queue.finish(first, error="it broke")
    job = queue.job(first)
    assert job is not None and (job.status, job.error) == ("failed", "it broke")
    assert queue.submit("train", run_id="a") != first


def test_controls_wait_in_order_until_they_are_carried_out(tmp_path):
    queue = Queue(tmp_path)
    queue.control("a", "pause")
    queue.control("a", "alpha", 2.5)
    first, second = queue.controls()
    assert [(c.control, c.value) for c in (first, second)] == [("pause", None), ("alpha", 2.5)]
    assert queue.controls() == [first, second]
    queue.carried_out(first)
    assert queue.controls() == [second]


def test_losing_the_file_is_no_error(tmp_path):
    queue = Queue(tmp_path)
    queue.submit("train", run_id="a")
    queue.file.unlink()
    assert queue.claim() == []


def test_the_file_needs_no_memory_that_machines_share_and_one_that_did_is_converted(tmp_path):
    """As a queue of version 0.1 left it: with a write-ahead log, which fails on a network filesystem."""
    queue = Queue(tmp_path)
    with closing(sqlite3.connect(queue.file)) as older:
        older.execute("PRAGMA journal_mode = WAL")
        older.execute("CREATE TABLE kept (number INTEGER)")
        # While somebody has it open so, it is used as it is.
        first = queue.submit("train", run_id="a")
    assert [job.id for job in queue.claim()] == [first]
    with closing(sqlite3.connect(queue.file)) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)
        assert database.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    assert [file.name for file in tmp_path.iterdir()] == ["queue.sqlite"]


def test_a_damaged_file_says_what_to_do(tmp_path):
    queue = Queue(tmp_path)
    queue.file.write_bytes(b"this is no database, and long enough to be read as one" * 20)
    with pytest.raises(RunError, match="delete the file"):
        queue.claim()


def test_a_worker_is_alive_while_it_holds_the_lock_whatever_the_clock_says(settings):
    queue = Queue(settings.desk)
    assert queue.worker().status == "dead"
    file = settings.desk / "worker.json"

    def said(**changes) -> str:
        file.write_text(json.dumps(content | changes))
        return queue.worker().status

    with owned(settings):
        queue.beat(status="busy", doing="train a", run_id="a", waiting={"b": "a"})
        worker = queue.worker()
        assert (worker.status, worker.doing, worker.pid, worker.waiting) == ("busy", "train a", os.getpid(), {"b": "a"})
        content = json.loads(file.read_text())
        for late in (7, -7, SILENT_SECONDS - 5):
            assert said(beat=time.time() - late) == "busy"
        assert said(beat=time.time() - SILENT_SECONDS - 5) == "hung"
        # On another machine only the lock can be asked.
        assert said(host="another-machine", pid=2**22 + 1) == "busy"
        assert said(pid=2**22 + 1) == "dead" and said(ended=True, reason="it broke") == "dead"
        assert queue.worker().reason == "it broke"
        with pytest.raises(WorkerError, match="Another worker owns"), owned(settings):
            pass
    assert said() == "dead" and said(host="another-machine") == "dead"
    # It loads its libraries before it takes the lock.
    began = psutil.Process().create_time()
    assert said(status="starting", beat=max(began, time.time() - 80)) == "starting"
    file.write_text("{")
    assert queue.worker().status == "dead"


CARD = ModelCard(
    name="m", family="llama", block_count=30, d_model=576, parameters=134_515_008, block_parameters=3_540_096,
    context_length=8192, has_chat_template=True, modules={"q": (576, 576), "k": (576, 192)}, device="cpu",
    dtype="float32",
)  # fmt: skip


def test_a_card_is_read_back(tmp_path):
    write_card(tmp_path, "describe_model", {"name": "m"}, CARD)
    assert read_model_card(tmp_path, {"name": "m"}) == CARD
    assert read_model_card(tmp_path, {"name": "other"}) is None
    write_card(tmp_path, "describe_model", {"a": {"x": 1, "y": 2}}, CARD)
    assert read_model_card(tmp_path, {"a": {"y": 2, "x": 1}}) == CARD


def test_trained_parameters_by_hand():
    """LoRA r 16 on 20 blocks, modules 576x576 and 576x192: 20 * 16 * (1152 + 768) = 614,400."""
    spec = build_spec({"blocks": {"targets": "9, 19", "adapted": "0-19"}})
    result = estimate(spec, CARD, {"flops_per_second": 1e11}, training_rows=100, heldout_rows=10, prompt_tokens=30)
    assert result.trained_parameters == 614_400
    assert result.training_seconds and result.eliciting_seconds and result.memory_bytes > CARD.parameters * 4


@pytest.mark.parametrize("dropout", [0.0, 0.05])
def test_an_opening_that_all_prompts_share_costs_time_only_where_dropout_draws_anew(dropout: float):
    spec = build_spec({"adapter": {"dropout": dropout}, "optimizer": {"steps": 1000}})
    shared, plain = (
        estimate(spec, card, {"flops_per_second": 1e11}, training_rows=9, heldout_rows=2, prompt_tokens=50)
        for card in (CARD.model_copy(update={"opening_tokens": 25}), CARD)
    )
    assert shared.eliciting_seconds < plain.eliciting_seconds
    assert shared.training_seconds < plain.training_seconds * (1 if dropout else 0.8)
    assert (shared.training_seconds > plain.training_seconds * 0.98) == bool(dropout)


def test_time_is_unknown_until_the_machine_was_measured():
    result = estimate(RunSpec(), CARD, {}, training_rows=100, heldout_rows=10, prompt_tokens=30)
    assert result.training_seconds is None and result.eliciting_seconds is None


def test_an_estimate_of_impossible_blocks_says_so():
    with pytest.raises(SpecError, match="Block 31"):
        estimate(build_spec({"blocks": {"targets": "31"}}), CARD, {}, training_rows=1, heldout_rows=1, prompt_tokens=1)


def test_a_step_is_cut_into_parts_of_about_a_second_by_the_speed_of_the_machine():
    """8 + 8 rows of 80 tokens on 20 blocks: 4 * 3,540,096 * 20 * 1,280 = 3.6e11 operations, at half of the speed."""
    spec = build_spec(
        {
            "blocks": {"targets": "9, 19", "adapted": "0-19"},
            "optimizer": {"circuit_breaker_batch": 8, "retain_batch": 8, "tokens_per_micro_batch": 4096},
        }
    )
    found = {
        speed: micro_batch_tokens(spec, CARD, speed, row_tokens=80) for speed in (0.0, 1e12, 4e11, 2e11, 1e11, 1e6)
    }
    # 0.7, 1.8, 3.6 and 7.2 seconds a step: whole, in 2, 4 and 8 parts; a quarter more for padding.
    assert found == {0.0: 4096, 1e12: 4096, 4e11: 800, 2e11: 400, 1e11: 200, 1e6: 64}
    small = build_spec({"optimizer": {"tokens_per_micro_batch": 100}})
    assert micro_batch_tokens(small, CARD, 1e11, row_tokens=80) == 100
    # Where nobody waits for an answer beside it, in parts of four seconds.
    assert micro_batch_tokens(spec, CARD, 1e11, row_tokens=80, advance_seconds=4.0) == 800


def test_who_kept_a_number_says_what_the_job_must_be_of(tmp_path):
    queue = Queue(tmp_path)
    number = queue.submit("chat", payload={"chat": "a", "exchange": 3})
    assert queue.job(number, of={"chat": "a", "exchange": 3}) == queue.job(number)
    assert queue.job(number, of={"chat": "a", "exchange": 2}) is None and queue.job(number, of={"set": "a"}) is None


def test_a_new_file_gives_no_number_of_the_old_one(tmp_path):
    """A worker may live that holds a model for job so-and-so."""
    queue = Queue(tmp_path)
    before = [queue.submit("train", run_id=name) for name in "ab"]
    assert before[1] == before[0] + 1
    queue.file.unlink()
    time.sleep(0.01)
    assert queue.submit("chat", payload={"chat": "c"}) > before[1]


def test_one_that_was_starting_when_the_machine_went_down_is_dead(tmp_path):
    """Its number belongs to another process now, which began after that was said."""
    queue = Queue(tmp_path)
    queue.beat(status="starting")
    assert queue.worker().status == "starting"
    said = json.loads((tmp_path / "worker.json").read_text())
    (tmp_path / "worker.json").write_text(json.dumps(said | {"beat": said["beat"] - 86_400}))
    assert queue.worker().status == "dead"


def test_a_cancelled_job_that_a_worker_put_back_or_left_behind_is_begun_by_no_other(settings):
    queue = Queue(settings.desk)
    back, died, failed = (queue.submit("evaluate", run_id="r", payload={"key": key}) for key in ("a", "b", "c"))
    queue.claim()
    for job in (back, died, failed):
        queue.cancel(job)
    queue.finish(back, status="queued")
    queue.finish(failed, error="The disk is full.")
    queue.forget_claims()
    assert queue.take_unwanted() == {back, died, failed}
    assert [queue.job(job).status for job in (back, died, failed)] == ["cancelled", "cancelled", "failed"]
    assert queue.claim() == []
