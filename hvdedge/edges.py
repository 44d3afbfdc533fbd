"""The edges of a graph whose nodes are a table's rows: a second file with two columns of ids, as numbers of rows.

    ids of the rows  --hash--> the rank that looks after it: id -> row     16 bytes a node, dealt evenly
    edges file, dealt over the ranks  --ids asked for, batch by batch-->  pairs of rows     16 bytes an edge here

Ids are compared by a hash of 64 bits: among a million of them, two that differ have the same one with a chance of 3e-8.
"""

import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from mpi4py import MPI

from hvdedge import methods
from hvdedge.columns import NUMBERS, kind, offered, shown, to_text
from hvdedge.errors import InputError
from hvdedge.hashes import hash_text, look_up
from hvdedge.mixing import mix
from hvdedge.parallel import agree, allgather_json, counts, exchange_runs, send_rows
from hvdedge.records import replacing
from hvdedge.tables import Table
from hvdedge.workspace import Source, Workspace

PARQUET = (".parquet", ".pq")
MADE = "raw/edges.parquet"  # in the run's folder, by readers of whole graphs
WHOLE = r"^\s*\+?(-?)0*(\d+)(?:\.0*)?\s*$"  # of a number, however it is written


def read_edges(path: str, table: Table, id: str, where: str, comm: MPI.Intracomm) -> tuple[np.ndarray, dict[str, int]]:
    """Collective. Return this rank's share of the edges in a file, as pairs of global row numbers, int64 (edges, 2).

    The file is delimited text, with or without names above, or Parquet (named .parquet or .pq), read by the readers of
    prepare: dealt over the ranks. Its first line holds names where neither of its two cells is an id.

    Args:
        table: this rank's nodes, a row each.
        id: the table's column with their ids; whole numbers are compared as such, 007 is 7.
        where: the section of the options edges and id, for errors.
    Returns:
        The edges between rows of the table, and of all ranks: lines, those with two ids; unknown, the lines left out
        as an id is in no row; set_aside, the lines that could not be read.
    Raises:
        InputError: where `id` is no column of ids or an id comes twice, the file has no two columns, or no edge joins
            two rows.
    """
    ids = _Ids(table, id, where, comm)
    edges, set_aside = _open(path, table, where, comm)
    before = counts(edges.num_rows, comm)[: comm.rank].sum()
    first = not path.endswith(PARQUET) and edges.num_rows > 0 and before == 0
    found, lines, unknown, example = [np.empty((0, 2), np.int64)], 0, 0, ""
    batches = edges.batches()
    while True:
        batch = next(batches, None)
        more = np.array(batch is not None, np.int64)
        comm.Allreduce(MPI.IN_PLACE, more, op=MPI.MAX)
        if not more:
            break
        ends = [] if batch is None else [ids.texts(column) for column in batch.columns]
        hashes = np.array([hash_text(column) for column in ends], np.uint64).reshape(2, -1)
        rows = ids.find(hashes.ravel(), comm).reshape(2, -1).T
        if first and len(rows):
            first, rows = False, rows[int((rows[0] < 0).all()) :]
        is_known = (rows >= 0).all(axis=1)
        lines += len(rows)
        if not example and not is_known.all():
            place, side = np.argwhere(rows < 0)[0].tolist()
            example = str(ends[side][place - len(rows)])  # from behind, as the names above may be gone
        unknown += int((~is_known).sum())
        found.append(rows[is_known])
    told = allgather_json([lines, unknown, set_aside, example], comm)
    total = {name: sum(one[n] for one in told) for n, name in enumerate(("lines", "unknown", "set_aside"))}
    if total["unknown"] == total["lines"]:
        other = next((f" ({one[3]!r})" for one in told if one[3]), "")
        raise InputError(
            f"{where}.edges: received {path!r} with {total['lines']} edges, none between two values of {id!r}{other}, "
            f"allowed: at least one; give the edges of this table, or set {where}.id"
        )
    return np.concatenate(found), total


