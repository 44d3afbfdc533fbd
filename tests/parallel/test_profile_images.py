"""What is told of images is the same on 1, 2, 3 and 4 ranks, bit for bit; also on more than there are rows."""

import json

PROFILE = """
    import json, pathlib, tempfile
    import numpy as np
    import pyarrow as pa
    from mpi4py import MPI

    import digit_rows
    from hvdedge.parallel import MeteredComm
    from hvdedge.profiling.images import profile
    from hvdedge.workspace import Workspace

    comm = MeteredComm(MPI.COMM_WORLD)
    draw = np.random.default_rng(0)
    pixels = draw.normal(1e6, 3, (500, 12))
    everything = pa.table({
        **{f"p{number}": pa.array(pixels[:, number], mask=draw.random(500) < 0.1) for number in range(12)},
        "label": pa.array(draw.choice(["a", "b", "c"], 500), mask=draw.random(500) < 0.1),
    })
    scratch = pathlib.Path(tempfile.mkdtemp())
    told = []
    for count in (500, 3, 0):
        table = digit_rows.deal(everything.slice(0, count), comm, Workspace(scratch, scratch, 64_000_000), 70)
        told.append(profile(table, comm, shape=(2, 2, 3), label="label"))
    everyone = comm.allgather(json.dumps(told, allow_nan=False))
    assert len(set(everyone)) == 1
    if comm.rank == 0:
        print(everyone[0])
"""


def test_images_are_described_alike_on_any_number_of_ranks(mpirun):
    found = [mpirun(ranks, PROFILE) for ranks in (1, 2, 3, 4)]
    assert found[1:] == [found[0]] * 3
    many, few, none = (told["images"] for told in json.loads(found[0]))
    assert (many["rows"], few["rows"], none["rows"]) == (500, 3, 0)
    assert abs(many["channels"][2]["mean"] - 1e6) < 1
