"""The server's process, without a server."""

import gc

from workbench.process import pass_over_libraries


def test_what_a_page_loaded_is_passed_over_once_a_page():
    try:
        before = gc.get_freeze_count()
        pass_over_libraries("runs")
        first = gc.get_freeze_count()
        assert first > before
        kept = [[number] for number in range(1000)]
        pass_over_libraries("runs")
        # What was passed over before may have gone since; nothing came.
        assert gc.get_freeze_count() <= first
        pass_over_libraries("train")
        assert gc.get_freeze_count() > first + len(kept) / 2
    finally:
        gc.unfreeze()
        pass_over_libraries.clear()
