"""A cluster: the hosts of an Open MPI hostfile, and beside it in TOML what MPI does not know of them."""

import ipaddress
import os
import pathlib
import re
from dataclasses import dataclass, field
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hvdedge.config import ROOT, read_toml
from hvdedge.errors import InputError
from hvdedge.meter import Watts
from hvdedge.methods import unknown
from hvdedge.options import NonNegative, Positive

HOSTFILES = ROOT / "hostfiles"
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:_-]*[A-Za-z0-9])?")
LOCAL_NAMES = {"localhost", "127.0.0.1", "::1"}
_Word = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.,:/=@%+-]+$")]


class Host(msgspec.Struct, forbid_unknown_fields=True):
    """What MPI does not know of a host; null is what nobody knows. `speed` is relative, 1 for the usual host."""

    memory: str | None = None
    speed: Positive | None = None
    idle_watts: NonNegative | None = None
    busy_watts: NonNegative | None = None


class Settings(msgspec.Struct, forbid_unknown_fields=True):
    """What `<cluster>.toml` may hold.

    `start`: how ranks reach the hosts. `network`: the subnet or interface that MPI shall use. `mpi`: Open MPI's MCA
    parameters that differ from ours. `slurm`: sbatch's long options. `usual`: what holds for each host not in `hosts`.
    """

    start: Literal["local", "ssh", "slurm"] = "ssh"
    network: _Word | None = None
    mpi: dict[_Word, _Word] = {}
    slurm: dict[_Word, _Word] = {}
    usual: Host = msgspec.field(default_factory=Host)
    hosts: dict[str, Host] = {}


@dataclass(frozen=True)
class Cluster:
    """Hosts with their slots, in the hostfile's order, and the settings beside them."""

    name: str
    hostfile: pathlib.Path
    slots: dict[str, int]
    settings: Settings = field(default_factory=Settings)

    @property
    def total_slots(self) -> int:
        return sum(self.slots.values())

    @property
    def default_ranks(self) -> int:
        """All slots; on this machine alone no more than its cores, as ranks that share a core gain nothing."""
        return min(self.total_slots, os.cpu_count() or 1) if self.settings.start == "local" else self.total_slots

    def watts(self, host: str) -> Watts:
        """Return what `host` draws, by its full or its short name."""
        known = self._known(host)
        return Watts(known.idle_watts, known.busy_watts)

    def speed(self, host: str) -> float | None:
        """Return how fast `host` is beside the usual one, by its full or its short name; None where nobody knows."""
        return self._known(host).speed

    def _known(self, host: str) -> Host:
        return self.settings.hosts.get(host) or self.settings.hosts.get(host.split(".")[0]) or self.settings.usual

    def check_ranks(self, ranks: int) -> None:
        """Raise InputError where the cluster has too few slots for `ranks`."""
        if not 1 <= ranks <= self.total_slots:
            raise InputError(
                f"--ranks: received {ranks}, allowed: 1 to {self.total_slots}, the slots in {self.hostfile}"
                "; give fewer ranks or add slots there"
            )

    def as_written(self) -> dict:
        """Return the cluster as TOML would hold it, as the run's folder keeps it."""
        return {"name": self.name, "slots": self.slots, **msgspec.to_builtins(self.settings)}


def names() -> list[str]:
    """Return the clusters in `hostfiles/`."""
    return sorted(path.name for path in HOSTFILES.iterdir() if path.suffix == "" and path.is_file())


def read_cluster(name: str) -> Cluster:
    """Return a cluster by its name in `hostfiles/`, or by the path of a hostfile.

    Raises:
        InputError: where there is no such hostfile, or one of its lines or settings is wrong.
    """
    path = pathlib.Path(name) if "/" in name else HOSTFILES / name
    if not path.is_file():
        raise InputError(f"{unknown('--cluster', name, names())}; or give the path of a hostfile")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: received a hostfile that cannot be read ({error}); expected lines such as: pi01 slots=1"
        ) from None
    slots = _parse(path, text)
    beside = path.with_name(path.name + ".toml")
    settings = (
        _settings(beside) if beside.exists() else Settings(start="local" if slots.keys() <= LOCAL_NAMES else "ssh")
    )
    return Cluster(path.name, path, slots, settings)


def _settings(path: pathlib.Path) -> Settings:
    try:
        settings = msgspec.convert(read_toml(path), Settings)
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: {str(error)[:1].lower()}{str(error)[1:]}; mend that key") from None
    if settings.network and "/" in settings.network:
        try:
            ipaddress.ip_network(settings.network)
        except ValueError as error:
            raise InputError(
                f"{path}: network: {error}; allowed: a subnet such as 192.168.1.0/24, or an interface"
            ) from None
    return settings


def _parse(path: pathlib.Path, text: str) -> dict[str, int]:
    slots: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split("#")[0].split()
        if not words:
            continue
        host, *options = words
        given = dict(option.split("=", 1) for option in options if option.count("=") == 1)
        right = len(given) == len(options) and given.keys() <= {"slots", "max_slots", "max-slots"}
        if not (
            right and HOST.fullmatch(host) and all(re.fullmatch(r"[1-9][0-9]{0,4}", count) for count in given.values())
        ):
            raise InputError(
                f"{path}:{number}: received {line.strip()!r}, allowed: HOST slots=N, # a comment; mend that line"
            )
        slots[host] = slots.get(host, 0) + int(given.get("slots", 1))
    if not slots:
        raise InputError(f"{path}: received no host, expected lines such as: pi01 slots=1")
    return slots
