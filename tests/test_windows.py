"""Windows of series: against windows cut by hand, row by row; splits that would leak and bad input are told."""

import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_tables import table_of
from window_rows import cut

from hvdedge.errors import InputError
from hvdedge.features.windows import extract

QUIET = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(features):
    """Return codes, x and y of all windows."""
    parts = [*zip(*features.batches(), strict=True)]
    return [np.concatenate(part) for part in parts]


def line(count=20, **columns):
    """Return one series of two channels, the last rows for validation and test."""
    split = np.repeat([0, 1, 2], [count - 2 * (count // 4), count // 4, count // 4]).astype(np.uint8)
    return {
        **{"t": np.arange(count), "a": np.arange(count, dtype=float), "b": np.arange(count) % 3},
        **{"_split": pa.array(split), **columns},
    }


@st.composite
def some_rows(draw):
    """Rows of up to four series in any order, with gaps, equal times, rows of no time or series."""
    count = draw(st.integers(1, 40))
    borders = sorted(draw(st.tuples(st.integers(3, 9), st.integers(4, 10))))
    cells = st.one_of(st.just(None), *[st.floats(-5, 5, width=16)] * 9)
    rows = []
    for _ in range(count):
        time, name = draw(st.integers(0, 11)), draw(st.sampled_from(["s", "t", "u", "v"]))
        split = sum(time >= border for border in borders)
        rows.append({"time": time, "series": name, "_split": split, "a": draw(cells), "b": draw(st.integers(-3, 3))})
    for lacking in draw(st.lists(st.sampled_from(["time", "series"]), max_size=2)):
        rows[draw(st.integers(0, count - 1))][lacking] = None
    return rows


TYPES = {"time": pa.int64(), "series": pa.string(), "_split": pa.uint8(), "a": pa.float64(), "b": pa.int64()}


@QUIET
@given(some_rows(), st.integers(1, 3), st.integers(1, 2), st.integers(1, 3), st.sampled_from([("b",), ("a", "b")]))
def test_windows_are_those_cut_by_hand(comm, workspace, rows, window, horizon, stride, targets):
    table = table_of(workspace, **{name: pa.array([row[name] for row in rows], TYPES[name]) for name in TYPES})
    options = {"window": window, "horizon": horizon, "stride": stride}
    if not any(row["_split"] == 0 and row["a"] is not None for row in rows):
        with pytest.raises(InputError, match="without a number in the training rows"):
            extract(table, comm, time="time", series="series", columns=("a",), **options)
        return
    wanted, left_out = cut(rows, ["a", "b"], targets, **options)
    if not {0, 2} <= {split for split, _, _ in wanted}:
        with pytest.raises(InputError, match="none of them for|extract.window"):
            extract(table, comm, time="time", series="series", columns=("a", "b"), targets=targets, **options)
        return
    features = extract(table, comm, time="time", series="series", columns=("a", "b"), targets=targets, **options)
    codes, x, y = read(features)
    assert x.dtype == y.dtype == np.float32
    assert list(x.shape[1:]) == features.spec["input_shape"]
    assert y.shape[1:] == features.y_shape == tuple(features.spec["output_shape"])
    assert codes.tolist() == [split for split, _, _ in wanted]
    np.testing.assert_allclose(x, [past for _, past, _ in wanted], rtol=1e-5, atol=1e-6)  # float32
    np.testing.assert_allclose(y, [later for _, _, later in wanted], rtol=1e-5, atol=1e-6)
    told = features.rows_left_out
    assert told.get("windows whose y is of two splits", 0) == left_out["splits"]
    assert told.get("windows with a missing number", 0) == left_out["missing"]
    assert told.get("rows without a time", 0) == sum(row["time"] is None for row in rows)


def test_a_window_of_another_length_is_cut_from_the_tables_order(comm, workspace):
    features = extract(table_of(workspace, **line()), comm, columns=("a",), window=3, horizon=2)
    codes, x, y = read(features)
    mean, deviation = np.arange(10).mean(), np.arange(10).std()
    assert (x[0, :, 0] * deviation + mean).tolist() == pytest.approx([0, 1, 2], abs=1e-5)
    assert (y[0, :, 0] * deviation + mean).tolist() == pytest.approx([3, 4], abs=1e-5)
    # 10 rows for training: windows of 5 rows begin at 0 to 5; 5 for validation: y at 10 to 13, and for the test
    assert codes.tolist() == [0] * 6 + [1] * 4 + [2] * 4
    assert features.rows_left_out == {"windows whose y is of two splits": 2}
    # the first test window reaches back into validation, its y does not
    assert (x[codes == 2][0, :, 0] * deviation + mean).tolist() == pytest.approx([12, 13, 14], abs=1e-4)
    assert (y[codes == 2][0, :, 0] * deviation + mean).tolist() == pytest.approx([15, 16], abs=1e-4)
    assert (
        features.spec["targets"]
        == features.spec["channels"]
        == [{"column": "a", "mean": pytest.approx(mean), "deviation": pytest.approx(deviation)}]
    )
    assert features.left_out == {"t": "not among extract.columns", "b": "not among extract.columns"}


def test_only_training_rows_scale(comm, workspace):
    columns = line()
    spoilt = {**columns, "a": np.where(np.arange(20) < 10, columns["a"], 1e6)}
    calm, wild = (extract(table_of(workspace, **one), comm, columns=("a",), window=3).spec for one in (columns, spoilt))
    assert calm == wild


def test_missing_numbers_leave_windows_out_or_are_the_mean(comm, workspace):
    cells = [None if place in (4, 17) else float(place) for place in range(20)]
    options = {"columns": ("b",), "targets": ("a",), "window": 2}
    table = table_of(workspace, **line(a=pa.array(cells)))
    assert extract(table, comm, **options).rows_left_out == {"windows with a missing number": 2}  # as y
    table = table_of(workspace, **line(b=pa.array(cells)))
    assert extract(table, comm, **options).rows_left_out == {"windows with a missing number": 4}  # 2 each
    filled = extract(table, comm, **options, missing="mean")
    assert filled.rows_left_out == {}
    assert read(filled)[1][3, 1] == 0  # row 4, the second of the window from row 3


def test_a_label_is_that_of_the_last_row(comm, workspace):
    label = pa.array(["up" if place % 4 < 2 else "down" for place in range(20)])
    features = extract(table_of(workspace, **line(label=label)), comm, columns=("a", "b"), label="label", window=3)
    codes, x, y = read(features)
    assert x.shape == (18, 3, 2)
    assert y.dtype == np.int64
    assert [features.spec["classes"][number] for number in y] == label.to_pylist()[2:]
    assert codes.tolist() == line()["_split"].to_pylist()[2:]
    assert features.spec["task"] == "classification"
    some = pa.array([None if place in (3, 9) else name for place, name in enumerate(label.to_pylist())])
    told = extract(table_of(workspace, **line(label=some)), comm, columns=("a",), label="label", window=3)
    assert told.rows_left_out == {"windows without a label": 2}  # not those that only have such a row before


def test_aggregates_stand_instead_of_the_numbers_or_before_them(comm, workspace):
    options = {"columns": ("a", "b"), "window": 4}
    raw = read(extract(table_of(workspace, **line()), comm, **options))[1].astype(float)  # (windows, 4, 2)
    told = ("mean", "std", "min", "max", "median", "first", "last", "change", "slope", "histogram")
    features = extract(table_of(workspace, **line()), comm, **options, aggregates=told, raw=True)
    x = read(features)[1]
    assert features.spec["input_shape"] == [2 * (9 + 8 + 4)]
    its = x[:, :34].reshape(-1, 2, 17)
    wanted = [raw.mean(1), raw.std(1), raw.min(1), raw.max(1), np.median(raw, 1), raw[:, 0], raw[:, -1]]
    wanted += [raw[:, -1] - raw[:, 0], np.moveaxis([np.polyfit(range(4), one, 1)[0] for one in raw], 0, 0)]
    np.testing.assert_allclose(its[:, :, :9], np.stack(wanted, axis=2), rtol=1e-5, atol=1e-6)  # float32
    edges = [-np.inf, -1.5, -1, -0.5, 0, 0.5, 1, 1.5, np.inf]
    shares = [[np.histogram(one[:, channel], edges)[0] / 4 for channel in (0, 1)] for one in raw]
    np.testing.assert_array_equal(its[:, :, 9:], np.float32(shares))
    np.testing.assert_array_equal(x[:, 34:], np.float32(raw.reshape(len(raw), -1)))
    alone = extract(table_of(workspace, **line()), comm, **options, aggregates=("mean",))
    np.testing.assert_array_equal(read(alone)[1], its[:, :, 0])


def test_a_table_beyond_memory_gives_the_same_windows(comm, workspace):
    rng = np.random.default_rng(1)
    columns = line(4000, t=rng.permutation(4000), a=rng.normal(0, 1, 4000))
    columns["_split"] = pa.array((columns["t"] >= 3000).astype(np.uint8) * 2)
    options = {"time": "t", "columns": ("a", "b"), "window": 30, "horizon": 3}
    wanted = read(extract(table_of(workspace, **columns), comm, **options))
    workspace.memory_bytes = 80_000
    found = read(extract(table_of(workspace, **columns), comm, **options))
    assert len([*workspace.scratch.glob("sequences-*.npy")]) == 1
    assert all((one == other).all() for one, other in zip(wanted, found, strict=True))


def test_times_may_be_dates(comm, workspace):
    days = [datetime.date(2024, 1, 1) + datetime.timedelta(19 - place) for place in range(20)]
    columns = line(t=days)
    split = columns["_split"].to_pylist()
    features = extract(
        table_of(workspace, **{**columns, "_split": pa.array(split[::-1], pa.uint8())}),
        comm,
        time="t",
        columns=("a",),
        window=2,
    )
    x = read(features)[1]
    assert (np.diff(x[:, :, 0], axis=1) < 0).all()


@pytest.mark.parametrize(
    ("options", "line_told"),
    [
        ({"window": 21}, "extract.window: received window = 21 and horizon = 1 for series of up to 20 rows, allowed"),
        ({"window": 16, "horizon": 3}, "received 2 windows, none of them for training, allowed"),
        ({"columns": ("t", "x*")}, r"extract.columns: received 'x\*', which matches no column"),
        ({"columns": ("s",)}, r"extract.columns: received \['s'\], which matches s, allowed: t, a, b"),
        ({"targets": ("s",)}, r"extract.targets: received \['s'\], which matches s"),
        ({"targets": ("a",), "label": "s"}, "with label = 's', allowed: one of the two"),
        ({"label": "nothing"}, "extract.label: received 'nothing', which is no column"),
        ({"time": "s"}, "extract.time: received 's', allowed: t, a, b, late, part; name one of these"),
        ({"time": "b"}, "extract.split: received rows of a series that go back to an earlier split, "),
        ({"series": "none"}, "extract.series: received 'none', allowed: t, a, b, s, late, part; name one of these"),
        ({"raw": True}, "extract.raw: received true without aggregates"),
        ({"season": 25}, "extract.season: received 25 with window = 24"),
        (
            {"season": 2, "label": "s"},
            "extract.season: received 2 with label = 's', allowed: 0, as nothing is forecast",
        ),
        ({"label": "part"}, r"'part' for windows \(it holds numbers with fractions\), .*targets = \['part'\]"),
        ({"label": "s"}, "classes of which no window is for training \\(z\\)"),
        ({"columns": ("late",), "targets": ("a",), "window": 2}, "extract.columns: received late without a number"),
        ({"columns": ("a",), "targets": ("late",), "window": 2}, "extract.targets: received late without a number"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(comm, workspace, options, line_told):
    more = {"s": [*"xy"] * 9 + [*"xz"], "late": pa.array([None] * 15 + [1.0] * 5), "part": np.arange(20) / 8}
    if options.get("label") == "s":
        options = {"window": 2, **options}
    with pytest.raises(InputError, match=line_told) as caught:
        extract(table_of(workspace, **line(**more)), comm, **options)
    assert "\n" not in str(caught.value)


def test_a_table_without_a_row_or_number_is_told(comm, workspace):
    empty = {name: pa.array([], type) for name, type in TYPES.items()}
    with pytest.raises(InputError, match="without a number in the training rows"):
        extract(table_of(workspace, **empty), comm, window=2)
    with pytest.raises(InputError, match="extract.columns: received"):
        extract(table_of(workspace, word=["a"], _split=pa.array([0], pa.uint8())), comm, window=1)
