"""What is told of images, against numpy."""

import json

import numpy as np
import pyarrow as pa
import pytest

from hvdedge.errors import InputError
from hvdedge.profiling.images import profile
from hvdedge.tables import Table

RNG = np.random.default_rng(8)


def made(workspace, pixels, **columns) -> Table:
    pixels = np.asarray(pixels, np.float64)
    rows = pa.table({**{f"p{number}": pixels[:, number] for number in range(pixels.shape[1])}, **columns})
    return Table.from_batches(rows.schema, rows.to_batches(4), workspace)


def test_channels_are_those_of_numpy(comm, workspace):
    pixels = RNG.normal([0, 100] * 6, [1, 20] * 6, (30, 12))
    pixels[:, 4], pixels[3, 5], pixels[:, 8] = 7, np.nan, np.nan
    found = profile(made(workspace, pixels), comm, shape=(2, 3, 2))["images"]
    json.dumps(found, allow_nan=False)
    assert (found["rows"], found["shape"], found["classes"]) == (30, [2, 3, 2], None)
    for channel, told in enumerate(found["channels"]):
        its = pixels[:, channel::2]
        assert told == {
            "pixels": int(np.isfinite(its).sum()),
            "missing": int(np.isnan(its).sum()),
            "mean": pytest.approx(np.nanmean(its), rel=1e-12),
            "std": pytest.approx(np.nanstd(its), rel=1e-12),
            "min": np.nanmin(its),
            "max": np.nanmax(its),
        }
    assert found["constant_pixels"] == 2 / 12


def test_a_column_of_arrays_is_described_as_its_pixels_in_columns(comm, workspace):
    pixels = RNG.integers(0, 256, (30, 12)).astype(np.uint8)
    lists = pa.FixedSizeListArray.from_arrays(pa.array(pixels.reshape(-1)), 12, mask=pa.array(np.arange(30) == 4))
    rows = pa.table({"image": lists})
    table = Table.from_batches(rows.schema, rows.to_batches(7), workspace)
    spread = np.where((np.arange(30) == 4)[:, None], np.nan, pixels)
    wanted = profile(made(workspace, spread), comm, shape=(2, 2, 3))
    assert profile(table, comm, columns="image", shape=(2, 2, 3)) == wanted
    assert profile(table, comm, columns="image")["images"]["shape"] == [12]


def test_the_balance_of_the_classes_is_told(comm, workspace):
    label = ["cat"] * 6 + ["dog"] * 2 + [None] + ["cow"] * 3
    found = profile(made(workspace, np.ones((12, 2)), kind=label), comm, label="kind")["images"]
    assert found["shape"] == [2]
    assert found["constant_pixels"] == 1
    assert found["channels"][0]["std"] == 0
    assert found["classes"] == {
        "counts": [{"value": "cat", "count": 6}, {"value": "cow", "count": 3}, {"value": "dog", "count": 2}],
        "imbalance": 3.0,
        "without_label": 1,
    }


def test_no_images_or_no_pixels_are_null(comm, workspace):
    found = profile(made(workspace, np.empty((0, 2)), n=pa.array([], pa.int64())), comm, label="n")["images"]
    assert found["channels"] == [{"pixels": 0, "missing": 0, "mean": None, "std": None, "min": None, "max": None}]
    assert found["constant_pixels"] is None
    assert found["classes"] == {"counts": [], "imbalance": None, "without_label": 0}
    empty = profile(made(workspace, np.full((3, 2), np.nan)), comm)["images"]
    assert empty["channels"][0]["missing"] == 6
    assert empty["constant_pixels"] == 1


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"columns": "q*"}, r"profile.images.columns: received 'q\*', which matches no column, allowed: p0, p1, note"),
        ({"columns": "*"}, r"profile.images.columns: received '\*', which matches note, allowed: columns of numbers"),
        ({"shape": (3, 1)}, r"profile.images.shape: received \[3, 1\] for the 2 columns that match 'p\*'"),
        ({"label": "kind"}, "profile.images.label: received 'kind', which is no column, allowed: p0, p1, note"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(options, line, comm, workspace):
    with pytest.raises(InputError, match=line) as caught:
        profile(made(workspace, np.ones((3, 2)), note=[*"abc"]), comm, **options)
    assert "\n" not in str(caught.value)
