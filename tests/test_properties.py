"""Whatever is given: a spec is taken or refused in words, and a record that was written is read back whole."""

import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from engine.records.errors import DataError, ModelError, SpecError
from engine.records.evaluation.rows import read_rows
from engine.records.events import StepResult
from engine.records.prompt_files import read_source
from engine.records.runs import create_run
from engine.records.settings import Settings, given_path
from engine.records.spec import RunSpec
from engine.records.spec_text import build_spec, parse_spec

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
PARTS = RunSpec().model_dump(mode="json")
FIELDS = [(part, name) for part, fields in PARTS.items() if isinstance(fields, dict) for name in fields]
FIGURES = st.floats(allow_nan=False, allow_infinity=False, width=32)
STEPS = st.builds(
    StepResult,
    step=st.integers(0, 10**6),
    reroute_loss=FIGURES,
    retain_loss=FIGURES,
    reroute_weight=FIGURES,
    retain_weight=FIGURES,
    loss=FIGURES,
    gradient_norm=FIGURES,
    learning_rate=FIGURES,
    tokens=st.integers(0, 10**9),
    seconds=FIGURES,
)
one_folder = hypothesis_settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)


@given(st.sampled_from(FIELDS), ANY)
def test_any_value_of_any_field_is_taken_or_refused_by_name(field: tuple[str, str], value: Any):
    part, name = field
    try:
        spec = build_spec({part: {name: value}}, name="any")
    except SpecError as error:
        assert name in str(error) or part in str(error)
    else:
        assert parse_spec(spec.to_json(), name="again") == spec
        assert build_spec(spec.model_dump(mode="json")).digest == spec.digest


@given(st.dictionaries(st.sampled_from([*PARTS, "colour"]), ANY, max_size=3))
def test_any_spec_is_taken_or_refused(content: dict[str, Any]):
    try:
        assert "colour" not in build_spec(content, name="any").model_dump()
    except SpecError as error:
        assert str(error).startswith("any")


@one_folder
@given(st.lists(STEPS, max_size=5), st.text(max_size=40), st.binary(max_size=30))
def test_records_are_read_back_and_a_torn_end_costs_nothing_before_it(
    settings: Settings, steps: list[StepResult], name: str, torn: bytes
):
    run = create_run(settings.runs, RunSpec(), name=name)
    for step in steps:
        run.append(step)
    with (run.folder / "events.jsonl").open("ab") as file:
        file.write(torn.replace(b"\n", b""))
    assert run.events()[0] == steps
    run.append(STEP)
    assert run.events()[0] == [*steps, STEP]
    assert run.label().name == name.strip() or (not name.strip() and run.name.startswith("own settings, "))


STEP = StepResult(
    step=1, reroute_loss=1, retain_loss=0, reroute_weight=1, retain_weight=1, loss=1,
    gradient_norm=1, learning_rate=1, tokens=1, seconds=1,
)  # fmt: skip


@one_folder
@given(st.text(string.printable, max_size=12))
def test_paths_lead_out_of_no_folder_where_folders_are_named(
    monkeypatch_session: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, text: str
):
    allowed = tmp_path_factory.getbasetemp() / "allowed"
    monkeypatch_session.setenv("WORKBENCH_FOLDERS", str(allowed))
    try:
        path = given_path(f"{allowed}/{text}", error=DataError)
    except DataError as error:
        assert str(allowed) in str(error)
    else:
        assert path.resolve().is_relative_to(allowed)


@pytest.fixture(scope="module")
def monkeypatch_session():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def test_a_path_outside_the_named_folders_is_refused_and_one_inside_is_read(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model_folder: Path
):
    from engine.compute.model.load import load_model
    from engine.records.spec_parts import ModelSpec

    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "rows.jsonl").write_text('{"prompt": "Say abc."}\n')
    (inside / "link.jsonl").symlink_to(outside / "rows.jsonl")
    monkeypatch.setenv("WORKBENCH_FOLDERS", str(inside))
    assert len(read_source(str(inside / "rows.jsonl"), label="harmful")) == 1
    assert read_source("sample:harmful", label="harmful")
    for wrong in (outside / "rows.jsonl", inside / "link.jsonl", inside / ".." / "outside" / "rows.jsonl"):
        with pytest.raises(DataError, match="outside the folders that may be read"):
            read_source(str(wrong), label="harmful")
        with pytest.raises(DataError, match="outside the folders that may be read"):
            read_rows(str(wrong), label="harmful", settings=settings)
    with pytest.raises(ModelError, match="outside the folders that may be read"):
        load_model(ModelSpec(name=str(tiny_model_folder)), settings)
