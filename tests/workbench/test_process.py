"""The server's process, without a server."""

import gc

from workbench.process import pass_over_libraries


def test_what_a_page_loaded_is_passed_over_once_a_page():
    kept = []

    def passed_over():
        """How many of `kept` the collector looks at no more; a count of all such objects falls when any go."""
        looked_at = {id(one) for one in gc.get_objects()}
        return sum(id(one) not in looked_at for one in kept)

    try:
        before = gc.get_freeze_count()
        pass_over_libraries("runs")
        assert gc.get_freeze_count() > before
        kept += [[number] for number in range(1000)]
        pass_over_libraries("runs")
        assert passed_over() == 0
        pass_over_libraries("train")
        assert passed_over() == len(kept)
    finally:
        gc.unfreeze()
        gc.collect()
        # As it was: see conftest.
        gc.freeze()
        pass_over_libraries.clear()
