"""Exchanges between ranks as operations of TensorFlow that gradients go through, in graphs and out of them.

              forward                               backward
    summed    sum over the ranks                    the gradient as it is        Megatron-LM's g
    copied    the tensor as it is                   sum over the ranks           Megatron-LM's f
    gathered  parts of the last axis -> all         the own part (of the sum, where ranks do different things with it)
    scattered sum over the ranks, the own part      parts -> all
    assembled boxes of an image -> all of it        the own box
    moved     boxes that are had -> boxes needed    sent back, and added up      halo exchange

They are stateful to TensorFlow, which so runs them in the order in which a graph was traced: the same on all ranks, as
long as these trace the same operations.

Source: Shoeybi et al. 2019, Megatron-LM: training multi-billion parameter language models using model parallelism;
Dryden et al. 2019, Improving strong-scaling of CNN training by exploiting finer-grained parallelism.
"""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from hvdedge.layouts import Box, Places, meeting, sizes, within
from hvdedge.parallel import MeteredComm


def summed(x: tf.Tensor, comm: MeteredComm) -> tf.Tensor:
    """Collective. Return the sum over the ranks, with which each goes on alike."""
    return _with_gradient(x, lambda x: allreduced(x, comm), lambda grad: grad)


def copied(x: tf.Tensor, comm: MeteredComm) -> tf.Tensor:
    """Collective. Return a tensor that is the same on all ranks, with which each does something else."""
    return _with_gradient(x, tf.identity, lambda grad: allreduced(grad, comm))


def gathered(x: tf.Tensor, places: Places, comm: MeteredComm, *, is_shared: bool = True) -> tf.Tensor:
    """Collective. Return a tensor of all places of the last axis from those of each rank.

    Args:
        is_shared: whether all ranks go on with it alike; if not, each has a part of its gradient.
    """

    def back(grad: tf.Tensor) -> tf.Tensor:
        return _own(grad, places, comm) if is_shared else _scattered(grad, places, comm)

    return _with_gradient(x, lambda x: _gathered(x, places, comm), back)


def scattered(x: tf.Tensor, places: Places, comm: MeteredComm) -> tf.Tensor:
    """Collective. Return this rank's places of the sum over the ranks."""
    return _with_gradient(x, lambda x: _scattered(x, places, comm), lambda grad: _gathered(grad, places, comm))


def assembled(x: tf.Tensor, have: Sequence[Box], comm: MeteredComm) -> tf.Tensor:
    """Collective. Return whole images, with which all ranks go on alike, from each rank's box of them."""
    full = tuple(slice(0, max(box[axis].stop for box in have)) for axis in range(len(have[0])))
    own = have[comm.rank]
    return _with_gradient(
        x, lambda x: _moved(x, have, [full] * comm.size, comm), lambda grad: grad[(slice(None), *own)]
    )


def moved(x: tf.Tensor, have: Sequence[Box], need: Sequence[Box], comm: MeteredComm) -> tf.Tensor:
    """Collective. Return the box of images that this rank needs, of those that ranks have.

    Args:
        have: of each rank, of which every pixel is in one.
        need: of each rank, in the same image.
    """
    return _with_gradient(
        x, lambda x: _moved(x, have, need, comm), lambda grad: _moved(grad, need, have, comm, adds=True)
    )


def allreduced(x: tf.Tensor, comm: MeteredComm) -> tf.Tensor:
    """Collective. Return the sum over the ranks, without a gradient."""

    def work(array: np.ndarray) -> np.ndarray:
        total = np.empty_like(array)
        comm.Allreduce(np.ascontiguousarray(array), total)
        return total

    return _called(work, x, x.shape)


def summed_together(tensors: Sequence[tf.Tensor], comm: MeteredComm) -> list[tf.Tensor]:
    """Collective. Return the sum over the ranks of each tensor, in one exchange, without a gradient."""
    flat = allreduced(tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], 0), comm)
    parts = tf.split(flat, [tensor.shape.num_elements() for tensor in tensors])
    return [tf.reshape(part, tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]


def _with_gradient(x: tf.Tensor, forward: Callable, backward: Callable) -> tf.Tensor:
    @tf.custom_gradient
    def run(x: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        return forward(x), lambda grad: backward(tf.convert_to_tensor(grad))

    return run(x)


def _called(work: Callable[[np.ndarray], np.ndarray], x: tf.Tensor, shape: Sequence[int | None]) -> tf.Tensor:
    result = tf.numpy_function(work, [x], x.dtype)
    result.set_shape(shape)
    return result


def _own(x: tf.Tensor, places: Places, comm: MeteredComm) -> tf.Tensor:
    held = places.held[comm.rank]
    if len(held) and held[-1] - held[0] + 1 == len(held):
        return x[..., held[0] : held[-1] + 1]
    return tf.gather(x, held, axis=-1)


def _gathered(x: tf.Tensor, places: Places, comm: MeteredComm) -> tf.Tensor:
    widths = np.array([len(held) for held in places.held])

    def work(array: np.ndarray) -> np.ndarray:
        rows = array.shape[:-1]
        counts = widths * int(np.prod(rows))
        arrived = np.empty(counts.sum(), array.dtype)
        comm.Allgatherv(np.ascontiguousarray(array), [arrived, counts])
        result = np.empty((*rows, len(places)), array.dtype)
        for held, part in zip(places.held, np.split(arrived, np.cumsum(counts)[:-1]), strict=True):
            result[..., held] = part.reshape(*rows, len(held))
        return result

    return _called(work, x, [*x.shape[:-1], len(places)])


def _scattered(x: tf.Tensor, places: Places, comm: MeteredComm) -> tf.Tensor:
    def work(array: np.ndarray) -> np.ndarray:
        parts = [array[..., held].ravel() for held in places.held]
        result = np.empty((*array.shape[:-1], len(places.held[comm.rank])), array.dtype)
        comm.Reduce_scatter(np.concatenate(parts), result, [part.size for part in parts])
        return result

    return _called(work, x, [*x.shape[:-1], len(places.held[comm.rank])])


def _moved(
    x: tf.Tensor, have: Sequence[Box], need: Sequence[Box], comm: MeteredComm, *, adds: bool = False
) -> tf.Tensor:
    """Collective. As `moved`, without a gradient; where boxes that are had overlap, what comes of them adds up."""
    mine, wanted = have[comm.rank], need[comm.rank]
    leaving = [meeting(mine, box) for box in need]
    coming = [meeting(wanted, box) for box in have]

    def work(array: np.ndarray) -> np.ndarray:
        rows, channels = array.shape[0], array.shape[1 + len(mine) :]
        result = np.zeros((rows, *sizes(wanted), *channels), array.dtype)
        requests, held, arrays = [], [], {}
        for rank, box in enumerate(coming):
            if box is not None and rank != comm.rank:
                arrays[rank] = np.empty((rows, *sizes(box), *channels), array.dtype)
                requests.append(comm.Irecv(arrays[rank], rank))
        for rank, box in enumerate(leaving):
            if box is not None:
                part = np.ascontiguousarray(array[(slice(None), *within(box, mine))])
                if rank == comm.rank:
                    arrays[rank] = part
                else:
                    held.append(part)
                    requests.append(comm.Isend(part, rank))
        comm.wait(requests)
        for rank in sorted(arrays):
            place = coming[rank]
            assert place is not None
            if adds:
                result[(slice(None), *within(place, wanted))] += arrays[rank]
            else:
                result[(slice(None), *within(place, wanted))] = arrays[rank]
        return result

    return _called(work, x, [x.shape[0], *sizes(wanted), *x.shape[1 + len(mine) :]])
