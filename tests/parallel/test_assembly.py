"""One table, one record and one set of log entries, however the rows of the files are dealt to the ranks."""

import json

PROGRAM = """
import hashlib, json, pathlib, sys, tempfile
import numpy as np
import pyarrow as pa
from mpi4py import MPI
from hvdedge.assembly import Piece, assemble
from hvdedge.parallel import MeteredComm, allgather_json
from hvdedge.structure.missing import SPELLINGS
from hvdedge.tables import gather_table
from hvdedge.workspace import CHANGES, QUARANTINE, Source, Workspace
comm = MeteredComm(MPI.COMM_WORLD)
folder = pathlib.Path(sys.argv[1])
work = Workspace(folder, pathlib.Path(tempfile.mkdtemp(dir=folder)), 8_000_000)
random = np.random.default_rng(11)
ROWS = 1500
def some(values, share, usual):
    at = random.random(ROWS) < share
    picked = random.integers(0, len(values), ROWS)
    return [values[p] if a else u for a, p, u in zip(at, picked, usual)]
files = {0: ["id", "x", "day", "town", "phone", "text", "odd", "n"], 1: ["Day", "x", "TOWN"]}
cells = {
    "id": some(["NA", "oops"], 0.01, [str(n) for n in range(ROWS)]),
    "x": some(["1.234,5", "7 px", "?", "9999", "1e400", "-"], 0.04, [f"{v:.3f}" for v in random.normal(0, 10, ROWS)]),
    "day": some(["2024-02-30", "7 March 2024"], 0.02, [f"{d % 28 + 1}/{d % 12 + 1}/2024" for d in range(ROWS)]),
    "town": some(["berlin ", "BERLIN", "K\\u00f6ln", "Ko\\u0308ln"], 0.2, ["Berlin"] * ROWS),
    "phone": some(["(030) 555 1234", "none"], 0.1, [f"030-555-{n:04d}" for n in range(ROWS)]),
    "text": some(["  two  words "], 0.1, [f"a longer text, number {n}" for n in range(ROWS)]),
    "odd": some(["noValueSetHere12", "-999"], 0.1, [str(n % 30) for n in range(ROWS)]),
    "n": some(["unknown"], 0.01, ["12,5"] * ROWS),
}
places = np.array_split(np.arange(ROWS), int(sys.argv[2]))  # parts of a file, dealt in runs
pieces = []
for number, names in files.items():
    parts = [part for k, part in enumerate(places) if k * comm.size // len(places) == comm.rank]
    if not parts and number:
        continue
    piece = Piece.empty(number, names, len(names), work, SPELLINGS)
    piece.metrics = {"file": f"f{number}", "rows": sum(map(len, parts))}
    for part in parts:
        arrays = [pa.array([cells[name.lower()][n] for n in part], pa.string()) for name in names]
        piece.add(pa.record_batch([*arrays, pa.array(part + 2)], schema=piece.cells.schema))
    pieces.append(piece)
table = assemble(pieces, Source((), work), comm, types=True, missing=SPELLINGS)
assert len(set(map(json.dumps, allgather_json(work.metrics, comm)))) == 1
rows = gather_table(table.to_arrow(), comm).to_pylist()
rows.sort(key=lambda row: (row["_file"], row["_line"]))
def log(batches, schema):
    return sorted(map(json.dumps, gather_table(pa.Table.from_batches(batches, schema), comm).to_pylist()))
logs = log(work.changes, CHANGES), log(work.quarantine, QUARANTINE)
digest = hashlib.sha256(repr((rows, logs)).encode()).hexdigest()
print(json.dumps([digest, str(table.schema), work.metrics, len(logs[0]), len(logs[1])]))
"""


def test_the_table_is_the_same_however_rows_are_dealt(mpirun, tmp_path):
    found = []
    for ranks, parts in ((1, 1), (1, 7), (2, 2), (3, 7), (4, 4), (4, 3)):
        folder = tmp_path / f"{ranks}_{parts}"
        folder.mkdir()
        lines = mpirun(ranks, PROGRAM, folder, parts).splitlines()
        assert len(lines) == ranks and len(set(lines)) == 1
        found.append(json.loads(lines[0]))
    assert all(other == found[0] for other in found)
    columns = found[0][2]["columns"]
    kinds = {"id": "integer", "x": "float", "day": "date", "town": "category", "phone": "text", "text": "text"}
    assert {name: columns[name]["type"] for name in kinds} == kinds
    assert columns["odd"]["sentinels"] == [-999.0] and columns["phone"]["pattern"] == "999-999-9999"
    assert found[0][3] > 300 and found[0][4] > 10
