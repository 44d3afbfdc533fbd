"""The frame that every job runs in: communicator, settings, meter, record, log, progress, outputs, errors.

A job's file names what it reads, which methods it calls and what it writes:

    def main(stage):
        table = stage.read_table("prepared")
        ...
        stage.write_table("cleaned", table)

    if __name__ == "__main__":
        start("clean", main)
"""

import contextlib
import ctypes
import datetime
import functools
import json
import logging
import os
import pathlib
import platform
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import click
import msgspec
import numpy as np
from mpi4py import MPI

from hvdedge import records
from hvdedge.change_log import Totals, summarise
from hvdedge.clusters import Cluster, read_cluster
from hvdedge.config import IN_RUN, Chosen, Pipeline, Section, in_run, listed, read_pipeline, tuned
from hvdedge.errors import InputError, RankError, is_users, one_line
from hvdedge.meter import Meter, peak_rss_bytes
from hvdedge.parallel import MeteredComm, agree, allgather_json
from hvdedge.progress import EVENT, describe
from hvdedge.records import TABLE_STAGES, Output, RankRecord, RunRecord
from hvdedge.tables import Table, part_path, read_parts
from hvdedge.workspace import CHANGES, QUARANTINE, Scratch, Source, Workspace

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
GIVEN_BACK_BYTES = 1 << 22  # above the buffers of a block of rows: fresh pages for each cost more than its work
KEPT_BYTES = 1 << 23  # of smaller buffers that were freed
PROGRESS_SECONDS = 0.2  # between two progress events of a rank
ENDED = (
    "its process ended while others needed it; the system ends one when memory runs out; the same command goes on from "
    "the last checkpoint"
)
SAME_WORD_SECONDS = 0.3  # what other ranks leave the root to tell of wrong input
LAST_WORD_SECONDS = 1.0  # what the ranks wait for the one that tells of an error that all of them know


