"""Splits and features are the same on 1, 2, 3 and 4 ranks, bit for bit."""

import hashlib
import json

from hvdedge.tensors import open_features

EXTRACT = """
    import json, pathlib, sys, tempfile
    import numpy as np
    import pyarrow as pa
    from mpi4py import MPI

    import digit_rows
    from hvdedge.features.image import extract
    from hvdedge.parallel import MeteredComm, counts
    from hvdedge.splits import stratified
    from hvdedge.tables import Table
    from hvdedge.records import to_json
    from hvdedge.tensors import join, write_part
    from hvdedge.workspace import Workspace

    comm = MeteredComm(MPI.COMM_WORLD)
    with tempfile.TemporaryDirectory() as folder:
        everything = digit_rows.make(pathlib.Path(folder))

    def write(run, rows):
        workspace = Workspace(run, run, 64_000_000)
        table = digit_rows.deal(rows, comm, workspace, 100)
        codes = stratified(table.to_arrow()["label"], comm, validation=0.1, test=0.2, seed=7)
        schema = table.schema.append(pa.field("_split", pa.uint8()))
        starts = np.cumsum([0, *(batch.num_rows for batch in table.batches())])
        batches = [
            pa.record_batch([*batch.columns, pa.array(codes[start : start + batch.num_rows])], schema)
            for start, batch in zip(starts, table.batches())
        ]
        features = extract(Table.from_batches(schema, batches, workspace), comm)
        parts = [f"features/part-{rank}.h5" for rank in range(comm.size)]
        write_part(features, run / parts[comm.rank])
        comm.Barrier()
        everyone = counts(int((codes == 255).sum()), comm).sum()
        if comm.rank == 0:
            rows = join(run, parts, run / "features.h5")
            (run / "features.json").write_bytes(to_json(features.spec))
            print(json.dumps([rows, features.left_out, features.rows_left_out, int(everyone)]))

    for count in (1917, 12):
        write(pathlib.Path(sys.argv[1]) / str(count), everything.slice(0, count))
"""


def test_the_joined_features_are_the_same_on_any_number_of_ranks(mpirun, tmp_path):
    told: dict[int, list] = {1917: [], 12: []}
    for ranks in (1, 2, 3, 4):
        folder = tmp_path / str(ranks)
        for rows in told:
            (folder / str(rows) / "features").mkdir(parents=True)
        lines = mpirun(ranks, EXTRACT, folder).splitlines()
        for (rows, found), line in zip(told.items(), lines, strict=True):
            reader = open_features(folder / str(rows) / "features.h5")
            read = [reader.read(split, slice(None)) for split in ("train", "validation", "test")]
            digests = [(x.shape, hashlib.sha256(x.tobytes() + y.tobytes()).hexdigest()) for x, y in read]
            found.append([*json.loads(line), reader.spec, digests])
    for rows, found in told.items():
        assert found[1:] == [found[0]] * 3
        sizes, left_out, rows_left_out, without_label = found[0][:4]
        assert sum(sizes.values()) + without_label == rows
        assert rows_left_out == ({"no label": without_label} if without_label else {})
        assert {*left_out} == {"scan", "site", "scanned"}
    sizes, _, _, without_label = told[1917][0][:4]
    assert without_label > 0
    for split, share in (("train", 0.7), ("validation", 0.1), ("test", 0.2)):
        assert abs(sizes[split] - share * (1917 - without_label)) < 10  # one a class at most
