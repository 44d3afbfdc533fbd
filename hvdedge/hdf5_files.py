"""The datasets of an HDF5 file that can be rows of a table, found without reading anything but its headers.

Nothing outside the file is looked at: links to other files, datasets whose bytes or sources lie in others, and types
that lead elsewhere or say nothing by themselves are refused. Links inside the file are followed part by part, each
group once, so that loops end.
"""

import fnmatch
import math
import pathlib
from collections.abc import Sequence
from dataclasses import dataclass

import h5py
import numpy as np

from hvdedge.columns import shown
from hvdedge.contents import FREE_BYTES
from hvdedge.errors import InputError, one_line

BROKEN = (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError, UnicodeError, OverflowError)
MOST_OBJECTS = 20_000  # groups and datasets
MOST_LINKS = 32  # one behind the other
TEXT_BYTES = 64  # what a text of any length is taken for
MEMORY_SHARE = 8  # the part of memory that what must be unpacked at once may take, and all of a row an 8th of that


@dataclass(frozen=True)
class Found:
    """A dataset.

    Attributes:
        name: its path, or that of the link to it, without the first /.
        path: where it is reached by hard links alone.
        kind: text, boolean, or the NumPy type of its numbers, in the machine's byte order.
        shape: of all of it, the rows first.
        band_bytes: the rows of one chunk, in their whole width.
    """

    name: str
    path: str
    kind: str
    shape: tuple[int, ...]
    row_bytes: int
    band_bytes: int


def open_file(path: pathlib.Path, cache_bytes: int = 1 << 20) -> h5py.File:
    """Open a file to read, without a lock, which a disk that cannot be written refuses.

    Raises:
        InputError: where it is no HDF5 file, or cut.
    """
    try:
        return h5py.File(path, "r", locking=False, rdcc_nbytes=cache_bytes)
    except BROKEN as error:
        raise InputError(
            f"{path}: received no HDF5 file that can be read ({one_line(error)}), expected a whole one; get it again"
        ) from None


def find(
    path: pathlib.Path, patterns: Sequence[str], unpack_ratio: float, memory_bytes: int
) -> tuple[list[Found], list[str]]:
    """Return the datasets whose paths match one of the patterns, or lie below, and the names of those without rows.

    All for no pattern.

    Raises:
        InputError: where the file cannot be read, has none, or holds something that is refused.
    """
    with open_file(path) as file:
        try:
            return _found(path, file, patterns, unpack_ratio, memory_bytes)
        except InputError:
            raise
        except BROKEN as error:
            raise InputError(
                f"{path}: received an HDF5 file that is damaged ({one_line(error)}), expected a whole one; get it again"
            ) from None


def _found(
    path: pathlib.Path, file: h5py.File, patterns: Sequence[str], unpack_ratio: float, memory_bytes: int
) -> tuple[list[Found], list[str]]:
    wanted = [pattern.strip("/") for pattern in patterns]
    datasets = _walk(path, file, wanted)
    for pattern in wanted:
        if not any(_matches(name, [pattern]) for name, _ in datasets):
            raise InputError(
                f"{path}: prepare.datasets: received {pattern!r}, which matches no dataset, allowed: "
                f"{shown([name for name, _ in datasets])}; name others"
            )
    chosen = [(name, dataset) for name, dataset in datasets if _matches(name, wanted)]
    rows = [_checked(path, name, dataset, memory_bytes) for name, dataset in chosen if dataset.shape]
    if not rows:
        raise InputError(
            f"{path}: received an HDF5 file in which no dataset has rows ({len(chosen)} without), allowed: at least "
            "one of one or more dimensions; leave it out"
        )
    size, most = sum(one.row_bytes * one.shape[0] for one in rows), path.stat().st_size * unpack_ratio
    if size > max(most, FREE_BYTES):
        raise InputError(
            f"{path}: received an HDF5 file that unpacks to {size} bytes, more than {unpack_ratio:g} times its size, "
            "the limit; if it is sound, raise prepare.unpack_ratio"
        )
    return rows, [name for name, dataset in chosen if not dataset.shape]


def _matches(name: str, patterns: Sequence[str]) -> bool:
    """Tell whether a path, or a group that it is in, matches one of the patterns; anything does, for none."""
    parts = name.split("/")
    places = ["/".join(parts[: depth + 1]) for depth in range(len(parts))]
    return not patterns or any(fnmatch.fnmatchcase(place, pattern) for place in places for pattern in patterns)


def _walk(path: pathlib.Path, file: h5py.File, wanted: Sequence[str]) -> list[tuple[str, h5py.Dataset]]:
    """Return the datasets with their paths; by a link only those that it is the only way to, or that are wanted."""
    found: list[tuple[str, h5py.Dataset]] = []
    links: list[tuple[str, h5py.Group, str]] = []
    seen = {_place(file)}
    groups: list[tuple[str, h5py.Group]] = [("", file)]
    while groups or links:
        if groups:
            prefix, group = groups.pop(0)
            for name in group:
                if isinstance(name, bytes):
                    raise InputError(f"{path}: {prefix}: received the name {name!r}, allowed: UTF-8; convert the file")
                link = group.get(name, getlink=True)
                if isinstance(link, h5py.HardLink):
                    _take(path, prefix + name, group[name], groups, found, seen, False)
                elif isinstance(link, h5py.SoftLink):
                    links.append((prefix + name, group, link.path))
                elif _matches(prefix + name, wanted):
                    raise _refused(path, prefix + name, "a link to another file", "the datasets themselves")
        else:
            name, group, target = links.pop(0)
            what = _resolved(path, name, file, group, target, 0)
            if what is not None:
                _take(path, name, what, groups, found, seen, bool(wanted) and _matches(name, wanted))
    return found


