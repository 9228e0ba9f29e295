"""Maps, examinations and token views made of a capture: what was asked, and what came out. Knows nothing of models.

Each lies in a file named by its content key beside the capture, so that the screen finds what is already there.
"""

import json
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open

from engine.records.captures.capture import Capture, TokenChoice
from engine.records.spec_parts import Part
from engine.records.versions import key_of, stable_json

# Of how maps and token views are made, and how examinations are: another number, and they are made anew.
MAPS = 1
# Of views of tokens where training hides requests. 2: such rows are read with theirs, as they were captured.
HIDDEN_REQUESTS = 2
EXAMINATIONS = 2
Method = Literal["pca", "umap", "difference", "probe", "movement"]
# In a map of movement: the base model in the plane that is fitted to the random adapter.
RANDOM_BASE = "random-base"


class ProjectionRequest(Part):
    """One map of one block: one frame for the base model and all captured steps."""

    # Files and keys keep the names that version 0.1 gave these fields.
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    run_id: str = ""
    key: str = Field(description="The capture's key.")
    digest: str = Field("", description="The capture's digest: new vectors need a new map.")
    checkpoints: tuple[str, ...] = Field((), alias="states", description="Those that the capture had.")
    tokens: TokenChoice = "response_mean"
    block: int = Field(ge=0)
    method: Method = "pca"
    dimensions: Literal[2, 3] = 2
    space: Literal["raw", "standardised"] = "standardised"
    seed: int = 0


class MapFigures(BaseModel):
    """How far one checkpoint's map can be trusted.

    trustworthiness: share of map neighbours that are neighbours in the activations too, 0 to 1 (Venna & Kaski 2001).
    auc: harmful against benign, cross-validated linear probe on the activations; map_auc: the same on the map's
    coordinates;
    shuffled_auc: 95th percentile of map_auc over shuffled labels, which chance alone reaches. None: too few prompts.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")

    trustworthiness: float | None = None
    auc: float | None = None
    auc_borderline: float | None = None
    map_auc: float | None = None
    shuffled_auc: float | None = None


class Projection(NamedTuple):
    """points[checkpoint]: coordinates, one row a prompt.  figures[checkpoint].  explained: share of variance per axis
    (PCA).  fitted: which rows the axes were fitted on, where the others are to be looked at (movement).
    """

    points: dict[str, Float[np.ndarray, "prompt axis"]]
    figures: dict[str, MapFigures]
    explained: tuple[float, ...]
    axes: tuple[str, ...]
    notes: tuple[str, ...]
    fitted: Bool[np.ndarray, " prompt"] | None = None


class ExaminationRequest(Part):
    """Every block of a capture: how well harmful and benign separate in the base model, and after `checkpoint`."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    run_id: str = ""
    key: str
    digest: str = ""
    tokens: TokenChoice = "response_mean"
    checkpoint: str = Field("base", alias="state", description="What is compared with the base model.")
    seed: int = 0


class BlockExamination(BaseModel):
    """One block. AUCs are held out (cross-validated), None with too few prompts; *_after: of the compared checkpoint.

    *_low, *_high: the 95 % interval of the base model's AUC over prompts; *_chance: the 95th percentile of that AUC
    when labels are shuffled.
    distance: between the harmful and benign centroids, in deviations averaged over dimensions.
    top_energy: share of the mean squared activation that the three largest dimensions hold (rogue dimensions: near 1).
    """

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")

    block: int
    auc: float | None
    auc_borderline: float | None
    auc_low: float | None = None
    auc_high: float | None = None
    auc_chance: float | None = None
    auc_borderline_low: float | None = None
    auc_borderline_high: float | None = None
    auc_borderline_chance: float | None = None
    auc_after: float | None = None
    auc_borderline_after: float | None = None
    distance: float
    top_energy: float


class Examination(BaseModel):
    """All blocks, and where to intervene: suggested blocks as block lists ('': it cannot be told), with the reason in
    words. How many prompts of each group the AUCs are of: benign without borderline; 0 where version 0.1 did not say.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    blocks: tuple[BlockExamination, ...]
    targets: str
    adapted: str
    reason: str
    harmful: int = 0
    benign: int = 0
    borderline: int = 0


class TokenRequest(Part):
    """One prompt and answer, token by token, at every captured block."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, serialize_by_alias=True)

    run_id: str = ""
    key: str
    digest: str = ""
    prompt_id: str
    checkpoint: str = Field(alias="state")
    threshold: float = Field(0.5, ge=-1, le=1, description="The breaker has tripped where the cosine falls below this.")


class TokenView(BaseModel):
    """cosine[token][block index], base and rerouted in the standardised space; norms of both, centred.

    trip: the first response token whose mean cosine over the target blocks is below the threshold; None: it holds.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings")

    prompt_id: str
    tokens: tuple[str, ...]
    response_start: int
    blocks: tuple[int, ...]
    cosine: tuple[tuple[float, ...], ...]
    base_norm: tuple[tuple[float, ...], ...]
    rerouted_norm: tuple[tuple[float, ...], ...]
    trip: int | None


def projection_file(capture: Capture, request: ProjectionRequest) -> Path:
    return capture.results_folder / "projections" / f"{_digest(request)}.safetensors"


def examination_file(capture: Capture, request: ExaminationRequest) -> Path:
    return capture.results_folder / "examinations" / f"{_digest(request, version=EXAMINATIONS)}.json"


def token_file(capture: Capture, request: TokenRequest) -> Path:
    version = HIDDEN_REQUESTS if capture.index.request.data.empty_prompt_share else None
    return capture.results_folder / "tokens" / f"{_digest(request, version=version)}.json"


def read_projection(file: Path) -> Projection | None:
    """The map, or None where it is not made yet (or its file is damaged: it is then made again)."""
    try:
        with safe_open(file, framework="np") as opened:
            about: dict[str, Any] = json.loads(opened.metadata()["about"])
            return Projection(
                {checkpoint: opened.get_tensor(checkpoint) for checkpoint in about["states"]},
                {checkpoint: MapFigures.model_validate(figures) for checkpoint, figures in about["figures"].items()},
                tuple(about["explained"]),
                tuple(about["axes"]),
                tuple(about["notes"]),
                opened.get_tensor("fitted").astype(bool) if about.get("fitted") else None,
            )
    except (OSError, SafetensorError, KeyError, ValueError, TypeError):
        return None


def read_examination(file: Path) -> Examination | None:
    return _read(file, Examination)


def read_token_view(file: Path) -> TokenView | None:
    return _read(file, TokenView)


def _read(file: Path, kind: type[BaseModel]) -> Any:
    try:
        return kind.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):
        return None


def _digest(request: BaseModel, *, version: int | None = None) -> str:
    return key_of(stable_json(request), version=MAPS if version is None else version, length=16)
