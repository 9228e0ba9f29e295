"""Fetching a package's archive, with a small client in the place of npm: what is checked, kept and said."""

import shutil
import sys
from collections import namedtuple

import pytest
from making import drain
from making_picture_packages import npm_archive

from engine.jobs import archives, fetching
from engine.jobs.archives import fetch_archive
from engine.records.archives import FLUENT, archive_folder
from engine.records.errors import DataError

Usage = namedtuple("Usage", "total used free")
CONTENTS = {
    "package/assets/1f436.webp": b"a dog",
    "package/assets/deep/own.txt": b"not kept",
    "package/index.js": b"process.exit(1)",
    "package/README.md": b"licence",
}
# Puts the archive where npm is told to, or fails as it is told.
CLIENT = "import shutil, sys; shutil.copy(sys.argv[1], sys.argv[-2]) if sys.argv[1] else sys.exit('no such package')"


@pytest.fixture
def archive(tmp_path, monkeypatch):
    file = tmp_path / "lobehub.tgz"
    found = npm_archive(file, FLUENT, CONTENTS)
    monkeypatch.setattr(archives, "NPM_COMMAND", [sys.executable, "-c", CLIENT, str(file)])
    return found


def left(settings) -> list[str]:
    folder = settings.cache / "packages"
    return sorted(
        str(one.relative_to(folder)) for one in folder.glob("**/*") if one.is_file() and one.suffix != ".lock"
    )


def test_only_the_kept_files_are_unpacked_and_nothing_is_fetched_twice(archive, settings, monkeypatch):
    events, folder = drain(fetch_archive(archive, settings))
    assert folder == archive_folder(archive, settings) and events[-1].message.endswith("unpacking")
    assert left(settings) == [f"{archive.package}/README.md", f"{archive.package}/assets/1f436.webp"]
    monkeypatch.setattr(archives, "NPM_COMMAND", ["no-such-client"])
    assert drain(fetch_archive(archive, settings)) == ([], folder)


def test_a_wrong_checksum_leaves_nothing_behind(archive, settings):
    with pytest.raises(DataError, match=r"checksum is .*, not 00000.* thrown away: fetch it again"):
        drain(fetch_archive(archive._replace(sha256="0" * 64), settings))
    assert left(settings) == []
    drain(fetch_archive(archive, settings))


def test_a_client_that_fails_or_is_missing_is_said(archive, settings, monkeypatch):
    monkeypatch.setattr(archives, "NPM_COMMAND", [sys.executable, "-c", CLIENT, ""])
    with pytest.raises(DataError, match=r"could not be fetched: no such package"):
        drain(fetch_archive(archive, settings))
    monkeypatch.setattr(archives, "NPM_COMMAND", ["no-such-client"])
    with pytest.raises(DataError, match=r"npm, which is not installed: install Node\.js"):
        drain(fetch_archive(archive, settings))
    assert left(settings) == []


def test_a_disk_without_room_is_said_before_anything_is_fetched(archive, settings, monkeypatch):
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda _: Usage(0, 0, 1000))
    with pytest.raises(DataError, match=r"needs .* GB of disk while it is fetched.*Nothing was fetched"):
        drain(fetch_archive(archive, settings))
    assert left(settings) == []


def test_a_file_that_leads_out_of_the_archive_is_not_written(tmp_path, archive, settings, monkeypatch):
    file = tmp_path / "bad.tgz"
    bad = npm_archive(file, FLUENT, {"package/assets/../../../../../out.webp": b"x"})
    monkeypatch.setattr(archives, "NPM_COMMAND", [sys.executable, "-c", CLIENT, str(file)])
    with pytest.raises(DataError, match=r"cannot be unpacked"):
        drain(fetch_archive(bad, settings))
    assert left(settings) == [] and not list(tmp_path.glob("**/out.webp"))
    shutil.rmtree(settings.cache / "packages")