class Stage:
    """One stage of one run, as one rank sees it.

    Attributes:
        comm: the ranks of this stage that are left, counted by the meter.
        pipeline, section: all settings, and those of this stage.
        folder: the run's folder.
        workspace: what methods get beside their rows; its metrics go into the record.
        history, events, inputs: further parts of the record, alike on every rank.
        local_ranks: how many ranks of the job share this rank's host.
        goes_on_from: folders of what an earlier try made that this one takes up.
        changing: the options of train that may be others than when a checkpoint was written.
        goes_on: collective; whether training goes on after an epoch, by its number from 1 and the curves.
    """

    changing: tuple[str, ...] = ()
    goes_on_from: tuple[str, ...] = ()

    def __init__(
        self, name: str, pipeline: Pipeline, cluster: Cluster, folder: pathlib.Path, comm: MeteredComm, meter: Meter
    ):
        self.name = name
        self.pipeline = pipeline
        self.cluster = cluster
        self.folder = folder
        self.comm = comm
        self.meter = meter
        self.log = logging.getLogger("hvdedge")
        self.history: dict[str, list] = {}
        self.events: list[dict[str, Any]] = []
        self.inputs: dict[str, str] = {}
        self._outputs: dict[str, Output] = {}
        self._told = 0.0
        self._started = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        with agree(comm):
            self._scratch = Scratch()
            tempfile.tempdir = str(self._scratch.path)  # so that what libraries leave behind goes with it
        self._rank = comm.rank
        self._began_as = comm.Get_group()
        self._hosts = allgather_json(socket.gethostname(), comm)
        self.local_ranks = self._hosts.count(socket.gethostname())
        self._handler: logging.Handler | None = None
        self.workspace = Workspace(folder, self._scratch.path, pipeline.memory_bytes, pipeline.learned)

    @property
    def metrics(self) -> dict[str, Any]:
        return self.workspace.metrics

    @property
    def section(self) -> Section:
        return self.pipeline.sections[self.name]

    @property
    def is_root(self) -> bool:
        """Whether this rank does what is done once; methods do not ask."""
        return self.comm.rank == 0

    @property
    def lost(self) -> list[int]:
        """The ranks that the stage began with and that are not among `comm`, rising."""
        return self._numbers(MPI.Group.Difference(self._began_as, self.comm.Get_group()))

    @property
    def number(self) -> int:
        """Which rank this was when the stage began."""
        return self._rank

    def _numbers(self, ranks: MPI.Group) -> list[int]:
        """Return which ranks they were when the stage began."""
        return sorted(ranks.Translate_ranks(None, self._began_as)) if ranks.size else []

    def go_on(self, comm: MeteredComm, seconds: float) -> None:
        """Note that ranks were lost, and go on with those that are left; it took so long. On each of these."""
        before, self.comm = self.lost, comm
        for rank in sorted({*self.lost} - {*before}):
            lost = {"rank": rank, "host": self._hosts[rank]}
            self.note(what="rank_lost", **lost, action="shrunk", world_size=comm.size, took_seconds=round(seconds, 4))
            self.tell(f"rank {rank} on host {self._hosts[rank]} was lost; going on with {comm.size}")

    def read_source(self) -> Source:
        """Collective. Return what prepare reads, held against the checksum that the pipeline gives, if any."""
        paths = self.pipeline.sources
        with agree(self.comm):
            for path, wanted in zip(paths, listed(self.settings["sha256"]), strict=False) if self.is_root else ():
                found = records.sha256(path)
                if found != wanted:
                    raise InputError(f"{path}: received SHA-256 {found}, allowed: {wanted}; get the file again")
        return Source(paths, self.workspace)

    def method(self, key: str) -> functools.partial:
        """Return the method that the pipeline chose under `key`, with its options filled in."""
        return self._bind(self.section.choices[key])

    def methods(self) -> Iterator[tuple[str, Callable]]:
        """Yield name and function, options filled in, of the methods that this stage runs, in order."""
        for chosen in self.section.methods:
            self.tell(chosen.name)
            yield chosen.name, self._bind(chosen)

    @property
    def settings(self) -> dict[str, Any]:
        """The stage's own settings."""
        return self.section.settings

    def check_settings(self) -> dict[str, Any]:
        """Collective. Return the stage's own settings, what they name in the run's folder found and checked."""
        self._check_options(self.settings)
        return in_run(self.settings, self.folder)

    def _bind(self, chosen: Chosen) -> functools.partial:
        """Collective. Return the method with its options; what they name in the run's folder is checked."""
        self._check_options(chosen.options)
        return functools.partial(chosen.method.load(), **in_run(chosen.options, self.folder))

    def _check_options(self, options: dict[str, Any]) -> None:
        values = [one for value in options.values() for one in (value if isinstance(value, tuple) else (value,))]
        for value in values:
            if isinstance(value, str) and value.startswith(IN_RUN):
                self.check_input(value.removeprefix(IN_RUN))

    def read_table(self, name: str) -> Table:
        """Collective. Return this rank's rows of a table that an earlier stage wrote, checked against its record."""
        parts = [self.folder / part for part in self.check_input(name)]
        tables: list[Table] = []
        with agree(self.comm):
            tables.append(read_parts(parts, self.comm, self.workspace))
        return tables[0]

    def check_input(self, place: str) -> list[str]:
        """Collective. Hold what earlier stages wrote at `place`, a file or a folder, against its checksums.

        Returns:
            The names of the files, sorted: those that their stage wrote, whatever else lies there.
        Raises:
            RankError: of an InputError, where one is missing or was changed after it was written.
        """
        found: dict[str, tuple[str, Output]] = {}
        with agree(self.comm):
            earlier = records.STAGES[: records.STAGES.index(self.name)]
            found = {
                name: (stage, output)
                for stage in earlier
                if (self.folder / f"{stage}.json").exists()
                for name, output in records.read(self.folder / f"{stage}.json").outputs.items()
                if name == place or name.startswith(f"{place}/")
            }
            if not found:
                raise InputError(
                    f"{self.folder / place}: received nothing there that an earlier stage wrote; run it first"
                )
            for name in sorted(found)[self.comm.rank :: self.comm.size]:
                stage, output = found[name]
                path = self.folder / name
                if not path.is_file():
                    raise InputError(
                        f"{path}: received nothing, though {stage} wrote it; run again with --from {stage}"
                    )
                if path.stat().st_size != output.bytes or records.sha256(path) != output.sha256:
                    raise InputError(
                        f"{path}: received a file that was changed or cut after {stage} wrote it, allowed: SHA-256 "
                        f"{output.sha256[:8]}...; run again with --from {stage}"
                    )
        self.inputs |= {name: output.sha256 for name, (_, output) in found.items()}
        return sorted(found)

    def write_table(self, name: str, table: Table) -> None:
        """Collective. Write this rank's part of a table, what the stage changed and set aside on the way, and keeps."""
        self._write_part(name, table)
        with agree(self.comm):
            for kept, value in self.workspace.kept.items() if self.is_root else ():
                self.write_json(kept, value)
        changes = Table.from_batches(CHANGES, self.workspace.changes, self.workspace)
        self._write_part(f"changes/{self.name}", changes)
        quarantine = Table.from_batches(QUARANTINE, self.workspace.quarantine, self.workspace)
        self._write_part(f"quarantine/{self.name}", quarantine)
        totals = Totals(table.num_rows)
        self.metrics["changes"] = summarise(totals.changed(changes.batches()), self.comm)
        self.metrics["set_aside"] = summarise(totals.set_aside(quarantine.batches()), self.comm)
        self.metrics["totals"] = totals.over(self.comm)

    def _write_part(self, name: str, table: Table) -> None:
        with agree(self.comm), self.output(str(part_path(pathlib.Path(name), self.comm.rank))) as path:
            table.write(path)

    @contextlib.contextmanager
    def output(self, name: str) -> Iterator[pathlib.Path]:
        """Yield a temporary path; what the body writes there is synced, renamed to `name` in the run, recorded.

        Raises:
            InputError: where the disk is full or may not be written.
        """
        path = self.folder / name
        with records.replacing(path) as temporary:
            yield temporary
        self._outputs[name] = Output(path.stat().st_size, records.sha256(path))

    def write_json(self, name: str, value: Any) -> None:
        """Write a small file of JSON; from one rank only."""
        with self.output(name) as path:
            path.write_bytes(records.to_json(value))

    def keep(self, place: str) -> None:
        """Record files that stand in the run's folder already, one or all below a folder, as outputs of this stage."""
        files = [self.folder / place] if (self.folder / place).is_file() else (self.folder / place).rglob("*")
        for path in sorted(path for path in files if path.is_file()):
            name = str(path.relative_to(self.folder))
            self._outputs[name] = Output(path.stat().st_size, records.sha256(path))

    def depend(self, name: str) -> None:
        """Record a file in the run's folder that is no stage's output as an input of this stage."""
        self.inputs[name] = records.sha256(self.folder / name)

    def goes_on(self, comm: MeteredComm, epoch: int, curves: dict[str, list[float | None]]) -> bool:
        return True

    def note(self, **event: Any) -> None:
        """Add an event to the record, with the seconds since the stage began; alike on every rank."""
        self.events.append({"seconds": round(self.meter.wall_seconds, 3), **event})

    def tell(self, text: str = "", **values: Any) -> None:
        """Show how far the stage is: a text, or numbers such as epoch=3, epochs=12, loss=0.1. Any rank may call it."""
        self.meter.sample()
        now = time.monotonic()
        if not text and now - self._told < PROGRESS_SECONDS:
            return
        self._told = now
        if os.environ.get("HVDEDGE_PROGRESS") == "events":
            self._send_event(text=text, **values)
        elif self.is_root:
            print(f"{self.name}: {', '.join(describe(text, **values))}", flush=True)

    def _send_event(self, **values: Any) -> None:
        event = {
            **{"event": "progress", "rank": self._rank, "is_root": self.is_root, "rss_bytes": peak_rss_bytes()},
            **values,
        }
        print(EVENT + json.dumps(event), flush=True)

    def begin(self) -> None:
        """Collective. Make the run's folder, take away what an earlier try of this stage left, say that it runs."""
        with agree(self.comm):
            if self.is_root:
                self.folder.mkdir(parents=True, exist_ok=True)
                path = self.folder / f"{self.name}.json"
                with contextlib.suppress(InputError):
                    for name in records.read(path).outputs if path.exists() else ():
                        if name.split("/")[0] not in self.goes_on_from:
                            (self.folder / name).unlink(missing_ok=True)
                self._record("running").write(self.folder)
        self._handler = logging.FileHandler(self.folder / f"{self.name}.log")
        place = f"rank {self._rank} {socket.gethostname()}"
        self._handler.setFormatter(logging.Formatter(f"%(asctime)s {place} %(message)s"))
        self.log.addHandler(self._handler)
        self.log.setLevel(logging.INFO)
        self.log.info("%s begins on %d ranks", self.name, self.comm.size)

    def costs(self) -> dict[str, Any]:
        """Return what this rank cost so far, as its record has it."""
        host = socket.gethostname()
        return self.meter.read(self.cluster.watts(host), self.local_ranks)

    def end(self) -> None:
        """Collective. Gather what each rank cost and wrote, and say that the stage is done."""
        host = socket.gethostname()
        told = allgather_json(
            {"rank": self._rank, "host": host, **self.costs(), "outputs": msgspec.to_builtins(self._outputs)}, self.comm
        )
        self.log.info("%s is done", self.name)
        if os.environ.get("HVDEDGE_PROGRESS") == "events":
            self._send_event()
        with agree(self.comm):
            if self.is_root:
                record = self._record("done")
                record.wall_seconds = max(rank["wall_seconds"] for rank in told)
                for rank in told:
                    record.outputs |= msgspec.convert(rank.pop("outputs"), dict[str, Output])
                    record.ranks.append(msgspec.convert(rank, RankRecord))
                record.write(self.folder)

    def fail(self, error: BaseException) -> None:
        """Say on standard error, in the log and in the record why this rank ends all."""
        host = socket.gethostname()
        told = error if isinstance(error, RankError) else None
        if told is not None and told.rank != self.comm.rank:
            time.sleep(LAST_WORD_SECONDS)
            return
        if isinstance(error, InputError) and not self.is_root:
            time.sleep(SAME_WORD_SECONDS)  # wrong options are wrong on every rank; one line is enough
        is_input = is_users(error)
        cause = {
            "rank": self._rank,
            "host": host,
            "cause": told.cause if told else one_line(error),
            "is_input": is_input,
        }
        ended = self._numbers(self.comm.Get_failed())
        if ended:  # what failed here follows from it
            cause |= {"rank": ended[0], "host": self._hosts[ended[0]], "cause": ENDED, "is_input": False}
            if self._rank != min({*range(len(self._hosts))} - {*ended, *self.lost}):
                time.sleep(LAST_WORD_SECONDS)  # one line is enough, unless that rank does not know yet
        say_error(cause)
        self.write_failure(error, cause)

    def write_failure(self, error: BaseException, cause: dict[str, Any]) -> None:
        """Keep in the log and in the record why the stage failed."""
        with contextlib.suppress(Exception):  # the error may be that nothing can be written
            self.log.error("".join(traceback.format_exception(error)))
            record = self._record("failed")
            record.error = cause
            record.wall_seconds = self.meter.wall_seconds
            record.write(self.folder)

    def leave(self) -> None:
        """Collective. End this process without MPI's own end, which was seen to wait for ranks that were lost."""
        with contextlib.suppress(MPI.Exception):  # all is written, so that another loss is none
            self.comm.Barrier()
        self.close()
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)

    def close(self) -> None:
        """Remove this rank's scratch folder, and let others write the log."""
        self._scratch.remove()
        if self._handler:
            self.log.removeHandler(self._handler)
            self._handler.close()

    def _record(self, status: str) -> RunRecord:
        return msgspec.convert(
            {
                **{"stage": self.name, "case": self.pipeline.case, "run": self.folder.name, "status": status},
                **{"cluster": self.cluster.name, "started": self._started, "wall_seconds": None},
                **{"world_size": len(self._hosts), "metrics": self.metrics, "history": self.history},
                **{
                    "inputs": self.inputs,
                    "events": [*self.events, *self.workspace.events],
                    "options": self.pipeline.options(self.name),
                    "versions": versions(),
                },
            },
            RunRecord,
        )


