"""Which exchange is the fastest on the links as they are now, by what they were measured to do.

    seconds of a batch = drawback (computing + (coding + messages * latency + bytes / bandwidth) / batches)
                         + bytes at the end of an epoch / bandwidth / batches of an epoch

with what one rank sends in one exchange: for N gradients on n ranks

    float32            4 N * 2 (n - 1) / n bytes
    bfloat16, int8     a half, and a quarter and a little
    top_k              8 density N (n - 1), as places go with numbers and all go to all
    local steps        as float32

once in as many batches as are accumulated, or local steps are taken;
and, when an epoch ends, what was not sent, 4 N * 2 (n - 1) / n, or after local steps as much for each number that the
optimizer keeps of a weight.

Latency and bandwidth are measured by all-reduces of a number and of some kilobytes, at the start and then every
INTERVAL_SECONDS, so that a link that recovers is noticed whatever is sent over it. The drawback is how many more
batches it takes to the same accuracy.
"""

import math
import time
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

from hvdedge.accumulated_steps import AccumulatedSteps
from hvdedge.averaged_steps import AveragedSteps
from hvdedge.compressed_sums import summing
from hvdedge.local_steps import LocalSteps, size, state_of
from hvdedge.parallel import MeteredComm, ring_bytes
from hvdedge.shards import Batch
from hvdedge.training import TrainingTask

INTERVAL_SECONDS = 2.0
FIRST_BATCHES, LEAST_BATCHES = 2, 4  # of the first interval, and of the others
PROBING = 0.02  # of the time: what measuring the bandwidth may take
PROBES = 2  # of which the faster counts, as a rank may be held up
FIRST_PROBE_BYTES = 1 << 14
GAIN = 0.15  # that makes a change worth its disturbance


@dataclass(frozen=True)
class Way:
    """A way to exchange: gradients of one or more batches, or weights after some local steps."""

    exchange: str = "float32"
    batches: int = 1
    local_steps: int = 0

    @property
    def every(self) -> int:
        """In how many batches there is one exchange."""
        return self.local_steps or self.batches

    def __str__(self) -> str:
        if self.local_steps:
            return f"weights after {self.local_steps} local steps"
        return f"gradients as {self.exchange}" + f" of {self.batches} batches" * (self.batches > 1)


PLAIN = Way()
WAYS = {  # way -> its drawback: epochs of the digits to an accuracy of .95 beside PLAIN, three ranks, mean of six seeds
    PLAIN: 1.0,
    Way("bfloat16"): 1.0,
    Way("int8"): 1.0,
    Way("top_k"): 2.2,
    Way(batches=4): 1.15,
    Way("bfloat16", batches=4): 1.3,
    Way("int8", batches=4): 1.3,
    Way(local_steps=4): 1.25,
    Way(local_steps=8): 1.3,
    Way(local_steps=16): 1.3,
}
EXCHANGES = [*dict.fromkeys(way.exchange for way in WAYS)]


@dataclass
class Link:
    """What all links together do: seconds of a collective of nothing, and bytes that a rank sends in a second."""

    latency_seconds: float
    bytes_per_second: float


@dataclass
class Costs:
    """What a rank does beside: seconds for the gradient of a batch; exchange -> seconds of coding, bytes sent.

    `ending_bytes` are those that each batch has of what is sent when an epoch ends: unsent gradients, and what the
    optimizer keeps.
    """

    computing_seconds: float
    coding_seconds: dict[str, float]
    sent_bytes: dict[str, float]
    ending_bytes: tuple[float, float]

    def predict(self, way: Way, link: Link) -> float:
        """Return the seconds of a batch."""
        batch_seconds = self.computing_seconds + self.exchanging(way, link) / way.every
        is_whole = way.exchange == "float32" and not way.local_steps
        ending_bytes = 0.0 if is_whole else self.ending_bytes[way.local_steps > 0]
        return WAYS[way] * batch_seconds + ending_bytes / link.bytes_per_second

    def exchanging(self, way: Way, link: Link) -> float:
        """Return the seconds of an exchange."""
        messages = 1 if way.exchange == "float32" else 2
        sending_seconds = messages * link.latency_seconds + self.sent_bytes[way.exchange] / link.bytes_per_second
        return self.coding_seconds[way.exchange] + sending_seconds

    def fastest(self, link: Link, slow_share: float) -> Way:
        """Return the fastest way; the plain one where its exchange takes no more than `slow_share` of the time."""
        if self.exchanging(PLAIN, link) <= slow_share * self.predict(PLAIN, link):
            return PLAIN
        return min(WAYS, key=lambda way: self.predict(way, link))