def write_edges(pairs: np.ndarray, run: pathlib.Path, comm: MPI.Intracomm) -> None:
    """Collective. Write edges, int64 (edges, 2), those of the first rank, as the file `MADE` of a run."""
    with agree(comm):
        if comm.rank == 0:  # made once, in one place
            with replacing(run / MADE) as path:
                pq.write_table(pa.table({"source": pairs[:, 0].copy(), "target": pairs[:, 1].copy()}), path)


class _Ids:
    """Which row has which id, known to the rank that the id's hash names.

    Raises:
        InputError: on every rank, where the column cannot hold ids, or an id comes twice.
    """

    def __init__(self, table: Table, id: str, where: str, comm: MPI.Intracomm):
        if id not in table.columns or kind(table.schema.field(id).type) == "array":
            raise InputError(
                f"{where}.id: received {id!r}, which is no column of ids, allowed: {shown(offered(table))}; name one"
            )
        self._are_numbers = kind(table.schema.field(id).type) in NUMBERS
        hashes = [hash_text(self.texts(batch.column(0))) for batch in table.select([id]).batches()]
        mine = np.concatenate([np.empty(0, np.uint64), *hashes])
        start = int(counts(len(mine), comm)[: comm.rank].sum())
        known = np.stack([mine, np.arange(start, start + len(mine), dtype=np.uint64)], axis=1)[mine != 0]
        held = send_rows(known, _owners(known[:, 0], comm), comm)
        held = held[np.argsort(held[:, 0], kind="stable")]
        self._hashes, self._rows = held[:, 0].copy(), held[:, 1].astype(np.int64)
        twice = np.array(int((self._hashes[1:] == self._hashes[:-1]).sum()), np.int64)
        comm.Allreduce(MPI.IN_PLACE, twice, op=MPI.SUM)
        if twice:
            raise InputError(
                f"{where}.id: received {id!r}, in which {int(twice)} rows repeat the id of another, allowed: each id "
                "once; merge the rows by [clean.duplicates], or name another column"
            )

    def texts(self, column: pa.Array) -> pa.Array:
        """Return ids as the text that is compared."""
        text = pc.utf8_trim_whitespace(to_text(column))
        return pc.replace_substring_regex(text, WHOLE, r"\1\2") if self._are_numbers else text

    def find(self, hashes: np.ndarray, comm: MPI.Intracomm) -> np.ndarray:
        """Collective. Return the row of each id, given by its hash; -1 for one that no row has."""
        owner = _owners(hashes, comm)
        order = np.argsort(owner, kind="stable")
        asked, sizes = exchange_runs(hashes[order], np.bincount(owner, minlength=comm.size), comm)
        rows = np.empty(len(hashes), np.int64)
        rows[order] = exchange_runs(look_up(asked, self._hashes, self._rows, -1), sizes, comm)[0]
        return rows


def _owners(hashes: np.ndarray, comm: MPI.Intracomm) -> np.ndarray:
    return (mix(hashes) % np.uint64(comm.size)).astype(np.int64)


def _open(path: str, table: Table, where: str, comm: MPI.Intracomm) -> tuple[Table, int]:
    """Collective. Return this rank's lines of the file, its two columns, and how many could not be read here."""
    with agree(comm):
        if not path or not pathlib.Path(path).is_file():
            raise InputError(
                f"{where}.edges: received {path!r}, which is no file, allowed: one with a line of two ids an edge; "
                "name it"
            )
    own = Workspace(table.workspace.run, table.workspace.scratch, table.workspace.memory_bytes)
    source = Source((pathlib.Path(path),), own)
    if path.endswith(PARQUET):
        edges = methods.find("datasets", "parquet", where).load()(source, comm)
    else:
        as_it_is = {"header": False, "types": False, "formats": False, "sentinels": False}
        edges = methods.find("datasets", "csv", where).load()(source, comm, **as_it_is)
    if len(edges.columns) != 2:
        raise InputError(
            f"{where}.edges: received {path!r} with {len(edges.columns)} columns, allowed: 2, the ids of the nodes "
            "that an edge joins; take the others out"
        )
    aside = sum(int(pc.sum(pc.not_equal(part["rule"], "preamble")).as_py() or 0) for part in own.quarantine)
    return edges.select(edges.columns), aside
