"""Pipeline + cluster -> command lines; running them one after another, watched and ended as a whole."""

import contextlib
import datetime
import fcntl
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, TextIO

from hvdedge import records
from hvdedge.clusters import Cluster
from hvdedge.config import ROOT, Pipeline
from hvdedge.errors import InputError
from hvdedge.progress import EVENT
from hvdedge.records import STAGES, RunRecord

# What reaches the ranks of the user's shell; all else stays where it is, secrets first of all.
ALLOWED = {
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "LANG", "LANGUAGE", "TERM", "LD_LIBRARY_PATH"),
    *("PYTHONPATH", "VIRTUAL_ENV", "SSH_AUTH_SOCK", "XDG_RUNTIME_DIR", "CUDA_VISIBLE_DEVICES"),
}
ALLOWED_PREFIXES = ("LC_", "HVDEDGE_", "OMPI_MCA_", "PRTE_MCA_", "PMIX_MCA_", "SLURM_", "OMP_", "TF_", "HOROVOD_")
SECRET = {"SLURM_JWT"}  # a token, though its name begins like what is allowed
# What mpirun hands on to the ranks of other hosts, with the values that we found to be right.
EXPORTED = {
    "HOROVOD_CYCLE_TIME": "1",  # ms between looks for new tensors; more delays small models
    "TF_CPP_MIN_LOG_LEVEL": "2",  # TensorFlow's notices on every rank would bury the log
    "OMP_NUM_THREADS": "1",  # libraries beside TensorFlow; ranks on one host share its cores
}
MCA = {
    "mpi_yield_when_idle": "1",  # a waiting rank polls; without this it takes the core of one that computes
    "pml": "ob1",  # no probing of transports that such clusters do not have
    "coll_tuned_use_dynamic_rules": "1",  # so that the next line holds
    "coll_tuned_allreduce_algorithm": "4",  # ring: 3 times the default's speed over 100 Mbit/s with 3 hosts
}
CAN_LOSE = {"train"}  # stages that look after ranks that are lost
SSH = "-o BatchMode=yes -o ConnectTimeout=10"  # a host that asks or is silent is an error, not a wait
PROGRAMS = {"profile": "profile_data"}  # a program called profile.py would hide Python's module of that name
LOST = re.compile(r"process rank (\d+) with PID \d+ on node (\S+) exited")
PR_SET_PDEATHSIG = 1
ENDING_SECONDS = 1.0  # what mpirun has to end its ranks before they are killed; Ctrl-C promises 2 s in all


@dataclass(frozen=True)
class Job:
    """One stage's MPI program with all that its command line says."""

    stage: str
    pipeline: pathlib.Path
    folder: pathlib.Path
    cluster: Cluster
    ranks: int
    changes: tuple[str, ...] = ()

    def command(self) -> list[str]:
        """Return the words of the command line that starts this stage."""
        changes = [word for change in self.changes for word in ("--set", change)]
        arguments = [
            str(self.pipeline),
            "--results",
            str(self.folder),
            "--cluster",
            cluster_word(self.cluster),
            *changes,
        ]
        return mpirun(
            str(ROOT / "jobs" / f"{PROGRAMS.get(self.stage, self.stage)}.py"),
            arguments,
            ranks=self.ranks,
            cluster=self.cluster,
            can_lose=self.stage in CAN_LOSE,
        )


def mpirun(program: str, arguments: list[str], *, ranks: int, cluster: Cluster, can_lose: bool = False) -> list[str]:
    """Return the words that start `program` on the cluster's hosts, from whichever folder they are typed in.

    Args:
        can_lose: whether the program goes on, or ends by itself, where a rank is lost; else mpirun ends all.
    """
    root = ["--allow-run-as-root"] if os.geteuid() == 0 else []
    hosts = [] if cluster.settings.start == "slurm" else ["--hostfile", str(cluster.hostfile.absolute())]
    network = cluster.settings.network
    mca = {
        **MCA,
        "btl": _transports(cluster),
        **({"btl_tcp_if_include": network} if network else {}),
        **cluster.settings.mpi,
    }
    daemon = ["--prtemca", "prte_if_include", network] if network else []
    if cluster.settings.start == "ssh":
        daemon += ["--prtemca", "plm_ssh_args", SSH]
    return [
        *(str(pathlib.Path(sys.executable).parent / "mpirun"), *root, *hosts, "-np", str(ranks)),
        *(("--with-ft", "ulfm") if can_lose else ()),
        *("--bind-to", "none"),  # else a rank with all its threads is bound to one core
        *(word for key, value in mca.items() for word in ("--mca", key, value)),
        *daemon,
        *(word for name in exported() for word in ("-x", name)),
        *("--wdir", str(ROOT), sys.executable, "-m", "mpi4py", program, *arguments),
    ]


