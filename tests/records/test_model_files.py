"""What a model's files say before it is loaded."""

import json

import torch
from making_callers import TEMPLATE
from safetensors.torch import save_file

from engine.records.model_files import context_length, made_of, takes_tools
from engine.records.spec_parts import ModelSpec


def test_a_template_that_speaks_of_tools_takes_them(tmp_path):
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 4096}')
    assert takes_tools(tmp_path / "models", ModelSpec(name=str(tmp_path))) is True
    assert context_length(tmp_path / "models", str(tmp_path)) == 4096


def test_one_that_does_not_takes_none_wherever_it_is_written(tmp_path):
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    assert takes_tools(tmp_path, ModelSpec(name=str(tmp_path))) is False
    several = [{"name": "default", "template": "{{ messages }}"}, {"name": "tool_use", "template": "{{ tools }}"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": several}, indent=1))
    assert takes_tools(tmp_path, ModelSpec(name=str(tmp_path))) is True


def test_of_files_that_are_not_here_or_broken_nothing_is_said(tmp_path):
    for name in ("bundled/SmolLM2-135M-Instruct", "packaged/Qwen2.5-Coder-0.5B-Instruct", "no/such-model"):
        assert takes_tools(tmp_path, ModelSpec(name=name)) is None and context_length(tmp_path, name) == 0
    (tmp_path / "config.json").write_text("{")
    assert context_length(tmp_path, str(tmp_path)) == 0


def weights(folder, last: float, *, name: str = "model.safetensors"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    save_file({"a": torch.zeros(100_000), "b": torch.full((10,), last)}, folder / name)
    return str(folder)


def test_other_weights_under_one_name_are_told_apart_and_the_same_under_another_are_not(tmp_path):
    one, other = weights(tmp_path / "one", 1.0), weights(tmp_path / "other", 1.0)
    before = made_of(tmp_path, one)
    assert before and made_of(tmp_path, other) == before
    (tmp_path / "one" / "README.md").write_text("of a model")
    assert made_of(tmp_path, one) == before
    weights(tmp_path / "one", 2.0)
    assert made_of(tmp_path, one) not in ("", before)
    # The same weights once more, as some hubs have them, are not what is loaded.
    weights(tmp_path / "other", 3.0, name="consolidated.safetensors")
    assert made_of(tmp_path, other) == before


def test_of_weights_in_parts_those_that_the_index_lists_count(tmp_path):
    for name, last in (("model-1-of-2", 1.0), ("model-2-of-2", 2.0), ("consolidated", 3.0)):
        folder = weights(tmp_path / "parts", last, name=f"{name}.safetensors")
    index = {"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}
    (tmp_path / "parts" / "model.safetensors.index.json").write_text(json.dumps(index))
    before = made_of(tmp_path, folder)
    weights(tmp_path / "parts", 4.0, name="consolidated.safetensors")
    assert made_of(tmp_path, folder) == before != ""
    # In the midst of a file, and not at its ends.
    content = bytearray((tmp_path / "parts" / "model-1-of-2.safetensors").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "parts" / "model-1-of-2.safetensors").write_bytes(content)
    between = made_of(tmp_path, folder)
    assert between not in ("", before)
    weights(tmp_path / "parts", 4.0, name="model-2-of-2.safetensors")
    assert made_of(tmp_path, folder) not in ("", before)


def test_of_what_never_changes_or_is_not_here_nothing_is_told(tmp_path):
    (tmp_path / "empty").mkdir()
    names = ("bundled/SmolLM2-135M-Instruct", "packaged/Qwen2.5-Coder-0.5B-Instruct", "assembled/llava-smollm2")
    for name in (*names, "no/such-model", "qwen--ft", "x.git", str(tmp_path / "empty"), str(tmp_path / "gone")):
        assert made_of(tmp_path, name) == ""


def test_a_hugging_face_id_is_told_by_the_weights_that_were_downloaded_last(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    place = tmp_path / "models--owner--name"
    (place / "refs").mkdir(parents=True)
    told = []
    for revision, last in (("a" * 40, 1.0), ("b" * 40, 2.0), ("c" * 40, 2.0)):
        weights(place / "snapshots" / revision, last)
        (place / "refs" / "main").write_text(revision)
        told.append(made_of(tmp_path, "owner/name"))
    assert "" not in told and told[0] != told[1] == told[2]
