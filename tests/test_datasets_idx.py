"""IDX files on one rank: what was written comes back, packed or not, and what is not as its header says is one line."""

import gzip
import struct

import numpy as np
import pytest

from hvdedge.datasets import idx
from hvdedge.errors import RankError
from hvdedge.workspace import Source

CODES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def content(values, shape=None):
    values = np.asarray(values)
    shape = values.shape if shape is None else shape
    kind = values.dtype.str[1:]
    return struct.pack(f">HBB{len(shape)}I", 0, CODES[kind], len(shape), *shape) + values.astype(f">{kind}").tobytes()


@pytest.fixture
def read(tmp_path, workspace, comm):
    """Read files of name -> content; return the table as lists by column."""

    def run(files, **options):
        for name, written in files.items():
            (tmp_path / name).write_bytes(written)
        paths = tuple(tmp_path / name for name in files)
        return idx.read(Source(paths, workspace), comm, **options).to_arrow().to_pydict()

    return run


def drawn(count, shape=(3, 4), kind="u1", seed=0):
    return np.random.default_rng(seed).integers(0, 100, (count, *shape)).astype(kind)


@pytest.mark.parametrize("kind", CODES)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_values_come_back_in_the_order_of_the_file(read, kind, pack):
    images, labels = drawn(5, kind=kind), drawn(5, (), "u1")
    found = read({f"{LABELS}.gz": pack(content(labels)), f"{IMAGES}.gz": pack(content(images))})
    assert list(found) == ["label", "split", *(f"p{place:02d}" for place in range(12)), "_file", "_line"]
    assert [found[f"p{place:02d}"] for place in range(12)] == images.reshape(5, 12).T.tolist()
    assert found["label"] == labels.tolist() and found["split"] == ["train"] * 5
    assert found["_file"] == [f"{IMAGES}.gz"] * 5 and found["_line"] == [1, 2, 3, 4, 5]


def test_files_of_the_test_are_those_that_its_pattern_names(read, workspace):
    files = {}
    for number, name in enumerate(("train", "t10k", "more")):
        files[f"{name}-images-idx3-ubyte"] = content(drawn(number + 2, seed=number))
        files[f"{name}-labels-idx1-ubyte"] = content(np.full(number + 2, number, np.uint8))
    assert read(files)["split"] == ["train"] * 2 + ["test"] * 3 + ["train"] * 4
    assert read(files)["label"] == [0] * 2 + [1] * 3 + [2] * 4
    assert [entry["rows"] for entry in workspace.metrics["files"]] == [2, 3, 4]
    assert read(files, test="more*")["split"] == ["train"] * 5 + ["test"] * 4


def test_one_of_two_files_may_be_packed(read):
    images, labels = content(drawn(2)), content(drawn(2, ()))
    packed = read({f"{IMAGES}.gz": gzip.compress(images), LABELS: labels})
    plain = read({IMAGES: images, f"{LABELS}.gz": gzip.compress(labels)})
    assert packed["label"] == plain["label"] and packed["p11"] == plain["p11"]


def test_images_need_no_labels(read):
    assert list(read({IMAGES: content(drawn(2, (2,)))})) == ["split", "p0", "p1", "_file", "_line"]


GOOD = {IMAGES: content(drawn(3)), LABELS: content(drawn(3, ()))}
BAD = {
    "truncated": ({IMAGES: content(drawn(3))[:-1]}, "ends in row 3 of 3"),
    "longer": ({IMAGES: content(drawn(3)) + b"x"}, "more follows after its 3 rows"),
    "truncated gzip": ({IMAGES: gzip.compress(content(drawn(3, (28, 28))))[:-40]}, "end-of-stream"),
    "broken gzip": ({IMAGES: gzip.compress(content(drawn(3)))[:12] + b"\xff" * 40}, "received no IDX file"),
    "bomb": ({IMAGES: gzip.compress(content(drawn(3)) + bytes(10**8))}, "more follows after its 3 rows"),
    "huge images": ({IMAGES: content(drawn(3), (3, 2**31, 2**31))}, "allowed: 1 to 65536 in all"),
    "many images": ({IMAGES: content(drawn(3), (2**32 - 1, 3, 4))}, "ends in row 4 of 4294967295"),
    "empty": ({IMAGES: b""}, "received no IDX file"),
    "text": ({IMAGES: b"a,b,c\n1,2,3\n"}, "allowed: IDX files"),
    "other code": ({IMAGES: b"\0\0\x07\x02" + bytes(12)}, "0x07"),
    "labels alone": ({LABELS: content(drawn(3, ()))}, "allowed: with images"),
    "fewer labels": ({**GOOD, LABELS: content(drawn(2, ()))}, "received 2 labels for 3 images"),
    "labels of others": ({**GOOD, "t10k-labels-idx1-ubyte": content(drawn(3, ()))}, "labels without images"),
    "no labels of some": (
        {**GOOD, "t10k-images-idx3-ubyte": content(drawn(3))},
        "t10k-images-idx3-ubyte without labels",
    ),
    "other sizes": (
        {**GOOD, "t10k-images-idx3-ubyte": content(drawn(3, (5, 5))), "t10k-labels-idx1-ubyte": content(drawn(3, ()))},
        r"images of \(5, 5\) values beside \(3, 4\)",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_wrong_is_told_in_one_line(read, name):
    files, told = BAD[name]
    with pytest.raises(RankError, match=told) as failed:
        read(files)
    assert failed.value.is_input and "\n" not in str(failed.value)
