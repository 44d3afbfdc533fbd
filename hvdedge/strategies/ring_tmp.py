"""Model parallelism on a ring: each node holds some of the layers, and rows; results travel while it computes.

    node p   forward of batch b    .. travels ..   node p + 1  forward of b     all at the same time, of other batches
    node p   backward of batch c   .. travels ..   node p - 1  backward of c

Data enters at every node in turn, so none is a server: a batch of its own rows goes through the layers of nodes 0 to
n - 1 and back. What a node makes in one iteration travels during the next one and is used in the one after it, so that

    TIME = I * max(c, T)   instead of   I * (c + T)

for I iterations, in each of which a node computes for c seconds, and in which its messages take T. A round is a batch
of each node; at its end each node takes the optimizer's step with the gradient of the round's rows, n times
`batch_size` of them, as in ring_allreduce, also of the learning rate. Nobody waits between rounds: a batch goes forward
with the weights of all rounds whose gradients had come by then, and its gradient is of the weights that it went forward
with. An epoch ends with an empty ring.

With `private` no raw row leaves its node: the first layers that have weights run where the rows are, with weights that
node 0 lends for each batch, and their gradient comes back to it. (Rows for validation are read by node 0.)

After each epoch a node has a copy of the layers of the node before it. When nodes are lost the others deal the layers
anew, take those that were lost from the copies, and do the epoch again; with `private` the rows of the lost are lost,
too. What is only late is waited for.

Source: Hopkins 2020, RingTMP, as read in docs/ring_tmp.md; Narayanan et al. 2019, PipeDream (gradients of the weights
that went forward).
"""

import time

from hvdedge import ring_epochs
from hvdedge.options import NonNegative, Scaling
from hvdedge.parallel import MeteredComm
from hvdedge.recovery import Survivors
from hvdedge.ring_task import RingTask
from hvdedge.training import History

PRIVATE = ("private",)


def train(
    task: RingTask,
    comm: MeteredComm,
    *,
    private: bool = False,
    recompute: bool = False,
    measure: bool = True,
    scaling: Scaling = "linear",
    warmup_epochs: NonNegative = 5.0,
) -> History:
    """Collective. Train with layers on different ranks of a ring, at each of which batches enter in turn.

    Args:
        private: whether rows are never sent as they are, but as what the first layers make of them.
        recompute: whether what layers made is computed again to go backward, with the weights of that time, instead of
            kept in memory, with weights of rounds ago.
        measure: whether who holds which layers follows the seconds that they take, and not their shapes alone.
        scaling: how the learning rate grows with the number of ranks.
        warmup_epochs: through how many epochs it grows from one rank's rate; 0 begins with the full rate.
    Raises:
        InputError: where the model cannot be cut for these ranks, or so that rows stay private.
    """
    lent = task.lent_layers() if private else 0

    def work() -> None:
        comm = survivors.comm
        task.share_rows(comm, private)
        cut = ring_epochs.cut(task, comm, lent, recompute) | {"measures": measure}
        if survivors.noticed is None:
            task.cut(comm, **cut)
            task.resume(comm)
        else:
            task.take_over(comm, **cut)
            task.lost(comm, time.perf_counter() - survivors.noticed)
        task.copy_parts(comm)
        task.grow_rate(comm.size, scaling, warmup_epochs)
        ring_epochs.learn(task, comm, lent, recompute, task.copy_parts)

    with Survivors(comm) as survivors:
        survivors.work(work, lambda: None)
    return task.history
