"""The harmfulness probes of a run: fitted as training ends or later, beside a chat, and in an evaluation."""

import math
import shutil

import pytest
import torch
from making import drain, random_rows, write_prompts
from making_probes import always_or_never
from test_capturing import trained

from engine.compute.model.activations import block_activations
from engine.compute.model.adapters import adapted, attach_adapter
from engine.compute.model.harmfulness import Probe, save_layers
from engine.compute.training.base_activations import row_batch
from engine.device import Device
from engine.jobs.chat import chat_job
from engine.jobs.evaluation import evaluate
from engine.jobs.harmfulness import _read, _scores, _tokens, fit_probe_job
from engine.records.chats.asked import Column, Sampling
from engine.records.chats.chat import Exchange, new_chat
from engine.records.errors import DataError, RunError, SpecError
from engine.records.evaluation.counts import SIDES
from engine.records.evaluation.findings import read_evaluations
from engine.records.evaluation.plan import AttackChoice, EvaluationPlan
from engine.records.events import Alert, Progress
from engine.records.harmfulness import (
    KINDS,
    MESSAGE,
    PROBES,
    WEIGHTS,
    need_probes,
    probes_folder,
    read_probes,
)
from engine.records.runs import list_runs

BASE = Column(checkpoint="base")


@pytest.fixture
def device(settings):
    return Device(settings)


@pytest.fixture
def many(tmp_path):
    """Of 30 benign validation rows 15 are borderline: enough to set a threshold by."""
    return {
        "data.circuit_breaker": str(write_prompts(tmp_path / "many-harmful.jsonl", kind="harmful", rows=120)),
        "data.retain": str(write_prompts(tmp_path / "many-benign.jsonl", kind="benign", rows=180)),
    }


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """Where the run lies that the first test trained: each has a copy."""
    return tmp_path_factory.mktemp("first") / "runs"


@pytest.fixture
def run(first, device, settings, tiny_spec, many):
    if not first.is_dir():
        probed = {"harmfulness.probe": True, "harmfulness.false_alarms": 0.2}
        trained(device, settings, tiny_spec(**many, **probed))
        shutil.copytree(settings.runs, first)
    shutil.copytree(first, settings.runs, dirs_exist_ok=True)
    [run] = list_runs(settings.runs)
    return run


def work(device, job, payload):
    _, result = drain(job(payload, device.tools(1)))
    device.release(1)
    return result


def test_a_run_ends_with_its_probes_and_their_figures(run, settings):
    found = need_probes(run, settings, None)
    assert (found.step, found.block, found.false_alarms) == (6, 1, 0.2)
    assert found.rows == {"harmful": 60, "borderline": 30, "benign": 60}
    for side in SIDES:
        for kind in KINDS:
            one = found.probes[side][kind]
            assert 0 <= one.auc <= 1 and len(one.harmful) == 20 and len(one.borderline) == 15
            assert list(one.borderline) == sorted(one.borderline, reverse=True)
            fired = sum(score > one.threshold(0.2) for score in one.borderline)
            assert fired <= 3


def test_they_are_fitted_once_and_anew_for_another_rate_or_after_more_steps(run, device, settings):
    file = probes_folder(run, settings) / PROBES
    before = file.stat().st_mtime_ns
    work(device, fit_probe_job, {"run": run.id})
    assert file.stat().st_mtime_ns == before
    work(device, fit_probe_job, {"run": run.id, "false_alarms": 0.5, "block": "0"})
    found = need_probes(run, settings, None)
    assert (found.block, found.false_alarms) == (0, 0.5)
    with pytest.raises(RunError, match=r"fitted after step 6, not 4: .* choose the finished run"):
        need_probes(run, settings, 4)
    run.update(step=7)
    with pytest.raises(RunError, match="fitted after step 6, not 7: fit them anew"):
        need_probes(run, settings, None)


def test_borderline_answers_come_first_where_there_are_more_held_out_rows_than_are_read(
    run, device, settings, monkeypatch
):
    """Of 30 held-out benign rows 12 are read: as they lie, some 6 of them would be borderline."""
    monkeypatch.setattr("engine.jobs.harmfulness.HELD_OUT_ROWS", 12)
    work(device, fit_probe_job, {"run": run.id, "false_alarms": 0.5})
    assert len(need_probes(run, settings, None).probes["base"]["mlp"].borderline) == 12


def test_what_is_fitted_anew_for_a_run_that_ships_goes_to_the_desk_and_is_read_there(
    run, device, settings, monkeypatch
):
    shipped = {file: file.read_bytes() for file in probes_folder(run, settings).iterdir()}
    monkeypatch.setattr("engine.records.runs.Run.read_only", property(lambda run: True))
    work(device, fit_probe_job, {"run": run.id, "false_alarms": 0.5})
    assert {file: file.read_bytes() for file in shipped} == shipped and len(shipped) == 2
    assert need_probes(run, settings, None).false_alarms == 0.5
    assert probes_folder(run, settings).is_relative_to(settings.desk)


