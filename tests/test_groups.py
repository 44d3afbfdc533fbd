"""Groups of rows that are alike, against dicts of rows, in memory and in scratch, in one block and in many."""

import collections
import errno
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hvdedge import groups
from hvdedge.coded import Coded
from hvdedge.errors import InputError
from hvdedge.groups import Groups


def coded_of(codes, scratch, room_bytes: int) -> Coded:
    codes = [np.asarray(each, np.int32) for each in codes]
    width, distinct = len(codes), [int(each.max(initial=0)) + 1 for each in codes]
    names = [f"c{number}" for number in range(width)]
    return Coded(names, codes, distinct, [0] * width, [1] * width, len(codes[0]), scratch, room_bytes)


def rows_by_cells(codes, columns) -> list[list[int]]:
    """Return the rows that are alike with another one, by their cells."""
    found = collections.defaultdict(list)
    for row in range(len(codes[0])):
        found[tuple(codes[column][row] for column in columns)].append(row)
    return sorted(rows for rows in found.values() if len(rows) > 1)


def tied(one, other) -> list[list[int]]:
    """Return the rows that pairs tie together, which follow each other."""
    found: list[list[int]] = []
    for a, b in zip(one.tolist(), other.tolist(), strict=True):
        if found and found[-1][-1] == a:
            found[-1].append(b)
        else:
            found.append([a, b])
    return sorted(sorted(rows) for rows in found)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(
    seed=st.integers(0, 2**32),
    rows=st.integers(0, 60),
    most=st.integers(1, 12),
    block=st.sampled_from([1, 3, 8, 1 << 18]),
    in_memory=st.booleans(),
    one_hash=st.booleans(),
)
def test_groups_are_those_of_rows_with_the_same_cells(seed, rows, most, block, in_memory, one_hash, tmp_path):
    draw = np.random.default_rng(seed)
    codes = [draw.integers(0, draw.integers(1, most + 1), rows) for _ in range(4)]
    columns = sorted(draw.permutation(3)[: draw.integers(0, 4)].tolist())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "BLOCK", block)
        if one_hash:
            patch.setattr(groups, "mix", lambda values: values * np.uint64(0))  # the sum of small codes, shifted: 0
        found = Groups(coded_of(codes, tmp_path, 10**6 if in_memory else 0), columns)
        alike = rows_by_cells(codes, columns)
        assert tied(found.one, found.other) == alike
        assert found.rows_alike == sum(map(len, alike))
        kept = [collections.Counter(codes[3][rows].tolist()).most_common(1)[0][1] for rows in alike]
        assert found.removals(3) == found.rows_alike - sum(kept)
        apart = [pair for pair in zip(found.one, found.other, strict=True) if codes[3][pair[0]] != codes[3][pair[1]]]
        places = np.linspace(0, len(apart) - 1, min(5, len(apart))).astype(int)
        assert [*zip(*found.differing(3, 5), strict=True)] == [apart[place] for place in places]
        assert len(found.some(4)[0]) == min(4, len(found.one))
    assert not [*tmp_path.iterdir()]  # files of scratch have no name


def test_many_rows_are_held_in_scratch_and_not_in_memory(tmp_path):
    draw = np.random.default_rng(0)
    codes = [draw.integers(0, 40, 2_000_000) for _ in range(3)]
    coded = coded_of(codes, tmp_path, 1_000_000)
    tracemalloc.start()
    try:
        found = Groups(coded, [0, 1])
        found.differing(2, 50)
        found.removals(2)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 200 * groups.BLOCK  # 25 bytes for each of these rows; all at once took 58
    assert found.rows_alike == 2_000_000


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(groups.os, "posix_fallocate", full)
    with pytest.raises(InputError, match="No space left on device"):
        Groups(coded_of([[1, 1, 2]], tmp_path, 0), [0])
