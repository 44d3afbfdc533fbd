"""Compression that trains on: the same steps whatever the number of ranks, and the same weights on each."""

import json
import pathlib

import numpy as np
import pytest
from mpi_runs import run_mpi

PROGRAM = pathlib.Path(__file__).resolve().parent.parent / "compress_rows.py"


def compressed(ranks):
    return json.loads(run_mpi(ranks, PROGRAM).splitlines()[-1])


@pytest.mark.parametrize("ranks", [3, *(pytest.param(ranks, marks=pytest.mark.slow) for ranks in (2, 4))])
def test_gradients_are_summed_over_the_ranks(ranks):
    alone, found = compressed(1), compressed(ranks)
    assert found["alike"]
    for name in ("pruned", "shared"):
        one, many = np.array(alone[name]), np.array(found[name])
        assert ((one == 0) == (many == 0)).all()
        np.testing.assert_allclose(many, one, atol=2e-4)  # float32 sums in another order, through Adam's root
    kernel = np.array(found["shared"])[: 6 * 12]
    assert 1 < len(np.unique(kernel[kernel != 0])) <= 4
