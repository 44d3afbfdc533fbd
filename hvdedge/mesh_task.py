"""MeshTask: a task for all that a group of ranks may do with a model."""

from hvdedge.ring_task import RingTask
from hvdedge.split_task import SplitTask


class MeshTask(SplitTask, RingTask):
    """A PartedTask of slices, or of layers on a ring."""
