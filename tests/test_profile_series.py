"""Profiles of series: autocorrelation by its formula in numpy, steps and gaps by sums by hand, a known season."""

import datetime
import json
import math
import pathlib

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_tables import table_of

from hvdedge.errors import InputError
from hvdedge.profiling.series import profile

RNG = np.random.default_rng(2)


def told(comm, workspace, *, rows=None, **options):
    found = profile(table_of(workspace, **rows), comm, **options)
    json.dumps(found, allow_nan=False)
    return found["series"]


def by_formula(parts, lags):
    """Return r(1) to r(lags) of several series, missing numbers as the mean."""
    centred = [np.nan_to_num(np.array(part) - np.nanmean(part)) for part in parts]
    below = sum(float(part @ part) for part in centred)
    return [sum(float(part[lag:] @ part[:-lag]) for part in centred) / below for lag in range(1, lags + 1)]


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=12, max_size=60).filter(lambda its: np.ptp(its) > 1),
    st.integers(1, 9),
)
def test_autocorrelation_is_that_of_the_formula(comm, workspace, values, lags):
    found = told(comm, workspace, rows={"x": values}, lags=lags)["columns"]["x"]["autocorrelation"]
    assert found == pytest.approx(by_formula([values], lags), abs=2e-6)  # 2**-30 of the range of up to 2e6


def test_known_numbers_have_known_autocorrelations(comm, workspace):
    # 1 2 3 4 around 2.5: -1.5 -0.5 0.5 1.5, squares 5; products 1.25, -1.5, -2.25
    found = told(comm, workspace, rows={"x": [1, 2, 3, 4]}, lags=9)["columns"]["x"]
    assert found == {"autocorrelation": pytest.approx([0.25, -0.3, -0.45], abs=1e-9), "period": None, "strength": None}


def test_each_series_has_its_own_mean_and_missing_numbers_are_it(comm, workspace):
    first, second = RNG.normal(0, 1, 40).cumsum(), 1000 + RNG.normal(0, 3, 30)
    second[[3, 4, 20]] = np.nan
    order = RNG.permutation(70)
    times, names = np.r_[0:40, 0:30][order], np.array(["a"] * 40 + ["b"] * 30)[order]
    rows = {"t": times, "name": names, "x": pa.array(np.r_[first, second][order], from_pandas=True), "y": [7.0] * 70}
    found = told(comm, workspace, rows=rows, time="t", by="name", lags=5)
    assert found["columns"]["x"]["autocorrelation"] == pytest.approx(by_formula([first, second], 5), abs=1e-5)
    assert found["columns"]["y"]["autocorrelation"] == [None] * 5  # it does not vary
    assert (found["rows"], found["series"], found["shortest"], found["longest"]) == (70, 2, 30, 40)


def test_steps_gaps_and_equal_times_are_counted(comm, workspace):
    start = datetime.datetime(2024, 1, 1)
    hours = [0, 1, 2, 2, 3, 7, 8, 9, 9, 9, 12, 13]
    rows = {"at": [start + datetime.timedelta(hours=hour) for hour in hours], "x": range(12)}
    assert told(comm, workspace, rows=rows, time="at")["sampling"] == {
        **{"step": 3600.0, "unit": "seconds", "share": 6 / 11, "gaps": 2, "longest_gap": 4 * 3600.0},
        **{"missing_steps": 5, "equal_times": 3},
    }
    days = {"at": [datetime.date(2024, 1, 1 + 2 * day) for day in range(9)], "x": range(9)}
    assert told(comm, workspace, rows=days, time="at")["sampling"]["step"] == 2 * 86400.0
    numbers = told(comm, workspace, rows={"at": [0.5, 2.0, 1.0, None], "x": range(4)}, time="at")
    assert numbers["sampling"]["step"] == 0.5
    assert numbers["left_out"] == {"rows without a time": 1}
    assert told(comm, workspace, rows={"x": range(9)})["sampling"] is None


@pytest.mark.parametrize("period", [7, 24])
def test_a_season_is_found_in_noise_and_trend_and_none_in_noise(comm, workspace, period):
    time, rng = np.arange(1500), np.random.default_rng(period)
    season = np.sin(2 * np.pi * time / period) + rng.normal(0, 0.5, 1500) + time / 1000
    found = told(comm, workspace, rows={"season": season, "noise": rng.normal(0, 1, 1500), "line": time * 0.1})
    assert found["columns"]["season"]["period"] == period
    assert found["columns"]["season"]["strength"] == found["columns"]["season"]["autocorrelation"][period - 1]
    assert found["columns"]["noise"]["period"] is found["columns"]["line"]["period"] is None
    alone = told(comm, workspace, rows={"season": season}, lags=period)
    assert (alone["period"], alone["strength"]) == (period, found["columns"]["season"]["strength"])


def test_a_table_of_no_or_one_row_has_nothing_to_tell(comm, workspace):
    for count in (0, 1):
        rows = {"at": pa.array([1.0] * count, pa.float64()), "x": pa.array([1.0] * count, pa.float64())}
        found = told(comm, workspace, rows=rows, time="at")
        assert found["columns"]["x"] == {"autocorrelation": [], "period": None, "strength": None}
        assert found["sampling"]["step"] is None
        assert (found["rows"], found["longest"]) == (count, count)
    assert told(comm, workspace, rows={"word": ["a"]})["columns"] == {}


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"time": "word"}, "profile.series.time: received 'word', allowed: t, x; name one of these"),
        ({"by": "nothing"}, "profile.series.by: received 'nothing', allowed: t, word, x"),
        ({"columns": ("word",)}, "profile.series.columns: received word, allowed: columns of numbers, t, x"),
        ({"columns": ("z*",)}, r"profile.series.columns: received 'z\*', which matches no column"),
    ],
)
def test_what_is_no_series_is_told_in_one_line(comm, workspace, options, line):
    with pytest.raises(InputError, match=line):
        told(comm, workspace, rows={"t": [1, 2], "word": ["a", "b"], "x": [1.0, 2.0]}, **options)


def test_hourly_temperatures_repeat_after_a_day(comm, workspace):
    path = pathlib.Path(__file__).resolve().parents[2] / "shared/data/ett/ETTh1.csv"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    rows = pyarrow.csv.read_csv(path)
    columns = {
        name: rows[name].cast(pa.timestamp("us")) if name == "date" else rows[name] for name in rows.column_names
    }
    found = told(comm, workspace, rows=columns, time="date")
    assert (found["period"], found["sampling"]["step"], found["sampling"]["share"]) == (24, 3600.0, 1.0)
    assert math.isclose(found["columns"]["HUFL"]["autocorrelation"][23], by_formula([rows["HUFL"].to_numpy()], 24)[23])
