"""A few answers to look at while more of them are generated."""

import pytest
from test_capturing import QUICK

from engine.desk.queue import Queue
from engine.records.runs import create_run
from engine.records.sample_answers import SampleAnswer, SampleAnswers, sample_answers
from engine.records.spec import RunSpec
from engine.worker import Worker


def said(label: str, prompt: str, answer: str = "x") -> SampleAnswer:
    return SampleAnswer(label=label, prompt=prompt, answer=answer)


@pytest.fixture
def run(tmp_path):
    return create_run(tmp_path / "runs", RunSpec())


def test_the_newest_two_of_each_label_are_kept_and_a_growing_answer_stays_one(run):
    samples = SampleAnswers(run)
    samples.take([said("harmful", "a", "S"), said("benign", "b", "T")])
    samples.take([said("harmful", "a", "Sure"), said("benign", "b", "Tea")])
    assert sample_answers(run) == [said("harmful", "a", "Sure"), said("benign", "b", "Tea")]
    samples.take([said("harmful", "c"), said("harmful", "d"), said("harmful", "e")])
    assert [one.prompt for one in sample_answers(run)] == ["c", "d", "b"]
    samples.forget()
    assert sample_answers(run) == []


def test_a_run_shows_growing_answers_of_both_labels_before_its_first_step_and_none_after_it(settings, tiny_spec):
    """Two runs: the second finds all answers known, and shows them too. Events never hold them."""
    worker = Worker(settings)
    for seed in (0, 1):
        spec = tiny_spec(**QUICK | {"data.answers": "elicit", "data.new_tokens": 12, "seed": seed})
        run = create_run(settings.runs, spec)
        Queue(settings.desk).submit("train", run_id=run.id)
        seen: list[list[SampleAnswer]] = []
        for _ in range(4000):
            if run.record().status == "finished":
                break
            worker.turn()
            now = sample_answers(run)
            if now and (not seen or seen[-1] != now):
                seen.append(now)
            assert not (now and run.record().step), "the samples go with the first step"
        assert run.record().status == "finished"
        assert {one.label for one in seen[-1]} == {"harmful", "benign"} and len(seen[-1]) == 4
        assert seed or len(seen) > 2, "they grow"
        probed = {one.answer for one in seen[-1] if len(one.answer) > 3}
        progress = [event for event in run.events()[0] if event.kind == "progress"]
        assert progress and not any(answer in event.message for answer in probed for event in progress)
    assert not list(settings.runs.rglob("sample_answers.json"))


def test_a_run_that_is_stopped_while_answers_are_generated_leaves_none_behind(settings, tiny_spec):
    run = create_run(settings.runs, tiny_spec(**QUICK | {"data.answers": "elicit", "data.new_tokens": 40}))
    queue, worker = Queue(settings.desk), Worker(settings)
    queue.submit("train", run_id=run.id)
    while not sample_answers(run):
        worker.turn()
    queue.control(run.id, "stop")
    while run.record().status != "stopped":
        worker.turn()
    assert sample_answers(run) == [] and not list(run.folder.glob("sample*"))
