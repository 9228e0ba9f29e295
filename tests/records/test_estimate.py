"""The time of a run in its parts, against what the run that ships took."""

import re
from types import SimpleNamespace

import pytest
from making_cards import BUNDLED, QWEN

from engine.records.blocks import resolve_blocks
from engine.records.cards import DataCard
from engine.records.conversation import Label
from engine.records.estimate import ANSWERS, LOADING, Estimate, estimate
from engine.records.presets import read_preset
from engine.records.prompt_files import read_source
from engine.records.row_lengths import SideLength, step_share
from engine.records.settings import ROOT
from engine.records.spec import RunSpec
from engine.records.spec_text import build_spec, read_spec, with_fields
from workbench.train.checks import RowCounts, _module_problems, count_rows
from workbench.train.costs import _estimate

# The machine of docs/decisions/0009-the-front.md: two cores, and prompts of 48 tokens with their template.
SPEED, PROMPT_TOKENS = 1.4e11, 48.0
EARLIER = ROOT / "tests" / "earlier" / "version_0_1" / "presets"


def rows_of(spec: RunSpec) -> dict[Label, RowCounts]:
    sources: dict[Label, str] = {"harmful": spec.data.circuit_breaker, "benign": spec.data.retain}
    # Samples have no answers of their own: a problem of the form, not of the count.
    return count_rows(spec, {label: read_source(source, label=label) for label, source in sources.items()})[0]


def estimated(spec: RunSpec) -> Estimate:
    rows = rows_of(spec)
    return estimate(
        spec,
        BUNDLED,
        {"flops_per_second": SPEED},
        training_rows=sum(one.training for one in rows.values()),
        heldout_rows=sum(one.heldout for one in rows.values()),
        prompt_tokens=PROMPT_TOKENS,
    )


def test_the_default_preset_of_version_0_1_takes_what_its_run_took():
    """Measured (docs/decisions/0009-the-front.md, its events): answers 1,400 s for 5,789 prompts, base activations 480,
    1,200 steps 1,159, eleven captures of 3.7 each; 1,757 without the answers. Within a sixth of each."""
    found = estimated(read_spec(EARLIER / "default.json"))
    seconds = {part.name: part.seconds for part in found.parts}
    assert seconds[ANSWERS] == pytest.approx(1400, rel=0.17)
    assert seconds["reading the base model's activations"] == pytest.approx(480, rel=0.17)
    assert seconds["training"] == pytest.approx(1159, rel=0.17)
    assert found.training_seconds == pytest.approx(1757, rel=0.17)


def test_the_whole_time_is_the_sum_of_its_parts_and_a_longer_run_takes_longer():
    quick = read_preset("quick")
    cost, longer = estimated(quick), estimated(with_fields(quick, {"optimizer.steps": 2 * quick.optimizer.steps}))
    assert cost.seconds == pytest.approx(sum(part.seconds for part in cost.parts))
    assert (
        cost.eliciting_seconds
        and cost.training_seconds
        and cost.eliciting_seconds + cost.training_seconds < cost.seconds
    )
    assert longer.training_seconds > 1.5 * cost.training_seconds and longer.eliciting_seconds == cost.eliciting_seconds


def test_modules_named_by_their_last_part_are_the_same_modules():
    full, short, both = (
        build_spec({"adapter": {"modules": one}}) for one in (["self_attn.q_proj"], ["q_proj"], ["q_proj", "up_proj"])
    )
    counts = [
        estimate(spec, QWEN, {}, training_rows=8, heldout_rows=8, prompt_tokens=PROMPT_TOKENS).trained_parameters
        for spec in (short, full, both)
    ]
    assert counts[0] == counts[1] > 0 and counts[2] > counts[0]
    assert not _module_problems(short, QWEN) and not _module_problems(full, QWEN)
    wrong = _module_problems(build_spec({"adapter": {"modules": ["q_proj", "proj"]}}), QWEN)
    assert wrong["adapter.modules"].startswith("proj is no linear module")


