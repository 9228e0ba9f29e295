"""The spec: refuses what cannot be, says why, and has one digest for one meaning."""

import pytest

from engine.records.blocks import format_blocks, paper_layer, parse_blocks, resolve_blocks
from engine.records.errors import SpecError
from engine.records.settings import SAMPLE_DATA
from engine.records.spec import RunSpec, field_description
from engine.records.spec_parts import Part
from engine.records.spec_text import build_spec, parse_spec, read_spec


def parts(model: type[Part], prefix: str = ""):
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}", field
        if isinstance(field.annotation, type) and issubclass(field.annotation, Part):
            yield from parts(field.annotation, f"{prefix}{name}.")


@pytest.mark.parametrize("path", [path for path, _ in parts(RunSpec)])
def test_every_field_is_described_in_one_line(path):
    text = field_description(path)
    assert text and "\n" not in text and text.endswith(".") and len(text) < 130


def test_a_spec_survives_its_file():
    spec = build_spec({"blocks": {"targets": [9, 19]}, "seed": 3})
    assert parse_spec(spec.to_json()) == spec
    assert spec.blocks.targets == "9, 19"


def test_equal_specs_share_a_digest_and_others_do_not():
    assert build_spec({}).digest == RunSpec().digest
    assert build_spec({"seed": 1}).digest != RunSpec().digest


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"sed": 1}, "'sed' is unknown"),
        ({"loss": {"spce": "raw"}}, "'loss.spce' is unknown"),
        ({"optimizer": {"steps": 0}}, "optimizer.steps = 0"),
        ({"optimizer": {"learning_rate": float("nan")}}, "optimizer.learning_rate"),
        ({"schedule": {"kind": "custom"}}, "at least two key points"),
        (
            {
                "schedule": {
                    "points": [
                        {"progress": 0.5, "reroute": 1, "retain": 1},
                        {"progress": 0.1, "reroute": 1, "retain": 1},
                    ]
                }
            },
            "rise in progress",
        ),
        ([1, 2], "the whole"),
    ],
)
def test_a_wrong_spec_names_the_field_and_the_value(content, words):
    with pytest.raises(SpecError, match=words.replace(".", r"\.")):
        build_spec(content)


def test_text_that_is_not_json_is_refused():
    with pytest.raises(SpecError, match="not JSON"):
        parse_spec("{")


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("9, 19", (9, 19)),
        ("0-3", (0, 1, 2, 3)),
        ("0 - 2  5", (0, 1, 2, 5)),
        ("0%", (0,)),
        ("100%", (29,)),
        ("33%, 66%", (10, 19)),
        ("90%-100%", (26, 27, 28, 29)),
        ("3, 3, 1", (1, 3)),
    ],
)
def test_block_lists(text, blocks):
    assert parse_blocks(text, 30) == blocks
    assert parse_blocks(format_blocks(blocks), 30) == blocks


def test_format_blocks_joins_neighbours():
    assert format_blocks([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("30", "choose 0 to 29"),
        ("5-2", "backwards"),
        ("a", "not a block list"),
        ("", "No block"),
        ("101%", "0% to 100%"),
    ],
)
def test_a_wrong_block_list_says_what_to_do(text, words):
    with pytest.raises(SpecError, match=words):
        parse_blocks(text, 30)


def test_a_target_that_nothing_can_move_is_refused():
    with pytest.raises(SpecError, match="below the first adapted block"):
        resolve_blocks(build_spec({"blocks": {"targets": "3", "adapted": "5-9"}}), 30)


def test_an_adapted_block_that_no_loss_sees_is_refused():
    spec = build_spec({"blocks": {"targets": "5", "adapted": "0-9"}, "loss": {"retain_blocks": "0-5"}})
    with pytest.raises(SpecError, match="the last one that a loss sees"):
        resolve_blocks(spec, 30)


def test_relative_distances_behind_the_final_norm_are_refused():
    with pytest.raises(SpecError, match="choose the retain scale 'absolute'"):
        build_spec({"loss": {"final_norm": True}})


def test_paper_layer_ten_is_block_nine():
    assert paper_layer(9) == 10


@pytest.mark.parametrize("name", ["quick", "default", "paper-llama-3-8b", "paper-mistral-7b"])
def test_every_preset_is_a_spec_that_fits_its_model(name):
    spec = read_spec(SAMPLE_DATA / "presets" / f"{name}.json")
    blocks = resolve_blocks(spec, 32 if name.startswith("paper") else 30)
    if name.startswith("paper"):
        assert blocks.targets == (9, 19)
        assert blocks.adapted == tuple(range(21))
        assert (spec.loss.space, spec.loss.retain_scale, spec.schedule.kind) == ("raw", "absolute", "linear")
        assert spec.optimizer.steps == 150 and spec.optimizer.learning_rate == 1e-4
        assert (spec.loss.retain_mean, spec.loss.final_norm, spec.data.max_tokens) == ("positions", True, 1024)
        # Its last block, above both targets, is held still behind the final norm.
        assert max(blocks.retain) == 20 and spec.adapter.noise == 0
        assert (spec.schedule.horizon, spec.schedule.first_step) == (300, 1)


def test_a_missing_spec_file_is_named(tmp_path):
    with pytest.raises(SpecError, match=r"nothing\.json"):
        read_spec(tmp_path / "nothing.json")


def test_a_spec_that_could_not_be_written_again_is_refused():
    with pytest.raises(SpecError, match=r"spec\.json cannot be read, since it holds half a character"):
        parse_spec('{"model": {"name": "\\ud800"}}', name="spec.json")
