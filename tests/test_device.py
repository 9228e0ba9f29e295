"""One base model, many states: a checkpoint answers as it did when it was written; what is gone is named."""

import gc
import shutil
import weakref

import pytest
import torch
from making import drain, write_tiny_model
from safetensors.torch import load_file, save_file

from engine.compute.model.activations import block_activations
from engine.compute.model.adapters import adapted, attach_adapter, has_adapter, remove_adapter, save_adapter
from engine.compute.model.load import load_model
from engine.compute.training.base_activations import row_batch
from engine.compute.training.checkpoints import list_checkpoints
from engine.compute.training.train import train
from engine.device import IDLE_ADAPTERS, Device, adapter_name
from engine.jobs.training import _keep_adapter
from engine.records.as_trained import need_as_trained
from engine.records.blocks import resolve_blocks
from engine.records.checkpoints import BASE_MODEL, Checkpoint, last_checkpoint, parse_checkpoint, run_checkpoints
from engine.records.errors import MemoryShortage, ModelError, RunError
from engine.records.events import CheckpointResult
from engine.records.model_files import made_of
from engine.records.runs import create_run
from engine.records.spec_parts import AdapterSpec, ModelSpec


@pytest.fixture
def trained(settings, tiny_model, tiny_spec, tiny_rows):
    """A finished run with checkpoints after steps 2, 4 and 6, and the states of a batch as they were at each."""
    spec = tiny_spec(**{"optimizer.learning_rate": 0.05})
    run = create_run(settings.runs, spec)
    name, seen = adapter_name(run), {}
    for event in train(
        model=tiny_model,
        name=name,
        spec=spec,
        blocks=resolve_blocks(spec, 2),
        rows=tiny_rows,
        checkpoints=run.checkpoints_folder,
    ):
        if isinstance(event, CheckpointResult):
            seen[event.step] = states(tiny_model, tiny_rows, name)
    _keep_adapter(tiny_model, name, run)
    remove_adapter(tiny_model, name)
    run.update(status="finished")
    return run, seen


def states(model, rows, name):
    with torch.no_grad(), adapted(model, name):
        return block_activations(model, row_batch(model, rows.harmful), [1]).outputs[1]


def test_each_checkpoint_and_the_finished_adapter_are_as_they_were(trained, settings, tiny_model, tiny_rows):
    run, seen = trained
    device = Device(settings, tiny_model)
    assert run_checkpoints(run) == [
        Checkpoint(run.id, 2),
        Checkpoint(run.id, 4),
        Checkpoint(run.id, 6),
        Checkpoint(run.id),
    ]
    # A copy that somebody made beside them is none.
    shutil.copytree(run.checkpoint_folder(4), run.checkpoints_folder / "step-000004 copy")
    assert len(run_checkpoints(run)) == 4 and last_checkpoint(run) == 6
    assert len(list_checkpoints(run.checkpoints_folder)) == 3
    for state in run_checkpoints(run):
        with device.attached(tiny_model, state) as name:
            torch.testing.assert_close(states(tiny_model, tiny_rows, name), seen[state.step or 6])
    assert not torch.allclose(seen[2], seen[6])
    with device.attached(tiny_model, BASE_MODEL) as name:
        assert name is None


def test_the_model_in_memory_answers_on_when_its_folder_is_gone(tmp_path, settings):
    folder = write_tiny_model(tmp_path / "model")
    device, spec = Device(settings), ModelSpec(name=str(folder), device="cpu")
    _, loaded = drain(device.acquire(spec, job_id=1))
    device.release(1)
    shutil.rmtree(folder)
    assert drain(device.acquire(spec, job_id=2))[1] is loaded


def test_few_idle_adapters_stay_in_memory_and_none_in_use_is_removed(trained, settings, tiny_model):
    run, _ = trained
    device = Device(settings, tiny_model)
    with device.attached(tiny_model, Checkpoint(run.id, 2)) as held:
        for _ in range(3):
            for state in run_checkpoints(run):
                with device.attached(tiny_model, state) as name:
                    assert has_adapter(tiny_model, name) and has_adapter(tiny_model, held)
    assert len(tiny_model.peft_model.peft_config) <= IDLE_ADAPTERS


def test_a_state_that_is_gone_is_named(trained, settings, tiny_model):
    run, _ = trained
    device = Device(settings, tiny_model)
    with pytest.raises(RunError, match="no checkpoint of step 3"), device.attached(tiny_model, Checkpoint(run.id, 3)):
        pass
    with pytest.raises(RunError, match="no run 'gone'"), device.attached(tiny_model, Checkpoint("gone")):
        pass


