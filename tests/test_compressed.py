"""Stored models of level numbers and of tokens say in 8 bits what they said before."""

import functools
import gzip

import numpy as np
import pytest

from hvdedge.compressed import CompressedModel, Runner, unpacked
from hvdedge.models import dense, embedding

RNG = np.random.default_rng(2)


@pytest.mark.parametrize("integer", [False, True])
def test_level_numbers_and_tokens_are_not_lost_in_8_bits(integer):
    levels = np.stack([RNG.normal(0, 1, 60), RNG.integers(0, 901, 60)], axis=1).astype(np.float32)
    spec = {"input_shape": [2], "task": "classification", "classes": [0, 1], "embedded": [{"place": 1, "levels": 900}]}
    tokens = RNG.integers(0, 500, (60, 6)).astype(np.int32)
    words = {"task": "classification", "input_shape": [6], "classes": [0, 1], "vocabulary_size": 500}
    for model, x in ((dense.build(spec, hidden=8), levels), (embedding.build(words), tokens)):
        stored = CompressedModel(model, 8 if integer else 0).store(x)
        wanted = np.asarray(model(x))
        got = Runner(stored).predict(x)
        assert np.abs(got - wanted).max() < (0.05 * np.ptp(wanted) if integer else 1e-5)
        began = iter([None])
        taken = Runner(stored).latencies_seconds(np.zeros(x.shape[1:], np.float32), functools.partial(next, began))
        assert taken.min() > 0 and next(began, "called once") == "called once"


def test_a_gzip_file_is_unpacked_up_to_a_limit_and_what_is_damaged_told():
    whole = gzip.compress(bytes(range(256)) * 40, mtime=0)
    assert unpacked(whole) == bytes(range(256)) * 40
    bomb = gzip.compress(bytes(80_000_000))
    assert len(bomb) < 80_000
    with pytest.raises(ValueError, match="it unpacks to more than 77,"):
        unpacked(bomb)
    flipped = whole[:-6] + bytes([whole[-6] ^ 1]) + whole[-5:]
    for damaged in (b"junk", whole[:-3], whole + b"more", flipped, b""):
        with pytest.raises(ValueError, match="it is|there is"):
            unpacked(damaged)
