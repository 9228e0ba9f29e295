"""A short fuzz run over all readers; `make fuzz` is the long one."""

from fuzzing import fuzz


def test_damaged_files_are_read_or_refused_in_words(tmp_path):
    outcomes, faults = fuzz(5000, seed=0, folder=tmp_path)
    assert faults == []
    assert sum(outcomes.values()) == 5000
    refused = {name.partition(":")[0] for name in outcomes if name.endswith("refused")}
    assert {"spec", "prompt rows", "run record", "grid", "capture vectors"} <= refused
