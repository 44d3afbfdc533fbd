"""JSON lines, Parquet and IDX files, and graphs with their edges, are the same table on 1 to 4 ranks."""

import gzip
import json
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from small_archives import archive

PROGRAM = """
import hashlib, json, pathlib, sys, tempfile
from mpi4py import MPI
from hvdedge.datasets import digits_graph, graph_npz, idx, json_lines, parquet
from hvdedge.parallel import MeteredComm
from hvdedge.tables import gather_table
from hvdedge.workspace import Source, Workspace
comm = MeteredComm(MPI.COMM_WORLD)
folder = pathlib.Path(sys.argv[1])
tables = (json_lines, "a.jsonl"), (json_lines, "b.json"), (parquet, "a.parquet"), (idx, "images"), (idx, "images.gz")
tables += (graph_npz, "graph.npz"), (graph_npz, "three.npz"), (digits_graph, "")
for reader, name in tables:
    work = Workspace(folder, pathlib.Path(tempfile.mkdtemp(dir=folder)), 64_000_000)
    table = reader.read(Source((folder / name,), work), comm)
    everything = gather_table(table.to_arrow(), comm).combine_chunks()
    digest = hashlib.sha256(repr(everything.to_pydict()).encode()).hexdigest()
    if comm.rank == 0:
        edges = folder / "raw/edges.parquet"
        edges = hashlib.sha256(edges.read_bytes()).hexdigest() if edges.exists() else ""
        print(json.dumps([digest, everything.num_rows, work.metrics, edges]))
    comm.Barrier()
"""


def test_all_are_the_same_on_any_number_of_ranks(mpirun, tmp_path):
    lines = [json.dumps({"n": n, "text": "x" * (n % 80), "half": n / 2, f"k{n // 20_000}": n}) for n in range(40_000)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines) + "\n{bad\n")
    objects = [{"n": n, "text": "é" * (n % 80), "half": n / 2} for n in range(30_000)]
    (tmp_path / "b.json").write_text(json.dumps({"data": objects}, indent=1, ensure_ascii=False))
    pq.write_table(
        pa.table({"n": range(50_000), "t": [f"t{n}" for n in range(50_000)]}),
        tmp_path / "a.parquet",
        row_group_size=7000,
    )
    images = np.random.default_rng(0).integers(0, 256, (10_007, 3, 2), np.uint8)
    content = struct.pack(">HBB3I", 0, 8, 3, *images.shape) + images.tobytes()
    (tmp_path / "images").write_bytes(content)
    (tmp_path / "images.gz").write_bytes(gzip.compress(content))
    np.savez(tmp_path / "graph.npz", **archive(200))
    three = {"edges": np.array([[0, 2]]), "self_loops": None, "train_idx": np.array([1]), "val_idx": np.array([0])}
    np.savez(tmp_path / "three.npz", **archive(3, **three, test_idx=np.array([2])))
    one = mpirun(1, PROGRAM, tmp_path)
    assert [json.loads(line)[1] for line in one.splitlines()] == [40_000, 30_000, 50_000, 10_007, 10_007, 200, 3, 1797]
    (tmp_path / "raw/edges.parquet").unlink()
    for ranks in (2, 3, 4):
        assert mpirun(ranks, PROGRAM, tmp_path) == one
        (tmp_path / "raw/edges.parquet").unlink()