def test_the_last_step_of_a_finished_run_is_its_adapter_at_its_strength(trained, settings, tiny_model, tiny_rows):
    run, seen = trained
    file = run.adapter_folder / "adapter_model.safetensors"
    save_file({name: 1.5 * one if "lora_B" in name else one for name, one in load_file(file).items()}, file)
    run.update(step=6)
    device = Device(settings, tiny_model)

    def read(checkpoint: Checkpoint) -> torch.Tensor:
        with device.attached(tiny_model, checkpoint) as name:
            return states(tiny_model, tiny_rows, name)

    kept = read(Checkpoint(run.id))
    assert not torch.allclose(kept, seen[6])
    torch.testing.assert_close(read(Checkpoint(run.id, 6)), kept)
    torch.testing.assert_close(read(Checkpoint(run.id, 4)), seen[4])
    # What was stopped was made neither stronger nor weaker, and may be trained on.
    run.update(status="stopped")
    torch.testing.assert_close(read(Checkpoint(run.id, 6)), seen[6])
    shutil.rmtree(run.checkpoint_folder(6))
    torch.testing.assert_close(read(Checkpoint(run.id, 6)), kept)


def test_weights_that_a_training_moves_are_given_to_who_asks_for_them_as_they_are_alone(trained, settings, tiny_model):
    run, _ = trained
    tools = Device(settings, tiny_model).tools(1)
    attach_adapter(tiny_model, adapter_name(run), run.spec().adapter, [0, 1], seed=0)
    with tools.attached(tiny_model, Checkpoint(run.id)) as name:
        assert name == adapter_name(run)
    with tools.still(tiny_model, Checkpoint(run.id, 4)) as name:
        assert name != adapter_name(run)
    with pytest.raises(RunError, match="still move"), tools.still(tiny_model, Checkpoint(run.id)):
        pass


def test_an_adapter_that_is_not_in_memory_is_not_read_as_the_base_model(tiny_model):
    with pytest.raises(ModelError, match="not in memory any more"), adapted(tiny_model, "never"):
        pass
    for name in ("gone", "other"):
        attach_adapter(tiny_model, name, AdapterSpec(rank=2), [0], seed=0)
    remove_adapter(tiny_model, "gone")
    with pytest.raises(ModelError, match="not in memory any more"), adapted(tiny_model, "gone"):
        pass


def test_another_model_waits_until_nobody_holds_the_present_one_and_says_who_does(
    settings, tiny_model, tiny_spec, bfloat16_processor
):
    device = Device(settings, tiny_model, holders={1: "the training of run a"})
    other = tiny_spec().model.model_copy(update={"dtype": "bfloat16"})
    waiting = device.acquire(other, job_id=2, what="chat")
    event = next(waiting)
    assert event.elsewhere and event.phase == "waiting"
    assert "the training of run a holds" in event.message and other.name in event.message
    assert device.waiting == {2}
    device.release(1)
    _, loaded = drain(waiting)
    assert loaded.dtype == torch.bfloat16 and device.holders == {2: "chat"} and device.waiting == set()


def test_two_jobs_that_ask_for_a_model_before_it_is_loaded_get_the_same_one(settings, tiny_spec, monkeypatch):
    loads = []

    def load(spec, settings):
        loads.append(spec)
        return load_model(spec, settings)

    monkeypatch.setattr("engine.device.load_model", load)
    device = Device(settings)
    spec = tiny_spec().model
    first, second = device.acquire(spec, job_id=1, what="train"), device.acquire(spec, job_id=2, what="chat")
    assert next(first).phase == "loading"
    event = next(second)
    assert event.phase == "waiting" and "is being loaded" in event.message
    _, one = drain(first)
    _, other = drain(second)
    assert one is other and len(loads) == 1 and set(device.holders) == {1, 2}


def test_a_model_that_could_not_be_loaded_holds_nobody_up(settings, tiny_spec):
    device = Device(settings)
    missing = tiny_spec().model.model_copy(update={"name": "/nowhere/at/all"})
    with pytest.raises(ModelError, match="does not exist"):
        drain(device.acquire(missing, job_id=1))
    device.release(1)
    _, model = drain(device.acquire(tiny_spec().model, job_id=2))
    assert model.spec == tiny_spec().model


