"""Presets by name, fields that are changed by text, and models' places."""

import pytest

from engine.records.errors import ModelError, SpecError
from engine.records.model_place import need_model
from engine.records.presets import named_spec, preset_names, read_preset
from engine.records.prompt_files import read_source
from engine.records.sources import parse_sources
from engine.records.spec import RunSpec, flat
from engine.records.spec_text import assignment, read_assignments, with_fields


def test_quick_comes_first_and_every_preset_can_be_read():
    assert preset_names()[0] == "quick"
    assert all(read_preset(name) == named_spec(name) for name in preset_names())


def test_a_preset_that_is_not_there_names_those_that_are():
    with pytest.raises(SpecError, match=r"no preset 'fast': choose quick, quick-qwen, default, default-qwen, tools, "):
        read_preset("fast")


def test_a_file_of_a_presets_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quick").write_text(RunSpec(seed=5).to_json())
    assert named_spec("quick").seed == 5


def test_every_field_survives_being_written_and_read_as_text():
    """All fields of all presets: numbers, lists, switches, texts, key points."""
    for name in preset_names():
        spec = read_preset(name)
        texts = [assignment(path, value) for path, value in flat(spec).items()]
        assert flat(with_fields(RunSpec(), read_assignments(texts))) == flat(spec)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("optimizer.step=3", "did you mean 'optimizer.steps'"),
        ("zzz=3", "There is no field 'zzz'"),
        ("optimizer.steps", "sets nothing: write a field and its value"),
        ("optimizer.steps=many", "is no JSON value"),
    ],
)
def test_an_assignment_that_says_nothing_is_refused_in_words(given, words):
    with pytest.raises(SpecError, match=words):
        read_assignments([given])


def test_a_value_that_a_field_cannot_have_names_the_field():
    with pytest.raises(SpecError, match=r"optimizer.steps = 0"):
        with_fields(RunSpec(), {"optimizer.steps": 0})


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (None, "does not exist"),
        ([], "is no model: it holds neither"),
        (["config.json"], "no .safetensors weights"),
        (["config.json", "pytorch_model.bin"], "pytorch_model.bin only, and opening such a file may run code"),
        (["model.safetensors"], "holds no config.json"),
    ],
)
def test_a_folder_that_is_no_model_is_said_in_words(tmp_path, files, words):
    folder = tmp_path / "model"
    if files is not None:
        folder.mkdir()
        for name in files:
            (folder / name).touch()
    with pytest.raises(ModelError) as raised:
        need_model(str(folder))
    assert words in str(raised.value)


def test_a_file_in_place_of_a_folder_is_named_as_one(tmp_path):
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(ModelError, match="is a file: give the folder"):
        need_model(str(tmp_path / "model.safetensors"))


def test_an_id_is_not_looked_up_and_a_whole_folder_is_taken(tiny_model_folder):
    for name in ("meta-llama/Meta-Llama-3-8B-Instruct", "gpt2", str(tiny_model_folder)):
        need_model(name)


def test_the_presets_for_agents_train_texts_and_requests_with_tools_in_every_split():
    data = read_preset("tools").data
    assert 0 < data.tool_share < 1
    for label, text in (("harmful", data.circuit_breaker), ("benign", data.retain)):
        prompts = read_source(text, label=label)
        for split in ("train", "validation", "test"):
            kinds = {bool(prompt.conversation.tools) for prompt in prompts if prompt.split == split}
            assert kinds == {True, False}, (label, split)


def test_the_papers_setting_for_agents_keeps_published_answers_and_elicits_calls():
    spec = read_preset("paper-llama-3-8b-tools")
    assert spec.data.answers == "elicit" and spec.loss.mask == spec.loss.retain_mask == "request_and_response"
    for source in (*parse_sources(spec.data.circuit_breaker), *parse_sources(spec.data.retain)):
        assert (source.answered == "given") == source.name.startswith("published:")


def test_a_folder_of_a_presets_name_hides_it_not(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quick").mkdir()
    assert named_spec("quick") == read_preset("quick")
