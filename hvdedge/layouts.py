"""How a tensor is spread over ranks: whole on each, by places of its last axis, or by boxes of an image.

    Whole        each rank holds (rows, ...) as it is
    Places       rank r holds (rows, ..., places held[r] of the last axis)
    Boxes        rank r holds (rows, rows of the image, columns of the image, ..), as the ranks stand in a grid:

        grid (2, 2)    rank 0 | rank 1        an image of 5 rows on 2 ranks: 0 1 | 2 3 4
                       rank 2 | rank 3

A layer with a window (convolution, pooling) makes output row o of the input rows o * stride - before + 0 .. reach: what
a rank needs of others' rows for its own outputs is its halo.

Source: Dryden et al. 2019, Improving strong-scaling of CNN training by exploiting finer-grained parallelism.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hvdedge.parallel import block

Box = tuple[slice, ...]  # of each axis of an image


@dataclass(frozen=True)
class Whole:
    """The same on every rank."""

    def shape(self, whole: Sequence[int | None], rank: int) -> tuple[int | None, ...]:
        """Return the shape of what a rank holds of a tensor of a shape."""
        return tuple(whole)


@dataclass(frozen=True, eq=False)
class Places:
    """The places of the last axis that each rank holds: rising whole numbers; every place is held by one rank."""

    held: tuple[np.ndarray, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Places) and all(map(np.array_equal, self.held, other.held))

    def __hash__(self) -> int:
        return hash(tuple(map(len, self.held)))

    def __len__(self) -> int:
        return sum(map(len, self.held))

    def shape(self, whole: Sequence[int | None], rank: int) -> tuple[int | None, ...]:
        """Return the shape of what a rank holds of a tensor of a shape."""
        return *whole[:-1], len(self.held[rank])

    def repeated(self, times: int) -> "Places":
        """Return the places where as many blocks, each as these are, stand one after the other."""
        return Places(tuple(np.concatenate([k * len(self) + held for k in range(times)]) for held in self.held))

    def spread(self, times: int) -> "Places":
        """Return the places where each of these is so many."""
        return Places(tuple((held[:, None] * times + np.arange(times)).ravel() for held in self.held))

    def then(self, other: "Places") -> "Places":
        """Return the places of two tensors one after the other."""
        pairs = zip(self.held, other.held, strict=True)
        return Places(tuple(np.concatenate([mine, len(self) + behind]) for mine, behind in pairs))


@dataclass(frozen=True)
class Boxes:
    """A rank's rows, or rows and columns, of images.

    Attributes:
        image: the whole sizes of its axes.
        grid: how many ranks share each axis.
    """

    image: tuple[int, ...]
    grid: tuple[int, ...]

    @property
    def ranks(self) -> int:
        """How many ranks there are."""
        return math.prod(self.grid)

    @property
    def is_full(self) -> bool:
        """Whether every rank holds some of the image."""
        return all(size >= ranks for size, ranks in zip(self.image, self.grid, strict=True))

    def box(self, rank: int) -> Box:
        """Return what a rank holds."""
        where = np.unravel_index(rank, self.grid)
        axes = zip(self.image, self.grid, where, strict=True)
        return tuple(block(size, ranks, int(place)) for size, ranks, place in axes)

    def shape(self, whole: Sequence[int | None], rank: int) -> tuple[int | None, ...]:
        """Return the shape of what a rank holds of a tensor of a shape."""
        return whole[0], *sizes(self.box(rank)), *whole[1 + len(self.image) :]

    def flat(self, channels: int) -> Places:
        """Return where the numbers of each rank are in an image that is laid flat."""
        numbers = np.arange(math.prod(self.image) * channels).reshape(*self.image, channels)
        return Places(tuple(numbers[self.box(rank)].ravel() for rank in range(self.ranks)))


Layout = Whole | Places | Boxes


def dealt(count: int, ranks: int) -> Places:
    """Return the places of an axis, in blocks one after the other."""
    cuts = (block(count, ranks, rank) for rank in range(ranks))
    return Places(tuple(np.arange(cut.start, cut.stop) for cut in cuts))


def sizes(box: Box) -> tuple[int, ...]:
    """Return how long the axes of a box are."""
    return tuple(side.stop - side.start for side in box)


def meeting(one: Box, other: Box) -> Box | None:
    """Return what two boxes have in common; None for nothing."""
    pairs = [*zip(one, other, strict=True)]
    common = tuple(slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in pairs)
    return common if all(side.start < side.stop for side in common) else None


def within(box: Box, outer: Box) -> Box:
    """Return a box by its places in one that holds it."""
    pairs = zip(box, outer, strict=True)
    return tuple(slice(side.start - around.start, side.stop - around.start) for side, around in pairs)


@dataclass(frozen=True)
class Window:
    """What a layer looks at along an axis for one output: `reach` numbers from output * `stride` - `before` on."""

    reach: int
    stride: int
    before: int

    def needed(self, out: slice, size: int) -> tuple[slice, tuple[int, int]]:
        """Return the inputs, of `size` there are, that outputs need; and how many are to be filled in around them."""
        start = out.start * self.stride - self.before
        stop = (out.stop - 1) * self.stride - self.before + self.reach
        inside = slice(min(max(start, 0), size), max(min(stop, size), 0))
        if inside.start == inside.stop:
            return inside, (stop - start, 0)
        return inside, (inside.start - start, stop - inside.stop)


def window(size: int, kernel: int, stride: int, dilation: int, padding: str) -> Window:
    """Return the window of a layer with the padding of TensorFlow, for an axis of some size."""
    reach = (kernel - 1) * dilation + 1
    if padding == "causal":
        return Window(reach, stride, reach - 1)
    if padding == "valid":
        return Window(reach, stride, 0)
    outputs = -(-size // stride)
    return Window(reach, stride, max((outputs - 1) * stride + reach - size, 0) // 2)
