"""How much memory a process may still take: what its host has left, and the control groups that it is in.

Pages of files that were read count as used by a control group, and are given back when memory is asked for: they are
taken as free here, those that were not used lately.

Source: Linux kernel, Documentation/admin-guide/cgroup-v1/memory.rst and cgroup-v2.rst.
"""

import pathlib
from collections.abc import Iterator

GROUPS = pathlib.Path("/sys/fs/cgroup")
# in a group's folder: its limit, what it uses, and the line of memory.stat with pages that can be given back
VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
VERSION_2 = ("memory.max", "memory.current", "inactive_file")


def available_bytes() -> int:
    """Return what all processes beside this one leave it to take."""
    lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
    kibibytes = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    return max(min([kibibytes * 1024, *_left_by_groups()]), 0)


def resident_bytes() -> int:
    """Return what this process has resident now."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) * 1024


def _left_by_groups() -> Iterator[int]:
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "memory":
            yield from _left(GROUPS / "memory", path, VERSION_1)
        elif not controllers:
            yield from _left(GROUPS, path, VERSION_2)


def _left(root: pathlib.Path, path: str, names: tuple[str, str, str]) -> Iterator[int]:
    """Yield what each group from the process's own upwards leaves; inside a container its own is the root."""
    limit_name, used_name, reclaimable_name = names
    here = root / path.lstrip("/")
    for folder in (here, *here.parents):
        if not folder.is_relative_to(root):
            return
        try:
            limit, used = ((folder / name).read_text().strip() for name in (limit_name, used_name))
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            continue  # the root group, or one that is not shown here
        if limit != "max":
            yield int(limit) - int(used) + int(stat.get(reclaimable_name, 0))