class AdaptiveSteps:
    """Steps that exchange as is fastest: as gradients are, until exchange is seen to take more than `slow_share`."""

    def __init__(self, task: TrainingTask, comm: MeteredComm, density: float, slow_share: float):
        """Collective."""
        self._task, self._density, self._slow_share = task, density, slow_share
        self._local = LocalSteps(task)
        self._numbers = size(task.variables())
        self._coding_seconds = _coding_seconds(density, self._numbers, comm)
        self.begin(comm)

    @property
    def batches(self) -> int:
        """Of how many batches gradients are added up."""
        return self._way.batches

    def begin(self, comm: MeteredComm) -> None:
        """Begin with these ranks, also anew: then all in the plain way, which some may have been changing."""
        self._comm = comm
        self._way, self._steps = PLAIN, self._made(PLAIN)
        self._costs = Costs(0.0, self._coding_seconds, *self._bytes())
        self._probe_bytes = min(FIRST_PROBE_BYTES, 4 * self._numbers)
        self._start(FIRST_BATCHES)

    def go(self, batch: Batch) -> tuple[float, float]:
        """Collective. Take a batch in, and look at the links at the end of an interval; return as its steps do."""
        if self._count == 1:
            self._before = self._spent()  # the first one after a change builds TensorFlow's graph
        if self._count > self._last and self._comm.size > 1:
            self._look()
        self._count += 1
        return self._steps.go(batch)

    def meet(self) -> None:
        """Collective. Let all ranks go on from the same weights, with nothing unsent."""
        self._steps.meet()

    def end(self) -> None:
        """End the steps."""
        self._steps.end()

    def _bytes(self) -> tuple[dict[str, float], tuple[float, float]]:
        """Return what a rank sends in one exchange, and each batch's part of what it sends when an epoch ends."""
        ranks, numbers, batches = self._comm.size, self._numbers, self._task.steps_per_epoch
        whole = ring_bytes(4 * numbers, ranks)
        ending_bytes = (
            whole / batches,
            whole * len(state_of(self._task.optimizer)) / len(self._task.variables()) / batches,
        )
        sent_bytes = {
            "float32": whole,
            "bfloat16": ring_bytes(2 * numbers, ranks),
            "int8": ring_bytes(numbers + numbers // 64, ranks),
            "top_k": 8 * self._density * numbers * (ranks - 1),
        }
        return sent_bytes, ending_bytes

    def _made(self, way: Way) -> AccumulatedSteps | AveragedSteps:
        if way.local_steps:
            return AveragedSteps(self._task, self._comm, way.local_steps, steps=self._local)
        return AccumulatedSteps(self._task, self._comm, way.batches, way.exchange, self._density, 0.0, self._local)

    def _look(self) -> None:
        """Collective. Measure the links and change the way of exchange where another one is faster."""
        most = (self._spent() - self._before) / self._last
        self._comm.Allreduce(MPI.IN_PLACE, most, op=MPI.MAX)
        batch_seconds, busy_seconds = most
        coding_seconds = self._costs.coding_seconds[self._way.exchange] / self._way.every
        self._costs.computing_seconds = max(float(busy_seconds) - coding_seconds, 0.0)
        link = self._measured()
        is_plain = self._way == PLAIN
        way = self._costs.fastest(link, self._slow_share if is_plain else self._slow_share / 2)  # no to and fro
        now, then = (self._costs.predict(each, link) for each in (self._way, way))
        if then < (1 - GAIN) * now or (way == PLAIN and not is_plain):
            self._task.note(
                what="exchange_changed",
                epoch=math.floor(self._task.epochs_done) + 1,
                before=str(self._way),
                action=str(way),
                latency_seconds=round(link.latency_seconds, 6),
                bytes_per_second=round(link.bytes_per_second),
                batch_seconds=round(now, 6),
                predicted_seconds=round(then, 6),
            )
            self._steps.meet()
            self._steps.end()
            self._way, self._steps = way, self._made(way)
        self._start(max(LEAST_BATCHES, math.ceil(INTERVAL_SECONDS / float(batch_seconds))))

    def _start(self, batches: int) -> None:
        """Begin an interval of so many batches, after one that does not count."""
        self._count, self._last = 0, batches

    def _measured(self) -> Link:
        """Collective. Measure the links, with as many bytes as the time for it allows."""
        nothing, some = np.zeros(1, np.float32), np.zeros(self._probe_bytes // 4, np.float32)
        took = np.array([min(self._timed(buffer) for _ in range(PROBES)) for buffer in (nothing, some)])
        self._comm.Allreduce(MPI.IN_PLACE, took, op=MPI.MAX)
        latency_seconds, probe_seconds = took
        link = Link(
            float(latency_seconds),
            ring_bytes(some.nbytes, self._comm.size) / max(float(probe_seconds - latency_seconds), 1e-6),
        )
        affordable = PROBING / PROBES * INTERVAL_SECONDS * link.bytes_per_second
        self._probe_bytes = int(min(max(affordable, 4096), 4 * self._numbers)) // 4 * 4
        return link

    def _timed(self, buffer: np.ndarray) -> float:
        """Collective. Return the seconds of an all-reduce that all ranks begin together."""
        self._comm.Barrier()
        began = time.perf_counter()
        self._comm.Allreduce(MPI.IN_PLACE, buffer, op=MPI.SUM)
        return time.perf_counter() - began

    def _spent(self) -> np.ndarray:
        """Return the seconds that this rank took for batches, and those of them in which it computed."""
        history = self._task.history
        return np.array([history.warm_seconds, history.computing_seconds])


def _coding_seconds(density: float, numbers: int, comm: MeteredComm) -> dict[str, float]:
    """Collective. Return the seconds that each exchange takes for coding, on the slowest rank."""
    alone = MeteredComm(MPI.COMM_SELF)
    values = np.random.default_rng(0).normal(size=numbers).astype(np.float32)
    found = np.zeros(len(EXCHANGES))
    for number, exchange in enumerate(EXCHANGES):
        one = summing(exchange, density, 0.0, numbers, alone)
        one.sum(values)
        began = time.perf_counter()
        one.sum(values)
        found[number] = time.perf_counter() - began
    comm.Allreduce(MPI.IN_PLACE, found, op=MPI.MAX)
    return dict(zip(EXCHANGES, found.tolist(), strict=True))