def exported() -> list[str]:
    """Return NAME=VALUE for what the ranks shall find in their environment, the user's own values first."""
    named = {name: os.environ.get(name, value) for name, value in EXPORTED.items()}
    if "HVDEDGE_DATA" in os.environ:
        named["HVDEDGE_DATA"] = os.path.abspath(os.environ["HVDEDGE_DATA"])  # ranks start in another folder
    return [f"{name}={value}" for name, value in named.items()]


def environment() -> dict[str, str]:
    """Return the environment that mpirun and sbatch are started with: the allowed part of ours."""
    is_allowed = {name: name in ALLOWED or name.startswith(ALLOWED_PREFIXES) for name in os.environ}
    return {name: value for name, value in os.environ.items() if is_allowed[name] and name not in SECRET}


def check_start(cluster: Cluster) -> None:
    """Raise InputError where the cluster's ranks cannot be started from here."""
    if cluster.settings.start == "slurm" and "SLURM_JOB_ID" not in os.environ:
        raise InputError(
            f"--cluster: received {cluster.name!r}, whose nodes Slurm gives; add --submit, or run in a job of sbatch"
        )


def run_folder(results: pathlib.Path, case: str, run: str) -> pathlib.Path:
    """Make the folder of a run and let `latest` link to it.

    Raises:
        InputError: where it cannot be made or written.
    """
    folder = results / case / run
    try:
        folder.mkdir(parents=True, exist_ok=True)
        records.replace(folder / ".writable", b"")
        (folder / ".writable").unlink()
        link = folder.parent / f".latest.{os.getpid()}"
        link.symlink_to(run)
        link.replace(folder.parent / "latest")
    except OSError as error:
        raise InputError(
            f"--results: received {str(folder)!r}, which cannot be written ({error.strerror}); give another folder"
        ) from None
    return folder


@contextlib.contextmanager
def locked(folder: pathlib.Path) -> Iterator[None]:
    """Keep a run for this process alone while the body runs.

    Raises:
        InputError: where another process is at it.
    """
    with open(folder / ".lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                f"--run: received {folder.name!r}, which another hvdedge is running; wait for it or give another name"
            ) from None
        yield


def is_done(stage: str, pipeline: Pipeline, folder: pathlib.Path) -> bool:
    """Tell whether the run holds what `stage` would make of the pipeline: done, with these options, still there."""
    path = folder / f"{stage}.json"
    try:
        record = records.read(path)
        options = json.loads(json.dumps(pipeline.options(stage)))
        if record.status != "done" or record.options != options or not _is_current(folder, record.inputs):
            return False
    except InputError:
        return False  # no record, or one that cannot be read
    return all(
        (folder / name).is_file() and (folder / name).stat().st_size == out.bytes
        for name, out in record.outputs.items()
    )


def _is_current(folder: pathlib.Path, inputs: dict[str, str]) -> bool:
    """Tell whether the files that a stage read are what they were then, as the records of their stages have them."""
    known = {name: out.sha256 for record in records.read_run(folder).values() for name, out in record.outputs.items()}
    return all(
        known[name] == digest
        if name in known
        else (folder / name).is_file() and records.sha256(folder / name) == digest
        for name, digest in inputs.items()
    )


def pending(pipeline: Pipeline, folder: pathlib.Path, first: str | None, last: str) -> list[str]:
    """Return the stages to run, up to `last`: from `first`, or else from the first one that is not done."""
    if first is None:
        first = next((stage for stage in pipeline.stages if not is_done(stage, pipeline, folder)), None)
        if first is None:
            return []
    return between(pipeline, first, last)


def between(pipeline: Pipeline, first: str | None, last: str) -> list[str]:
    """Return the pipeline's stages from `first`, or its first one, up to `last`."""
    start = STAGES.index(first) if first else 0
    return [stage for stage in pipeline.stages if start <= STAGES.index(stage) <= STAGES.index(last)]


