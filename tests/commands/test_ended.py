"""What `python -m engine train` says at its end."""

import pytest
from making_runs import write_run

from engine.commands.ended import how_it_ended
from engine.records.events import STOPPED_BY_DRIFT, Alert


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"status": "failed", "error": "Too hot."}, ["error: the run is failed. Too hot."]),
        ({"status": "interrupted", "error": "Ended."}, ["Interrupted at step 7: resume", "is interrupted. Ended."]),
        ({"status": "stopped"}, ["error: the run is stopped."]),
        ({"status": "stopped", "evaluation": "due"}, ["the run is stopped.", "The small evaluation behind it was"]),
        ({"status": "stopped", "evaluation": "done"}, ["the run is stopped.", "Harmful requests answered"]),
        ({"status": "finished", "evaluation": ""}, []),
        ({"status": "finished", "evaluation": "due"}, ["the next worker makes up for it"]),
        ({"status": "finished", "evaluation": "retried"}, ["the next worker makes up for it"]),
        ({"status": "finished", "evaluation": "done"}, ["Harmful requests answered"]),
    ],
)
def test_it_says_what_is_left_undone_or_what_came_of_it(settings, fields, said):
    run = write_run(settings)
    run.update(**{"step": 7, "error": "", **fields})
    lines = how_it_ended(run, settings)
    assert len(lines) == len(said) and all(words in line for words, line in zip(said, lines, strict=True))


def test_of_a_run_that_its_bound_on_drift_ended_it_says_so_and_tells_the_outcome(settings):
    run = write_run(settings)
    message = f"{STOPPED_BY_DRIFT} by 0.4, the bound is 0.3. What was learned is kept."
    run.append(Alert(step=20, message=message, advice="Lower alpha."))
    run.update(status="stopped", evaluation="done")
    why, outcome = how_it_ended(run, settings)
    assert why == "Stopped: benign validation rows drifted by 0.4, the bound is 0.3. What was learned is kept."
    assert "Harmful requests answered" in outcome
