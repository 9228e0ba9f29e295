"""The card beside an adapter: front matter a hub reads, figures from records, limits, no path of this machine."""

import json
import re
from pathlib import Path

import pytest
import yaml
from making_runs import write_run
from PIL import Image

from engine.exports.model_card.folder import write_card
from engine.records.evaluation.counts import count
from engine.records.evaluation.findings import (
    AttackResult,
    AuthorFindings,
    Evaluation,
    OthersFindings,
    ToolFindings,
    evaluations_folder,
    read_evaluations,
    write_evaluation,
)
from engine.records.files import write_whole
from engine.records.spec_text import with_fields


def exported(run, folder: Path, settings) -> str:
    folder.mkdir()
    (folder / "adapter_config.json").write_bytes((run.adapter_folder / "adapter_config.json").read_bytes())
    write_card(run, folder, settings)
    return (folder / "README.md").read_text()


def front_matter(card: str) -> dict:
    return yaml.safe_load(re.match(r"---\n(.*?)\n---\n", card, re.S)[1])


def test_the_front_matter_names_base_task_and_each_attacks_figure(settings, tmp_path):
    card = exported(write_run(settings, name="mine: a 'run'", complied=2), tmp_path / "out", settings)
    found = front_matter(card)
    assert found["base_model"] == "HuggingFaceTB/SmolLM2-135M-Instruct" and found["base_model_relation"] == "adapter"
    assert found["library_name"] == "peft" and found["pipeline_tag"] == "text-generation"
    (index,) = found["model-index"]
    assert index["name"] == "mine: a 'run'"
    metrics = [metric for result in index["results"] for metric in result["metrics"]]
    assert {metric["value"] for metric in metrics} == {10.0}
    assert {metric["type"] for metric in metrics} == {"harmful_requests_answered"}
    assert metrics[0]["name"] == "Direct request, harmful requests answered, % (n 20)"


def test_calls_are_called_so_in_the_head_too_and_a_judge_is_named_without_its_folder(settings, tmp_path):
    run = write_run(settings)
    asked = {"source": "theirs.jsonl", "judge": "/home/anna/models/my-judge+rules-1"}
    found = ToolFindings(
        **asked, attacks={"direct": AttackResult(base=count(["complied"]), rerouted=count(["refused"]))}
    )
    bare = {"key": "tools", "run": run.id, "attacks": {}, "benign_answers": {}}
    for file in evaluations_folder(run, settings).glob("*"):
        file.unlink()
    write_evaluation(run, settings, Evaluation(**bare, tools=found), [])
    card = exported(run, tmp_path / "out", settings)
    [metric] = [m for result in front_matter(card)["model-index"][0]["results"] for m in result["metrics"]]
    assert metric["type"] == "harmful_calls_made" and "harmful calls made" in metric["name"]
    assert "judge my-judge+rules-1" in card and "anna" not in card


def test_the_card_has_figures_intervals_limits_use_spec_and_versions(settings, tmp_path):
    run = write_run(settings, complied=2)
    run.update(figures={"heldout_cosine": 0.1})
    card = exported(run, tmp_path / "out", settings)
    assert "| Direct request | 90.0 % (69.9 to 97.2, n 20) | 10.0 % (2.8 to 30.1, n 20) |" in card
    assert "| heldout cosine | 0.1000 |" in card and "**Outcome: holds and keeps.**" in card
    assert "**Intended use.**" in card and "## Limits" in card and "torch 2.13.0" in card
    assert "4-bit GGUF" in card and run.record().digest in card
    for name in re.findall(r"!\[\w+\]\((.+?)\)", card):
        with Image.open(tmp_path / "out" / name) as picture:
            assert picture.width > 800
    assert len(list((tmp_path / "out" / "figures").iterdir())) == 2


def test_a_run_without_an_evaluation_claims_nothing(settings, tmp_path):
    run = write_run(settings)
    (run.folder / "evaluations" / "made.json").unlink()
    card = exported(run, tmp_path / "out", settings)
    assert "model-index" not in front_matter(card) and "| none measured | |" in card
    assert "**Outcome: not measured.**" in card and "attacks.png" not in card


