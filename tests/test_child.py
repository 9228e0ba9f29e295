"""Waiting for a child process: what is said of its libraries, and then of what it does."""

import time

from making import drain

from engine import child
from engine.child import end_child, in_child
from engine.records.progress import LOADING_SHARE, loading, say


def test_the_first_wait_is_for_the_libraries_and_later_ones_say_how_far_the_child_is(tmp_path):
    progress = tmp_path / "progress" / "map"
    waiting = in_child("time.sleep", 0.5, phase="projecting", message="loading", progress=progress)
    first = next(waiting)
    assert (first.message, first.phase, first.elsewhere) == ("loading", "projecting", True)
    assert 0 <= first.share < LOADING_SHARE and first.counted == " 0 %"
    say(progress, "laying out, epoch 5 of 10", 0.45)
    second = next(waiting)
    assert (second.message, second.share, second.counted) == ("laying out, epoch 5 of 10", 0.45, " 45 %")
    # What is not whole yet leaves what was known.
    progress.write_text("{")
    assert next(waiting).share == 0.45
    drain(waiting)
    assert not progress.exists()
    end_child()


def test_a_child_that_dies_while_it_has_nothing_to_do_is_started_again():
    for _ in range(2):
        _, found = drain(in_child("math.sqrt", 9.0, phase="projecting", message="loading"))
        assert found == 3
        for process in list(child._pool._processes.values()):
            process.kill()
            process.join()
        # Until the pool has seen it.
        while not child._pool._broken:
            time.sleep(0.01)
    end_child()


def test_an_estimate_of_loading_grows_with_time_and_never_says_that_it_is_done():
    shares = [loading("", seconds).share for seconds in (0, 2, 4, 60)]
    assert shares == sorted(shares) and shares[0] == 0 and 0.02 < shares[1] < shares[-1] < LOADING_SHARE
