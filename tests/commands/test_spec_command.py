"""`python -m engine spec`: the fields of a spec, and one spec whole."""

import json

import pytest

from engine.__main__ import main
from engine.records.presets import preset_names, read_preset
from engine.records.settings import ROOT
from engine.records.spec import RunSpec, flat
from engine.records.spec_text import parse_spec


def printed(capsys, *arguments):
    assert main(["spec", *arguments]) == 0
    return capsys.readouterr().out


def test_the_document_of_all_fields_is_what_the_command_prints(capsys):
    text = printed(capsys)
    assert text == (ROOT / "docs" / "spec.md").read_text()
    assert [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")] == list(flat(RunSpec()))


@pytest.mark.parametrize(
    "row",
    [
        "| `data.heldout_rows` | integer, from 0 | `0` |",
        "| `adapter.dropout` | number, from 0, below 1 | `0.05` |",
        "| `schedule.alpha` | number, above 0 | `5.0` |",
        '| `optimizer.keep` | `"last"`, `"best"` | `"last"` |',
        "| `optimizer.gradient_surgery` | `true`, `false` | `false` |",
        "| `schedule.points` | a list of objects: `progress` (number, from 0, to 1), `reroute` (number, from 0), ",
        "| `seed` | integer, from 0, to 2,147,483,647 | `0` |",
    ],
)
def test_a_field_says_what_it_may_hold(row, capsys):
    assert any(line.startswith(row) for line in printed(capsys).splitlines())


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_is_printed_whole_and_read_back_as_it_is(name, capsys):
    text = printed(capsys, name)
    assert parse_spec(text) == read_preset(name)
    assert set(flat(parse_spec(text))) == set(flat(RunSpec())) and "schedule" in json.loads(text)


def test_changed_fields_are_in_it_with_a_preset_a_file_and_alone(tmp_path, capsys):
    (tmp_path / "mine.json").write_text('{"optimizer": {"steps": 7}}')
    for given, steps in (
        (["quick"], read_preset("quick").optimizer.steps),
        ([str(tmp_path / "mine.json")], 7),
        ([], 150),
    ):
        spec = parse_spec(printed(capsys, *given, "--set", "loss.retain_weight=3"))
        assert spec.loss.retain_weight == 3 and spec.optimizer.steps == steps


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["quik"], "There is no preset 'quik': choose quick, quick-qwen, default"),
        (["there/is/none.json"], "there/is/none.json cannot be read"),
        (["quick", "--set", "optimizer.step=80"], "did you mean 'optimizer.steps'?"),
        (["quick", "--set", "optimizer.steps=0"], "optimizer.steps = 0: Input should be greater than or equal to 1"),
    ],
)
def test_what_is_wrong_is_said_in_words(arguments, words, capsys):
    assert main(["spec", *arguments]) == 2
    said = capsys.readouterr()
    assert words in said.err and not said.out
