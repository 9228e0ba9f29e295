"""Models of a Hugging Face hub, one of the test's own: downloaded by a child process while the worker's other jobs go
on, told in numbers, and then never asked for again."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from making import resting, write_tiny_model
from making_hub import GATED, Hub, hub_of

from engine.compute.model.load import describe_model, load_model
from engine.compute.steps import drained
from engine.device import Device
from engine.records.errors import ModelError
from engine.records.events import Progress
from engine.records.model_files import context_length, downloaded
from engine.records.settings import ROOT
from engine.records.spec_parts import ModelSpec

TINY = ModelSpec(name="owner/tiny", device="cpu")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with two models, and an empty cache of what was downloaded."""
    for seed, name in enumerate(("owner/tiny", "other/tiny", GATED)):
        write_tiny_model(tmp_path / "hub" / name, seed=seed)
    # The same weights for other programs, and in other names.
    (tmp_path / "hub/owner/tiny/onnx").mkdir()
    (tmp_path / "hub/owner/tiny/onnx/model.json").write_text("{}")
    (tmp_path / "hub/owner/tiny/consolidated.safetensors").write_bytes(b"0" * 1000)
    (tmp_path / "hub/owner/tiny/pytorch_model.bin").write_bytes(b"0" * 1000)
    cache = tmp_path / "cache of the hub"
    with hub_of(tmp_path / "hub") as found:
        monkeypatch.setenv("HF_ENDPOINT", found.address)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        monkeypatch.setenv("HF_HUB_CACHE", str(cache))
        monkeypatch.setenv("HF_HOME", str(tmp_path / "home of the hub"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
        yield found


def fetch(name: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "engine", "fetch", name]
    return subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, timeout=120)


def test_a_model_is_downloaded_while_others_go_on_and_then_never_asked_for_again(settings, hub):
    hub.pause = 0.05
    device, told = Device(settings), list[Progress]()
    loading = resting(device.acquire(TINY, job_id=1))
    while True:
        try:
            told.append(next(loading))
        except StopIteration as ended:
            model = ended.value
            break
    fetching = [event for event in told if event.phase == "fetching"]
    assert len(fetching) > 3 and all(event.elsewhere for event in fetching)
    assert model.card == describe_model(TINY, settings) and model.made_of
    assert context_length(settings.models, TINY.name) == model.card.context_length
    # Neither in other names nor for other programs.
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= set(hub.downloads())
    assert not {"consolidated.safetensors", "pytorch_model.bin", "model.json"} & set(hub.downloads())
    # A second load asks nothing, whatever the hub has by now.
    write_tiny_model(hub.folder / "owner/tiny", seed=9)
    hub.asked.clear()
    again = load_model(TINY, settings)
    assert not hub.asked and again.made_of == model.made_of
    # The second model of two is another one.
    assert downloaded("other/tiny") is None


def test_the_command_fetches_what_the_hub_has_now_and_names_the_folder(settings, hub):
    first = fetch("owner/tiny")
    assert first.returncode == 0 and Path(first.stdout.strip()) == downloaded("owner/tiny")
    write_tiny_model(hub.folder / "owner/tiny", seed=9)
    second = fetch("owner/tiny")
    assert second.stdout != first.stdout and Path(second.stdout.strip()) == downloaded("owner/tiny")
    assert fetch("other/tiny").returncode == 0 and downloaded("other/tiny") != downloaded("owner/tiny")


def test_what_was_broken_off_is_no_model_and_is_fetched_anew(settings, hub):
    hub.pause = 0.2
    loading = resting(Device(settings).acquire(TINY, job_id=1))
    while "model.safetensors" not in hub.downloads():
        next(loading)
    loading.close()
    assert downloaded(TINY.name) is None
    hub.pause = 0.0
    drained(resting(Device(settings).acquire(TINY, job_id=1)))
    assert downloaded(TINY.name)


def test_while_one_is_downloaded_or_cannot_be_the_present_model_answers_on(settings, hub, tiny_model_folder):
    device, present = Device(settings), ModelSpec(name=str(tiny_model_folder), device="cpu")
    loaded = drained(device.acquire(present, job_id=1))
    hub.pause = 0.2
    first, second = (resting(device.acquire(TINY, job_id=job)) for job in (2, 3))
    while "model.safetensors" not in hub.downloads():
        assert next(first).phase == "fetching"
    assert next(second).message == "owner/tiny is being fetched", "one download serves both"
    assert drained(device.acquire(present, job_id=4)) is loaded
    first.close()
    second.close()
    with pytest.raises(ModelError, match="The hub has no model owner/none"):
        drained(resting(device.acquire(ModelSpec(name="owner/none", device="cpu"), job_id=5)))
    assert device.model is loaded and 5 not in device.holders


def test_some_of_several_files_are_no_model(settings, hub, tmp_path):
    """What a download that broke off, or another program, has left in the hub's cache."""
    assert fetch("owner/tiny").returncode == 0
    folder = downloaded("owner/tiny")
    assert folder is not None
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    assert downloaded("owner/tiny") is None
    (folder / "model-00001-of-00002.safetensors").rename(folder / "model.safetensors")
    shutil.rmtree(folder.parent.parent / "trees")
    assert downloaded("owner/tiny") == folder, "another program keeps no list"
    (folder / "tokenizer.json").unlink()
    assert downloaded("owner/tiny") is None


@pytest.mark.parametrize(
    "name, words",
    [
        ("owner/none", "The hub has no model owner/none"),
        (GATED, "accept them on its page of the hub"),
        ("packaged/none", "packaged/Qwen2.5-Coder-0.5B-Instruct"),
        ("picturse", "Without the hub: packaged/Qwen2.5-Coder-0.5B-Instruct"),
    ],
)
def test_a_name_that_leads_nowhere_is_told_in_words(settings, hub, name, words):
    answer = fetch(name)
    assert answer.returncode != 0 and words in answer.stderr and "Traceback" not in answer.stderr


def test_a_hub_that_is_out_of_reach_is_told_in_words_where_a_job_asks(settings, hub, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match=r"^owner/tiny could not be downloaded: .*try again when the hub"):
        drained(resting(Device(settings).acquire(TINY, job_id=1)))


def test_who_fetches_what_another_job_waits_for_is_known(settings, hub):
    """So that a training which is paused in the midst of it gives way."""
    device = Device(settings)
    hub.pause = 0.2
    first, second = (resting(device.acquire(TINY, job_id=job)) for job in (2, 3))
    while "model.safetensors" not in hub.downloads():
        assert next(first).phase == "fetching"
    next(second)
    assert device.awaited == {2} and not device.waiting
    first.close()
    hub.pause = 0.0
    drained(second)
    assert device.awaited == set()
