"""The paper presets from their published files to finished runs, on tiny models of both families, row by row."""

import shutil
from collections import Counter
from functools import cache
from pathlib import Path

import pytest
from making import write_tiny_model
from making_published import write_published

from engine.compute.model.load import load_model
from engine.compute.model.loaded import LoadedModel
from engine.compute.training import rows as rows_module
from engine.compute.training.pairs import Pair
from engine.compute.training.rows import EncodedWhenDrawn, encode
from engine.compute.training.sources import read_prompts
from engine.device import Device
from engine.jobs.training import Intent, train_run
from engine.records.conversation import Conversation, Label, say
from engine.records.errors import DataError
from engine.records.events import StepResult
from engine.records.presets import read_preset
from engine.records.prompts import Prompt, select
from engine.records.published import published_folder
from engine.records.runs import create_run
from engine.records.spec import RunSpec
from engine.records.spec_text import with_fields

BOS = "<|begin_of_text|>"
FAMILIES = {"paper-llama-3-8b": "llama", "paper-mistral-7b": "mistral"}
SIDES: tuple[Label, ...] = ("harmful", "benign")


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("paper")
    return {
        name: write_tiny_model(folder / family, blocks=22, family=family, opening=BOS, context=2048)
        for name, family in FAMILIES.items()
    }


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    write_published(folder)
    return folder


@pytest.fixture
def published(settings, files) -> Path:
    folder = published_folder()
    folder.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(files, folder)
    return folder


def preset(name: str, models: dict[str, Path], **changes: object) -> RunSpec:
    """At its own blocks, batch sizes and rows; only the model is smaller and the run shorter."""
    few = {"optimizer.steps": 3, "model.name": str(models[name]), "model.dtype": "float32", "captures.heldout_every": 3}
    return with_fields(read_preset(name), few | changes)


@cache
def whole_prompts(source: str, label: Label) -> list[Prompt]:
    """Of the files as they were published: each test's copy reads the same."""
    return read_prompts(source, label=label)


def training_prompts(spec: RunSpec, label: Label) -> list[Prompt]:
    source = spec.data.circuit_breaker if label == "harmful" else spec.data.retain
    return select(whole_prompts(source, label), spec.data, label=label, split="train", seed=0)


def text_of(model: LoadedModel, ids: tuple[int, ...]) -> str:
    return str(model.tokenizer.decode(list(ids)))


@pytest.mark.parametrize("name", FAMILIES)
def test_the_sets_are_the_published_ones_row_by_row(name, models, published):
    spec = preset(name, models)
    harmful, benign = (training_prompts(spec, label) for label in SIDES)
    assert len(harmful) == 4994
    assert {prompt.answer for prompt in harmful} == {f"harmful answer {number}" for number in range(4994)}

    kinds: dict[str, list[Prompt]] = {"dialogue": [], "borderline": [], "refusal": []}
    for prompt in benign:
        kind = (
            "borderline" if prompt.borderline else "refusal" if prompt.text.startswith("train request") else "dialogue"
        )
        kinds[kind].append(prompt)
    # The first 10,001 dialogues of at least two turns, each once and whole.
    assert len(kinds["dialogue"]) == 10_001
    whole = [number for number in range(10_600) if number % 40 != 39]
    assert {prompt.answer for prompt in kinds["dialogue"]} < {
        f"assistant {number} turn {turn}" for number in whole for turn in (0, 1)
    }
    assert sum(len(prompt.conversation.messages) == 3 for prompt in kinds["dialogue"]) == sum(
        number % 2 for number in whole[:10_001]
    )
    # Completions that complied, 50 times each.
    counted = Counter(prompt.text for prompt in kinds["borderline"])
    assert counted == {f"borderline, {number}": 50 for number in range(12) if number % 3}
    # For Llama-3 alone, 2,000 refusals of the circuit-breaker requests, twice each.
    refusals = Counter(prompt.answer for prompt in kinds["refusal"])
    if name == "paper-mistral-7b":
        assert not refusals
    else:
        assert len(refusals) == 2000 and set(refusals.values()) == {2}
        assert all(str(answer).startswith("I cannot help with") for answer in refusals)


