"""Deleting a chat or an answered set. Knows nothing of what is in it, nor of screens."""

import secrets
import shutil
from pathlib import Path

from engine.records.files import storage_error


def delete_kept(folder: Path) -> None:
    """Remove it for good; what another tab has deleted is gone already. Raises RunError where the disk holds on to
    it."""
    # Beside the folder of all chats or sets, where none is listed, and under a name by which no job still writes.
    aside = folder.parent.with_name(f".deleted-{folder.name}-{secrets.token_hex(4)}")
    try:
        shutil.rmtree(folder.rename(aside))
    except FileNotFoundError:
        pass
    except OSError as error:
        raise storage_error(folder, error) from error
