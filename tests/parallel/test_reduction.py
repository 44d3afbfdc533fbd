"""Reductions give the same features on 1, 2, 3 and 4 ranks, bit for bit."""

REDUCE = """
    import hashlib, json
    import numpy as np
    from mpi4py import MPI

    from hvdedge.parallel import MeteredComm, allgather_rows
    from hvdedge.reduction import mutual_information, pca, random_projection
    from small_features import features_of, read

    comm = MeteredComm(MPI.COMM_WORLD)
    rng = np.random.default_rng(2)
    x = rng.normal(size=(403, 20)) @ rng.normal(size=(20, 20))
    y = (x[:, 3] > 0) + 2 * (x[:, 4] > 1)
    found = []
    for rows in (403, 7, 2):
        features = features_of(x[:rows], y[:rows].astype(np.int64), comm, batch_rows=37)
        for reduce, options in (
            (random_projection.reduce, {"components": 15}),
            (pca.reduce, {"components": 6}),
            (mutual_information.reduce, {"columns": 3}),
        ):
            features = reduce(features, comm, **options)
            whole = allgather_rows(np.concatenate([np.empty((0, *features.spec["input_shape"]), np.float32),
                                                   *(x for _, x, _ in features.batches())]), comm)
            found.append([features.facts, features.spec, hashlib.sha256(whole.tobytes()).hexdigest()])
    if comm.rank == 0:
        print(json.dumps(found))
"""


def test_fewer_columns_are_the_same_on_any_number_of_ranks(mpirun):
    told = [mpirun(ranks, REDUCE) for ranks in (1, 2, 3, 4)]
    assert told[1:] == [told[0]] * 3
