"""Pipeline parallelism: each rank holds some of the layers, micro-batches flow through the ranks and back.

    rank p   F: outputs of rank p - 1 -> layers of p -> rank p + 1      B: gradients from rank p + 1 -> rank p - 1

`gpipe` and `1f1b`: a batch is cut into `chunks` micro-batches of as many rows; all have gone forward and backward
before the ranks step with the sums of their gradients, so a step is that of the whole model on the batch. Layers that
look at a batch as a whole, as batch normalization, look at a micro-batch. `pipedream`: the micro-batches are batches,
and a rank steps with each as soon as its gradient is there, while others are under way: nobody waits between batches,
but the gradient on rank p of n is that of the weights of n - 1 - p steps ago. It is of the same weights that went
forward (weight stashing): TensorFlow keeps what the forward pass read until the backward pass has taken it. An epoch
ends with an empty pipeline.

A batch has `batch_size` rows and the learning rate is one rank's, as there is one model.

Source: Huang et al. 2019, GPipe: efficient training of giant neural networks using pipeline parallelism; Narayanan et
al. 2019, PipeDream: generalized pipeline parallelism for DNN training; Chen et al. 2016, Training deep nets with
sublinear memory cost (recomputation). Schedules: `hvdedge.schedules`; the loop:
`hvdedge.pipelining`; who holds what: `hvdedge.partition`.
"""

from typing import Literal

from hvdedge import pipelining
from hvdedge.options import Count
from hvdedge.parallel import MeteredComm
from hvdedge.parted_task import PartedTask
from hvdedge.training import History


def train(
    task: PartedTask,
    comm: MeteredComm,
    *,
    schedule: Literal["gpipe", "1f1b", "pipedream"] = "1f1b",
    chunks: Count = 4,
    recompute: bool = False,
    measure: bool = True,
) -> History:
    """Collective. Train with layers on different ranks, through which micro-batches flow.

    Args:
        schedule: in which order a rank goes forward and backward, and whether it waits for a batch before it steps.
        chunks: how many micro-batches a batch is cut into, of as many rows; pipedream takes whole batches.
        recompute: whether what layers made is computed again to go backward, instead of kept in memory; in pipedream
            with the weights of that time, so that none are stashed.
        measure: whether who holds which layers follows the seconds that they take, and not their shapes alone.
    Raises:
        InputError: where the batch cannot be cut so, or the model not for these ranks.
    """
    return pipelining.learn(task, comm, schedule, chunks, recompute, measure)
