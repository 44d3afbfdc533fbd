"""Resized images and changed copies are the same on 1, 2, 3 and 4 ranks, bit for bit; also those with few rows."""

import json

EXTRACT = """
    import hashlib, json, pathlib, sys
    import numpy as np
    import pyarrow as pa
    from mpi4py import MPI

    from hvdedge.features.image import extract
    from hvdedge.parallel import MeteredComm, allgather_bytes, block
    from hvdedge.tables import Table
    from hvdedge.workspace import Workspace

    comm = MeteredComm(MPI.COMM_WORLD)
    folder = pathlib.Path(sys.argv[1])
    for count in (203, 3):
        rng = np.random.default_rng(5)
        pixels = rng.integers(0, 256, (count, 75))
        rows = pa.table({
            **{f"p{number}": pa.array(pixels[:, number], mask=rng.random(count) < 0.02) for number in range(75)},
            "label": pa.array(([0, 1] * count)[:count], mask=np.arange(count) % 9 == 8),
            "_split": pa.array(np.arange(count) % 3 // 2, pa.uint8()),
        })
        part = block(count, comm.size, comm.rank)
        mine = rows.slice(part.start, part.stop - part.start).combine_chunks()
        table = Table.from_batches(rows.schema, mine.to_batches(17), Workspace(folder, folder, 64_000_000))
        for scale in (True, "channel", "image"):
            features = extract(table, comm, shape=(5, 5, 3), scale=scale, resize=(3, 8),
                               augment=("shift", "flip", "rotate"), copies=2, seed=7)
            arrays = [np.concatenate([a.view(np.uint8).ravel() for a in them] or [np.empty(0, np.uint8)])
                      for them in list(zip(*features.batches())) or [[]] * 3]
            every = [b"".join(allgather_bytes(array.tobytes(), comm)) for array in arrays]
            if comm.rank == 0:
                digests = [hashlib.sha256(each).hexdigest() for each in every]
                print(json.dumps([len(every[0]), digests, features.spec, features.rows_left_out], sort_keys=True))
"""


def test_images_and_copies_are_the_same_on_any_number_of_ranks(mpirun, tmp_path):
    found = [mpirun(ranks, EXTRACT, tmp_path).splitlines() for ranks in (1, 2, 3, 4)]
    assert found[1:] == [found[0]] * 3
    labelled = [row for row in range(203) if row % 9 != 8]
    training = [row for row in labelled if row % 3 < 2]
    assert [json.loads(line)[0] for line in found[0]] == [len(labelled) + 2 * len(training)] * 3 + [3 + 2 * 2] * 3