def _take(
    path: pathlib.Path,
    name: str,
    what: object,
    groups: list[tuple[str, h5py.Group]],
    found: list[tuple[str, h5py.Dataset]],
    seen: set[tuple[int, int]],
    again: bool,
) -> None:
    """Note a group or a dataset once, or `again` if it is a dataset."""
    if not isinstance(what, (h5py.Group, h5py.Dataset)):  # a type with a name
        return
    is_new = _place(what) not in seen
    seen.add(_place(what))
    if len(seen) > MOST_OBJECTS:
        raise InputError(
            f"{path}: received an HDF5 file of more than {MOST_OBJECTS} groups and datasets, allowed: fewer; convert it"
        )
    if isinstance(what, h5py.Dataset) and (is_new or again):
        found.append((name, what))
    elif isinstance(what, h5py.Group) and is_new:
        groups.append((name + "/", what))


def _place(what: h5py.Group | h5py.Dataset) -> tuple[int, int]:
    info = h5py.h5o.get_info(what.id)
    return info.fileno, info.addr


def _resolved(
    path: pathlib.Path, name: str, file: h5py.File, group: h5py.Group, target: str, depth: int
) -> h5py.Group | h5py.Dataset | None:
    """Return what a link inside the file leads to; None for nothing, or for links that lead to themselves.

    Raises:
        InputError: where it leads through a link to another file.
    """
    here: object = file if target.startswith("/") else group
    for part in filter(lambda part: part not in ("", "."), target.split("/")):
        if not isinstance(here, h5py.Group) or part not in list(here):
            return None
        link = here.get(part, getlink=True)
        if isinstance(link, h5py.HardLink):
            here = here[part]
        elif isinstance(link, h5py.SoftLink):
            here = _resolved(path, name, file, here, link.path, depth + 1) if depth < MOST_LINKS else None
        else:
            raise _refused(path, name, "a link to another file", "the datasets themselves")
    return here if isinstance(here, (h5py.Group, h5py.Dataset)) else None


def _refused(path: pathlib.Path, name: str, what: str, allowed: str) -> InputError:
    return InputError(
        f"{path}: {name}: received {what}, allowed: {allowed}; name others by prepare.datasets, or convert the file"
    )


def _checked(path: pathlib.Path, name: str, dataset: h5py.Dataset, memory_bytes: int) -> Found:
    """Return a dataset that has rows.

    Raises:
        InputError: where it is refused.
    """
    if dataset.is_virtual:
        raise _refused(path, name, "a virtual dataset, made of others", "the datasets themselves")
    if dataset.external:
        raise _refused(path, name, "a dataset whose numbers are in another file", "the numbers in the file itself")
    kind = _kind(path, name, dataset)
    plan = dataset.id.get_create_plist()
    for number in range(plan.get_nfilters()):
        code, _, _, called = plan.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            called = called.decode("utf-8", "replace") if isinstance(called, bytes) else called
            raise _refused(path, name, f"a dataset packed by filter {code} ({called}), which is not there", "gzip, lzf")
    value_bytes = TEXT_BYTES if dataset.dtype.kind == "O" else dataset.dtype.itemsize
    row_bytes = value_bytes * math.prod(dataset.shape[1:])
    most = memory_bytes // MEMORY_SHARE
    chunk_bytes = math.prod(dataset.chunks) * value_bytes if dataset.chunks else 0
    if chunk_bytes > most or row_bytes > most // MEMORY_SHARE:
        what, size, limit = (
            ("chunks", chunk_bytes, most) if chunk_bytes > most else ("rows", row_bytes, most // MEMORY_SHARE)
        )
        raise InputError(
            f"{path}: {name}: received {what} of {size} bytes each, allowed: {limit}, a part of memory; raise "
            "memory, or store it in smaller ones"
        )
    band_bytes = min(dataset.chunks[0], dataset.shape[0]) * row_bytes if dataset.chunks else 0
    return Found(name, dataset.name, kind, tuple(map(int, dataset.shape)), row_bytes, band_bytes)


def _kind(path: pathlib.Path, name: str, dataset: h5py.Dataset) -> str:
    """Return the kind of a dataset's values."""
    dtype, dimensions = dataset.dtype, len(dataset.shape)
    if h5py.check_ref_dtype(dtype) is not None:
        raise _refused(path, name, "references to other places", "numbers, truth values, texts")
    if h5py.check_string_dtype(dtype) is not None or dtype.kind == "S":
        if dimensions > 1:
            raise _refused(path, name, f"texts in {dimensions} dimensions", "one")
        return "text"
    if math.prod(dataset.shape[1:]) == 0:
        raise _refused(path, name, f"rows of shape {dataset.shape[1:]}, which hold nothing", "some numbers a row")
    if dtype.kind == "b":
        return "boolean" if dimensions == 1 else "uint8"
    if dtype.kind in "iu" or (dtype.kind == "f" and dtype.itemsize <= 8):
        return np.dtype("f4" if dtype == np.float16 else dtype.newbyteorder("=")).name
    what = "opaque bytes" if dtype.kind == "V" and not dtype.names else f"values of type {dtype}"
    raise _refused(path, name, what, "numbers, truth values, texts")
