"""A graph's features are the same on 1, 2, 3 and 4 ranks, bit for bit, and a layer over halos gives scipy's sums."""

import json

from small_graphs import edges_csv, random_pairs

EXTRACT = """
    import hashlib, json, pathlib, sys
    import numpy as np
    import pyarrow as pa
    import scipy.sparse
    from mpi4py import MPI

    import digit_rows
    from hvdedge.features.graph import extract
    from hvdedge.halos import plan
    from hvdedge.parallel import MeteredComm, allgather_rows, block
    from hvdedge.records import to_json
    from hvdedge.tensors import join, open_features, write_part
    from hvdedge.workspace import Workspace

    comm = MeteredComm(MPI.COMM_WORLD)
    folder = pathlib.Path(sys.argv[1])
    for nodes in (300, 3):
        draw = np.random.default_rng(3)
        everything = pa.table({
            "id": [f"node {number}" for number in range(nodes)],
            "bag": [row.tolist() for row in draw.integers(0, 2, (nodes, 5))],
            "size": pa.array(draw.normal(size=nodes), mask=draw.random(nodes) < 0.1),
            "label": [*"aab"] * (nodes // 3),
            "_split": pa.array(np.arange(nodes) % 4 % 3, pa.uint8()),
        })
        for normalize, directed in (("symmetric", False), ("row", True)):
            run = folder / f"{comm.size}-{nodes}-{normalize}"
            (run / "features").mkdir(parents=True, exist_ok=True)
            table = digit_rows.deal(everything, comm, Workspace(folder, folder, 64_000_000), 40)
            path = str(folder / f"{nodes}.csv")
            features = extract(table, comm, edges=path, normalize=normalize, directed=directed, scale_rows=True)
            parts = [f"features/part-{rank}.h5" for rank in range(comm.size)]
            write_part(features, run / parts[comm.rank])
            comm.Barrier()
            if comm.rank == 0:
                join(run, parts, run / "features.h5")
                (run / "features.json").write_bytes(to_json(features.spec))
            comm.Barrier()
            reader = open_features(run / "features.h5")
            whole = reader.graph(slice(None))
            starts = np.array([block(nodes, comm.size, rank).start for rank in range(comm.size)] + [nodes])
            mine = reader.graph(block(nodes, comm.size, comm.rank))
            halo = plan(mine.indices, starts, comm)
            x = halo.fetch(mine.x.astype(float), comm)
            here = scipy.sparse.csr_matrix((mine.data, halo.columns, mine.indptr), (len(mine.y), len(x)))
            layer = allgather_rows(here @ x, comm)
            every = scipy.sparse.csr_matrix((whole.data, whole.indices, whole.indptr), (nodes, nodes))
            assert abs(layer - every @ whole.x).max() < 1e-6
            assert comm.size > 1 or not len(halo.nodes)
            if comm.rank == 0:
                arrays = [*vars(whole).values(), *(a for s in ("train", "test") for a in reader.read(s, slice(None)))]
                digest = hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays))
                print(json.dumps([digest.hexdigest(), reader.spec, reader.rows("train"), features.rows_left_out]))
            comm.Barrier()
"""


def test_a_graph_and_its_layer_are_the_same_on_any_number_of_ranks(mpirun, tmp_path):
    for nodes, edges in ((300, 900), (3, 4)):
        pairs = [[f"node {number}" for number in pair] for pair in random_pairs(nodes, edges).tolist()]
        edges_csv(tmp_path / f"{nodes}.csv", pairs)
    found = [mpirun(ranks, EXTRACT, tmp_path).splitlines() for ranks in (1, 2, 3, 4)]
    assert found[1:] == [found[0]] * 3
    told = [json.loads(line)[1]["graph"] for line in found[0]]
    assert [graph["nodes"] for graph in told] == [300, 300, 3, 3]
    assert told[0]["entries"] > 1000
    assert told[0]["features"] == 6