@dataclass
class Outcome:
    """How a stage ended: 0 done, 1 failed, 2 wrong input, 130 interrupted; and what to tell the user."""

    status: int
    message: str = ""
    record: RunRecord | None = None


@dataclass
class _Watch:
    """What a running stage has said so far."""

    show: Callable[[dict[str, Any]], None]
    errors: list[dict[str, Any]] = field(default_factory=list)
    lost: re.Match | None = None
    first_words: str = ""
    is_in_banner: bool = False

    def take(self, line: str) -> bool:
        """Take in one line; tell whether it belongs into the log."""
        if not line.startswith(EVENT):
            if found := LOST.search(line):
                self.lost = found
            self._hear(line.split())
            return True
        with contextlib.suppress(ValueError):  # a line that a dying rank broke off
            event = json.loads(line.removeprefix(EVENT))
            if event.get("event") == "error":
                self.errors.append(event)
            else:
                self.show(event)
        return False

    def _hear(self, words: list[str]) -> None:
        """Keep the first line that says something; of what stands between two rules, as mpirun warns, all lines."""
        is_rule = bool(words) and not "".join(words).strip("-")
        if is_rule:
            self.is_in_banner = not self.first_words
        elif self.is_in_banner or not self.first_words:
            self.first_words = " ".join([self.first_words, *words]).strip()


def run_job(job: Job, show: Callable[[dict[str, Any]], None]) -> Outcome:
    """Run a stage and wait for its end; `show` gets each progress event.

    SIGINT and SIGTERM end all ranks, within 2 s, and leave a run that can go on.
    """
    log = job.folder / f"{job.stage}.log"
    watch = _Watch(show)
    before = _record_text(job)
    with interruptible(), _opened(log) as file:
        process = subprocess.Popen(
            _telling(job.command()),
            cwd=ROOT,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            preexec_fn=_end_with_parent,  # else the ranks of a launcher that was killed go on
            start_new_session=True,  # a Ctrl-C in the terminal reaches us alone, and we end the ranks in order
        )
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if watch.take(line):
                    with contextlib.suppress(OSError):  # a full disk: the stage itself will say so
                        file.write(line)
            status = process.wait()
        except KeyboardInterrupt:
            _end(process)
            _mark(job, "interrupted", None)
            return Outcome(
                130, f"{job.stage}: interrupted; the same command with --run {job.folder.name} goes on from here"
            )
        except BaseException:
            _end(process)
            raise
    return _outcome(job, watch, status, before, log)


def _outcome(job: Job, watch: _Watch, status: int, before: bytes, log: pathlib.Path) -> Outcome:
    """Judge a stage by its record, not by mpirun's status, which was seen to be 0 after a lost daemon."""
    path = job.folder / f"{job.stage}.json"
    record = records.read(path) if _record_text(job) != before else None
    if record is not None and record.status == "done" and not watch.errors:
        return Outcome(0, record=record)
    if watch.errors:
        error = min(watch.errors, key=lambda event: event["rank"])
        if error["is_input"]:
            return Outcome(2, error["cause"])
        return Outcome(1, f"{job.stage}: rank {error['rank']} on host {error['host']}: {error['cause']}; log: {log}")
    if watch.lost:
        rank, host = watch.lost.groups()
        ending = f"signal {status - 128}" if status > 128 else f"status {status}"
        cause = f"rank {rank} on host {host} ended by {ending}; 9 is what the system sends when memory runs out"
    else:
        said = f": {watch.first_words}" if watch.first_words else ""
        cause = f"mpirun ended with status {status} and no rank said why{said}"
        if job.cluster.settings.start != "local":
            cause += f"; see to the hosts in {job.cluster.hostfile}, and the network in {job.cluster.hostfile}.toml"
    _mark(job, "failed", cause)
    return Outcome(1, f"{job.stage}: {cause}; log: {log}")


def _end_with_parent() -> None:
    """Ask Linux to send this process SIGTERM when its parent ends, however it ends; see prctl(2)."""
    import ctypes

    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _record_text(job: Job) -> bytes:
    """Return the stage's record as it stands, to see later whether it is another: clocks of hosts differ."""
    path = job.folder / f"{job.stage}.json"
    return path.read_bytes() if path.exists() else b""


def _telling(command: list[str]) -> list[str]:
    """Return the command line with what lets ranks, on other hosts too, tell their progress as events."""
    place = command.index("--wdir")
    return [*command[:place], "-x", "HVDEDGE_PROGRESS=events", *command[place:]]


