"""What `python -m engine train` says at its end."""

import pytest
from making_runs import write_run

from engine.commands.ended import how_it_ended


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"status": "failed", "error": "Too hot."}, ["error: the run is failed. Too hot."]),
        ({"status": "interrupted", "error": "Ended."}, ["Interrupted at step 7: resume", "is interrupted. Ended."]),
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
