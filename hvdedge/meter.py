"""What a rank costs: seconds, memory, bytes sent and received, joules.

Energy comes from the processor's own counter where it can be read (RAPL, shared equally among the ranks of a
host) and otherwise from a model, the host's idle and busy watts as its cluster file states them:

    joules = idle_watts * wall_seconds / local_ranks + (busy_watts - idle_watts) * cpu_seconds / cores

Source: David et al. 2010, RAPL: Memory power estimation and capping; Fan et al. 2007, Power provisioning for a
warehouse-sized computer (power is close to linear in the processor's load).
"""

import os
import pathlib
import resource
import time
from dataclasses import dataclass, field

RAPL = pathlib.Path("/sys/class/powercap")


@dataclass
class Traffic:
    """What a rank's messages cost so far. Idle seconds are those spent inside calls that wait for other ranks."""

    bytes_sent: int = 0
    bytes_received: int = 0
    idle_seconds: float = 0.0


@dataclass
class Watts:
    """What a host draws when idle and when all its cores are busy; None where nobody knows."""

    idle: float | None = None
    busy: float | None = None


@dataclass
class Meter:
    """The costs of this process from its start on: importing TensorFlow is work that a node has to do, too.

    With `from_now` those of a part of its work. The peak of memory is always that since its start.
    """

    traffic: Traffic = field(default_factory=Traffic)
    from_now: bool = False

    def __post_init__(self) -> None:
        self._started = time.perf_counter() - (0.0 if self.from_now else _age_seconds())
        self._cpu_before = time.process_time() if self.from_now else 0.0
        self._counter = _rapl_joules()
        self._joules = dict.fromkeys(self._counter, 0.0)

    @property
    def wall_seconds(self) -> float:
        return time.perf_counter() - self._started

    @property
    def cpu_seconds(self) -> float:
        return time.process_time() - self._cpu_before

    def sample(self) -> None:
        """Read the processor's counter, which wraps after minutes; to be called more often than that."""
        now = _rapl_joules()
        for zone, (joules, wraps) in now.items():
            if zone in self._counter:
                self._joules[zone] += (joules - self._counter[zone][0]) % wraps
        self._counter = now

    def read(self, watts: Watts, local_ranks: int) -> dict:
        """Return the costs so far under the names that a RunRecord gives them; null is what nobody knows."""
        wall, cpu = self.wall_seconds, self.cpu_seconds
        joules, source = self._energy(watts, local_ranks, wall, cpu)
        return {
            "wall_seconds": wall,
            "cpu_seconds": cpu,
            "idle_seconds": self.traffic.idle_seconds,
            "peak_rss_bytes": peak_rss_bytes(),
            "bytes_sent": self.traffic.bytes_sent,
            "bytes_received": self.traffic.bytes_received,
            "energy_joules": joules,
            "energy_source": source,
        }

    def _energy(self, watts: Watts, local_ranks: int, wall: float, cpu: float) -> tuple[float | None, str | None]:
        self.sample()
        if self._joules:
            return sum(self._joules.values()) / local_ranks, "rapl"
        if watts.idle is None or watts.busy is None:
            return None, None
        return watts.idle * wall / local_ranks + (watts.busy - watts.idle) * cpu / (os.cpu_count() or 1), "model"


def _age_seconds() -> float:
    """Return how long this process has lived, to a hundredth; Linux counts its start in ticks since boot."""
    started_ticks = int(pathlib.Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started_ticks / os.sysconf("SC_CLK_TCK")


def peak_rss_bytes() -> int:
    """Return the most memory that this process ever had resident."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB


def _rapl_joules() -> dict[str, tuple[float, float]]:
    """Return zone -> (joules so far, where the counter wraps), packages only; empty where it cannot be read."""
    zones = {}
    for zone in sorted(RAPL.glob("intel-rapl:[0-9]*")):
        try:
            name, used, wraps = ((zone / file).read_text() for file in ("name", "energy_uj", "max_energy_range_uj"))
        except OSError:
            return {}
        if not name.startswith("package"):
            continue  # a part of a package, already counted in it, or psys, which counts packages once more
        zones[zone.name] = (int(used) / 1e6, (int(wraps) + 1) / 1e6)
    return zones