def test_two_processes_halve_what_is_computed_and_not_what_is_loaded():
    quick = read_preset("quick")
    costs = [
        estimate(
            quick,
            BUNDLED,
            {"flops_per_second": SPEED, "processes": count, "shares": shares},
            training_rows=512,
            heldout_rows=100,
            prompt_tokens=PROMPT_TOKENS,
        )
        for count, shares in ((1, 1), (2, 1), (2, 2))
    ]
    one, two, sharded = ({part.name: part.seconds for part in cost.parts} for cost in costs)
    assert two["training"] == pytest.approx(one["training"] / 2)
    assert two[ANSWERS] == pytest.approx(one[ANSWERS] / 2) and two[LOADING] == one[LOADING]
    # With a share of the weights each, both run every row that is answered or measured; of a step each has its own.
    assert sharded == one | {"training": two["training"]}


def test_a_run_with_given_answers_generates_none():
    quick = with_fields(read_preset("quick"), {"data.answers": "given"})
    assert ANSWERS not in [part.name for part in estimated(quick).parts]


def test_the_readme_says_how_many_prompts_quick_answers():
    said = re.search(r"answers (\d+) prompts", (ROOT / "README.md").read_text())
    assert said and int(said[1]) == sum(one.asked for one in rows_of(read_preset("quick")).values())


def test_a_second_model_takes_what_its_run_took_within_half_as_much_again():
    """Measured with `quick-qwen` on two cores of 1.93e11 operations a second, prompts of 53.4 tokens: answers 167 s,
    training with its measurements and captures 390 s."""
    spec = read_preset("quick-qwen")
    rows = rows_of(spec)
    cost = estimate(
        spec,
        QWEN,
        {"flops_per_second": 1.93e11},
        training_rows=sum(one.training for one in rows.values()),
        heldout_rows=sum(one.heldout for one in rows.values()),
        prompt_tokens=53.4,
    )
    assert 167 / 1.5 < (cost.eliciting_seconds or 0) < 167 * 1.5
    assert 390 / 1.5 < (cost.training_seconds or 0) < 390 * 1.5
    # Embeddings that are only looked up are no work, nor is a head that is not there to be told.
    assert QWEN.product_parameters == 24 * 14_912_384 + 136_134_656
    assert BUNDLED.product_parameters == BUNDLED.parameters


def test_the_harmfulness_probe_is_a_part_of_the_time_only_where_it_is_asked_for():
    spec = read_preset("strongest")
    names = [part.name for part in estimated(spec).parts]
    assert "fitting the harmfulness probe" in names
    without = with_fields(spec, {"harmfulness.probe": False})
    assert "fitting the harmfulness probe" not in [part.name for part in estimated(without).parts]


def test_tools_that_prompts_share_cost_what_is_run_of_them_and_calls_their_own_length():
    # With dropout every row runs its own opening.
    spec = build_spec({"adapter": {"dropout": 0.0}})
    rows = {"training_rows": 400, "heldout_rows": 40, "prompt_tokens": 720.0}
    machine = {"flops_per_second": 1e11}
    apart = estimate(spec, QWEN, machine, **rows)
    shared = estimate(spec, QWEN, machine, **rows, alone_tokens=150.0, with_tools=1.0)
    assert (shared.seconds or 0) < 0.5 * (apart.seconds or 0)
    longer = spec.model_copy(update={"data": spec.data.model_copy(update={"call_tokens": 400})})
    again = estimate(longer, QWEN, machine, **rows, alone_tokens=150.0, with_tools=1.0)
    assert (again.eliciting_seconds or 0) > 1.5 * (shared.eliciting_seconds or 0)
    assert estimate(longer, QWEN, machine, **rows).seconds == apart.seconds


