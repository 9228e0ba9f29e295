"""What benchmarks compare is the same: losses of this engine and of the published compute, and the rows they run on."""

import json

import pytest
import torch
from making import byte_tokenizer

from benchmarks import gpu
from benchmarks.__main__ import main, report
from benchmarks.rows import Row
from benchmarks.training_step import Case, compared, llama_shape, published_lengths, side_rows


@pytest.mark.parametrize("checkpointing", [False, True])
def test_all_kinds_of_step_compute_the_same_losses(checkpointing):
    """`compared` itself refuses to give figures for losses that differ. The fifth block is cut off as published."""
    model = llama_shape(byte_tokenizer(), blocks=5, width=128, device="cpu", dtype=torch.float32)
    harmful, benign = side_rows("harmful", (24, 40)), side_rows("benign", (16, 33))
    case = Case("tiny", model, harmful, benign, "1, 2", "0-3", "1-3", 64, checkpointing)
    rows = compared(case, 2)
    assert [row.name.partition(": ")[2] for row in rows] == [
        "published compute, padded to 64",
        "published compute, padded to the longest row",
        "this engine, adapters on blocks 0-3, base activations kept",
        "this engine, adapters on blocks 1-3, base activations kept",
    ]
    for row in rows:
        assert row.figures["real tokens a second"] == pytest.approx(113 / row.figures["s"])


def test_the_table_of_one_gpu_has_the_published_compute_beside_this_engine_and_answers():
    """At a small shape on the processor: the same code, without the count of stops."""
    model = llama_shape(byte_tokenizer(), blocks=5, width=128, device="cpu", dtype=torch.float32)
    harmful, benign = side_rows("harmful", (24, 40)), side_rows("benign", (16, 33))
    rows = gpu.table(Case("tiny", model, harmful, benign, "1, 2", "0-3", "", 64, True), 1)
    assert [row.name.partition(": ")[2] for row in rows] == [
        "published compute, padded to 64",
        "published compute, padded to the longest row",
        "this engine, adapters on blocks 0-3, base activations kept",
        "this engine, base activations computed anew",
        "this engine, computed anew, gradient checkpointing",
        "one row",
        "two columns, base and circuit-broken",
        "8 rows at once",
    ]
    assert all(row.figures["GiB at the peak"] >= 0 for row in rows)


def test_losses_that_differ_are_not_compared(monkeypatch):
    model = llama_shape(byte_tokenizer(), blocks=5, width=128, device="cpu", dtype=torch.float32)
    case = Case("tiny", model, side_rows("harmful", (24,)), side_rows("benign", (16,)), "1, 2", "0-3", "", 64, False)
    monkeypatch.setattr(
        "benchmarks.published_step.published_retain_loss", lambda *_: torch.ones((), requires_grad=True)
    )
    with pytest.raises(AssertionError, match="the losses differ"):
        compared(case, 1)


def test_the_published_mix_of_lengths_has_its_real_tokens():
    lengths = published_lengths(32)
    assert len(lengths) == 32 and sum(lengths) == 15_485 and max(lengths) <= 1024 and min(lengths) > 16


def test_a_report_keeps_the_sections_that_were_not_measured_again():
    first = report("", {"chat": [Row("words", {"tokens a second": 3.0})], "app": [Row("start", {"s": 1.234})]}, "old")
    assert [line for line in first.splitlines() if line.startswith("## ")] == ["## chat", "## app"]
    assert report(first, {}, "unused") == first
    second = report(first, {"app": [Row("start", {"s": 2.0})], "growth": [Row("runs", {"s": 5.0})]}, "new")
    told = [line.split()[-1] for line in second.splitlines() if line.startswith(("## ", "Measured"))]
    assert told == ["chat", "old.", "growth", "new.", "app", "new."]
    assert "| words | 3 tokens a second |" in second and "| start | 2 s |" in second and "1.23" not in second


def test_a_section_that_was_skipped_replaces_no_figures():
    first = report("", {"app": [Row("start", {"s": 1.5})]}, "old")
    assert report(first, {"app": [Row("skipped, there is none here", {})]}, "new") == first
    assert "skipped" in report(first, {"gpu": [Row("skipped, there is none here", {})]}, "new")


def test_what_was_measured_before_a_section_failed_is_kept(monkeypatch, tmp_path):
    def fails(_, name: str, repeats: int) -> list[Row]:
        if name == "app":
            raise SystemExit("It broke.")
        return [Row(name, {"s": 1.0})]

    monkeypatch.setattr("benchmarks.__main__.alone", fails)
    monkeypatch.setattr("sys.argv", ["benchmarks", "chat", "app", "--json", str(tmp_path / "rows.json")])
    with pytest.raises(SystemExit, match=r"It broke\."):
        main()
    assert [row["name"] for row in json.loads((tmp_path / "rows.json").read_text())["rows"]] == ["chat"]