@pytest.mark.parametrize(
    ("changes", "said"), [({"block": "0-1"}, "reads one block, not 2"), ({"false_alarms": 1.5}, "false_alarms")]
)
def test_what_cannot_be_is_told_before_anything_is_fitted(run, device, changes, said):
    with pytest.raises(SpecError, match=said):
        work(device, fit_probe_job, {"run": run.id, **changes})


def test_a_run_without_one_says_how_to_get_it_and_a_damaged_one_is_told(device, settings, tiny_spec, many):
    run, _ = trained(device, settings, tiny_spec(**many))
    assert read_probes(run, settings) is None
    with pytest.raises(RunError, match=f"python -m engine probe {run.id}"):
        need_probes(run, settings, None)
    work(device, fit_probe_job, {"run": run.id})
    (probes_folder(run, settings) / PROBES).write_text("{torn")
    with pytest.raises(RunError, match="cannot be read"):
        need_probes(run, settings, None)


def test_too_few_borderline_answers_set_no_threshold_and_are_told_before_training(device, settings, tiny_spec):
    run, _ = trained(device, settings, tiny_spec())
    said = r"held-out borderline answers, and the retain set has \d: give it at least 8"
    with pytest.raises(DataError, match=said):
        work(device, fit_probe_job, {"run": run.id})
    assert read_probes(run, settings) is None
    device.release(1)
    with pytest.raises(DataError, match=said):
        trained(device, settings, tiny_spec(**{"harmfulness.probe": True}))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (DataError("it broke"), "it broke"),
        (torch.OutOfMemoryError("It is full."), "Memory ran out: It is full. Choose a smaller model, or fewer"),
    ],
    ids=["told", "memory"],
)
def test_a_probe_that_cannot_be_fitted_does_not_fail_its_run(
    device, settings, tiny_spec, many, monkeypatch, error, words
):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("engine.jobs.harmfulness.need_borderline", fail)
    run, events = trained(device, settings, tiny_spec(**many, **{"harmfulness.probe": True}))
    [alert] = [event for event in events if isinstance(event, Alert) and "harmfulness" in event.message]
    assert alert.message.startswith(f"No harmfulness probe was fitted: {words}") and f"probe {run.id}" in alert.advice
    assert (run.adapter_folder / "adapter_config.json").is_file()


def test_what_went_wrong_unforeseen_after_the_last_step_is_not_passed_over(
    device, settings, tiny_spec, many, monkeypatch
):
    def fail(*_, **__):
        raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setattr("engine.jobs.training.final_capture", fail)
    with pytest.raises(RuntimeError, match="CUDA error"):
        trained(device, settings, tiny_spec(**many))


def asked(run, settings, **more):
    columns = more.pop("columns", (BASE, Column(checkpoint=run.id)))
    chat = new_chat(settings, columns)
    exchange = Exchange(
        model=run.spec().model, columns=columns, user="harmful request", sampling=Sampling(new_tokens=8), **more
    )
    return chat, {"chat": chat.id, "exchange": chat.ask(exchange)}


def test_in_a_chat_each_column_is_ended_by_its_own_probe_and_the_next_turn_reads_the_message(run, device, settings):
    always_or_never(run, settings, base=math.inf, rerouted=-math.inf)
    chat, payload = asked(run, settings, probe="linear")
    work(device, chat_job, payload)
    reply = chat.reply(0)
    assert reply.answered.reasons == ("length", "probe")
    assert [len(ids) for ids in reply.answered.ids] == [8, 1]
    assert [verdict.word for verdict in reply.verdicts][1] == "refused"
    assert reply.verdicts[1].reason == "ended by the harmfulness probe at 1 token"
    chat.ask(chat.exchange(0).model_copy(update={"turn": 1}))
    said = [chat.conversation(1, column).messages[1].text for column in (0, 1)]
    assert said == [reply.text(0), MESSAGE]


def test_a_chat_of_the_base_model_alone_has_no_probe_to_ask(run, device, settings):
    chat, payload = asked(run, settings, probe="mlp", columns=(BASE,))
    with pytest.raises(RunError, match="belongs to a run"):
        work(device, chat_job, payload)
    assert "belongs to a run" in chat.reply(0).error


def plan_of(run, *attacks, **more):
    return EvaluationPlan(
        checkpoint=run.id,
        harmful="own",
        benign="own",
        attacks=tuple(AttackChoice(name=name, budget=budget) for name, budget in attacks),
        limit=4,
        new_tokens=6,
        probe="mlp",
        **more,
    )


def evaluated(run, device, settings, *attacks, **more):
    return work(device, evaluate, plan_of(run, *attacks, **more))


