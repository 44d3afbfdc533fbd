"""A graph in one NumPy archive, as Cora and Citeseer are passed on: nodes with sparse features, edges, a split.

    feat_indptr (nodes + 1,), feat_indices, feat_data, feat_shape (2,)   the features, as sparse rows
    labels (nodes,)                          the class of each node, below 0 for none
    edges (edges, 2)                         numbers of nodes, from 0
    self_loops (loops,)                      nodes with an edge to themselves; may be missing
    train_idx, val_idx, test_idx             which nodes are for what; the others are in no split

Nodes become rows, dealt over the ranks in blocks; the edges become `raw/edges.parquet` in the run's folder, for
`extract.edges = "{run}/raw/edges.parquet"`. No array is unpickled, and none unpacked before it is known to be as large
as its header says, and what memory holds.

Source: NumPy Enhancement Proposal 1, A simple file format for NumPy arrays.
"""

import math
import pathlib
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from mpi4py import MPI

from hvdedge.edges import write_edges
from hvdedge.errors import InputError, one_line
from hvdedge.parallel import agree, bcast_json, block
from hvdedge.sources import columns_as_read, each_once
from hvdedge.tables import Table
from hvdedge.workspace import Source

FEATURES = ("feat_indptr", "feat_indices", "feat_data", "feat_shape")
SPLITS = {"train_idx": "train", "val_idx": "validation", "test_idx": "test"}
DIMENSIONS = {
    **{"feat_indptr": 1, "feat_indices": 1, "feat_data": 1, "feat_shape": 1, "labels": 1, "edges": 2},
    **{"train_idx": 1, "val_idx": 1, "test_idx": 1, "self_loops": 1},
}
OPTIONAL = ("self_loops",)
BATCH_BYTES = 1 << 22
MOST_FEATURES = 1 << 16
BROKEN = (OSError, EOFError, ValueError, KeyError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError)


def read(source: Source, comm: MPI.Intracomm) -> Table:
    """Collective. Read the nodes of a graph in a NumPy archive as a table, and write its edges into the run's folder.

    Returns:
        This rank's block of the nodes: `id`, their number, `features`, a list of as many numbers in each row, `label`
        and `split` ("train", "validation", "test"), both missing where there is none; `_line` is the number from 1.
    Raises:
        RankError: on every rank, where the archive is none, holds other arrays, or numbers of nodes that are not there.
    """
    source = each_once(source, comm)
    arrays: dict[str, np.ndarray] = {}
    with agree(comm):
        if len(source.paths) != 1:
            raise InputError(
                f"prepare.source: received {len(source.paths)} files, allowed: one archive with all of a graph; name it"
            )
        arrays = _load(source.paths[0], source.workspace.memory_bytes // 2)
        _check(source.paths[0], arrays)
    nodes, width = arrays["feat_shape"].tolist()
    rows = block(nodes, comm.size, comm.rank)
    write_edges(_pairs(arrays), source.workspace.run, comm)
    data = arrays["feat_data"]
    is_whole = data.min(initial=0) >= 0 and data.max(initial=0) <= 255 and (data == np.floor(data)).all()
    number = pa.uint8() if is_whole and not _repeats(arrays) else pa.float32()
    schema = pa.schema(
        [
            ("id", pa.int64()),
            ("features", pa.list_(number, width)),
            ("label", pa.int64()),
            ("split", pa.string()),
            ("_file", pa.string()),
            ("_line", pa.int64()),
        ]
    )
    name = source.name(source.paths[0])
    split = _split(arrays, nodes)

    def batches() -> Iterator[pa.RecordBatch]:
        at_once = max(BATCH_BYTES // (width * number.bit_width // 8), 1)
        for start in range(rows.start, rows.stop, at_once):
            here = slice(start, min(start + at_once, rows.stop))
            count = here.stop - start
            values = _dense(arrays, here, width).astype(number.to_pandas_dtype())
            labels = arrays["labels"][here].astype(np.int64)
            yield pa.record_batch(
                [
                    pa.array(np.arange(start, here.stop)),
                    pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), width),
                    pa.array(labels, mask=labels < 0),
                    pa.array(split[here], pa.string()),
                    pa.repeat(pa.scalar(name), count),
                    pa.array(np.arange(start + 1, here.stop + 1)),
                ],
                schema=schema,
            )

    source.workspace.metrics["files"] = bcast_json([{"file": name, "rows": nodes}], comm)
    missing = {"label": int((arrays["labels"] < 0).sum()), "split": nodes - sum(len(arrays[name]) for name in SPLITS)}
    types = {"id": "integer", "features": "array", "label": "integer", "split": "category"}
    source.workspace.metrics["columns"] = columns_as_read(types, missing)
    return Table(schema, rows.stop - rows.start, source.workspace, batches)


