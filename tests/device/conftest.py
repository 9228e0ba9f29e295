"""What the device suite runs on: a GPU where there is one, else the processor in its place; tiny models."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from making import write_tiny_model

from engine.compute.model.load import load_model
from engine.compute.model.loaded import LoadedModel
from engine.records.settings import Settings
from engine.records.spec import RunSpec
from engine.records.spec_parts import ModelSpec

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


@pytest.fixture
def device_name() -> str:
    return DEVICE


@pytest.fixture
def device_spec(tiny_spec: Callable[..., RunSpec]) -> Callable[..., RunSpec]:
    """As tiny_spec, on the device and in its own number format."""
    return lambda **changes: tiny_spec(**{"model.device": DEVICE} | changes)


@pytest.fixture(scope="session")
def broad_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model whose heads are as wide as real models': narrower ones take the plain kernel of attention alone."""
    return write_tiny_model(tmp_path_factory.mktemp("broad"), head=64)


@pytest.fixture
def device_model(tiny_model_folder: Path, settings: Settings, bfloat16_processor: None) -> Callable[..., LoadedModel]:
    """The tiny model on the device: device_model(dtype="bfloat16")."""

    def load(**changes: Any) -> LoadedModel:
        return load_model(ModelSpec(**{"name": str(tiny_model_folder), "device": DEVICE} | changes), settings)

    return load
