"""Exchanges between ranks as operations of TensorFlow that gradients go through, in graphs and out of them.

              forward                               backward
    summed    sum over the ranks                    the gradient as it is        Megatron-LM's g
    copied    the tensor as it is                   sum over the ranks           Megatron-LM's f
    gathered  parts of the last axis -> all         the own part (of the sum, where ranks do different things with it)
    scattered sum over the ranks, the own part      parts -> all
    assembled boxes of an image -> all of it        the own box
    moved     boxes that are had -> boxes needed    sent back, and added up      halo exchange
    seen      .. and what a layer makes of them     .. from what was had and the halo: no copy of the box is kept
    widened   rows of nodes -> and of neighbours    sent back, and added up      the same, of a graph

They are stateful to TensorFlow, which so runs them in the order in which a graph was traced: the same on all ranks, as
long as these trace the same operations.

Source: Shoeybi et al. 2019, Megatron-LM: training multi-billion parameter language models using model parallelism;
Dryden et al. 2019, Improving strong-scaling of CNN training by exploiting finer-grained parallelism; Tripathy, Yelick
and Buluc 2020, Reducing communication in graph neural network training.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from hvdedge.halos import Halo
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
    own, need = have[comm.rank], [full] * comm.size
    return _with_gradient(
        x, lambda x: _box(x, _halo(x, have, need, comm), have, need, comm), lambda grad: grad[(slice(None), *own)]
    )


def moved(x: tf.Tensor, have: Sequence[Box], need: Sequence[Box], comm: MeteredComm) -> tf.Tensor:
    """Collective. Return the box of images that this rank needs, of those that ranks have.

    Args:
        have: of each rank, of which every pixel is in one.
        need: of each rank, in the same image.
    """
    return seen(tf.identity, x, have, need, comm)


def seen(
    make: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor, have: Sequence[Box], need: Sequence[Box], comm: MeteredComm
) -> tf.Tensor:
    """Collective. Return what is made of the box that this rank needs; see `moved`.

    The box is put together once more when the gradient is taken. Until then its halo is kept alone, not a copy of x.
    """

    @tf.custom_gradient
    def run(x: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        halo = _halo(x, have, need, comm)

        def back(grad: tf.Tensor, variables: Sequence[tf.Variable] = ()) -> Any:
            with tf.control_dependencies([grad]):  # else it would be put together at once, and kept
                box = _box(x, halo, have, need, comm)
            with tf.GradientTape() as tape:
                tape.watch(box)
                made = make(box)
            of_box, *of_variables = tape.gradient(made, [box, *variables], grad, tf.UnconnectedGradients.ZERO)
            back = _sent_back(of_box, have, need, comm)
            return (back, of_variables) if variables else back

        return make(_box(x, halo, have, need, comm)), back

    return run(x)


def widened(x: tf.Tensor, halo: Halo, comm: MeteredComm) -> tf.Tensor:
    """Collective. Return the rows of this rank's nodes of a graph, and below them those of their halo."""

    def forward(x: tf.Tensor) -> tf.Tensor:
        return _called(lambda array: halo.fetch(array, comm), x, [None, *x.shape[1:]])

    def back(grad: tf.Tensor) -> tf.Tensor:
        return _called(lambda array: halo.give_back(array, comm), grad, [None, *grad.shape[1:]])

    return _with_gradient(x, forward, back)


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


def _called(work: Callable[..., np.ndarray], x: tf.Tensor, shape: Sequence[int | None], *more: tf.Tensor) -> tf.Tensor:
    result = tf.numpy_function(work, [x, *more], x.dtype)
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


def _halo(x: tf.Tensor, have: Sequence[Box], need: Sequence[Box], comm: MeteredComm) -> tf.Tensor:
    """Collective. Return (rows, pixels, ...) of what this rank needs and others have, in the order of their ranks."""
    mine = have[comm.rank]
    leaving = [meeting(mine, box) for box in need]
    coming = [meeting(need[comm.rank], box) for box in have]

    def work(array: np.ndarray) -> np.ndarray:
        return np.concatenate(_swapped(array, mine, leaving, coming, comm), axis=1)

    return _called(work, x, [x.shape[0], None, *x.shape[1 + len(mine) :]])


def _box(x: tf.Tensor, halo: tf.Tensor, have: Sequence[Box], need: Sequence[Box], comm: MeteredComm) -> tf.Tensor:
    """Return the box that this rank needs, of what it has and the halo."""
    mine, wanted = have[comm.rank], need[comm.rank]
    own = meeting(mine, wanted)
    foreign = [box for rank, box in enumerate(meeting(wanted, box) for box in have) if box and rank != comm.rank]

    def work(array: np.ndarray, halo: np.ndarray) -> np.ndarray:
        rows, channels = array.shape[0], array.shape[1 + len(mine) :]
        result = np.empty((rows, *sizes(wanted), *channels), array.dtype)
        if own is not None:
            result[(slice(None), *within(own, wanted))] = array[(slice(None), *within(own, mine))]
        start = 0
        for box in foreign:
            stop = start + math.prod(sizes(box))
            result[(slice(None), *within(box, wanted))] = halo[:, start:stop].reshape(rows, *sizes(box), *channels)
            start = stop
        return result

    return _called(work, x, [x.shape[0], *sizes(wanted), *x.shape[1 + len(mine) :]], halo)


def _sent_back(grad: tf.Tensor, have: Sequence[Box], need: Sequence[Box], comm: MeteredComm) -> tf.Tensor:
    """Collective. Return the gradient of what this rank has: the sum of what ranks send back that needed it."""
    mine, wanted = have[comm.rank], need[comm.rank]
    leaving = [meeting(wanted, box) for box in have]
    coming = [meeting(mine, box) for box in need]

    def work(array: np.ndarray) -> np.ndarray:
        rows, channels = array.shape[0], array.shape[1 + len(mine) :]
        result = np.zeros((rows, *sizes(mine), *channels), array.dtype)
        arrived = iter(_swapped(array, wanted, leaving, coming, comm)[1:])
        for rank, box in enumerate(coming):
            if box is not None:
                own = array[(slice(None), *within(box, wanted))]
                part = own if rank == comm.rank else next(arrived).reshape(rows, *sizes(box), *channels)
                result[(slice(None), *within(box, mine))] += part
        return result

    return _called(work, grad, [grad.shape[0], *sizes(mine), *grad.shape[1 + len(mine) :]])


def _swapped(
    array: np.ndarray, mine: Box, leaving: Sequence[Box | None], coming: Sequence[Box | None], comm: MeteredComm
) -> list[np.ndarray]:
    """Collective. Send boxes of this rank's to others; return nothing, then theirs, each (rows, pixels, ...)."""
    rows, channels = array.shape[0], array.shape[1 + len(mine) :]
    requests, held, arrived = [], [], [np.empty((rows, 0, *channels), array.dtype)]
    for rank, box in enumerate(coming):
        if box is not None and rank != comm.rank:
            arrived.append(np.empty((rows, math.prod(sizes(box)), *channels), array.dtype))
            requests.append(comm.Irecv(arrived[-1], rank))
    for rank, box in enumerate(leaving):
        if box is not None and rank != comm.rank:
            held.append(np.ascontiguousarray(array[(slice(None), *within(box, mine))]))
            requests.append(comm.Isend(held[-1], rank))
    comm.wait(requests)
    return arrived
