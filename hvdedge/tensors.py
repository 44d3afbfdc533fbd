"""Features on disk: one HDF5 part a rank, joined by virtual datasets in `features.h5`, and what they are in JSON.

    features.h5        train/x (8, 8, 8, 1) ---- rows 0-4 ---> features/part-00000.h5  train/x (5, 8, 8, 1)
    features.json            train/y (8,)    \\-- rows 5-7 ---> features/part-00001.h5  train/x (3, 8, 8, 1)
                             train/weight (8,), and train/client (8,) where rows have clients
                             validation/... test/... and, of a graph, graph/...: see `graph_tensors`

Parts hold the rows in the table's order, so the joined rows are the same for any number of writing ranks. The names
of the parts are relative to features.h5: the folder can be moved. HDF5 files can name others anywhere on the machine
(external links, external storage, virtual sources) and a missing virtual source reads as zeros; `open_features`
therefore looks before it reads.

Source: The HDF Group, HDF5 virtual dataset (RFC), 2014.
"""

import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np

from hvdedge import graph_tensors
from hvdedge.errors import InputError
from hvdedge.graph_tensors import GROUP, GraphBlock, GraphPart
from hvdedge.splits import SPLITS
from hvdedge.storage import Storage, from_attributes

DATASETS = ("x", "y")
WEIGHT, CLIENT = "weight", "client"  # of the training rows; the second where they have clients
CHUNK_BYTES = 1 << 16
BLOCK_BYTES = 1 << 23
BLOCK_ROWS, BLOCK_BYTES = 4096, 1 << 24  # of which some are picked, at most


