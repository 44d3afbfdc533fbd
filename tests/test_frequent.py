"""The most frequent texts, exactly, also where they do not fit into memory at once."""

import collections

import numpy as np
import pyarrow as pa
import pytest

from hvdedge.frequent import frequent

RNG = np.random.default_rng(3)
TEXTS = [f"t{number}" for number in RNG.geometric(0.003, 4000)]


def batches():
    for start in range(0, len(TEXTS), 300):
        counted = collections.Counter(TEXTS[start : start + 300])
        yield pa.array([*counted], pa.string()), np.array([*counted.values()])


@pytest.mark.parametrize("limit_bytes", [10_000_000, 5_000, 1_500])
@pytest.mark.parametrize(("most", "least"), [(40, 1), (10_000, 3), (10_000, 1)])
def test_they_are_those_of_a_counter_whatever_the_memory(limit_bytes, most, least, comm):
    passes = []

    def counted():
        passes.append(1)
        return batches()

    found = frequent(counted, most, least, limit_bytes, comm)
    held = sorted(collections.Counter(TEXTS).items(), key=lambda pair: (-pair[1], pair[0]))
    assert list(zip(*found.to_pydict().values(), strict=True)) == [pair for pair in held if pair[1] >= least][:most]
    assert (len(passes) > 2) == (limit_bytes < 10_000)


def test_no_text_at_all_is_an_empty_table(comm):
    assert frequent(lambda: iter(()), 5, 1, 1000, comm).num_rows == 0
