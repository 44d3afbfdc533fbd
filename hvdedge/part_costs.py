"""What the layers of a chain cost: counted before any is in memory, then measured by the ranks that hold them."""

import dataclasses
import json
import math
import socket
import statistics
import time
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from hvdedge.micro_batches import PASSES
from hvdedge.parallel import MeteredComm, allgather_json
from hvdedge.partition import NUMBER_BYTES, Chain, Costs, output_bytes, output_shapes, weight_bytes, weights

FORWARD_AND_BACKWARD = 3  # times the work of forward
WEIGHT_SECONDS, OUTPUT_SECONDS = 2e-10, 2e-9  # of a use of a weight, and of a number made, on a PC: only ratios count
TIMES = 3  # of which the fastest counts
SPEED_SIZE, SPEED_SECONDS = 256, 0.05


def counted(
    chain: Chain, rows: int, in_flight: Sequence[int], versions: Sequence[int], beside: int, *, recompute: bool = False
) -> Costs:
    """Return what the layers cost by the shapes of their weights and outputs, for micro-batches of so many rows.

    Args:
        recompute: whether parts, but for the last one, hold what came into them alone, and no earlier weights.
    """
    layers, waiting = chain.layers, [0] * len(in_flight)
    if recompute:
        *waiting, last = in_flight
        in_flight, waiting, versions = [*(1 for _ in waiting), last], [*waiting, 0], [1] * len(in_flight)
    passing = [sum(math.prod(size or 1 for size in tensor.shape[1:]) for tensor in cut) for cut in chain.passing]
    return Costs(
        tuple(FORWARD_AND_BACKWARD * rows * _row_seconds(layer) for layer in layers),
        tuple(weight_bytes(layer) for layer in layers),
        tuple(int(PASSES * output_bytes(layer, rows)) for layer in layers),
        tuple(NUMBER_BYTES * rows * numbers for numbers in passing),
        tuple(waiting),
        tuple(in_flight),
        tuple(versions),
        beside,
    )


def measured(chain: Chain, costs: Costs, here: slice, speed: float, rows: int, comm: MeteredComm) -> Costs:
    """Collective. Return the costs with the seconds of each layer as the rank that holds it measures them, at speed 1.

    Args:
        here: the places of this rank's layers; all ranks' are the whole chain.
        speed: of this rank beside the others.
    """
    keys = [_key(chain, place) for place in range(len(chain))]
    mine: dict[str, float] = {}
    for place in range(len(chain))[here]:
        if keys[place] not in mine:
            mine[keys[place]] = _seconds(chain.part(place, place + 1), rows) * speed
    everyone = allgather_json(mine, comm)
    seconds = [min(rank[key] for rank in everyone if key in rank) for key in keys]  # alike for layers that are alike
    return dataclasses.replace(costs, seconds=tuple(seconds))


def speeds(known: float | None, comm: MeteredComm) -> list[float]:
    """Collective. Return each rank's speed: what is known of all, else how fast its host multiplies matrices now."""
    told = allgather_json(known, comm)
    if all(told):
        return told
    found = allgather_json([_products_per_second(), socket.gethostname()], comm)
    return [statistics.mean(one for one, other in found if other == host) for _, host in found]


def _key(chain: Chain, place: int) -> str:
    """Return what layers have in common that take as long."""
    config = chain.layers[place].get_config() | {"name": ""}
    config = {name: value for name, value in config.items() if not name.endswith("_initializer")}
    return json.dumps([config, [str(tensor.shape) for tensor in chain.passing[place]]], default=str)


def _row_seconds(layer: keras.Operation) -> float:
    shapes = output_shapes(layer)
    positions = math.prod(shapes[0][:-1])
    if isinstance(layer, keras.layers.RNN | keras.layers.Bidirectional):
        positions = layer.input.shape[1] or 1
    uses = weights(layer) * positions
    if isinstance(layer, keras.layers.Embedding):
        uses = 0  # its rows are looked up
    return WEIGHT_SECONDS * uses + OUTPUT_SECONDS * sum(map(math.prod, shapes))


def _seconds(part: keras.Model, rows: int) -> float:
    """Return what forward and backward of some rows take."""
    rng = np.random.default_rng(0)
    shapes = [(rows, *(size or 1 for size in tensor.shape[1:])) for tensor in part.inputs]
    inputs = [
        tf.constant(
            rng.normal(size=shape).astype(np.float32) if is_float(tensor.dtype) else np.zeros(shape, tensor.dtype)
        )
        for tensor, shape in zip(part.inputs, shapes, strict=True)
    ]

    @tf.function
    def step(inputs: list[tf.Tensor]) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(floats(inputs))
            outputs = floats(through(part, inputs, training=True))
            target = tf.add_n([tf.reduce_sum(tensor) for tensor in outputs])
        sources = [*(variable.value for variable in part.trainable_variables), *floats(inputs)]
        return [grad for grad in tape.gradient(target, sources) if grad is not None]

    return _fastest(lambda: step(inputs))


def _fastest(work: Callable[[], object]) -> float:
    work()  # builds the graph
    found = []
    for _ in range(TIMES):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)


def _products_per_second() -> float:
    matrix = tf.random.stateless_normal((SPEED_SIZE, SPEED_SIZE), (1, 2))
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < SPEED_SECONDS:
        float(tf.matmul(matrix, matrix)[0, 0])
        count += 1
    return count / (time.perf_counter() - began)


def is_float(dtype: str | tf.DType) -> bool:
    """Tell whether a tensor of this type has a gradient."""
    return tf.as_dtype(dtype).is_floating


def floats(tensors: list) -> list:
    """Return the tensors that have a gradient."""
    return [tensor for tensor in tensors if is_float(tensor.dtype)]


def through(part: keras.Model, inputs: list, *, training: bool) -> list:
    """Return what a part makes of what passes the cut before it."""
    made = part(inputs, training=training)
    return list(made) if isinstance(made, list | tuple) else [made]
