"""Fixtures: a random two-block model with a byte tokenizer, small prompt files, specs and folders of a workbench."""

import gc
import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Tests make the runs they look at; test_packing looks at the one that ships.
os.environ["WORKBENCH_SHIPPED_RUNS"] = "hide"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from collections.abc import Callable, Iterator
from pathlib import Path

import hypothesis
import pytest
import torch
from forking import interpreter
from making import random_rows, write_tiny_model
from making_seers import write_tiny_llava
from making_specs import spec_maker

from engine.compute.model import placement
from engine.compute.model.load import load_model
from engine.compute.model.loaded import LoadedModel
from engine.compute.training.trainer import Rows
from engine.records.settings import Settings, read_settings
from engine.records.spec import RunSpec
from engine.records.spec_parts import ModelSpec

torch.set_num_threads(1)
# Machines are shared: how long an example took to make or to try says nothing.
hypothesis.settings.register_profile(
    "untimed", hypothesis.settings(), deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")


def pytest_collection_finish() -> None:
    """Libraries and tests stay to the end: no collection has to walk through them again, as loading a model asks for
    one each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def own_main_module() -> Iterator[None]:
    """AppTest leaves its script behind as the main module, which a child process that is spawned later would run."""
    main = sys.modules["__main__"]
    yield
    sys.modules["__main__"] = main


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("WORKBENCH_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    return read_settings()


@pytest.fixture
def forked_workers(monkeypatch: pytest.MonkeyPatch) -> str:
    """Workers that a test starts are forked with their libraries loaded. The interpreter that would have been taken."""
    real = sys.executable
    monkeypatch.setattr(sys, "executable", interpreter())
    return real


@pytest.fixture
def bfloat16_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that multiplies bfloat16, so that weights asked for in it are in it, whichever machine tests."""
    monkeypatch.setattr(placement, "multiplies_bfloat16", lambda: True)


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def tiny_model(tiny_model_folder: Path, settings: Settings) -> LoadedModel:
    return load_model(ModelSpec(name=str(tiny_model_folder)), settings)


@pytest.fixture(scope="session")
def tiny_llava_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llava(tmp_path_factory.mktemp("tiny-llava"))


@pytest.fixture(scope="session")
def tiny_llava_next_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_llava(tmp_path_factory.mktemp("tiny-llava-next"), next=True)


@pytest.fixture
def tiny_llava(tiny_llava_folder: Path, settings: Settings) -> LoadedModel:
    return load_model(ModelSpec(name=str(tiny_llava_folder)), settings)


@pytest.fixture
def tiny_llava_next(tiny_llava_next_folder: Path, settings: Settings) -> LoadedModel:
    return load_model(ModelSpec(name=str(tiny_llava_next_folder)), settings)


@pytest.fixture
def tiny_spec(tiny_model_folder: Path, tmp_path: Path) -> Callable[..., RunSpec]:
    """A spec for the tiny model; changes are dotted names: tiny_spec(**{"optimizer.steps": 3}). Unknown ones fail."""
    return spec_maker(tiny_model_folder, tmp_path)


@pytest.fixture(scope="module")
def lasting_spec(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., RunSpec]:
    """As tiny_spec, with prompt files for all tests of a file: for a run that each of them gets a copy of."""
    return spec_maker(tiny_model_folder, tmp_path_factory.mktemp("prompts"))


@pytest.fixture
def tiny_rows() -> Rows:
    harmful, benign = random_rows(label="harmful"), random_rows(seed=1, label="benign")
    return Rows(harmful[:4], benign[:4], harmful[4:] + benign[4:], harmful[4:] + benign[4:])