@dataclass(frozen=True)
class Features:
    """The examples that an extractor made of a rank's rows.

    Attributes:
        spec: what a model, and whoever encodes new rows, has to know, the same on every rank, for JSON: task,
            input_shape, and by task classes, columns, scale, label.
        batches: gives this rank's examples in order, as often as it is called: split codes uint8 (rows,), 0 train,
            1 validation, 2 test; x (rows, *input_shape); y (rows, ...).
        x_type, y_type: numpy's names of their types.
        y_shape: the shape of one y.
        left_out: column -> why it is not in x.
        decisions: column -> how it came into x, and why.
        rows_left_out: why -> how many rows of all ranks are not among the examples.
        weights: float32 (training rows here,), how many rows each stands for, 0 for one that is left out; None: each
            for itself.
        clients: int32 (training rows here,), who has each, a number in the spec's `clients`; None where nobody asked.
        facts: what the last reduction found, for the record.
        graph: where x are numbers of nodes, the graph that they are of.
    """

    spec: dict[str, Any]
    batches: Callable[[], Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]]
    x_type: str = "float32"
    y_type: str = "int64"
    y_shape: tuple[int, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)
    decisions: dict[str, str] = field(default_factory=dict)
    rows_left_out: dict[str, int] = field(default_factory=dict)
    weights: np.ndarray | None = None
    clients: np.ndarray | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    graph: GraphPart | None = None

    def training(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yield x, y, weights of the training rows here, at least one; those that are left out not among them."""
        for codes, x, y, weights in self._weighted():
            kept = (codes == 0) & (weights > 0)
            if kept.any():  # numpy cannot lay no rows flat
                yield x[kept], y[kept], weights[kept]

    def keep(self, weights: np.ndarray, **facts: Any) -> "Features":
        """Return the features with other weights, float32, of the rows that `training` yields; 0 leaves one out."""
        if self.weights is not None:
            every = self.weights.copy()
            every[every > 0] = weights
            weights = every
        return dataclasses.replace(self, weights=weights.astype(np.float32), facts=facts)

    def _weighted(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
        """Yield the batches with the weight of each row; 1 outside the training rows."""
        start = 0
        for codes, x, y in self.batches():
            weights = np.ones(len(codes), np.float32)
            rows = int((codes == 0).sum())
            if self.weights is not None:
                weights[codes == 0] = self.weights[start : start + rows]
            start += rows
            yield codes, x, y, weights


def write_part(features: Features, path: pathlib.Path) -> dict[str, int]:
    """Write this rank's examples, batch by batch; return split -> rows."""
    rows = dict.fromkeys(SPLITS, 0)
    shapes = {
        "x": (tuple(features.spec["input_shape"]), features.x_type),
        "y": (features.y_shape, features.y_type),
        WEIGHT: ((), "float32"),
    }
    with h5py.File(path, "w") as file:
        for split in SPLITS:
            for name in _datasets(split):
                _create(file, f"{split}/{name}", *shapes[name])
        for codes, *values, weights in features._weighted():
            for code, split in enumerate(SPLITS):
                chosen = (codes == code) & (weights > 0)
                start, rows[split] = rows[split], rows[split] + int(chosen.sum())
                for name, value in zip(_datasets(split), (*values, weights), strict=False):
                    file[split][name].resize(rows[split], axis=0)
                    file[split][name][start:] = value[chosen]
        if features.clients is not None:
            kept = slice(None) if features.weights is None else features.weights > 0
            _create(file, f"train/{CLIENT}", (), "int32").resize(rows["train"], axis=0)
            file[f"train/{CLIENT}"][:] = features.clients[kept]
        if features.graph is not None:
            graph_tensors.write(features.graph, file)
    return rows


def blocks(part: pathlib.Path, name: str = "x") -> Iterator[tuple[str, np.ndarray]]:
    """Yield the split and the rows of x, or of another array, in a part, block by block; at least one a split."""
    with h5py.File(part, "r") as file:
        for split in SPLITS:
            if name in file[split]:
                data = file[split][name]
                rows = max(BLOCK_BYTES // max(data.dtype.itemsize * int(np.prod(data.shape[1:])), 1), 1)
                yield from ((split, data[start : start + rows]) for start in range(0, max(len(data), 1), rows))


def pack(draft: pathlib.Path, path: pathlib.Path, storage: Storage) -> None:
    """Write a part that `write_part` made once more, with x as it is to be kept."""
    with h5py.File(path, "w") as file:
        for name in (*DATASETS, WEIGHT, CLIENT):
            for split, rows in blocks(draft, name):
                kept = storage.pack(rows) if name == "x" else rows
                where = f"{split}/{name}"
                data = file[where] if where in file else _create(file, where, rows.shape[1:], kept.dtype)
                data.resize(len(data) + len(kept), axis=0)
                data[len(data) - len(kept) :] = kept
        with h5py.File(draft, "r") as made:
            if GROUP in made:
                made.copy(GROUP, file)


def join(
    folder: pathlib.Path, parts: Sequence[str], path: pathlib.Path, storage: Storage | None = None
) -> dict[str, int]:
    """Write `features.h5` at `path`, whose rows are those of all parts; return split -> rows.

    Args:
        folder: where `features.h5` will lie, also when `path` is a temporary name elsewhere.
        parts: the parts in the order of the ranks, relative to `folder`.
        storage: how x is kept in them; None: as it was made.
    """
    sizes: dict[str, list[tuple[int, tuple[int, ...], np.dtype]]] = {}
    for part in parts:
        with h5py.File(folder / part, "r") as file:
            for name in _names(file):
                sizes.setdefault(name, []).append((len(file[name]), file[name].shape[1:], file[name].dtype))
    totals = {}
    with h5py.File(path, "w") as file:
        for name, found in sizes.items():
            (shape, type), *others = {(shape, type) for _, shape, type in found}
            assert not others, f"{name} differs from part to part"
            total = totals[name] = sum(size for size, _, _ in found)
            layout = h5py.VirtualLayout((total, *shape), type)
            layout.dcpl.set_obj_track_times(False)  # else the same features differ by the second they were written in
            start = 0
            for part, (size, _, _) in zip(parts, found, strict=True):
                if size:
                    layout[start : start + size] = h5py.VirtualSource(part, name, (size, *shape), type)
                start += size
            file.create_virtual_dataset(name, layout)
        file.attrs.update({} if storage is None else storage.attributes())
    return {split: totals[f"{split}/y"] for split in SPLITS}


def open_features(path: pathlib.Path) -> "FeatureReader":
    """Return a reader of `features.h5` and the `features.json` beside it, once it is sure that all lies in its folder.

    Raises:
        InputError: where it cannot be read, is no such file, points elsewhere, or where a part is missing or cut.
    """
    try:
        spec = json.loads(path.with_suffix(".json").read_bytes())
        if not isinstance(spec, dict) or not isinstance(spec.get("input_shape"), list):
            raise ValueError("its features.json is none of ours")
        with h5py.File(path, "r") as file:
            parts = _check(file, path.parent)
            if isinstance(spec.get(GROUP), dict) != (GROUP in file):
                raise ValueError(f"its features.json and {GROUP} do not fit")
        for part, sizes in parts.items():
            with h5py.File(path.parent / part, "r") as file:
                _check(file, None)
                for name, size in sizes.items():
                    if len(file[name]) != size:
                        raise ValueError(f"{part} holds {len(file[name])} rows in {name} and not {size}")
        return FeatureReader(path, spec)
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        reason = " ".join(str(error).split()).strip("'\"")
        raise InputError(
            f"{path}: received features that cannot be read ({reason}); run again with --from extract"
        ) from None


class FeatureReader:
    """The examples in a `features.h5`, read as they are asked for."""

    def __init__(self, path: pathlib.Path, spec: dict[str, Any]):
        self.spec = spec
        file = h5py.File(path, "r")
        access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
        access.set_virtual_prefix(os.fsencode(path.parent.resolve()))  # HDF5 would also look in the working folder
        self._data = {name: h5py.Dataset(h5py.h5d.open(file.id, name.encode(), access)) for name in _names(file)}
        self._storage = from_attributes(self._data["train/x"].dtype, file.attrs)

    def rows(self, split: str) -> int:
        """Return how many examples `train`, `validation` or `test` has."""
        return len(self._data[f"{split}/y"])

    def read(self, split: str, rows: slice | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return x and y of the examples in a slice, or of those with the numbers in an array, in its order."""
        if isinstance(rows, slice):
            stored, y = self.stored(split, rows)
            return self.unpack(stored), y
        x, y = self._data[f"{split}/x"], self._data[f"{split}/y"]
        chosen, place = np.unique(rows, return_inverse=True)
        xs, ys = [x[:0]], [y[:0]]
        row_bytes = x.dtype.itemsize * math.prod(x.shape[1:])
        block = max(min(BLOCK_ROWS, BLOCK_BYTES // max(row_bytes, 1)), 1)
        for start in np.unique(chosen // block) * block:  # at once, as HDF5 goes through parts for each row
            inside = chosen[slice(*np.searchsorted(chosen, [start, start + block]))] - start
            xs.append(x[start : start + block][inside])
            ys.append(y[start : start + block][inside])
        return self.unpack(np.concatenate(xs))[place], np.concatenate(ys)[place]

    def stored(self, split: str, rows: slice) -> tuple[np.ndarray, np.ndarray]:
        """Return x, as it is stored, and y of some examples."""
        return self._data[f"{split}/x"][rows], self._data[f"{split}/y"][rows]

    def unpack(self, stored: np.ndarray) -> np.ndarray:
        """Return what stored x mean."""
        return self._storage.unpack(stored)

    def labels(self) -> np.ndarray:
        """Return y of all training examples."""
        return self._data["train/y"][:]

    def weights(self, rows: slice) -> np.ndarray:
        """Return how many rows each of these training examples stands for: float32 (rows,)."""
        return self._data[f"train/{WEIGHT}"][rows]

    def clients(self) -> np.ndarray | None:
        """Return the number of the client who has each training example, int32 (rows,); None where there are none."""
        return self._data[f"train/{CLIENT}"][:] if f"train/{CLIENT}" in self._data else None

    def graph(self, nodes: slice) -> GraphBlock:
        """Return some nodes of the graph, such as a rank's block of the spec's `graph.nodes`, with their entries.

        Raises:
            InputError: where an entry leads to no node.
        """
        return graph_tensors.read({name: self._data[f"{GROUP}/{name}"] for name in graph_tensors.TYPES}, nodes)


def _create(file: h5py.File, name: str, shape: tuple[int, ...], type: Any) -> h5py.Dataset:
    """Return a new dataset without rows."""
    row_bytes = np.dtype(type).itemsize * int(np.prod(shape, dtype=np.int64))
    chunk = (max(CHUNK_BYTES // max(row_bytes, 1), 1), *shape)
    return file.create_dataset(name, (0, *shape), type, maxshape=(None, *shape), chunks=chunk)


def _datasets(split: str) -> tuple[str, ...]:
    return (*DATASETS, WEIGHT) if split == "train" else DATASETS


def _groups(file: h5py.File) -> dict[str, tuple[str, ...]]:
    """Return group -> its datasets; links are not followed."""
    graph = {GROUP: tuple(graph_tensors.TYPES)} if GROUP in list(file) else {}
    found = {split: _datasets(split) for split in SPLITS} | graph
    is_there = isinstance(file.get("train", getlink=True), h5py.HardLink) and CLIENT in list(file["train"])
    return found | ({"train": (*found["train"], CLIENT)} if is_there else {})


def _names(file: h5py.File) -> list[str]:
    return [f"{group}/{name}" for group, names in _groups(file).items() for name in names]


def _check(file: h5py.File, folder: pathlib.Path | None) -> dict[str, dict[str, int]]:
    """Return part -> dataset -> rows that a features.h5 takes from it; `folder` None for a part, which takes nothing.

    Raises:
        ValueError: where anything in the file points to another file that it should not.
    """
    parts: dict[str, dict[str, int]] = {}
    for split, names in _groups(file).items():
        if not isinstance(file.get(split, getlink=True), h5py.HardLink) or not isinstance(file[split], h5py.Group):
            raise ValueError(f"{split} is missing or a link")
        for name in names:
            if not isinstance(file[split].get(name, getlink=True), h5py.HardLink):
                raise ValueError(f"{split}/{name} is missing or a link")
            data = file[split][name]
            if not isinstance(data, h5py.Dataset) or data.ndim < 1 or data.dtype.kind not in "iuf":
                raise ValueError(f"{split}/{name} holds no numbers")
            if data.external or data.is_virtual != (folder is not None):
                raise ValueError(f"{split}/{name} is stored elsewhere")
            if folder is None and (
                data.id.get_create_plist().get_nfilters() or data.id.get_storage_size() < data.nbytes
            ):
                raise ValueError(f"{split}/{name} is compressed or cut")
            mapped = 0
            if folder is None:
                continue
            for source in data.virtual_sources():
                _check_source(source, f"{split}/{name}", folder)
                size = source.vspace.get_select_npoints() // max(int(np.prod(data.shape[1:])), 1)
                parts.setdefault(source.file_name, {})[f"{split}/{name}"] = size
                mapped += size
            if mapped != len(data):
                raise ValueError(f"{split}/{name} has rows that no part holds")
        if split == GROUP and folder is not None:
            graph_tensors.check_sizes(file[split])
        elif split != GROUP and len({len(file[split][name]) for name in names}) > 1:
            raise ValueError(f"{split} has not as many {', '.join(names)}")
    return parts


def _check_source(source: Any, name: str, folder: pathlib.Path) -> None:
    inside, part = folder.resolve(), pathlib.PurePath(source.file_name)
    if "%" in source.file_name:  # a pattern for many names
        raise ValueError(f"{name} points to the pattern {source.file_name!r}")
    if part.is_absolute() or not (folder / part).resolve().is_relative_to(inside) or source.dset_name != name:
        raise ValueError(f"{name} points to {source.file_name!r}, outside its folder")
    if not (folder / part).is_file():
        raise ValueError(f"its part {source.file_name!r} is missing")