@contextlib.contextmanager
def _opened(log: pathlib.Path) -> Iterator[TextIO]:
    """Open a log that is written line by line."""
    try:
        file = open(log, "a", buffering=1)  # noqa: SIM115 - closed below
    except OSError as error:
        raise records.cannot_write(log, error) from None
    try:
        yield file
    finally:
        with contextlib.suppress(OSError):
            file.close()


def _mark(job: Job, status: Literal["failed", "interrupted"], cause: str | None) -> None:
    """Let the record of a stage that was ended from outside say so, also where the stage had not made it yet."""
    path = job.folder / f"{job.stage}.json"
    with contextlib.suppress(InputError):
        record = records.read(path) if path.exists() else None
        if record is None:
            now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            names = (job.stage, job.folder.parent.name, job.folder.name)
            record = RunRecord(*names, "running", job.cluster.name, now, None, job.ranks)
        if record.status == "running":
            record.status = status
            record.error = {"rank": None, "host": None, "cause": cause} if cause else None
            record.write(job.folder)


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raise KeyboardInterrupt on SIGINT, also where the shell left it ignored, and on SIGTERM and SIGHUP."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(process: subprocess.Popen) -> None:
    """End mpirun and, where it does not do so itself in time, every process below it."""
    import psutil

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(psutil.NoSuchProcess):
        family = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        _, alive = psutil.wait_procs([psutil.Process(process.pid), *family], timeout=ENDING_SECONDS)
        for one in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
    process.kill()
    process.wait()


def sbatch_script(cluster: Cluster, name: str, ranks: int, folder: pathlib.Path, words: list[str]) -> str:
    """Return slurm/<cluster>.sbatch made fit for one run: its options first, its arguments written out."""
    path = ROOT / "slurm" / f"{cluster.name}.sbatch"
    try:
        first, rest = path.read_text(encoding="utf-8").split("\n", 1)
    except (OSError, ValueError) as error:
        raise InputError(
            f"--submit: received the cluster {cluster.name!r}, for which {path} cannot be read "
            f"({getattr(error, 'strerror', None) or error}), allowed: one with such a script; name one, such as "
            "--cluster server, or write that file"
        ) from None
    options = {
        "job-name": f"hvdedge-{name}",
        "output": str(folder / "slurm-%j.log"),
        **cluster.settings.slurm,
        "ntasks": str(ranks),
    }
    kept = [line for line in rest.split("\n") if not any(line.startswith(f"#SBATCH --{key}=") for key in options)]
    lines = [first, *(f"#SBATCH --{key}={value}" for key, value in options.items()), *kept]
    return "\n".join(lines).replace('"$@"', shlex.join(words)).replace('"$SLURM_SUBMIT_DIR"', shlex.quote(str(ROOT)))


def submit(script: str, folder: pathlib.Path) -> str:
    """Write a batch script into the run's folder and submit it; return what sbatch answered."""
    path = folder / "submit.sbatch"
    records.replace(path, script.encode())
    try:
        done = subprocess.run(["sbatch", str(path)], capture_output=True, text=True, cwd=ROOT, env=environment())
    except FileNotFoundError:
        raise InputError("--submit: found no sbatch on this machine; submit from a Slurm login node") from None
    if done.returncode:
        raise InputError(
            f"--submit: sbatch refused {path}: {' '.join(done.stderr.split())}; mend [slurm] in the cluster's TOML"
        )
    return done.stdout.strip()


def paste(words: Iterable[str]) -> str:
    """Return a command line that can be pasted into a shell."""
    return shlex.join(words)


def _transports(cluster: Cluster) -> str:
    """Return the byte transfer layers: shared memory where ranks share a host, TCP where there are several hosts."""
    shared = len(cluster.slots) == 1 or max(cluster.slots.values()) > 1 or cluster.settings.start == "slurm"
    apart = len(cluster.slots) > 1 or cluster.settings.start != "local"
    return ",".join(["self", *["sm"] * shared, *["tcp"] * apart])


def cluster_word(cluster: Cluster) -> str:
    """Return what names the cluster on a command line: its name in hostfiles/, else its hostfile's path."""
    return cluster.name if cluster.hostfile.parent == ROOT / "hostfiles" else str(cluster.hostfile.absolute())
