"""Figures of other weights than a run's last are told by none of the files that it is exported to."""

import pytest
from making_runs import write_run

from engine.exports.comparison.compared import compared
from engine.exports.model_card.folder import write_card
from engine.records.evaluation.final import is_final, of_final
from engine.records.evaluation.findings import Evaluation, read_evaluations, write_evaluation


@pytest.fixture
def run(settings):
    """Ended at 2000, step 20, and then: the last step by its name, one half way, the run before it was resumed and
    after, and a file whose run cannot be read."""
    run = write_run(settings)
    (made,) = read_evaluations(run, settings)
    (run.folder / "evaluations" / "made.json").unlink()
    run.update(ended=2000.0)
    for key, of, created in (
        ("last", f"{run.id}@20", 1999.0),
        ("half-way", f"{run.id}@10", 2001.0),
        ("before", run.id, 1999.0),
        ("after", run.id, 2001.0),
        ("damaged", "no run", 2002.0),
    ):
        write_evaluation(run, settings, made.model_copy(update={"key": key, "run": of, "created": created}), [])
    return run


def test_the_last_step_by_its_name_and_the_run_since_it_ended_are_of_its_final_weights(run, settings):
    found = of_final(read_evaluations(run, settings), run.record())
    assert [one.key for one in found] == ["after", "last"]
    assert not is_final(Evaluation(key="k", run="20260101-000000-ffffff", created=2001.0), run.record())


def test_comparison_and_model_card_tell_these_alone(run, settings, tmp_path):
    other = write_run(settings, name="other")
    assert {one.key for one in compared([run, other], settings)[0].evaluations} == {"last", "after"}
    for key in ("after", "last"):
        (run.folder / "evaluations" / f"{key}.json").unlink()
    (tmp_path / "adapter_config.json").write_bytes((run.adapter_folder / "adapter_config.json").read_bytes())
    write_card(run, tmp_path, settings)
    assert "| none measured | |" in (tmp_path / "README.md").read_text()


def test_what_asked_weights_that_were_thrown_away_is_not_of_those_of_the_same_step_that_came_after(run, settings):
    """A run that kept nothing began anew at 2500, and was stopped at the same step."""
    begun_anew = run.record().model_copy(update={"started": 2500.0, "ended": 3000.0})
    (last,) = [one for one in read_evaluations(run, settings) if one.key == "last"]
    assert not is_final(last, begun_anew)
    assert is_final(last.model_copy(update={"created": 2600.0}), begun_anew)
