"""Rows that offer tools and a model whose template takes none are told from each other before anything is loaded."""

from pathlib import Path

import pytest
from making_callers import TEMPLATE

from engine.records.errors import ModelError
from engine.records.presets import read_preset
from engine.records.prompt_files import read_source
from engine.records.spec import RunSpec
from engine.records.spec_text import build_spec, with_fields
from engine.records.tools_taken import need_tools_taken

MIXED = "sample:harmful; tools:harmful"


@pytest.fixture
def folder(tmp_path) -> str:
    """Of a model whose template takes no tools."""
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")
    return str(tmp_path)


def spec_of(name: str, harmful: str = MIXED, **data) -> RunSpec:
    return build_spec({"model": {"name": name}, "data": {"circuit_breaker": harmful, **data}})


def need(spec: RunSpec, folder: str, *, read: bool = True) -> None:
    sources = {"harmful": spec.data.circuit_breaker, "benign": spec.data.retain}
    found = {label: read_source(source, label=label) for label, source in sources.items()} if read else {}
    need_tools_taken(Path(folder), spec, found)


@pytest.mark.parametrize("read", [True, False], ids=["rows", "names"])
def test_rows_with_tools_are_refused_for_a_model_that_takes_none(folder, read):
    words = rf"chat template of {folder} takes no tools, and rows of the harmful set offer some: choose a model whose"
    with pytest.raises(ModelError, match=words):
        need(spec_of(folder), folder, read=read)
    with pytest.raises(ModelError, match="rows of the benign set"):
        need(spec_of(folder, "sample:harmful", retain="tools:benign"), folder, read=read)
    need(spec_of(folder, "sample:harmful"), folder, read=read)


def test_rows_with_tools_that_the_spec_does_not_choose_are_not_in_the_way(folder):
    texts = {row.category for row in read_source("sample:harmful", label="harmful")}
    tools = {row.category for row in read_source("tools:harmful", label="harmful")}
    of_texts, of_tools = (spec_of(folder, categories=[min(some)]) for some in (texts - tools, tools - texts))
    need(of_texts, folder)
    with pytest.raises(ModelError, match="takes no tools"):
        need(of_tools, folder)
    # Whose rows nobody has read: the worker will say it.
    need(of_tools, folder, read=False)


def test_a_model_that_takes_tools_or_is_not_here_is_let_pass_and_the_plain_template_is_not(folder, tmp_path):
    need(spec_of("no/such-model"), folder)
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    need(spec_of(folder), folder)
    plain = with_fields(spec_of(folder), {"model.chat_template": "plain"})
    with pytest.raises(ModelError, match=f"The plain template, chosen for {folder}, takes no tools"):
        need(plain, folder)


def test_the_papers_rows_with_tools_are_in_words_and_refused_under_a_template_without_before_any_file_is_read(folder):
    spec = with_fields(read_preset("paper-llama-3-8b-tools"), {"model.name": folder})
    need(spec, folder, read=False)
    own = with_fields(spec, {"model.chat_template": "model"})
    with pytest.raises(ModelError, match=r"rows of the harmful set offer some: .* the chat template 'tools_in_words'"):
        need(own, folder, read=False)
