"""Spatial parallelism: each rank holds some rows, or rows and columns, of every image and of every feature map.

    rank 0   rows 0 .. 3  \\  halo  /  convolution, pooling ..  /
    rank 1   rows 4 .. 7  /  <-->  \\  on its own rows           \\  flat: dense by its inputs --sum--> outputs, on all

Around each convolution and pooling layer ranks get from each other the rows that their windows reach into; a batch
normalization sums over all ranks; the gradients of convolutions are summed over them in one buffer a step. The dense
layer behind the flattened map has on each rank the weights of its pixels, and those behind it are cut as in tensor
parallelism, as are layers behind a map of fewer rows than ranks, which is gathered. The loss is computed on every rank.

A batch has `batch_size` images and the learning rate is one rank's, as there is one model.

Source: Dryden et al. 2019, Improving strong-scaling of CNN training by exploiting finer-grained parallelism. How layers
are cut: `hvdedge.spatial_layers`; the exchanges: `hvdedge.collective_ops`.
"""

from hvdedge import spatial_layers
from hvdedge.options import Count
from hvdedge.parallel import MeteredComm
from hvdedge.split_task import SplitTask
from hvdedge.training import History


def train(task: SplitTask, comm: MeteredComm, *, columns: Count = 1) -> History:
    """Collective. Train with a part of every image on each rank.

    Args:
        columns: how many ranks stand beside each other over an image; the rows are shared by as many as that leaves.
    Raises:
        InputError: where the images cannot be cut for these ranks, or a part does not fit.
    """
    task.deal(1, 0)
    task.split(
        comm, spatial_layers.boxes(task.chain.model.inputs[0].shape[1:], comm.size, columns), spatial_layers.rule
    )
    return task.learn(comm)
