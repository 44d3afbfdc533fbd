"""What is told of a graph is the same on 1, 2, 3 and 4 ranks, bit for bit."""

import json

from small_graphs import edges_csv, random_pairs

PROFILE = """
    import json, pathlib, sys
    import numpy as np
    import pyarrow as pa
    from mpi4py import MPI

    import digit_rows
    from hvdedge.parallel import MeteredComm
    from hvdedge.profiling import graph
    from hvdedge.workspace import Workspace

    comm = MeteredComm(MPI.COMM_WORLD)
    folder = pathlib.Path(sys.argv[1])
    graph.ROUND_EDGES = 100
    for nodes in (500, 3):
        labels = np.random.default_rng(1).choice([*"abc", None], nodes).tolist()
        everything = pa.table({"id": range(nodes), "label": pa.array(labels, pa.string()).dictionary_encode()})
        for directed in (False, True):
            table = digit_rows.deal(everything, comm, Workspace(folder, folder, 64_000_000), 90)
            path = str(folder / f"{nodes}.csv")
            told = graph.profile(table, comm, edges=path, label="label", directed=directed)
            everyone = comm.allgather(json.dumps(told, allow_nan=False))
            assert len(set(everyone)) == 1
            if comm.rank == 0:
                print(everyone[0])
"""


def test_a_graph_is_described_alike_on_any_number_of_ranks_also_on_more_than_there_are_nodes(mpirun, tmp_path):
    for nodes, edges in ((500, 600), (3, 2)):
        edges_csv(tmp_path / f"{nodes}.csv", random_pairs(nodes, edges))
    found = [mpirun(ranks, PROFILE, tmp_path).splitlines() for ranks in (1, 2, 3, 4)]
    assert found[1:] == [found[0]] * 3
    told = json.loads(found[0][0])["graph"]
    assert told["components"]["count"] > told["isolated"] > 0
    assert told["homophily"] > 0
