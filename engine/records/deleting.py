"""Deleting a chat, an answered set or an attack on a picture. Knows nothing of what is in it, nor of screens."""

from pathlib import Path

from engine.records.files import delete_aside, storage_error


def delete_kept(folder: Path) -> None:
    """Remove it for good; what another tab has deleted is gone already. Raises RunError where the disk holds on to
    it."""
    try:
        # Beside the folder of all of its kind: in that one every folder is listed.
        delete_aside(folder, folder.parent.parent)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise storage_error(folder, error) from error
