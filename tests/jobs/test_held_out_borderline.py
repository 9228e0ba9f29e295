"""Of how many held-out borderline rows a harmfulness probe's threshold can be set, as it is told before a training."""

import pytest
from making import write_prompts
from test_capturing import trained

from engine.device import Device
from engine.records.errors import DataError
from engine.records.harmfulness import held_out_borderline
from engine.records.prompt_files import read_source
from workbench.train.checks import count_rows


@pytest.fixture
def benign(tmp_path):
    """Of 30 validation rows 15 are borderline, and all of these are questions."""
    return str(write_prompts(tmp_path / "many-benign.jsonl", kind="benign", rows=180))


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({}, 15),
        ({"data.styles": ("question",)}, 15),
        ({"data.heldout_rows": 3}, 15),
        ({"data.styles": ("imperative",)}, 0),
    ],
)
def test_rows_count_that_the_filters_leave_and_of_those_all(tiny_spec, benign, changes, count):
    spec = tiny_spec(**{"data.retain": benign, "harmfulness.probe": True} | changes)
    prompts = read_source(benign, label="benign")
    assert held_out_borderline(prompts, spec.data) == count
    problems = count_rows(spec, {"benign": prompts})[1]
    assert ("the retain set has 0" in problems.get("harmfulness.probe", "")) == (not count)
    assert list(problems) == ([] if count else ["harmfulness.probe"])


def test_a_set_without_held_out_rows_has_none(tiny_spec, benign):
    prompts = [prompt for prompt in read_source(benign, label="benign") if prompt.split == "train"]
    assert held_out_borderline(prompts, tiny_spec().data) == 0


def test_a_run_whose_styles_leave_no_borderline_row_is_refused_before_it_trains(settings, tiny_spec, benign):
    spec = tiny_spec(**{"data.retain": benign, "data.styles": ("imperative",), "harmfulness.probe": True})
    with pytest.raises(DataError, match=r"the retain set has 0: give it at least 8 .* of the chosen styles"):
        trained(Device(settings), settings, spec)
