"""A graph over 1, 2, 3 and 4 ranks is the same one, and what a layer sums over it by halos is scipy's."""

import json

import numpy as np
from small_graphs import edges_csv, matrix, random_pairs

GRAPH = """
    import hashlib, json, pathlib, sys
    import numpy as np
    import pyarrow as pa
    from mpi4py import MPI

    import digit_rows
    from hvdedge.graphs import read_graph
    from hvdedge.parallel import MeteredComm, allgather_rows
    from hvdedge.workspace import Workspace

    comm = MeteredComm(MPI.COMM_WORLD)
    folder = pathlib.Path(sys.argv[1])
    for nodes in (2000, 3):
        everything = pa.table({"id": [f"node {number}" for number in range(nodes)]})
        for directed in (False, True):
            workspace = Workspace(folder, folder, 64_000_000)
            table = digit_rows.deal(everything, comm, workspace, 100)
            graph = read_graph(
                table, comm, edges=str(folder / f"{nodes}.csv"), id="id", directed=directed, where="extract"
            )
            indices = allgather_rows(graph.indices, comm).tolist()
            sizes = allgather_rows(np.diff(graph.indptr), comm).tolist()
            if comm.rank == 0:
                print(json.dumps([sizes, indices, graph.told, graph.nodes, workspace.events]))
"""


def test_edges_are_the_same_on_any_number_of_ranks_also_of_a_file_in_parts(mpirun, tmp_path):
    pairs = {nodes: random_pairs(nodes, edges) for nodes, edges in ((2000, 130_000), (3, 4))}
    for nodes, found in pairs.items():
        words = [[f"node {number}" for number in pair] for pair in [*found.tolist(), (0, nodes)]]
        edges_csv(tmp_path / f"{nodes}.csv", words)
    assert (tmp_path / "2000.csv").stat().st_size > 1 << 21  # so that it is read in parts
    told = [mpirun(ranks, GRAPH, tmp_path).splitlines() for ranks in (1, 2, 3, 4)]
    assert told[1:] == [told[0]] * 3
    for line, (nodes, directed) in zip(told[0], [(n, d) for n in (2000, 3) for d in (False, True)], strict=True):
        sizes, indices, counted, count, events = json.loads(line)
        wanted = matrix(pairs[nodes], nodes, directed)
        assert sizes == np.diff(wanted.indptr).tolist()
        assert indices == wanted.indices.tolist()
        assert count == nodes
        assert counted["lines"] == len(pairs[nodes]) + 1
        assert events[0]["unknown"] == 1
