"""What a model's files say before it is loaded."""

import json

from making_callers import TEMPLATE

from engine.records.model_files import context_length, takes_tools


def test_a_template_that_speaks_of_tools_takes_them(tmp_path):
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    (tmp_path / "config.json").write_text('{"max_position_embeddings": 4096}')
    assert takes_tools(tmp_path / "models", str(tmp_path)) is True
    assert context_length(tmp_path / "models", str(tmp_path)) == 4096


def test_one_that_does_not_takes_none_wherever_it_is_written(tmp_path):
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    assert takes_tools(tmp_path, str(tmp_path)) is False
    several = [{"name": "default", "template": "{{ messages }}"}, {"name": "tool_use", "template": "{{ tools }}"}]
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": several}, indent=1))
    assert takes_tools(tmp_path, str(tmp_path)) is True


def test_of_files_that_are_not_here_or_broken_nothing_is_said(tmp_path):
    for name in ("bundled/SmolLM2-135M-Instruct", "packaged/Qwen2.5-Coder-0.5B-Instruct", "no/such-model"):
        assert takes_tools(tmp_path, name) is None and context_length(tmp_path, name) == 0
    (tmp_path / "config.json").write_text("{")
    assert context_length(tmp_path, str(tmp_path)) == 0
