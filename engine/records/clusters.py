"""Clusters to which runs can be sent: a small TOML file, one table a cluster. Knows nothing of Slurm's commands.

[a100]                    # the name that Train and --cluster use
partition = "gpu"
gpus = 1                  # a run; 0: none
cpus = 8
memory_gb = 64
hours = 8                 # after them the job is queued again and goes on
"""

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from engine.records.errors import ClusterError
from engine.records.settings import ROOT, Settings

# What Slurm and a shell take for a name, and for nothing else.
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.,:-]{0,79}$")]
MAX_HOURS = 720.0
MAX_MEMORY_GB = 65536.0
EXAMPLE = 'partition = "gpu", gpus = 1, cpus = 8, memory_gb = 64, hours = 8'


class Resources(BaseModel):
    """What a job asks of a cluster."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    partition: Name
    gpus: int = Field(1, ge=0, le=64, description="GPUs of one node.")
    cpus: int = Field(8, ge=1, le=1024, description="Processor cores.")
    memory_gb: float = Field(32, gt=0, le=MAX_MEMORY_GB, description="Memory of the node, in GB.")
    hours: float = Field(8, gt=0, le=MAX_HOURS, description="After them the job is queued again and goes on.")


class Cluster(Resources):
    """One table of the file: what a job gets unless it asks otherwise, and what the cluster needs."""

    account: Name | None = None
    qos: Name | None = None
    constraint: str | None = Field(None, max_length=200, pattern=r"^[^\n\"'`$]*$")
    setup: tuple[str, ...] = Field((), description="Shell lines before the job, such as 'module load cuda'.")
    python: str = Field("", description="Python on the nodes; '': the one that sends the job, at the same path.")
    shared: tuple[Path, ...] = Field((), description="Folders that nodes see too; the runs must lie in one.")
    notice_seconds: int = Field(120, ge=5, le=3600, description="Before its time is up a job is told to write down.")
    other_versions: bool = Field(False, description="Resume with other versions than a run was trained with so far.")

    def asked(self, **changes: Any) -> Resources:
        """What a job asks for, with changes where they are not None. Raises ClusterError for one out of range."""
        content = {name: getattr(self, name) for name in Resources.model_fields}
        return _checked(Resources, content | {name: value for name, value in changes.items() if value is not None})


def clusters_file(settings: Settings) -> Path:
    """WORKBENCH_CLUSTERS, else clusters.toml beside the runs folder."""
    given = os.environ.get("WORKBENCH_CLUSTERS")
    return Path(given).expanduser().resolve() if given else settings.runs.parent / "clusters.toml"


def read_clusters(settings: Settings) -> dict[str, Cluster]:
    """All clusters by name; none where there is no file. Raises ClusterError when the file says something wrong."""
    file = clusters_file(settings)
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if os.environ.get("WORKBENCH_CLUSTERS"):
            raise ClusterError(f"WORKBENCH_CLUSTERS names {file}, which is not there: write it, or unset it.") from None
        return {}
    except (OSError, ValueError) as error:
        raise ClusterError(f"The clusters in {file} cannot be read: {error}. It must be a TOML file.") from error
    clusters = {}
    for name, table in content.items():
        if not isinstance(table, dict):
            raise ClusterError(f"{file}: '{name}' stands outside a table: write [NAME] first, then {EXAMPLE}.")
        clusters[name] = _checked(Cluster, table, place=f"{file}, [{name}]: ")
    return clusters


def find_cluster(settings: Settings, name: str) -> Cluster:
    """Raises ClusterError where no cluster has this name."""
    clusters = read_clusters(settings)
    if name not in clusters:
        known = f"choose one of {', '.join(clusters)}" if clusters else f"name it there: [{name}], then {EXAMPLE}"
        raise ClusterError(f"No cluster is called '{name}' in {clusters_file(settings)}: {known}.")
    return clusters[name]


def need_shared(cluster: Cluster, settings: Settings) -> None:
    """Raises ClusterError where a folder that the job needs is none that the nodes see, as far as the file says."""
    if not cluster.shared:
        return
    folders = [folder.expanduser().resolve() for folder in cluster.shared]
    for what, place in (("runs folder", settings.runs), ("cache", settings.cache), ("workbench itself", ROOT)):
        if not any(place.is_relative_to(folder) for folder in folders):
            raise ClusterError(
                f"The {what} {place} is in none of the folders that the nodes see "
                f"({', '.join(map(str, folders))}): move it there, or set WORKBENCH_RUNS and WORKBENCH_CACHE."
            )


def _checked(kind: type[Any], content: dict[str, Any], *, place: str = "") -> Any:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        problem = error.errors()[0]
        name = ".".join(map(str, problem["loc"])) or "the table"
        if problem["type"] == "missing":
            raise ClusterError(f"{place}{name} is missing: a cluster needs, for example, {EXAMPLE}.") from error
        if problem["type"] == "extra_forbidden":
            known = ", ".join(kind.model_fields)
            raise ClusterError(f"{place}{name} is no setting of a cluster: choose from {known}.") from error
        raise ClusterError(f"{place}{name} is {problem['input']!r:.60}: {_wanted(problem)}.") from error


def _wanted(problem: Any) -> str:
    text = problem["msg"]
    return f"{text[:1].lower()}{text[1:]}".replace("input should", "it must").replace("string should", "it must")
