"""First values of slices are as large as those of the whole weight."""

import keras
import numpy as np
import pytest

from hvdedge.slice_values import drawn

WHOLE = (60, 240)


def held(shape, ranks):
    """The places of the last rank of some, which share the last axis."""
    return [np.arange(shape[0]), np.arange(shape[1] * (ranks - 1) // ranks, shape[1])]


@pytest.mark.parametrize("ranks", [2, 4])
@pytest.mark.parametrize("kind", ["GlorotUniform", "HeNormal", "LecunUniform", "Orthogonal"])
def test_a_slice_has_the_deviation_of_the_whole(kind, ranks):
    initializer = getattr(keras.initializers, kind)(seed=3)
    values = np.asarray(drawn(initializer, WHOLE, held(WHOLE, ranks), (1, 2, 3)))
    assert values.shape == (60, 240 // ranks)
    assert values.std() == pytest.approx(np.asarray(initializer(WHOLE)).std(), rel=0.05)


def test_ranks_draw_others():
    initializer = keras.initializers.GlorotUniform(seed=3)
    one, other = (np.asarray(drawn(initializer, WHOLE, held(WHOLE, 2), (1, rank, 3))) for rank in (0, 1))
    assert not np.array_equal(one, other)


def test_what_needs_no_correction_is_left_to_keras():
    assert drawn(keras.initializers.Zeros(), WHOLE, held(WHOLE, 2), (1, 2, 3)) is None
    identity = drawn(keras.initializers.Identity(), (4, 4), held((4, 4), 2), (1, 2, 3))
    np.testing.assert_array_equal(identity, np.eye(4)[:, 2:])