def test_options_that_read_rows_once_more_take_that_time_and_held_answers_keep_a_block_more():
    spec = build_spec({"adapter": {"dropout": 0.0}})
    rows = {"training_rows": 4000, "heldout_rows": 100, "prompt_tokens": 48.0}
    machine = {"flops_per_second": 1e11}

    def seconds(changes: dict[str, float]) -> float:
        parts = estimate(with_fields(spec, changes), BUNDLED, machine, **rows).parts
        return next(part.seconds for part in parts if part.name == "reading the base model's activations")

    each = seconds({}) / 4100
    assert seconds({"adapter.null_space": 0.9}) == pytest.approx(4356 * each)
    assert seconds({"loss.twin_weight": 0.3}) == pytest.approx(5124 * each)
    assert seconds({"loss.twin_weight": 0.3, "loss.overlap_cosine": 0.5}) == pytest.approx(5124 * each)

    def kept(changes: dict[str, float]) -> int:
        fewer = rows | {"training_rows": 40}
        memory = estimate(with_fields(spec, changes), BUNDLED, machine, **fewer).memory
        return next(part.bytes for part in memory if part.name == "kept base activations")

    blocks = resolve_blocks(spec, BUNDLED.block_count)
    places = len(blocks.targets) + len({*blocks.retain, *blocks.targets})
    assert kept({"loss.answer_weight": 1.0}) == pytest.approx(kept({}) * (places + 1) / places, rel=1e-6)
    assert kept({}) == 140 * (48 + 48) * places / 2 * BUNDLED.d_model * 4
    # What enters the first adapted block, on both sides.
    later = {"blocks.adapted": "5-19", "loss.retain_blocks": "10, 19"}
    assert kept(later) == 140 * (48 + 48) * (2 + 1 + 2 + 1) / 2 * BUNDLED.d_model * 4


def test_rows_that_are_drawn_once_are_not_kept_and_each_process_holds_its_own_model():
    spec = build_spec({"optimizer": {"steps": 10, "circuit_breaker_batch": 10, "retain_batch": 10}})
    rows = {"training_rows": 200, "heldout_rows": 50, "prompt_tokens": 48.0}

    def memory(machine: dict[str, object], **more: int) -> dict[str, int]:
        return {part.name: part.bytes for part in estimate(spec, BUNDLED, machine, **(rows | more)).memory}

    once, again, held = (memory({}, training_rows=count)["kept base activations"] for count in (200, 150, 1000))
    assert again == 2 * once == 2 * held
    alone, four = memory({"processes": 1}), memory({"processes": 4})
    assert four == {name: 4 * count for name, count in alone.items()}
    on_gpus = {"device": "cuda:0", "memory_bytes": 80 * 2**30}
    assert memory(on_gpus | {"processes": 4}) == memory(on_gpus | {"processes": 1})
    # Where each holds a share of the blocks, and all else whole, no base activations are kept.
    blocks = 4 * BUNDLED.block_count * BUNDLED.block_parameters
    each = alone["weights"] - blocks + blocks / 4
    for machine, times in ((on_gpus, 1), ({}, 4)):
        sharded = memory(machine | {"processes": 4, "shares": 4})
        assert sharded["weights"] == pytest.approx(times * each, abs=4)
        assert sharded["kept base activations"] == 0


def test_only_answers_that_are_made_and_rows_that_are_drawn_take_time():
    """Of 10,200 rows 400 are asked, and 150 steps of 16 + 16 draw 4,800 of them."""
    spec = build_spec({"optimizer": {"steps": 150, "circuit_breaker_batch": 16, "retain_batch": 16}})
    machine = {"flops_per_second": SPEED}
    sizes = {"heldout_rows": 0, "prompt_tokens": PROMPT_TOKENS}
    reading = "reading the base model's activations"
    many, few, drawn = (
        {part.name: part.seconds for part in estimate(spec, BUNDLED, machine, **sizes, **rows).parts}
        for rows in (
            {"training_rows": 10_200, "asked_rows": 400},
            {"training_rows": 400},
            {"training_rows": 4_800},
        )
    )
    assert many[ANSWERS] == pytest.approx(few[ANSWERS])
    assert many[reading] == pytest.approx(drawn[reading]) and few[reading] < many[reading]


