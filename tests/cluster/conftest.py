"""A real Slurm on this machine alone: its own munged, slurmctld and one slurmd, all ended by their ids."""

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import time

import pytest

CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld}
SlurmdPort={slurmd}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
MpiDefault=none
SwitchType=switch/none
ReturnToService=2
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=test Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""
DAEMONS = ("munged", "slurmctld", "slurmd")


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """Start a one-node Slurm; yield the environment in which sbatch finds it. Skips where it cannot be had."""
    if os.geteuid() != 0:
        pytest.skip("needs root: slurmd and munged of our own")
    if not all(map(shutil.which, DAEMONS)):
        _install()
    folder = tmp_path_factory.mktemp("slurm")
    folder.chmod(0o755)
    (folder / "state").mkdir()
    (folder / "key").write_bytes(os.urandom(1024))
    (folder / "key").chmod(0o400)
    ports = {"ctld": _free_port(), "slurmd": _free_port()}
    host = socket.gethostname().split(".")[0]
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(folder=folder, host=host, cores=os.cpu_count(), **ports))
    environment = {**os.environ, "SLURM_CONF": str(conf)}
    files = {name: f"--{name}-file={folder}/munge.{name}" for name in ("pid", "log", "seed")}
    commands = [
        [
            "munged",
            "--foreground",
            "--force",
            f"--socket={folder}/munge.socket",
            f"--key-file={folder}/key",
            *files.values(),
        ],
        ["slurmctld", "-D", "-f", str(conf)],
        ["slurmd", "-D", "-f", str(conf), "-N", host],
    ]
    with contextlib.ExitStack() as started:
        for command in commands:
            log = started.enter_context(open(folder / f"{command[0]}.out", "w"))
            daemon = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            started.callback(_end, daemon)
            time.sleep(1)
        _wait_until_idle(environment, folder)
        yield environment


def _install():
    policy = pathlib.Path("/usr/sbin/policy-rc.d")  # keeps the packages from starting daemons of their own
    had_policy = policy.exists()
    if not had_policy:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        for words in (["update"], ["install", "--yes", "--no-install-recommends", "slurm-wlm", "munge"]):
            done = subprocess.run(["apt-get", "-q", *words], capture_output=True, timeout=300)
            if done.returncode:
                pytest.skip("needs Debian's slurm-wlm and munge, which could not be installed")
    except FileNotFoundError:
        pytest.skip("needs slurm-wlm and munge; there is no apt-get to install them")
    finally:
        if not had_policy:
            policy.unlink()


def _wait_until_idle(environment, folder):
    for _ in range(60):
        said = subprocess.run(["sinfo", "-h", "-o", "%T"], env=environment, capture_output=True, text=True).stdout
        if "idle" in said:
            return
        time.sleep(0.5)
    logs = "\n".join(path.read_text()[-2000:] for path in folder.glob("*.log"))
    pytest.fail(f"Slurm did not come up: {said}\n{logs}")


def _end(daemon):
    daemon.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        daemon.wait(10)
    daemon.kill()
    daemon.wait()


def _free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
