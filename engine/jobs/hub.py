"""Download a model of the Hugging Face hub: what loading it reads, and no other form of its weights.

The hub's own cache holds what is fetched, for any other program too. Of what is broken off the files that are whole
stay.
"""

import threading
import time
from collections.abc import Generator
from pathlib import Path

from engine.jobs.fetching import need_disk, stored
from engine.records.errors import ModelError, first_line
from engine.records.events import Progress
from engine.records.files import arrived_bytes, written_at
from engine.records.model_files import READ, UNREAD

LOOK_SECONDS = 0.1
# What was broken off is never taken up again by the hub's library; what nobody has written to for so long is nobody's.
BROKEN_OFF, FORSAKEN_SECONDS = "*.incomplete", 3600.0


def fetch_from_hub(name: str) -> Generator[Progress, None, Path]:
    """The folder that the files of a model lie in, as the hub has them now.

    Raises ModelError where the hub has no such model, shows it to others only or cannot be reached, and where the
    disk has no room (before anything is fetched).
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.file_download import repo_folder_name

    yield _step(name, 0, 0)
    try:
        listed = snapshot_download(name, allow_patterns=READ, ignore_patterns=UNREAD, dry_run=True)
    except Exception as error:  # Of the hub, of the network under it, and of what stands between.
        raise _unreached(name, error) from error
    needed = sum(file.file_size or 0 for file in listed if file.will_download)
    blobs = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=name, repo_type="model") / "blobs"
    with stored(blobs):
        blobs.mkdir(parents=True, exist_ok=True)
        for file in blobs.glob(BROKEN_OFF):
            if time.time() - written_at(file) > FORSAKEN_SECONDS:
                file.unlink(missing_ok=True)
        need_disk(name, blobs, needed, doing="fetched", setting="HF_HOME", error=ModelError)
        before = arrived_bytes(blobs)
        fetched: list[str] = []
        failed: list[Exception] = []

        def fetch() -> None:
            try:
                fetched.append(snapshot_download(name, allow_patterns=READ, ignore_patterns=UNREAD))
            except Exception as error:
                failed.append(error)

        thread = threading.Thread(target=fetch, daemon=True)
        thread.start()
        while thread.is_alive():
            yield _step(name, min(needed, max(0, arrived_bytes(blobs) - before)), needed)
            thread.join(LOOK_SECONDS)
    if failed:
        raise _unreached(name, failed[0]) from failed[0]
    return Path(fetched[0])


def _unreached(name: str, error: Exception) -> ModelError:
    from huggingface_hub.errors import DryRunError, GatedRepoError, RepositoryNotFoundError

    # Of a list that could not be had the reason stands behind; behind what the hub says there is what its network said.
    hidden = error.__cause__ if isinstance(error, DryRunError) else None
    reason = hidden if isinstance(hidden, Exception) else error
    if isinstance(reason, GatedRepoError):
        return ModelError(
            f"{name} is shown to those alone who accepted its conditions: accept them on its page of the hub, and log "
            "in with `hf auth login`."
        )
    if isinstance(reason, RepositoryNotFoundError):
        return ModelError(
            f"The hub has no model {name}, or shows it to others only: check the name, or log in with `hf auth login`."
        )
    return ModelError(
        f"{name} could not be downloaded: {first_line(reason)} Whole files are kept: try again when the hub can be "
        "reached, or give a folder that holds the model."
    )


def _step(name: str, done: int, total: int) -> Progress:
    return Progress(
        phase="fetching",
        message=f"downloading {name}",
        done=done // 1_000_000,
        total=total // 1_000_000,
        unit="MB",
        elsewhere=True,
    )