def test_answers_that_files_give_are_as_long_as_they_are_and_a_step_as_long_as_its_rows():
    spec = build_spec({"data": {"new_tokens": 50}, "optimizer": {"tokens_per_micro_batch": 100_000}})
    rows = {"training_rows": 100, "heldout_rows": 0, "prompt_tokens": 30.0, "alone_tokens": 30.0}
    machine = {"flops_per_second": SPEED}

    def costs(**more: float) -> tuple[float, float]:
        cost = estimate(spec, BUNDLED, machine, **rows, **more)
        micro = next(part.bytes for part in cost.memory if part.name == "a micro-batch")
        return next(part.seconds for part in cost.parts if part.name == "training"), micro

    plain = costs()
    for more, times in (
        ({"given": 1.0, "given_tokens": 290.0}, (30 + 290) / (30 + 50)),
        ({"given": 0.5, "given_tokens": 290.0}, (30 + 170) / (30 + 50)),
        ({"step_share": 2.0}, 2.0),
    ):
        assert costs(**more) == pytest.approx([times * one for one in plain], rel=1e-3)


def test_the_form_reckons_with_what_files_give_and_with_the_longer_side(monkeypatch):
    """500 harmful rows of 20 tokens, 5,000 benign ones of 500 with answers of 100: a step of 16 + 16 has as many of
    each."""
    told = {}
    monkeypatch.setattr("workbench.train.costs.estimate", lambda *_, **said: told.update(said))
    monkeypatch.setattr(
        "workbench.train.costs.queue", lambda: SimpleNamespace(worker=lambda: SimpleNamespace(machine={}))
    )
    spec = build_spec({"data": {"answers": "given"}, "optimizer": {"circuit_breaker_batch": 16, "retain_batch": 16}})

    def card(rows: int, prompt: float, answer: float) -> DataCard:
        lengths = {"tokens_mean": prompt, "tokens_median": prompt, "tokens_95": prompt, "tokens_max": int(prompt)}
        return DataCard(rows=rows, **lengths, histogram=[], histogram_edges=[], answers_mean=answer)

    sides = [(500, card(500, 20.0, 100.0)), (5_000, card(5_000, 500.0, 100.0))]
    _estimate(spec, BUNDLED, RowCounts(5_000, 500, 0), sides)
    assert told["given"] == pytest.approx(1.0) and told["given_tokens"] == pytest.approx(100.0)
    mean = (500 * 120 + 5_000 * 600) / 5_500
    assert told["step_share"] == pytest.approx((120 + 600) / 2 / mean)
    _estimate(spec.model_copy(update={"data": spec.data.model_copy(update={"answers": "elicit"})}), BUNDLED,
              RowCounts(5_000, 500, 0), sides)  # fmt: skip
    assert told["given"] == 0.0


def test_a_steps_rows_by_the_mean_of_all():
    """100 rows of 10 tokens and 300 of 50 have 40 each; of 2 + 2 a step's have 30."""
    assert step_share([SideLength(100, 10.0, 2), SideLength(300, 50.0, 2)]) == pytest.approx(30 / 40)
    assert step_share([SideLength(0, 10.0, 2), SideLength(0, 0.0, 2)]) == 1.0


def test_only_answers_that_are_made_are_reckoned_with_their_own_length():
    """Of rows whose other half keeps answers six times as long."""
    spec = build_spec({"data": {"new_tokens": 100}})
    sizes = {"training_rows": 200, "heldout_rows": 0, "asked_rows": 100, "prompt_tokens": 50.0}
    plain, kept = (
        next(part.seconds for part in estimate(spec, BUNDLED, {"flops_per_second": SPEED}, **sizes, **more).parts
             if part.name == ANSWERS)
        for more in ({}, {"given": 0.5, "given_tokens": 600.0})
    )  # fmt: skip
    assert plain == pytest.approx(kept)
