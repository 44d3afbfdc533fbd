"""Exchanges as operations of TensorFlow: values and gradients are those of sums and slices written with NumPy."""

import pytest

PROGRAM = """
    import numpy as np
    import tensorflow as tf
    from mpi4py import MPI
    from hvdedge.collective_ops import assembled, copied, gathered, moved, scattered, summed
    from hvdedge.layouts import Boxes, Places
    from hvdedge.parallel import MeteredComm

    comm = MeteredComm(MPI.COMM_WORLD)
    n, r = comm.size, comm.rank
    rng = np.random.default_rng(5)  # the same on every rank

    def check(run, x, made, back, upstream):
        for call in (run, tf.function(run)):
            with tf.GradientTape() as tape:
                source = tf.constant(x, tf.float32)
                tape.watch(source)
                result = call(source)
            grad = tape.gradient(result, source, tf.constant(upstream, tf.float32))
            np.testing.assert_allclose(result, made, rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(grad, back, rtol=1e-5, atol=1e-5)

    xs, ups = rng.normal(size=(n, 2, 3, 7)), rng.normal(size=(n, 2, 3, 7))
    check(lambda x: summed(x, comm), xs[r], xs.sum(0), ups[0], ups[0])
    check(lambda x: copied(x, comm), xs[0], xs[0], ups.sum(0), ups[r])
    order = rng.permutation(7)
    places = Places(tuple(np.sort(part) for part in np.array_split(order, n)))
    own = places.held[r]
    check(lambda x: gathered(x, places, comm), xs[0][..., own], xs[0], ups[0][..., own], ups[0])
    apart = lambda x: gathered(x, places, comm, is_shared=False)
    check(apart, xs[0][..., own], xs[0], ups.sum(0)[..., own], ups[r])
    check(lambda x: scattered(x, places, comm), xs[r], xs.sum(0)[..., own], ups[0], ups[0][..., own])

    image = rng.normal(size=(2, 9, 4, 3))
    boxes = Boxes((9, 4), (n, 1))
    have = [boxes.box(rank) for rank in range(n)]
    mine = (slice(None), *have[r])
    up = rng.normal(size=image.shape)
    check(lambda x: assembled(x, have, comm), image[mine], image, up[mine], up)
    need = [(slice(max(rows.start - 2, 0), min(rows.stop + 1, 9)), columns) for rows, columns in have]
    back = np.zeros_like(image)
    for rows, columns in need:
        back[:, rows, columns] += up[:, rows, columns]
    wanted = (slice(None), *need[r])
    check(lambda x: moved(x, have, need, comm), image[mine], image[wanted], back[mine], up[wanted])
    print("right")
"""


@pytest.mark.parametrize(
    "ranks", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(3, marks=pytest.mark.slow), 4]
)
def test_values_and_gradients_are_those_of_numpy(ranks, mpirun):
    assert mpirun(ranks, PROGRAM).count("right") == ranks
