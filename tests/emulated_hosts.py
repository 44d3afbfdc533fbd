"""Hosts emulated on this machine, as root: network namespaces with host names of their own and shaped links.

They share the file system and the process table. mpirun reaches them by a script in place of ssh, so no daemon is
needed; names are known by a hosts file that only mpirun and the ranks see. Nothing is forwarded outside.
"""

import contextlib
import os
import pathlib
import shutil
import subprocess
from collections.abc import Iterator

NEEDED = ("ip", "tc", "nsenter", "unshare")
NETWORK = "10.77.0"
AGENT = """#!/bin/sh
while [ "${1#-}" != "$1" ]; do [ "$1" = -o ] && shift; shift; done
host=$1; shift
exec nsenter --net=/run/netns/$host unshare --uts --mount sh -c "mount --bind HOSTS /etc/hosts; hostname $host; $*"
"""


def missing() -> str:
    """Return why hosts cannot be emulated here, or nothing."""
    absent = [name for name in NEEDED if not shutil.which(name)]
    return "needs root" if os.geteuid() else f"needs {', '.join(absent)}" if absent else ""


class EmulatedHosts:
    """Some hosts, each linked to a bridge.

    Attributes:
        names: of the hosts.
        hostfile: names them, with a slot each.
    """

    def __init__(self, names: list[str], folder: pathlib.Path):
        self.names = names
        self.hostfile = folder / "hosts"
        self._agent, self._names = folder / "agent", folder / "etc-hosts"
        self.hostfile.write_text("".join(f"{name} slots=1\n" for name in names))
        self.hostfile.with_name("hosts.toml").write_text(f'start = "ssh"\nnetwork = "{NETWORK}.0/24"\n')
        addresses = "".join(f"{NETWORK}.{number} {name}\n" for number, name in enumerate(names, start=1))
        self._names.write_text(pathlib.Path("/etc/hosts").read_text() + addresses)
        self._agent.write_text(AGENT.replace("HOSTS", str(self._names)))
        self._agent.chmod(0o755)

    def shape(self, megabits: float | None) -> None:
        """Let every link pass so many megabits a second, each way; None: as many as it can."""
        limit = ["replace", "root", "tbf", "rate", f"{megabits}mbit", "burst", "32kbit", "latency", "50ms"]
        action, *rest = limit if megabits else ["delete", "root"]
        for name in self.names:
            _run("tc", "qdisc", action, "dev", f"v{name}", *rest)
            _run("ip", "netns", "exec", name, "tc", "qdisc", action, "dev", "eth0", *rest)

    def command(self, words: list[str]) -> list[str]:
        """Return what starts mpirun's command line so that it finds the hosts."""
        return ["unshare", "--mount", "sh", "-c", f'mount --bind {self._names} /etc/hosts; exec "$@"', "sh", *words]

    def environment(self) -> dict[str, str]:
        """Return the environment for mpirun."""
        return {**os.environ, "PRTE_MCA_plm_ssh_agent": str(self._agent)}


@contextlib.contextmanager
def emulated_hosts(count: int, folder: pathlib.Path) -> Iterator[EmulatedHosts]:
    """Make so many hosts for the time of the body; `folder` is for their files."""
    own = f"{os.getpid() % 10000:04d}"
    names, bridge = [f"n{own}x{number}" for number in range(1, count + 1)], f"b{own}"
    hosts = EmulatedHosts(names, folder)
    try:
        _run("ip", "link", "add", bridge, "type", "bridge")
        _run("ip", "address", "add", f"{NETWORK}.254/24", "dev", bridge)
        _run("ip", "link", "set", bridge, "up")
        for number, name in enumerate(names, start=1):
            _run("ip", "netns", "add", name)
            _run("ip", "link", "add", f"v{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
            _run("ip", "link", "set", f"v{name}", "master", bridge, "up")
            _run("ip", "-n", name, "address", "add", f"{NETWORK}.{number}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _run("ip", "-n", name, "link", "set", device, "up")
        yield hosts
    finally:
        for name in names:
            for pid in subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout.split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), 9)
            for words in (["link", "delete", f"v{name}"], ["netns", "delete", name]):
                subprocess.run(["ip", *words], capture_output=True)
        subprocess.run(["ip", "link", "delete", bridge], capture_output=True)


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)