def test_an_evaluation_tells_both_models_without_and_with_their_probes(run, device, settings):
    always_or_never(run, settings, base=math.inf, rerouted=-math.inf)
    found = evaluated(run, device, settings, ("direct", 1), ("steering", 1), ("embedding", 2))
    beside = found.with_probe
    assert set(found.attacks) == {"direct", "steering", "embedding"}
    # Who steers the weights takes the probe off as well.
    assert set(beside.attacks) == {"direct", "embedding"}
    assert beside.attacks["direct"]["base"] == found.attacks["direct"].base
    for counts in (beside.attacks["direct"], beside.attacks["embedding"], *beside.kept.values()):
        assert counts["rerouted"].refused == counts["rerouted"].n > 0
    assert beside.fired["benign"] == {"base": 0, "rerouted": 4}
    assert beside.fired["borderline"]["base"] == 0 < beside.fired["borderline"]["rerouted"]
    assert beside.kept["borderline"]["base"] == beside.without["base"]
    (read,) = read_evaluations(run, settings)
    assert read.with_probe == beside and read.report()["with_probe"]["kind"] == "mlp"


def test_an_evaluation_keeps_the_probes_that_it_began_with(run, device, settings):
    always_or_never(run, settings, base=-1.0, rerouted=-1.0)
    steps = evaluate(plan_of(run, ("direct", 1)), device.tools(1))
    assert any(isinstance(event, Progress) and event.phase.startswith("Direct") for event in steps)
    # Fitted anew meanwhile: of other weights, by which none of these answers would be ended.
    names = [f"{side}.{kind}" for side in SIDES for kind in KINDS]
    save_layers(
        probes_folder(run, settings) / WEIGHTS,
        {name: [(torch.zeros(1, 16), torch.full((1,), -5.0))] for name in names},
    )
    _, found = drain(steps)
    device.release(1)
    assert found.with_probe.fired["benign"] == {"base": 4, "rerouted": 4}


def test_a_rate_of_ones_own_sets_another_threshold(run, device, settings):
    always_or_never(run, settings, base=0.0, rerouted=0.0)
    strict = evaluated(run, device, settings, ("direct", 1), false_alarms=1.0)
    assert strict.with_probe.fired["borderline"]["base"] == strict.with_probe.kept["borderline"]["base"].n
    assert strict.with_probe.attacks["direct"]["base"].complied == 0
    as_fitted = evaluated(run, device, settings, ("direct", 1))
    assert as_fitted.key != strict.key and as_fitted.with_probe.false_alarms == 0.0
    assert as_fitted.with_probe.fired == {"benign": dict.fromkeys(SIDES, 0), "borderline": dict.fromkeys(SIDES, 0)}


def test_a_run_without_probes_is_told_before_anything_is_asked(device, settings, tiny_spec, many):
    run, _ = trained(device, settings, tiny_spec(**many))
    with pytest.raises(RunError, match="has no harmfulness probe"):
        evaluated(run, device, settings, ("direct", 1))


@pytest.mark.parametrize("adapted_blocks", ["0-1", "1"])
def test_both_models_are_read_as_if_each_were_run_whole(tiny_model, tiny_spec, adapted_blocks):
    """What enters the first adapted block is kept from the base model's pass, and changes nothing."""
    spec = tiny_spec(**{"blocks.adapted": adapted_blocks, "adapter.noise": 0.5})
    first = int(adapted_blocks[0])
    attach_adapter(tiny_model, "rr", spec.adapter, range(first, 2), seed=0)
    rows = random_rows(5) + random_rows(4, seed=1, label="benign")
    read = {}
    drain(_read(tiny_model, "rr", rows, 1, entry_block=first, take=lambda row, found: read.update({id(row): found})))
    for side, name in (("base", None), ("rerouted", "rr")):
        with torch.no_grad(), adapted(tiny_model, name):
            alone = [block_activations(tiny_model, row_batch(tiny_model, [row]), [1]).outputs[1][0] for row in rows]
        for row, whole in zip(rows, alone, strict=True):
            torch.testing.assert_close(read[id(row)][side], whole[row.response_start :], atol=1e-5, rtol=1e-4)
    assert not any(torch.allclose(*(read[id(row)][side] for side in SIDES)) for row in rows)


def test_fitted_on_are_first_tokens_where_memory_is_short_and_heard_are_whole_answers(tiny_model, monkeypatch):
    """A threshold by the first tokens of held-out answers would let more of them end than it says."""
    monkeypatch.setattr("engine.jobs.harmfulness.MOST_BYTES", 0)
    monkeypatch.setattr("engine.jobs.harmfulness.FEWEST_TOKENS", 2)
    rows = random_rows(5) + random_rows(4, seed=1, label="benign")
    lengths = [len(row.ids) - row.response_start for row in rows]
    assert min(lengths) > 2
    _, tokens = drain(_tokens(tiny_model, None, rows, 1, entry_block=2))
    for side in SIDES:
        assert len(tokens[side].activations) == 2 * len(rows) and tokens[side].harmful.sum() == 2 * 5
    layers = ((torch.randn(1, tiny_model.d_model), torch.zeros(1)),)
    probes = {side: {kind: Probe(1, layers, math.inf) for kind in KINDS} for side in SIDES}
    _, heard = drain(_scores(tiny_model, None, rows, probes, entry_block=2))
    for side in SIDES:
        for kind in KINDS:
            assert [len(found) for found in heard[side][kind]] == lengths
