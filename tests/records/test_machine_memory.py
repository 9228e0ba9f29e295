"""What this process may use of the machine's memory, in a container or a cluster's job too."""

from types import SimpleNamespace

import pytest

from engine.records import machine_memory as module
from engine.records.machine_memory import available_memory, total_memory

GIB = 2**30


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """A machine of 64 GiB, of which 50 are free, and its groups: a function that says which this process is in."""
    monkeypatch.setattr(module, "GROUPS", tmp_path / "groups")
    monkeypatch.setattr(module, "OWN_GROUPS", tmp_path / "own")
    monkeypatch.setattr(
        module.psutil, "virtual_memory", lambda: SimpleNamespace(total=64 * GIB, available=50 * GIB), raising=True
    )

    def own(text: str):
        (tmp_path / "own").write_text(text)
        return tmp_path / "groups"

    return own


def bounded(folder, most: str, used: int, droppable: int, *, first: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = (
        ("limit_in_bytes", "usage_in_bytes", "total_inactive_file") if first else ("max", "current", "inactive_file")
    )
    (folder / f"memory.{names[0]}").write_text(f"{most}\n")
    (folder / f"memory.{names[1]}").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 5\n{names[2]} {droppable}\n")


def test_where_nothing_bounds_it_the_machines_own_figures_hold(groups):
    assert (total_memory(), available_memory()) == (64 * GIB, 50 * GIB)
    root = groups("0::/user/session\n")
    bounded(root / "user" / "session", "max", 3 * GIB, 0)
    assert (total_memory(), available_memory()) == (64 * GIB, 50 * GIB)


def test_the_narrowest_of_the_groups_around_a_job_bounds_it(groups):
    root = groups("0::/slurm/job_1/step_0\n")
    bounded(root / "slurm" / "job_1" / "step_0", "max", 1 * GIB, 0)
    bounded(root / "slurm" / "job_1", str(8 * GIB), 3 * GIB, 2 * GIB)
    bounded(root / "slurm", str(32 * GIB), 31 * GIB, 0)
    assert (total_memory(), available_memory()) == (8 * GIB, 1 * GIB)
    bounded(root / "other", str(1 * GIB), 1 * GIB, 0)
    assert total_memory() == 8 * GIB


def test_a_container_is_bounded_by_the_root_that_it_sees_under_the_first_version_too(groups):
    root = groups("5:cpu,cpuacct:/docker/a\n4:memory:/docker/a\n1:name=systemd:/docker/a\n")
    bounded(root / "memory", str(4 * GIB), 1 * GIB, GIB // 2, first=True)
    bounded(root / "cpu", str(1 * GIB), 0, 0, first=True)
    assert (total_memory(), available_memory()) == (4 * GIB, 4 * GIB - GIB // 2)


def test_what_is_used_up_leaves_nothing_and_not_less(groups):
    bounded(groups("0::/\n"), str(4 * GIB), 5 * GIB, 0)
    assert available_memory() == 0
