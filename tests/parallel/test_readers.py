"""JSON lines, Parquet and IDX files, graphs, images, HDF5 and lines are the same table on 1 to 4 ranks."""

import gzip
import json
import struct

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from small_archives import archive
from small_photos import folder

PROGRAM = """
import hashlib, json, pathlib, sys, tempfile
import pyarrow as pa
from mpi4py import MPI
from hvdedge.datasets import digits_graph, graph_npz, hdf5, idx, image_folder, json_lines, parquet, text_lines
from hvdedge.parallel import MeteredComm
from hvdedge.tables import gather_table
from hvdedge.workspace import QUARANTINE, Source, Workspace
comm = MeteredComm(MPI.COMM_WORLD)
folder = pathlib.Path(sys.argv[1])
tables = (json_lines, "a.jsonl"), (json_lines, "b.json"), (parquet, "a.parquet"), (idx, "images"), (idx, "images.gz")
tables += (graph_npz, "graph.npz"), (graph_npz, "three.npz"), (digits_graph, "")
tables += (image_folder, "photos/*/*"), (image_folder, "photos/*/*"), (image_folder, "photos/rose/1.jpg")
tables += (hdf5, "*.h5"), (hdf5, "three.hdf5"), (text_lines, "sms.*")
scratch = tempfile.mkdtemp()
for reader, name in tables:
    work = Workspace(folder, pathlib.Path(tempfile.mkdtemp(dir=scratch)), 64_000_000)
    options = {image_folder: {"cache": str(folder / "cache"), "height": 9, "width": 8}, text_lines: {"separator": "\t"}}
    paths = sorted(folder.glob(name)) if "*" in name else [folder / name]
    table = reader.read(Source(tuple(paths), work), comm, **options.get(reader, {}))
    everything = gather_table(table.to_arrow(), comm).combine_chunks()
    digest = hashlib.sha256(repr(everything.to_pydict()).encode()).hexdigest()
    cached = [event["images"] for event in work.events if event["what"] == "images_from_cache"]
    aside = gather_table(pa.Table.from_batches(work.quarantine, QUARANTINE), comm).to_pylist()
    if comm.rank == 0:
        edges = folder / "raw/edges.parquet"
        edges = hashlib.sha256(edges.read_bytes()).hexdigest() if edges.exists() else ""
        print(json.dumps([digest, everything.num_rows, work.metrics, edges, cached, aside]))
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
    folder(tmp_path / "photos", count=7)
    for place in ("rose/0.png", "rose/1.png", "tulip/z.png"):
        (tmp_path / "photos" / place).write_bytes(b"none")
    for number in range(2):
        with h5py.File(tmp_path / f"{number}.h5", "w") as file:
            for split, count in (("train", 1007), ("test", 50 + number)):
                file[f"{split}/x"] = np.random.default_rng(number).normal(size=(count, 2, 3))
                text = [f"é{n}" * (n % 9) for n in range(count)]
                file.create_dataset(f"{split}/t", data=text, chunks=(40,), compression="gzip")
    with h5py.File(tmp_path / "three.hdf5", "w") as file:
        file["x_train"], file["x_test"] = [1, 2], [3]
    sms = [f'{"spam" if n % 7 == 0 else "ham"}\t£{n} "for, you' + "é" * (n % 90) for n in range(35_000)]
    sms[11], sms[30_000] = "no label", ""
    for ending, encoding, count in (("latin", "latin-1", 35_000), ("utf16", "utf-16", 3000), ("utf8", "utf-8", 9)):
        (tmp_path / f"sms.{ending}").write_bytes("\r\n".join(sms[:count]).encode(encoding))
    (tmp_path / "sms.gz").write_bytes(gzip.compress((tmp_path / "sms.latin").read_bytes(), 1))
    one = mpirun(1, PROGRAM, tmp_path)
    told = [json.loads(line) for line in one.splitlines()]
    rows = [40_000, 30_000, 50_000, 10_007, 10_007, 200, 3, 1797, 13, 13, 1, 2115, 3, 2 * 34_998 + 2999 + 9]
    assert [each[1] for each in told] == rows
    assert [each[4] for each in told[8:11]] == [[], [13], []] and [len(each[5]) for each in told[8:11]] == [3, 3, 0]
    (tmp_path / "raw/edges.parquet").unlink()
    for ranks in (2, 3, 4):
        assert mpirun(ranks, PROGRAM, tmp_path) == one
        (tmp_path / "raw/edges.parquet").unlink()
