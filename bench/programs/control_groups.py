"""Control groups of Linux, version 1 or 2, made for the time of a benchmark, as root."""

import contextlib
import os
import pathlib
from collections.abc import Iterator, Sequence

ROOT = pathlib.Path("/sys/fs/cgroup")
PERIOD_MICROSECONDS = 100_000


def cores(share: float) -> dict[str, tuple[str, str]]:
    """Return the limit of so much of a core: controller, "" in version 2, -> file and content."""
    quota = round(share * PERIOD_MICROSECONDS)
    return {"cpu": ("cpu.cfs_quota_us", str(quota)), "": ("cpu.max", f"{quota} {PERIOD_MICROSECONDS}")}


def memory(size_bytes: int) -> dict[str, tuple[str, str]]:
    """Return the limit of so much memory, pages of files that were read among it."""
    return {"memory": ("memory.limit_in_bytes", str(size_bytes)), "": ("memory.max", str(size_bytes))}


@contextlib.contextmanager
def groups(limits: Sequence[dict[str, tuple[str, str]]]) -> Iterator[list[str]]:
    """Make a group for each limit; give the files that take in a process."""
    made = []
    try:
        for number, limit in enumerate(limits):
            controller = next(name for name in limit if (ROOT / name).is_dir())
            folder = ROOT / controller / f"hvdedge-bench-{os.getpid()}-{number}"
            folder.mkdir()
            made.append(folder)
            name, content = limit[controller]
            (folder / name).write_text(content)
        yield [str(folder / "cgroup.procs") for folder in made]
    finally:
        for folder in made:
            folder.rmdir()