def _load(path: pathlib.Path, most_bytes: int) -> dict[str, np.ndarray]:
    """Return the arrays of an archive that are looked for.

    Raises:
        InputError: where it is none, lacks one, or they do not fit into memory.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            inside = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            lacking = [name for name in DIMENSIONS if name not in inside and name not in OPTIONAL]
            if lacking:
                raise InputError(
                    f"{path}: received an archive without {', '.join(lacking)}, allowed: with all of "
                    f"{', '.join(name for name in DIMENSIONS if name not in OPTIONAL)}; get it again"
                )
            wanted = {name: inside[name] for name in DIMENSIONS if name in inside}
            size = sum(info.file_size for info in wanted.values())
            if size > most_bytes:
                raise InputError(
                    f"{path}: received arrays of {size} bytes, allowed: {most_bytes}, half of what a rank may hold; "
                    "raise memory"
                )
            return {name: _array(archive, info) for name, info in wanted.items()}
    except InputError:
        raise
    except BROKEN as error:
        raise InputError(
            f"{path}: received no archive of arrays that can be read ({one_line(error)}), allowed: a NumPy file .npz "
            "without pickled objects; get it again"
        ) from None


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """Return an array of an archive.

    Raises:
        ValueError: where it holds objects, or is not as large as its header says.
    """
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"{info.filename} is of version {version}")
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, type_ = header(file)
        if type_.hasobject or type_.kind not in "iuf":
            raise ValueError(f"{info.filename} holds no numbers but {type_}")
        content = file.read()
        if len(content) != math.prod(shape) * type_.itemsize:
            raise ValueError(f"{info.filename} holds {len(content)} bytes for numbers of shape {shape}")
    return np.frombuffer(content, type_).reshape(shape, order="F" if is_fortran else "C")


def _check(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
    """Hold the arrays against each other.

    Raises:
        InputError: where they do not fit together.
    """
    wrong = _wrong(arrays)
    if wrong:
        raise InputError(f"{path}: received {wrong}; get it again, or mend what made it")


def _wrong(arrays: dict[str, np.ndarray]) -> str:
    """Return what does not fit and what is allowed; nothing where all does."""
    for name, array in arrays.items():
        kinds = "iuf" if name == "feat_data" else "iu"
        if array.ndim != DIMENSIONS[name] or array.dtype.kind not in kinds:
            wanted = f"{DIMENSIONS[name]} dimensions of {'numbers' if kinds == 'iuf' else 'whole numbers'}"
            return f"{name} of shape {array.shape} and type {array.dtype}, allowed: {wanted}"
    shape, indptr = arrays["feat_shape"], arrays["feat_indptr"]
    if len(shape) != 2 or shape[0] < 1 or not 1 <= shape[1] <= MOST_FEATURES:
        return f"feat_shape {shape[:3].tolist()}, allowed: nodes from 1 and features from 1 to {MOST_FEATURES}"
    nodes, width = shape.tolist()
    if len(indptr) != nodes + 1 or len(arrays["labels"]) != nodes:
        return (
            f"feat_indptr of {len(indptr)} and labels of {len(arrays['labels'])} numbers for {nodes} nodes, allowed: "
            f"{nodes + 1} and {nodes}"
        )
    entries = len(arrays["feat_indices"])
    if len(arrays["feat_data"]) != entries or indptr[0] or indptr[-1] != entries or (indptr[1:] < indptr[:-1]).any():
        return "features that are no sparse rows, allowed: feat_indptr that rises from 0 to the length of the others"
    if not np.isfinite(arrays["feat_data"]).all():
        return "features that are no finite numbers, allowed: finite ones"
    if arrays["edges"].shape[1] != 2 or not len(arrays["edges"]):
        return f"edges of shape {arrays['edges'].shape}, allowed: two numbers of nodes each, at least one edge"
    for name, end in {
        "feat_indices": width,
        "edges": nodes,
        "self_loops": nodes,
        **dict.fromkeys(SPLITS, nodes),
    }.items():
        values = arrays.get(name, np.empty(0, np.int64))
        outside = values[(values < 0) | (values >= end)]
        if outside.size:
            return f"{name} with {outside.flat[0]}, allowed: 0 to {end - 1}"
    chosen = np.concatenate([arrays[name] for name in SPLITS])
    twice = len(chosen) - len(np.unique(chosen))
    if twice:
        return f"splits that name {twice} nodes again, allowed: each node in one of {', '.join(SPLITS)}"
    return ""


def _pairs(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """Return all edges, int64 (edges, 2), those of a node to itself behind the others, to be counted where they go."""
    loops = arrays.get("self_loops", np.empty(0, np.int64))
    return np.concatenate([arrays["edges"], np.stack([loops, loops], axis=1)]).astype(np.int64)


def _split(arrays: dict[str, np.ndarray], nodes: int) -> np.ndarray:
    """Return the split of each node, None for none."""
    split = np.full(nodes, None, object)
    for name, word in SPLITS.items():
        split[arrays[name]] = word
    return split


def _repeats(arrays: dict[str, np.ndarray]) -> bool:
    """Tell whether a node has a feature more than once, which then add up."""
    rows = np.repeat(np.arange(len(arrays["labels"])), np.diff(arrays["feat_indptr"]))
    places = rows * int(arrays["feat_shape"][1]) + arrays["feat_indices"]
    return len(np.unique(places)) < len(places)


def _dense(arrays: dict[str, np.ndarray], rows: slice, width: int) -> np.ndarray:
    """Return the features of some nodes: float32 (nodes, features)."""
    indptr = arrays["feat_indptr"][rows.start : rows.stop + 1].astype(np.int64)
    here = slice(int(indptr[0]), int(indptr[-1]))
    values = np.zeros((len(indptr) - 1, width), np.float32)
    row = np.repeat(np.arange(len(values)), np.diff(indptr))
    np.add.at(values, (row, arrays["feat_indices"][here]), arrays["feat_data"][here])
    return values