def test_a_run_is_saved_after_another_adapter_on_other_blocks_was_removed(settings, tiny_model, tmp_path):
    """PEFT keeps the removed adapter's name as the active one where the two share no layer, and saving asks for it."""
    attach_adapter(tiny_model, "shipped", AdapterSpec(rank=2), [0], seed=0)
    attach_adapter(tiny_model, "running", AdapterSpec(rank=2), [1], seed=0)
    with adapted(tiny_model, "shipped"):
        pass
    remove_adapter(tiny_model, "shipped")
    save_adapter(tiny_model, "running", tmp_path / "adapter")
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize("text", ["base", "20260101-000000-abcdef", "20260101-000000-abcdef@40"])
def test_a_state_reads_back_from_its_text(text):
    assert str(parse_checkpoint(text)) == text


@pytest.mark.parametrize("text", ["", "@4", "run@", "run@x", "base@3"])
def test_other_text_names_no_state(text):
    with pytest.raises(RunError, match="names no model"):
        parse_checkpoint(text)


def test_a_second_model_stands_beside_the_first_until_its_job_ends(settings, tiny_model, tiny_spec, tmp_path):
    device = Device(settings, tiny_model)
    other = tiny_spec().model.model_copy(update={"name": str(write_tiny_model(tmp_path / "judge", blocks=3))})
    first, second = device.tools(1), device.tools(2)
    events, judge = drain(first.beside(other))
    assert [event.phase for event in events] == ["loading"] and len(judge.blocks) == 3
    assert drain(first.beside(other)) == ([], judge) and device.model is tiny_model
    assert drain(second.beside(other))[1] is not judge
    gone = weakref.ref(judge.causal_lm)
    del judge
    device.release(1)
    gc.collect()
    assert gone() is None


def test_memory_that_torch_keeps_on_a_gpu_is_given_back_when_the_last_job_has_ended(
    settings, tiny_model, tiny_spec, monkeypatch
):
    given_back = []
    device = Device(settings, tiny_model)
    for job in (1, 2):
        drain(device.acquire(tiny_spec().model, job_id=job))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: given_back.append(True))
    device.release(1)
    assert not given_back
    device.release(2)
    assert given_back == [True]


def test_a_second_model_that_does_not_fit_says_what_it_takes_and_what_is_free(
    settings, tiny_model, tiny_spec, monkeypatch
):
    monkeypatch.setattr("engine.compute.model.room.free_bytes", lambda _: 1000)
    device = Device(settings, tiny_model)
    with pytest.raises(MemoryShortage, match=r"takes 0.0 GiB, and 0.0 GiB are free on cpu: choose a smaller model"):
        drain(device.beside(tiny_spec().model, job_id=1))


def test_a_model_that_a_gpu_has_no_room_for_is_refused_before_its_weights_are_read(settings, tiny_spec, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (9, 0))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr("engine.compute.model.room.free_bytes", lambda _: 1000)
    spec = tiny_spec().model.model_copy(update={"device": "auto"})
    with pytest.raises(
        MemoryShortage, match=r"free on cuda: end what else uses that memory, or choose a smaller model"
    ):
        drain(Device(settings).acquire(spec, job_id=1))


def test_a_model_whose_weights_changed_under_its_name_is_loaded_anew_and_is_not_the_one_a_run_was_trained_on(
    settings, tiny_spec, tmp_path
):
    folder = write_tiny_model(tmp_path / "changing")
    device, spec = Device(settings), ModelSpec(name=str(folder))
    _, first = drain(device.acquire(spec, job_id=1))
    device.release(1)
    assert drain(device.acquire(spec, job_id=2))[1] is first
    device.release(2)
    run = create_run(settings.runs, tiny_spec(**{"model.name": str(folder)}))
    run.update(made_of=made_of(settings.models, str(folder)))
    need_as_trained(run, str(folder), made_of(settings.models, str(folder)))
    file = folder / "model.safetensors"
    save_file({name: weight * 2 for name, weight in load_file(file).items()}, file, metadata={"format": "pt"})
    _, second = drain(device.acquire(spec, job_id=3))
    assert second is not first
    with (
        pytest.raises(ModelError, match=r"was trained on other weights of .*changing than are here now"),
        device.attached(second, parse_checkpoint(run.id)),
    ):
        pass
    # Of the run's own weights again, and of a run that noted none.
    save_file({name: weight / 2 for name, weight in load_file(file).items()}, file, metadata={"format": "pt"})
    need_as_trained(run, str(folder), made_of(settings.models, str(folder)))
    run.update(made_of="")
    weigh = load_file(file)
    save_file({name: weight * 3 for name, weight in weigh.items()}, file, metadata={"format": "pt"})
    need_as_trained(run, str(folder), made_of(settings.models, str(folder)))
