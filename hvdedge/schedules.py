"""In which order a part of a pipeline goes forward and backward through the micro-batches of a step.

    gpipe, 2 parts, 3 micro-batches           1f1b, the same
    part 0  F0 F1 F2          B2 B1 B0        part 0  F0 F1    B0 F2    B1    B2
    part 1     F0 F1 F2 B2 B1 B0              part 1     F0 B0    F1 B1 F2 B2

Both leave a part idle for (parts - 1) / (micro-batches + parts - 1) of a step where all parts are as fast. 1f1b holds
what its layers made of `parts - part` micro-batches at most, gpipe of all of them.

Source: Huang et al. 2019, GPipe: efficient training of giant neural networks using pipeline parallelism; Narayanan et
al. 2019, PipeDream: generalized pipeline parallelism for DNN training (1F1B).
"""

from collections.abc import Iterator
from typing import Literal

Move = tuple[Literal["forward", "backward"], int]


def gpipe(micro_batches: int, parts: int, part: int) -> Iterator[Move]:
    """Yield what a part does: all forward, then all backward, the last one first."""
    for number in range(micro_batches):
        yield "forward", number
    for number in reversed(range(micro_batches)):
        yield "backward", number


def one_f_one_b(micro_batches: int, parts: int, part: int) -> Iterator[Move]:
    """Yield what a part does: as many forward as parts are behind it, then one forward and one backward in turn."""
    ahead = min(parts - part - 1, micro_batches)
    for number in range(ahead):
        yield "forward", number
    for number in range(micro_batches):
        if number + ahead < micro_batches:
            yield "forward", number + ahead
        yield "backward", number


def in_flight(schedule: str, micro_batches: int, parts: int) -> list[int]:
    """Return of how many micro-batches each part holds what its layers made."""
    if schedule == "gpipe":
        return [micro_batches] * parts
    return [min(parts - part, micro_batches) for part in range(parts)]


def bubble(micro_batches: int, parts: int) -> float:
    """Return the share of a step in which a part of a synchronous pipeline is idle, where all are as fast."""
    return (parts - 1) / (micro_batches + parts - 1)
