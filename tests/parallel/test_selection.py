"""Selections keep the same rows with the same weights on 1, 2, 3 and 4 ranks, bit for bit."""

SELECT = """
    import hashlib, json
    import numpy as np
    from mpi4py import MPI

    from hvdedge import methods
    from hvdedge.parallel import MeteredComm, allgather_rows
    from hvdedge.reduction import pca
    from small_features import features_of

    comm = MeteredComm(MPI.COMM_WORLD)
    rng = np.random.default_rng(2)
    y = rng.integers(0, 3, 403) * (rng.random(403) < 0.8)
    y[:3] = 0, 1, 2
    x = (rng.normal(size=(403, 5)) + y[:, None]) @ rng.normal(size=(5, 20))
    x[300:340], y[300:340] = x[100:140] + 1e-3, y[100:140]
    found = []

    def note(features):
        whole = allgather_rows(features.weights, comm)
        found.append([features.facts, int((whole > 0).sum()), hashlib.sha256(whole.tobytes()).hexdigest()])
        return features

    for rows in (403, 7, 3):
        for name in methods.names("selection"):
            select = methods.find("selection", name, name).load()
            options = {"reservoir": {"rows": 200}, "near_equal": {"distance": 0.5}}.get(name, {})
            if rows == 403 or name != "reservoir":
                note(select(features_of(x[:rows], y[:rows], comm, batch_rows=37), comm, **options))
    features = pca.reduce(features_of(x, y, comm, batch_rows=37), comm, components=4)
    for name in methods.names("selection"):  # one after the other
        if name != "reservoir":
            select = methods.find("selection", name, name).load()
            features = note(select(features, comm, **({"share": 0.8} if name in SHARED else {})))
    features = pca.reduce(features, comm, components=2)
    found.append(features.spec["reductions"])
    if comm.rank == 0:
        print(json.dumps(found))
"""
SHARED = ("stratified", "k_center", "facility_location", "hard_examples")


def test_the_same_rows_are_kept_on_any_number_of_ranks(mpirun):
    told = [mpirun(ranks, f"    SHARED = {SHARED}{SELECT}") for ranks in (1, 2, 3, 4)]
    assert told[1:] == [told[0]] * 3