def start(name: str, work: Callable[[Stage], None]) -> None:
    """Run a job's `work` as the program that it is: read the command line, frame it, end all ranks if one fails."""

    @click.command(help=work.__doc__)
    @click.argument("pipeline", type=click.Path(path_type=pathlib.Path))
    @click.option("--results", required=True, type=click.Path(path_type=pathlib.Path), help="The run's folder.")
    @click.option("--cluster", default="local", show_default=True, help="The cluster in hostfiles/ that this runs on.")
    @click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change an option of the pipeline.")
    def command(pipeline: pathlib.Path, results: pathlib.Path, cluster: str, changes: tuple[str, ...]) -> None:
        _frame(name, work, pipeline, results, cluster, changes)

    command(standalone_mode=True)


def _return_memory() -> None:
    """Have large buffers given back to the system as soon as they are freed, where glibc is used.

    By itself it raises the size from which it does so to that of the largest buffer freed, up to 32 MB: a rank then
    keeps what it needed once. Training frees and takes the same buffers at each step, so it is left alone there.
    """
    with contextlib.suppress(AttributeError, OSError):
        set_option = ctypes.CDLL(None).mallopt
        set_option(M_MMAP_THRESHOLD, GIVEN_BACK_BYTES)
        set_option(M_TRIM_THRESHOLD, KEPT_BYTES)


