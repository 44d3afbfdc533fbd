"""The dense network: its shape, and the same weights for the same seed."""

import numpy as np
import pytest

from hvdedge.models.dense import build


@pytest.mark.parametrize(("shape", "inputs"), [((5,), 5), ((2, 3, 1), 6)])
def test_it_has_the_layers_and_weights_that_were_asked_for(shape, inputs):
    model = build(
        {"task": "classification", "input_shape": list(shape), "classes": [*"abc"]},
        hidden=7,
        layers=2,
        dropout=0.5,
        seed=1,
    )
    assert model.output_shape == (None, 3)
    assert model.count_params() == (inputs + 1) * 7 + 8 * 7 + 8 * 3
    assert [layer.rate for layer in model.layers if hasattr(layer, "rate")] == [0.5, 0.5]
    assert model(np.zeros((4, *shape), np.float32)).shape == (4, 3)


def test_a_seed_gives_its_weights_and_no_two_layers_the_same():
    spec = {"task": "classification", "input_shape": [6], "classes": [0, 1]}
    first, again, other = (build(spec, hidden=6, layers=2, seed=seed).get_weights() for seed in (3, 3, 4))
    assert all((one == two).all() for one, two in zip(first, again, strict=True))
    assert not (first[0] == other[0]).any()
    assert not (first[0] == first[2]).any()
