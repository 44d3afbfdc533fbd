"""Meshes: groups of ranks hold the model, one beside the other; each group trains on rows of its own.

    mesh "rows:2, columns:2"             columns: the model is split over them
    layout "batch:rows, layers:columns"  rank 0  layers 0 .. 3   rank 1  layers 4 .. 7   rows a of each batch
                                         rank 2  layers 0 .. 3   rank 3  layers 4 .. 7   rows b
                                             |                      |
                                             +- gradients are       +- summed in each step (ring all-reduce)

The layout says, as that of Mesh-TensorFlow does, over which dimension of the mesh each dimension of the work is split:
`batch`, over one of them, and over the other `layers` (as pipeline does, or ring_tmp), `channels` (tensor_parallel) or
`height` (spatial_parallel). With groups in r rows a step is one of gradient descent on r * `batch_size` rows, and the
learning rate grows with r, as in ring_allreduce; on rings it has `batch_size` rows of each rank. One dimension may be
1: then it is that strategy alone, or data parallelism.

Source: Shazeer et al. 2018, Mesh-TensorFlow: deep learning for supercomputers; Patarasuk and Yuan 2009 (the ring).
"""

import math
import re
from typing import Literal

from hvdedge import pipelining, ring_epochs, spatial_layers, tensor_layers
from hvdedge.errors import InputError
from hvdedge.layouts import Whole
from hvdedge.mesh_task import MeshTask
from hvdedge.options import Count, NonNegative, Scaling
from hvdedge.parallel import MeteredComm
from hvdedge.training import History

ON_RING = "ring_tmp"  # a schedule
BATCH, LAYERS, CHANNELS, HEIGHT = "batch", "layers", "channels", "height"  # what can be split


def train(
    task: MeshTask,
    comm: MeteredComm,
    *,
    mesh: str = "",
    layout: str = "batch:rows, layers:columns",
    schedule: Literal["gpipe", "1f1b", "pipedream", "ring_tmp"] = "1f1b",
    chunks: Count = 4,
    scaling: Scaling = "linear",
    warmup_epochs: NonNegative = 5.0,
) -> History:
    """Collective. Train with the model split over one dimension of a mesh of ranks, and the batch over the other.

    Args:
        mesh: the names of its dimensions and how many ranks each has, as "rows:2, columns:4"; ranks are numbered along
            the last one. Empty: rows and columns, as many of each as can be, not more rows.
        layout: which dimension of the work is split over which of the mesh: batch, and layers, channels or height.
        schedule: of layers, in which order a rank goes forward and backward; see pipeline, and for rings ring_tmp.
        chunks: of layers, how many micro-batches a batch is cut into.
        scaling: how the learning rate grows with the groups that the batch is split over.
        warmup_epochs: through how many epochs it grows from one rank's rate; 0 begins with the full rate.
    Raises:
        InputError: where the mesh is not of these ranks, a dimension is unknown, or the model cannot be split so.
    """
    dimensions = _dimensions(mesh, comm.size)
    kind, place_of = _split(layout, dimensions)
    for option, value, default in (("schedule", schedule, "1f1b"), ("chunks", chunks, 4)):
        if kind != LAYERS and value != default:
            raise InputError(
                f"train.{option}: received {value!r} for a model that is split by {kind}, allowed: only with layers; "
                "leave it out or change train.layout"
            )
    sizes = [*dimensions.values()]
    places = dict(zip(dimensions, divmod(comm.rank, sizes[1]), strict=True))
    row = places[place_of[BATCH]]
    group = comm.Split(row, comm.rank)
    task.join(comm, comm.Split(group.rank, comm.rank))
    is_on_ring = kind == LAYERS and schedule == ON_RING
    task.grow_rate(comm.size if is_on_ring else dimensions[place_of[BATCH]], scaling, warmup_epochs)
    if is_on_ring:
        task.share_rows(group, False)
        task.cut(group, **ring_epochs.cut(task, group, 0, False), measures=True)
        task.resume(group)
        ring_epochs.learn(task, group, 0, False)
        history = task.history
    elif kind == LAYERS:
        history = pipelining.learn(task, group, schedule, chunks, False, True)
    else:
        task.deal(1, 0)
        if kind == CHANNELS:
            task.split(group, Whole(), tensor_layers.rule, embeddings="vocabulary")
        else:
            images = spatial_layers.boxes(task.chain.model.inputs[0].shape[1:], group.size, 1)
            task.split(group, images, spatial_layers.rule)
        history = task.learn(group)
    history.told |= {"mesh": dimensions, "layout": place_of}
    return history


def _dimensions(mesh: str, ranks: int) -> dict[str, int]:
    """Return the dimensions of the mesh: name -> how many ranks."""
    if not mesh:
        rows = max(count for count in range(1, math.isqrt(ranks) + 1) if ranks % count == 0)
        return {"rows": rows, "columns": ranks // rows}
    found = {name: int(size) for name, size in _pairs("mesh", mesh, r"\d+", "rows:2, columns:2").items()}
    if len(found) != 2 or math.prod(found.values()) != ranks:
        raise InputError(
            f'train.mesh: received "{mesh}" for {ranks} ranks, allowed: two dimensions whose product that is, such as '
            f'"rows:1, columns:{ranks}"; change it or --ranks'
        )
    return found


def _split(layout: str, dimensions: dict[str, int]) -> tuple[str, dict[str, str]]:
    """Return what the model is split by, and the dimension of the mesh of all that is split."""
    found = _pairs("layout", layout, r"\w+", "batch:rows, layers:columns")
    others = [name for name in found if name != BATCH]
    is_known = len(others) == 1 and others[0] in (LAYERS, CHANNELS, HEIGHT)
    if BATCH not in found or not is_known or {*found.values()} != {*dimensions}:
        raise InputError(
            f'train.layout: received "{layout}" for the mesh of {", ".join(dimensions)}, allowed: batch and one of '
            f'layers, channels and height, each with one of these, such as "batch:{[*dimensions][0]}, '
            f'layers:{[*dimensions][1]}"; change it'
        )
    return others[0], found


def _pairs(option: str, text: str, value: str, example: str) -> dict[str, str]:
    """Return the names and values of "name:value, name:value", such as the example."""
    pairs = [re.fullmatch(rf"\s*(\w+)\s*:\s*({value})\s*", part) for part in text.split(",")]
    found = {pair[1]: pair[2] for pair in pairs if pair}
    if len(found) != len(pairs):
        raise InputError(
            f'train.{option}: received "{text}", allowed: two names, each with what it stands for, such as '
            f'"{example}"; change it'
        )
    return found
