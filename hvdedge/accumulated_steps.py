"""Steps of all ranks together that exchange less: gradients of several batches at once, and in fewer bytes."""

import numpy as np
from mpi4py import MPI

from hvdedge.compressed_sums import LargestSum, summing
from hvdedge.local_steps import LocalSteps, size, state_of
from hvdedge.parallel import MeteredComm
from hvdedge.shards import Batch
from hvdedge.training import TrainingTask


class AccumulatedSteps:
    """A step of the mean gradient over the rows of `batches` batches, summed as `exchange` says; fewer end an epoch.

    What a sum left unsent is sent when an epoch ends, as one more step, so that a checkpoint holds all that there is.

    Attributes:
        batches: of which gradients are added up.
    """

    def __init__(
        self,
        task: TrainingTask,
        comm: MeteredComm,
        batches: int,
        exchange: str,
        density: float,
        warmup_epochs: float,
        local: LocalSteps | None = None,
    ):
        self._task, self._comm, self.batches = task, comm, batches
        self._density, self._warmup_epochs = density, warmup_epochs
        self._held, self._seen, self._rows = np.zeros(size(task.variables()), np.float32), 0, 0
        self._momentum = getattr(task.optimizer, "momentum", 0.0) if exchange == "top_k" else 0.0
        if self._momentum:
            task.optimizer.momentum = 0.0  # it is in the sums instead, and no longer in steps that are compiled now
            for state in state_of(task.optimizer):  # else it would come back as it was when others take over
                state.assign(np.zeros(state.shape))
            local = None
        self._local = local or LocalSteps(task)
        self._sum = summing(exchange, density, self._momentum, len(self._held), comm)

    def begin(self, comm: MeteredComm) -> None:
        """Begin anew with these ranks; what sums left unsent stays, what was on its way is lost."""
        self._comm = comm
        if self._momentum:
            self._task.optimizer.momentum = 0.0
        self._sum.move(comm)
        self._held[:], self._seen, self._rows = 0, 0, 0

    def go(self, batch: Batch) -> tuple[float, float]:
        """Collective. Take a batch in; return this rank's weighted sums of loss and score."""
        told = self._local.look(batch)
        gradient, weight = self._local.gradient()
        self._held += gradient * np.float32(weight * batch.together)
        self._seen += 1
        self._rows += batch.together
        if self._seen == self.batches:
            self._step()
        return told

    def meet(self) -> None:
        """Collective. Take the steps that are left."""
        if self._seen:
            self._step()
        rest = self._sum.rest()
        if rest is not None:
            self._local.apply(rest)

    def end(self) -> None:
        """Give momentum back to the optimizer."""
        if self._momentum:
            self._task.optimizer.momentum = self._momentum

    def _step(self) -> None:
        if isinstance(self._sum, LargestSum) and self._warmup_epochs:
            self._sum.density = self._density ** min(1.0, self._task.epochs_done / self._warmup_epochs)
        mean = self._held / np.float32(self._rows)
        self._local.apply(mean * np.nan if self._overflows() else self._sum.sum(mean))
        self._held[:], self._seen, self._rows = 0, 0, 0

    def _overflows(self) -> bool:
        """Collective. Tell whether a rank's gradient overflowed, so that all skip the step; sums would keep it."""
        if not self._task.precision.is_scaled:
            return False
        skips = np.array(self._task.precision.skips(bool(np.isfinite(self._held).all())))
        self._comm.Allreduce(MPI.IN_PLACE, skips, op=MPI.LOR)
        return bool(skips)