@pytest.mark.parametrize("name", FAMILIES)
def test_held_out_rows_are_bounded_and_never_trained_on(name, models, published):
    spec = preset(name, models)
    for label, source in zip(SIDES, (spec.data.circuit_breaker, spec.data.retain), strict=True):
        prompts = whole_prompts(source, label)
        trained = {prompt.conversation.asked for prompt in prompts if prompt.split == "train"}
        for split in ("validation", "test"):
            held = select(prompts, spec.data, label=label, split=split, seed=0)
            assert 0 < len(held) <= 64
            assert not trained & {prompt.conversation.asked for prompt in held}


def test_rows_are_written_as_published_llama(models, published, settings):
    spec = preset("paper-llama-3-8b", models, **{"data.empty_prompt_share": 0.0})
    model = load_model(spec.model, settings)
    asked = Prompt(id="x", conversation=Conversation.asking("How?"), label="harmful", answer="So.")
    row = encode(model, Pair(asked, "So."), spec.data)
    opening = (
        f"{BOS}<|start_header_id|>user<|end_header_id|>\n\nHow?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )
    assert text_of(model, row.ids) == f"{opening}So."
    assert text_of(model, row.ids[: row.response_start]) == opening
    talk = Conversation(messages=(say("user", "a"), say("assistant", "b"), say("user", "c")))
    row = encode(model, Pair(Prompt(id="y", conversation=talk, label="benign"), "d"), spec.data)
    assert text_of(model, row.ids) == (
        f"{BOS}<|start_header_id|>user<|end_header_id|>\n\na<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\nb"
        "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nc<|eot_id|><|start_header_id|>assistant"
        "<|end_header_id|>\n\nd"
    )


def test_rows_are_written_as_published_mistral(models, published, settings):
    spec = preset("paper-mistral-7b", models)
    model = load_model(spec.model, settings)
    asked = Conversation.asking("How?")
    harmful = encode(model, Pair(Prompt(id="x", conversation=asked, label="harmful"), "So."), spec.data)
    benign = encode(model, Pair(Prompt(id="x", conversation=asked, label="benign"), "So."), spec.data)
    assert text_of(model, harmful.ids) == f"{BOS}[INST] How? [/INST]So."
    # A space before the answer of a retain row alone.
    assert text_of(model, benign.ids) == f"{BOS}[INST] How? [/INST] So."


@pytest.mark.parametrize("name", FAMILIES)
def test_long_rows_are_cut_as_published(name, models, published, settings):
    spec = preset(name, models, **{"data.empty_prompt_share": 0.0})
    model = load_model(spec.model, settings)
    long = Conversation.asking("q" * 3000)
    harmful = encode(model, Pair(Prompt(id="x", conversation=long, label="harmful"), "a" * 3000), spec.data)
    assert len(harmful.ids) == 1024 and harmful.response_start == 512
    assert text_of(model, harmful.ids[512:]) == "a" * 512
    short = encode(model, Pair(Prompt(id="x", conversation=long, label="harmful"), "a" * 5), spec.data)
    assert len(short.ids) == 517
    benign = encode(model, Pair(Prompt(id="x", conversation=long, label="benign"), "a" * 3000), spec.data)
    assert len(benign.ids) == 1024 and text_of(model, benign.ids).startswith(BOS)
    assert text_of(model, benign.ids[-100:]) == "q" * 100


def test_half_of_all_llama_rows_lose_their_request_and_mistral_rows_none(models, published, settings):
    for name, share in (("paper-llama-3-8b", 0.5), ("paper-mistral-7b", 0.0)):
        spec = preset(name, models)
        model = load_model(spec.model, settings)
        for label in SIDES:
            pairs = [Pair(one, one.answer or "") for one in training_prompts(spec, label)][:1200]
            rows = EncodedWhenDrawn(model, pairs, spec.data)
            empty = "user<|end_header_id|>\n\n<|eot_id|>" if share else "[INST]  [/INST]"
            hidden = [empty in text_of(model, row.ids) for row in rows]
            assert sum(hidden) / len(rows) == pytest.approx(share, abs=0.06)
            if share and label == "benign":
                # A dialogue without its request keeps its first answer alone.
                talks = [len(pair.prompt.conversation.messages) == 3 for pair in pairs]
                cut = [
                    text_of(model, row.ids)
                    for row, gone, talk in zip(rows, hidden, talks, strict=True)
                    if gone and talk
                ]
                assert cut and all("turn 0" in text and "turn 1" not in text for text in cut)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_paper_preset_runs_to_its_end_tells_its_reading_and_encodes_what_it_draws(
    name, models, published, settings, monkeypatch
):
    encoded: list[str] = []
    monkeypatch.setattr(
        rows_module, "encode", lambda model, pair, data: encoded.append(pair.prompt.id) or encode(model, pair, data)
    )
    # How many prompts are measured and captured, while it trains and at its end, is no part of what was published.
    few = {"data.heldout_rows": 16, "captures.capture_prompts": 4, "captures.final_prompts": 8}
    spec = preset(name, models, **few)
    run = create_run(settings.runs, spec, preset=name)
    device = Device(settings)
    events = list(train_run(run, tools=device.tools(1), controls=(), intent=Intent()))
    steps = [event for event in events if isinstance(event, StepResult)]
    assert len(steps) == 3 and all(0 <= step.reroute_loss <= 1 for step in steps)
    assert run.adapter_folder.is_dir()
    assert run.record().targets == (9, 19) and run.record().adapted == tuple(range(21))
    assert sum("Reading published:" in getattr(event, "message", "") for event in events) > 20
    # Three steps of 32 rows, the held-out ones, and what spaces and lengths are measured on; not the 24,000 of the set.
    assert len(encoded) < 3000


@pytest.mark.parametrize(
    ("gone", "words"),
    [
        (
            "circuit_breakers_train.json",
            r"circuit_breakers_train\.json is not here.*Get it from .*put it into .*published",
        ),
        ("test_sft-00000-of-00001.parquet", r"ultrachat_test_sft is not here.*HuggingFaceH4/ultrachat_200k"),
        ("xstest_v2_completions_labelled.csv", r"xstest_completions\.csv is not here"),
    ],
)
def test_a_missing_file_is_named_with_its_origin_and_its_place(gone, words, models, published):
    (published / gone).unlink()
    spec = preset("paper-llama-3-8b", models)
    with pytest.raises(DataError, match=words):
        for label, source in zip(SIDES, (spec.data.circuit_breaker, spec.data.retain), strict=True):
            read_prompts(source, label=label)


def test_of_two_files_that_may_be_meant_none_is_taken_and_one_that_holds_no_rows_is_not_meant(models, published):
    spec = preset("paper-llama-3-8b", models)
    (published / "about_test_sft.md").write_text("Notes.")
    assert read_prompts(f"{spec.data.retain.partition(';')[0]}", label="benign")
    shutil.copy(published / "test_sft-00000-of-00001.parquet", published / "old_test_sft.parquet")
    words = r"ultrachat_test_sft may be any of old_test_sft\.parquet, test_sft-00000-of-00001\.parquet in .*: leave one"
    with pytest.raises(DataError, match=words):
        read_prompts(spec.data.retain, label="benign")


def test_rows_without_the_answer_field_and_damaged_files_are_named(models, published):
    spec = preset("paper-llama-3-8b", models)
    file = published / "circuit_breakers_train.json"
    file.write_text('[{"prompt": "x", "category": "y", "llama3_output": "z"}]')
    with pytest.raises(DataError, match=r"circuit_breakers_train\.json, row 1: field 'output' is missing"):
        read_prompts(spec.data.circuit_breaker, label="harmful")
    (published / "test_sft-00000-of-00001.parquet").write_bytes(b"half a download")
    with pytest.raises(DataError, match=r"no Parquet file.*Fetch it again"):
        read_prompts(spec.data.retain, label="benign")
