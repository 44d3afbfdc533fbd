"""Memory that a process may still take: by its control groups, in files as Linux shows them, and on this machine."""

import pathlib
import subprocess
import sys

import pytest

from hvdedge import memory

UNLIMITED_1 = 2**63 - 4096  # as version 1 shows a group without a limit, on pages of 4096 bytes
VERSIONS = pytest.mark.parametrize("names", [memory.VERSION_1, memory.VERSION_2], ids=["version 1", "version 2"])


def group(folder: pathlib.Path, names, limit, used: int, inactive: int | None) -> pathlib.Path:
    """Write what Linux shows of a control group; in version 1 the numbers of those below are in the totals alone."""
    folder.mkdir(parents=True, exist_ok=True)
    if names is memory.VERSION_1:
        files = {"memory.limit_in_bytes": limit, "memory.usage_in_bytes": used}
        lines = ["cache 500", "inactive_file 7", "total_cache 900", "total_active_file 200"]
        lines += [] if inactive is None else [f"total_inactive_file {inactive}"]
    else:
        files = {"memory.max": limit, "memory.current": used}
        lines = ["anon 11", "file 500", "inactive_anon 7", "active_file 200"]
        lines += [] if inactive is None else [f"inactive_file {inactive}"]
    for name, number in files.items():
        (folder / name).write_text(f"{number}\n")
    (folder / "memory.stat").write_text("\n".join([*lines, "pgfault 9", ""]))
    return folder


@VERSIONS
def test_a_group_leaves_its_limit_less_its_use_but_for_files_pages(tmp_path, names):
    group(tmp_path / "job", names, 1000, 700, 50)
    assert list(memory._left(tmp_path, "/job", names)) == [1000 - 700 + 50]


@VERSIONS
def test_a_group_that_lists_no_files_pages_leaves_its_limit_less_its_use(tmp_path, names):
    group(tmp_path / "job", names, 1000, 700, None)
    assert list(memory._left(tmp_path, "/job", names)) == [300]


@VERSIONS
def test_a_group_over_its_limit_leaves_less_than_nothing(tmp_path, names):
    group(tmp_path / "job", names, 1000, 1100, 0)
    assert list(memory._left(tmp_path, "/job", names)) == [-100]


def test_max_is_no_limit_and_the_groups_above_count(tmp_path):
    names = memory.VERSION_2
    group(tmp_path / "slice" / "job", names, "max", 700, 50)
    assert list(memory._left(tmp_path, "/slice/job", names)) == []
    group(tmp_path / "slice", names, 4000, 800, 60)
    assert list(memory._left(tmp_path, "/slice/job", names)) == [3260]


def test_no_limit_of_version_1_leaves_more_than_any_host_has(tmp_path):
    group(tmp_path / "job", memory.VERSION_1, UNLIMITED_1, 700, 50)
    (left,) = memory._left(tmp_path, "/job", memory.VERSION_1)
    assert left > 2**62


@VERSIONS
def test_every_group_from_the_processes_own_to_the_root_tells(tmp_path, names):
    group(tmp_path / "slice" / "job", names, 1000, 100, 1)
    group(tmp_path / "slice", names, 500, 200, 2)
    group(tmp_path, names, 9000, 3000, 3)
    group(tmp_path / "slice" / "another", names, 10, 9, 0)  # not on the way
    group(tmp_path.parent, names, 20, 9, 0)  # nor is what lies above the root
    assert list(memory._left(tmp_path, "/slice/job", names)) == [901, 302, 6003]


@VERSIONS
def test_a_group_that_is_not_shown_is_skipped(tmp_path, names):
    """In a container the path is the host's, and only the root, its own group, is there."""
    group(tmp_path, names, 1000, 400, 10)
    assert list(memory._left(tmp_path, "/docker/0123abc", names)) == [610]


@VERSIONS
@pytest.mark.parametrize("place", range(2))
def test_a_group_that_lacks_a_number_is_skipped(tmp_path, names, place):
    group(tmp_path, names, 1000, 400, 10)
    (group(tmp_path / "job", names, 1000, 700, 50) / names[place]).unlink()
    assert list(memory._left(tmp_path, "/job", names)) == [610]


def test_nothing_is_told_where_there_are_no_groups(tmp_path):
    assert list(memory._left(tmp_path / "none", "/job", memory.VERSION_2)) == []


def test_groups_are_those_of_this_process_in_either_version(tmp_path, monkeypatch):
    """The least of what they leave counts, as long as the host has it."""
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            group(tmp_path / "memory" / path.lstrip("/"), memory.VERSION_1, 5_000_000, 2_000_000, 1000)
        elif not controllers:
            group(tmp_path / path.lstrip("/"), memory.VERSION_2, 5_000_000, 2_000_000, 1000)
    assert memory.available_bytes() == 3_001_000


def test_a_group_over_its_limit_leaves_this_process_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    group(tmp_path / "memory", memory.VERSION_1, 1000, 5000, 0)
    group(tmp_path, memory.VERSION_2, 1000, 5000, 0)
    assert memory.available_bytes() == 0


def test_this_machine_has_some_of_its_memory_left():
    lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
    total = next(int(line.split()[1]) for line in lines if line.startswith("MemTotal:")) * 1024
    assert 0 < memory.available_bytes() <= total


def test_what_is_resident_grows_and_shrinks_with_an_array():
    """In a process of its own, where nothing else is taken or freed meanwhile."""
    code = (
        "import numpy as np; from hvdedge.memory import resident_bytes; before = resident_bytes(); "
        "block = np.ones(50_000_000, np.uint8); print(resident_bytes() - before); "
        "del block; print(resident_bytes() - before)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    with_it, without_it = map(int, out.split())
    assert with_it == pytest.approx(50_000_000, rel=0.05)  # pages, and what Python itself takes
    assert without_it < 2_500_000
