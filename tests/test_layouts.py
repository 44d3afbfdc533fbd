"""Layouts: places and boxes hold everything once, windows need what TensorFlow looks at."""

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdedge.layouts import Boxes, dealt, window


def test_an_image_laid_flat_has_every_number_on_one_rank():
    places = Boxes((5, 3), (2, 2)).flat(4)
    assert sorted(np.concatenate(places.held)) == [*range(60)]
    np.testing.assert_array_equal(places.held[0], [0, 1, 2, 3, 12, 13, 14, 15])  # rows 0 and 1, column 0


def test_places_of_gates_and_channels():
    places = dealt(3, 2)
    assert [held.tolist() for held in places.held] == [[0], [1, 2]]
    assert [held.tolist() for held in places.repeated(2).held] == [[0, 3], [1, 2, 4, 5]]
    assert [held.tolist() for held in places.spread(2).held] == [[0, 1], [2, 3, 4, 5]]


@settings(max_examples=40, deadline=None)
@given(*(st.integers(*pair) for pair in [(4, 12), (1, 4), (1, 3), (1, 4)]), st.sampled_from(["same", "valid"]))
def test_a_convolution_of_parts_is_that_of_the_whole(size, kernel, stride, ranks, padding):
    x = np.random.default_rng(0).normal(size=(1, size, 1)).astype(np.float32)
    weights = np.arange(1, kernel + 1, dtype=np.float32).reshape(kernel, 1, 1)
    whole = tf.nn.conv1d(x, weights, stride, padding.upper()).numpy()
    out, parts = Boxes((whole.shape[1],), (ranks,)), []
    for rank in range(ranks if out.is_full else 0):
        inside, around = window(size, kernel, stride, 1, padding).needed(out.box(rank)[0], size)
        filled = np.pad(x[:, inside], [(0, 0), around, (0, 0)])
        parts.append(tf.nn.conv1d(filled, weights, stride, "VALID").numpy())
    if parts:
        np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, rtol=1e-5, atol=1e-5)
