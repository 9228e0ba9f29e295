"""Write whole or not at all. Knows nothing of what the files mean."""

import errno
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TypeVar

from pydantic import ValidationError

from engine.records.errors import RunError, first_line

try:
    import fcntl
except ImportError:  # There is none on Windows, where two who append at once are not kept apart.
    fcntl = None  # type: ignore[assignment]

Value = TypeVar("Value")


# As any file that is made here; it can only be read by setting it.
_UMASK = os.umask(0o022)
os.umask(_UMASK)


def is_device(path: Path) -> bool:
    """Whether it is written to and never replaced: a pipe, a terminal, /dev/null."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part.

    Raises RunError when the disk is full or the folder cannot be written; the old content is then still there.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary: str | None = None
    try:
        if is_device(path):
            with path.open("wb") as device:
                device.write(data)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_UMASK)
        os.replace(temporary, path)
        temporary = None
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def write_new(path: Path, content: str) -> bool:
    """Write a file that is not there yet, whole, and say whether it was: of two who write it at once one does.

    Raises RunError as write_whole does.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    write_whole(temporary, content)
    try:
        os.link(temporary, path)
        return True
    except FileExistsError:
        return False
    except OSError:
        # Some file systems know no second name for a file: there a reader may for a moment see a part of it.
        return _create(path, content)
    finally:
        temporary.unlink(missing_ok=True)


def on_disk(path: Path) -> None:
    """Wait until a file that others wrote, or all files of a folder, are on the disk: what is written behind them must
    not outlast them."""
    for one in path.rglob("*") if path.is_dir() else (path,):
        if one.is_file():
            with one.open("rb") as file:
                os.fsync(file.fileno())


def append_line(path: Path, line: str) -> None:
    """Append one line in a single write, after removing the torn tail that a killed writer or a full disk left. Of
    processes that append at once each waits for the other: what one takes for a torn tail may be another's line.

    Raises RunError when the disk is full; the lines before are untouched.
    """
    data = line.encode() + b"\n"
    try:
        # Unbuffered: a buffer would write its rest when the file is closed, behind the cut.
        with path.open("ab+", buffering=0) as file:
            _wait_for_others(file)
            end = _end_of_last_whole_line(file)
            if end < file.seek(0, os.SEEK_END):
                file.truncate(end)
            try:
                written = file.write(data)
                if written != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            except OSError:
                file.truncate(end)
                raise
    except OSError as error:
        raise storage_error(path, error) from error


def read_lines(path: Path, parse: Callable[[bytes], Value]) -> list[Value]:
    """What each line of an appended file says, none where there is no file; a torn last line is left for later, a
    damaged one is skipped. parse: raises pydantic's ValidationError for a damaged line."""
    try:
        lines = path.read_bytes()
    except OSError:
        return []
    found = []
    for line in lines[: lines.rfind(b"\n") + 1].splitlines():
        with suppress(ValidationError):
            found.append(parse(line))
    return found


def read_number(path: Path) -> int | None:
    """The number that a small file holds; None where it is missing or holds none."""
    try:
        return int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def read_tail(path: Path, *, size: int = 6000) -> str:
    """The end of a log file, '' when there is none."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - size))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def arrived_bytes(folder: Path, *, ending: str = "") -> int:
    """Bytes of all files of this ending in a folder and below it, as far as they are there while another process moves
    them."""
    return sum(_sizes(folder, ending))


def largest_bytes(folder: Path) -> int:
    """Bytes of the largest of these files; 0 where there is none."""
    return max(_sizes(folder), default=0)


def _sizes(folder: Path, ending: str = "") -> Iterator[int]:
    # os.walk passes over what is moved away meanwhile.
    for place, _, names in os.walk(folder):
        for name in names:
            if name.endswith(ending):
                with suppress(OSError):
                    yield os.path.getsize(os.path.join(place, name))


def written_at(path: Path) -> float:
    """When a file was written last, in seconds since 1970; now, where it is not there."""
    try:
        return path.stat().st_mtime
    except OSError:
        return time.time()


@contextmanager
def whole_or_nothing(folder: Path) -> Iterator[None]:
    """Around what makes and fills a folder: nothing of it is left where that breaks off. One that was there stays,
    empty where it was empty, else as it is by then. Raises RunError for a storage failure."""
    is_new = not folder.exists()
    was_empty = is_new or (folder.is_dir() and not any(folder.iterdir()))
    try:
        yield
    except BaseException as error:
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)
        elif was_empty:
            _empty(folder)
        if isinstance(error, OSError):
            raise storage_error(folder, error) from error
        raise


def delete_aside(folder: Path, place: Path) -> None:
    """Remove a folder that others may still write to: at once under a name in `place`, by which no job writes and by
    which engine.records.leftovers knows what a killed process left. Raises OSError."""
    shutil.rmtree(folder.rename(place / f".deleted-{folder.name}-{secrets.token_hex(4)}"))


def _empty(folder: Path) -> None:
    with suppress(OSError):
        for inside in folder.iterdir():
            if inside.is_dir() and not inside.is_symlink():
                shutil.rmtree(inside, ignore_errors=True)
            else:
                inside.unlink()


def storage_error(path: Path, error: OSError) -> RunError:
    """The storage failure in the user's words: disk full, not writable, or what the system said."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return RunError(
            f"The disk is full: {path} could not be written. Free some space, then try again: a run goes on where it "
            "was."
        )
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return RunError(
            f"{path} cannot be written: {error.strerror}. Choose a folder you may write to: WORKBENCH_RUNS (or --runs) "
            "for runs, WORKBENCH_CACHE for the cache."
        )
    if error.errno is None and os.strerror(errno.ENOSPC) in str(error):
        # What copies many files tells of all of them in one error without a number.
        return storage_error(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    return RunError(f"{path} could not be written: {error.strerror or first_line(error)}.")


def _create(path: Path, content: str) -> bool:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(content)
        return True
    except FileExistsError:
        return False
    except OSError as error:
        raise storage_error(path, error) from error


def _wait_for_others(file: IO[bytes]) -> None:
    """Have the file alone until it is closed, where its file system knows locks."""
    if fcntl is not None:
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)


def _end_of_last_whole_line(file: IO[bytes]) -> int:
    end = file.seek(0, os.SEEK_END)
    while end > 0:
        start = max(0, end - 65536)
        file.seek(start)
        newline = file.read(end - start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0
