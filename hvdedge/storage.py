"""How x is kept on disk: in fewer bytes, where that loses nothing that matters.

    uint8       floats of up to 256 different values: the place of each in a table of them; exact, bit for bit
    float16     x / scale, the scale a power of two: 11 binary digits of each number
    uint8/16    whole numbers, such as tokens, of up to 255 or 65,535; exact
    float32     as made; also int32 and int64

"auto" takes uint8 where it is exact, else float16 where no cell errs by more than 1/2048 of its column's range, else
float32. Whole numbers are kept in the narrowest type in any case. All ranks decide together; what is kept for reading
back stands in the attributes of features.h5.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge.errors import InputError
from hvdedge.parallel import allgather_rows

LEVELS = 256
BOUND = 2.0**-11  # of a column's range


@dataclass(frozen=True)
class Storage:
    """The type of x on disk and what brings it back.

    Attributes:
        type, x_type: numpy's names of the types on disk and as made.
        levels: float32 (256,), what each uint8 stands for; None where it is not such a place.
        scale: what a float16 is multiplied with.
        error: the largest difference between a number and what is read back.
        share: the largest such difference as a share of its column's range.
    """

    type: str
    x_type: str
    levels: np.ndarray | None = None
    scale: float = 1.0
    error: float = 0.0
    share: float = 0.0

    def pack(self, x: np.ndarray) -> np.ndarray:
        """Return x as it is kept."""
        if self.levels is not None:
            coded = pa.array(_bits(x)).dictionary_encode()
            table = np.argsort(_bits(self.levels), kind="stable")
            places = np.searchsorted(_bits(self.levels), np.asarray(coded.dictionary), sorter=table)
            return table[places].astype(np.uint8)[np.asarray(coded.indices)].reshape(x.shape)
        return (x / np.float32(self.scale)).astype(np.float16) if self.type == "float16" else x.astype(self.type)

    def unpack(self, kept: np.ndarray) -> np.ndarray:
        """Return x as it was made."""
        if self.levels is not None:
            return self.levels[kept]
        x = kept.astype(self.x_type)
        return x * np.float32(self.scale) if self.type == "float16" else x

    def attributes(self) -> dict[str, Any]:
        """Return what has to be kept beside x."""
        levels = {} if self.levels is None else {"levels": self.levels}
        return {"x_type": self.x_type, "scale": self.scale, **levels}

    def told(self, cells: int) -> dict[str, Any]:
        """Return what the record says, of so many cells of x: types, bytes, largest errors."""
        return {
            "type": self.type,
            "bytes": cells * np.dtype(self.type).itemsize,
            "bytes_as_made": cells * np.dtype(self.x_type).itemsize,
            "largest_error": self.error,
            "largest_error_share": self.share,
        }


def from_attributes(type: np.dtype, attributes: Mapping[str, Any]) -> Storage:
    """Return how x of a type on disk is brought back; as it is where there are no attributes.

    Raises:
        ValueError: where they are none of ours.
    """
    x_type, scale = str(attributes.get("x_type", type.name)), float(attributes.get("scale", 1.0))
    levels = attributes.get("levels")
    if levels is not None and (type != np.uint8 or np.shape(levels) != (LEVELS,) or levels.dtype != np.float32):
        raise ValueError("the table of its numbers is none of ours")
    if x_type not in (type.name, "float32", "int32", "int64") or not 0 < scale < math.inf:
        raise ValueError(f"x is {type.name} for {x_type}, scaled by {scale}")
    return Storage(type.name, x_type, levels, scale)


def choose(
    blocks: Callable[[], Iterable[np.ndarray]],
    x_type: str,
    storage: str,
    comm: MPI.Intracomm,
    exact: Sequence[int] = (),
) -> Storage:
    """Collective. Return how x is to be kept.

    Args:
        blocks: gives this rank's x, (rows, ...), block by block, as often as it is called; at least one block.
        x_type: float32, or a type of whole numbers.
        storage: auto, uint8, float16 or float32.
        exact: the columns that must not err, such as numbers of levels.
    Raises:
        InputError: where uint8 or float16 is asked for and cannot be.
    """
    if np.dtype(x_type).kind in "iu":
        return Storage(_narrowest(blocks(), x_type, comm), x_type)
    if storage == "float32":
        return Storage("float32", x_type)
    if storage != "float16":
        levels = _find_levels(blocks(), comm)
        if levels is not None:
            return Storage("uint8", x_type, levels)
        if storage == "uint8":
            raise InputError(
                f"extract.storage: received 'uint8' for x of over {LEVELS} different numbers, allowed: auto, float16, "
                "float32; choose another"
            )
    halved = _halve(blocks, x_type, comm, exact)
    if halved is None and storage == "float16":
        raise InputError(
            "extract.storage: received 'float16' for x with infinite numbers, or numbers of over 2,048 levels, "
            "allowed: auto, float32; choose another"
        )
    if halved is None or (storage == "auto" and halved.share > BOUND):
        return Storage("float32", x_type)
    return halved


def _bits(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x, np.float32).reshape(-1).view(np.int32)


def _narrowest(blocks: Iterable[np.ndarray], x_type: str, comm: MPI.Intracomm) -> str:
    """Collective."""
    ends = np.zeros(2, np.int64)  # largest, largest negative
    for x in blocks:
        ends = np.maximum(ends, [x.max(initial=0), -x.min(initial=0)])
    comm.Allreduce(MPI.IN_PLACE, ends, op=MPI.MAX)
    fitting = [type for type in ("uint8", "uint16") if ends[1] == 0 and ends[0] <= np.iinfo(type).max]
    return (fitting or [x_type])[0]


def _find_levels(blocks: Iterable[np.ndarray], comm: MPI.Intracomm) -> np.ndarray | None:
    """Collective. Return the different numbers of all ranks, float32 (256,), the last one repeated; None for more."""
    found = np.empty(0, np.int32)
    for x in blocks:
        bits = _bits(x)
        for part in (bits[: 8 * LEVELS], bits[8 * LEVELS :]):  # a few mostly show that there are more
            if len(found) <= LEVELS:
                found = np.unique(np.append(found, np.asarray(pc.unique(pa.array(part)))))
    found = np.unique(allgather_rows(found[: LEVELS + 1], comm))
    if len(found) > LEVELS:
        return None
    last = found[-1] if len(found) else 0
    return np.append(found, np.full(LEVELS - len(found), last, np.int32)).view(np.float32)


def _halve(
    blocks: Callable[[], Iterable[np.ndarray]], x_type: str, comm: MPI.Intracomm, exact: Sequence[int]
) -> Storage | None:
    """Collective. Return float16 with its errors; None where a number is infinite or an `exact` column errs."""
    ends = _highest(((-x, x) for x in blocks()), comm)
    low, high = -ends[0], ends[1]
    largest = float(np.maximum(-low, high).max(initial=0))
    if not math.isfinite(largest):
        return None
    scale = 2.0 ** max(math.frexp(largest)[1] - 15, -126)  # the largest becomes 2**14 to 2**15, near float16's end
    draft = Storage("float16", x_type, scale=scale)
    (errors,) = _highest(((np.abs(x - draft.unpack(draft.pack(x))),) for x in blocks()), comm)
    wide = np.where(high > low, high - low, np.maximum(np.abs(high), np.finfo(np.float32).tiny))
    if (errors[list(exact)] > 0).any():
        return None
    return replace(draft, error=float(np.max(errors, initial=0)), share=float(np.max(errors / wide, initial=0)))


def _highest(parts: Iterable[tuple[np.ndarray, ...]], comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return the largest number of each column of each of the arrays in `parts`; -inf for no rows."""
    found = None
    for part in parts:
        here = np.stack([x.reshape(len(x), math.prod(x.shape[1:])).max(axis=0, initial=-np.inf) for x in part]).astype(
            np.float64
        )
        found = here if found is None else np.maximum(found, here)
    assert found is not None, "there is a block on each rank"
    comm.Allreduce(MPI.IN_PLACE, found, op=MPI.MAX)
    return found