def test_no_path_of_this_machine_is_in_the_folder(settings, tmp_path):
    local = str(tmp_path / "models" / "my-llama")
    run = write_run(settings)
    spec = with_fields(run.spec(), {"model.name": local, "data.circuit_breaker": f"{tmp_path}/rows.jsonl"})
    write_whole(run.folder / "spec.json", spec.to_json())
    config = json.loads((run.adapter_folder / "adapter_config.json").read_text())
    write_whole(run.adapter_folder / "adapter_config.json", json.dumps(config | {"base_model_name_or_path": local}))
    card = exported(run, tmp_path / "out", settings)
    for file in (tmp_path / "out").glob("*.*"):
        assert str(tmp_path) not in file.read_text(), file
    assert "base_model" not in front_matter(card) and "# Circuit breaker for my-llama" in card
    assert json.loads((tmp_path / "out" / "adapter_config.json").read_text())["base_model_name_or_path"] == "my-llama"
    assert json.loads((tmp_path / "out" / "spec.json").read_text())["data"]["circuit_breaker"] == "rows.jsonl"


@pytest.mark.parametrize(
    ("name", "hub"),
    [
        ("meta-llama/Meta-Llama-3-8B-Instruct", "meta-llama/Meta-Llama-3-8B-Instruct"),
        ("packaged/Qwen2.5-Coder-0.5B-Instruct", "Qwen/Qwen2.5-Coder-0.5B-Instruct"),
    ],
)
def test_a_base_model_of_a_hub_keeps_its_id(settings, tmp_path, name, hub):
    run = write_run(settings)
    write_whole(run.folder / "spec.json", with_fields(run.spec(), {"model.name": name}).to_json())
    card = exported(run, tmp_path / "out", settings)
    assert front_matter(card)["base_model"] == hub and f'from_pretrained("{hub}")' in card


def test_requests_of_another_kind_stand_in_tables_of_their_own(settings, tmp_path):
    """Beside the 20 requests of text: an evaluation of tools, and one of other people's words."""
    run = write_run(settings, complied=2)
    (first,) = read_evaluations(run, settings)
    few = AttackResult(base=count(["complied"] * 4), rerouted=count(["complied", *["refused"] * 3]))
    kept = {"base": count(["complied"] * 4), "rerouted": count(["complied"] * 3 + ["refused"])}
    asked = {"source": "theirs.jsonl", "judge": "one#rules-1", "attacks": {"direct": few}, "benign": kept}
    others = OthersFindings(half="test", own=AuthorFindings(**asked), authors={"ines": AuthorFindings(**asked)})
    for key, part in (("tools", {"tools": ToolFindings(**asked)}), ("others", {"others": others})):
        bare = {"key": key, "harmful": "", "benign": "", "attacks": {}, "benign_answers": {}}
        write_evaluation(run, settings, first.model_copy(update=bare | part), [])
    card = exported(run, tmp_path / "out", settings)
    assert "own rows" not in card
    assert [line.partition(";")[0] for line in card.splitlines() if "95 % Wilson intervals" in line] == [
        "Requests answered, of rows.jsonl",
        "Harmful calls made, and harmless requests served as they should be, of theirs.jsonl, which offer tools",
        "Requests answered, of other people's words, test half",
    ]
    assert "| Direct request | 100.0 % (51.0 to 100.0, n 4" in card and "| ines: direct request | 100.0 %" in card
    assert "| ines: benign requests | 100.0 %" in card and "ines: borderline" not in card
    metrics = [m for result in front_matter(card)["model-index"][0]["results"] for m in result["metrics"]]
    assert {metric["value"] for metric in metrics} == {10.0}


def test_a_model_that_is_put_together_here_is_on_no_hub_and_sees(settings, tmp_path):
    run = write_run(settings)
    write_whole(run.folder / "spec.json", with_fields(run.spec(), {"model.name": "assembled/llava-smollm2"}).to_json())
    card = exported(run, tmp_path / "out", settings)
    assert "base_model" not in front_matter(card) and front_matter(card)["pipeline_tag"] == "image-text-to-text"
    assert 'AutoModelForImageTextToText.from_pretrained("PATH-OF-THE-BASE-MODEL")' in card