def _frame(
    name: str,
    work: Callable[[Stage], None],
    path: pathlib.Path,
    results: pathlib.Path,
    cluster: str,
    changes: tuple[str, ...],
) -> None:
    if name in TABLE_STAGES:
        _return_memory()
    meter = Meter()
    comm = MeteredComm(MPI.COMM_WORLD, meter.traffic)
    stage = None
    try:
        with agree(comm):
            folder = results.absolute()
            pipeline = read_pipeline(path, changes, name, find_sources=name == "prepare", results=folder)
            machines = read_cluster(cluster)
            if pipeline.tune and pipeline.tune.first_stage() == "prepare":
                pipeline = read_pipeline(path, changes, name, results=folder)
            if records.STAGES.index(name) > records.STAGES.index("train"):
                pipeline = tuned(pipeline, folder)
        stage = Stage(name, pipeline, machines, folder, comm, meter)
        stage.begin()
        work(stage)
        stage.end()
        if stage.lost:
            stage.leave()
    except Exception as error:
        if stage is not None:
            stage.fail(error)
        elif not isinstance(error, RankError) or error.rank == comm.rank:
            is_input = is_users(error)
            say_error(
                {
                    "rank": comm.rank,
                    "host": socket.gethostname(),
                    "cause": getattr(error, "cause", one_line(error)),
                    "is_input": is_input,
                }
            )
        else:
            time.sleep(LAST_WORD_SECONDS)
        _abort(comm, stage, error)
    finally:
        if stage is not None:
            stage.close()


def say_error(error: dict[str, Any]) -> None:
    """Tell of an error: the launcher as an event, a user who started the stage by hand in one line."""
    if os.environ.get("HVDEDGE_PROGRESS") == "events":
        print(EVENT + json.dumps({"event": "error", **error}), flush=True)
    elif error["is_input"]:
        print(error["cause"], file=sys.stderr, flush=True)
    else:
        print(f"rank {error['rank']} on host {error['host']}: {error['cause']}", file=sys.stderr, flush=True)


def _abort(comm: MeteredComm, stage: Stage | None, error: Exception) -> None:
    """End all ranks with the status that tells wrong input from failure."""
    if stage is not None:
        stage.close()
    time.sleep(0.05)  # mpirun forwards what was said before it hears of the end
    comm.Abort(2 if is_users(error) else 1)


def versions() -> dict[str, str]:
    """Return the versions of what this process has loaded that can change a result."""
    found = {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "mpi": MPI.Get_library_version().split(",")[0],
    }
    for name in ("mpi4py", "pyarrow", "tensorflow", "keras", "horovod", "h5py"):
        if name in sys.modules:
            found[name] = getattr(sys.modules[name], "__version__", "")
    return found
