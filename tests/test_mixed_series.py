"""Rows that are plainly of several series though taken for one; one series in any order is let be."""

import numpy as np
import pytest
from small_tables import table_of

from hvdedge.features.windows import extract
from hvdedge.mixed_series import find_mixed
from hvdedge.sequences import Sequences

CLOCK = np.arange(40.0)
MIXED = {
    "one after the other": ([*CLOCK, *CLOCK], "40 of 80 rows have the time of a row before"),
    "row by row": (np.repeat(CLOCK, 3), "80 of 120 rows have the time of a row before"),
    "with clocks of their own": ([*CLOCK, *(CLOCK + 0.5), *(CLOCK + 0.2)], "the times of 120 rows go back 2 times, to"),
}
ALONE = {
    "in order": CLOCK,
    "reversed": CLOCK[::-1],
    "shuffled": np.random.default_rng(1).permutation(CLOCK),
    "in files that are not in order": np.r_[CLOCK[20:], CLOCK[:10], CLOCK[10:20]],
    "with a clock that was put back": np.r_[CLOCK, CLOCK[-1], CLOCK + 40],
    "of no row": CLOCK[:0],
    "of one row": CLOCK[:1],
}


def find(comm, workspace, times):
    table = table_of(workspace, t=np.array(times, float))
    rows = Sequences(table, comm, time="t", series="", where=("time", "series"))
    return find_mixed(np.array(times, float), rows, comm)


@pytest.mark.parametrize(("times", "told"), MIXED.values(), ids=MIXED)
def test_several_series_are_seen(comm, workspace, times, told):
    assert find(comm, workspace, times).startswith(told)


@pytest.mark.parametrize("times", ALONE.values(), ids=ALONE)
def test_one_series_is_let_be(comm, workspace, times):
    assert find(comm, workspace, times) == ""


def test_windows_tell_it_once_and_name_the_option(comm, workspace):
    split = (np.r_[CLOCK, CLOCK] > 30).astype(np.uint8) + (np.r_[CLOCK, CLOCK] > 35)
    columns = {"t": np.r_[CLOCK, CLOCK], "who": ["a"] * 40 + ["b"] * 40, "v": np.arange(80.0), "_split": split}
    table = table_of(workspace, **columns)
    extract(table, comm, time="t", series="who", window=3)
    assert workspace.events == []
    extract(table, comm, time="t", window=3)
    (event,) = workspace.events
    assert event["what"] == "series_mixed"
    assert event["action"].endswith("of a row before; if they are of several, name their column in extract.series")
