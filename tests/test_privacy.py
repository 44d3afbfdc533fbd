"""What tells a person is gone from the table, the log and the messages, and groups are counted as by hand."""

import datetime
import hashlib
import hmac
import math
import pathlib
import re
from collections import Counter
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_tables import changes, rows_of, table_of

from hvdedge.cleaning import errors, privacy
from hvdedge.errors import InputError, RankError
from hvdedge.hashes import row_keys
from hvdedge.parallel import frequencies

IN_A_TEST = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
KEY = "correct horse battery staple"
PERSONS = {
    "name": ["Anna Berg", "Bo", None, "Jürgen Groß", "Anna Berg"],
    "age": [34, 39, None, 40, -3],
    "born": pa.array([11, 40, None, 400, 11], pa.int32()).cast(pa.date32()),
    "seen": pa.array([0, 10**8, None, 10**9, 10**9], pa.timestamp("s")),
    "income": [1000.5, 0.0, math.nan, 2499.0, None],
    "phone": [491701234567, 4930123, None, 1, 491701234567],
    "town": pa.array(["Ulm", "Jena", None, "Ulm", "Bonn"]).dictionary_encode(),
    "list": pa.array([[1], None, [2], [3], []]),
}


@pytest.fixture
def key(tmp_path) -> str:
    path = tmp_path / "key"
    path.write_text(f"  {KEY}\n")
    return str(path)


def test_nothing_asked_for_changes_nothing(comm, workspace):
    table = table_of(workspace, **PERSONS)
    result = privacy.clean(table, comm)
    assert result.to_arrow() is not None
    assert str(rows_of(result)) == str(rows_of(table))
    assert changes(workspace) == []
    assert workspace.metrics["privacy"] == {"dropped": [], "changed": {}}


def test_a_hash_is_the_hmac_of_the_cells_text(comm, workspace, key):
    table = privacy.clean(table_of(workspace, 2, **PERSONS), comm, hash=("name", "phone", "town"), key=key)
    for name, texts in {
        "name": ["Anna Berg", "Bo", None, "Jürgen Groß", "Anna Berg"],
        "phone": ["491701234567", "4930123", None, "1", "491701234567"],
        "town": ["Ulm", "Jena", None, "Ulm", "Bonn"],
    }.items():
        wanted = [
            text and hmac.new(KEY.encode(), text.encode("utf-8"), hashlib.sha256).hexdigest()[:32] for text in texts
        ]
        assert rows_of(table, name) == wanted
        assert table.schema.field(name).type == pa.string()
    assert rows_of(table, "age") == PERSONS["age"]
    assert workspace.metrics["privacy"]["changed"] == {"name": 4, "phone": 4, "town": 4}


def test_a_mask_leaves_the_ends_and_tells_no_length(comm, workspace):
    def masked(**options):
        table = privacy.clean(table_of(workspace, 2, **PERSONS), comm, mask=("name", "phone", "born"), **options)
        return [rows_of(table, name) for name in ("name", "phone")]

    assert masked() == [["A***", "B***", None, "J***", "A***"], ["4***", "4***", None, "***", "4***"]]
    assert masked(keep_first=3, keep_last=2) == [
        ["Ann***rg", "***", None, "Jür***oß", "Ann***rg"],
        ["491***67", "493***23", None, "***", "491***67"],
    ]
    assert masked(keep_first=0)[0] == ["***", "***", None, "***", "***"]
    assert masked(keep_first=0, keep_last=1)[0] == ["***g", "***o", None, "***ß", "***g"]


def test_numbers_become_ranges_and_dates_months_or_years(comm, workspace):
    columns = ("age", "born", "seen", "income")
    table = privacy.clean(table_of(workspace, 2, **PERSONS), comm, generalise=columns, width=10.0)
    assert rows_of(table, "age") == ["30..39", "30..39", None, "40..49", "-10..-1"]
    assert rows_of(table, "born") == ["1970-01", "1970-02", None, "1971-02", "1970-01"]
    assert rows_of(table, "seen") == ["1970-01", "1973-03", None, "2001-09", "2001-09"]
    assert rows_of(table, "income") == ["1000.0..1010.0", "0.0..10.0", None, "2490.0..2500.0", None]
    assert {str(table.schema.field(name).type) for name in columns} == {str(privacy.CATEGORY)}
    table = privacy.clean(table_of(workspace, **PERSONS), comm, generalise=("born", "seen"), dates="year")
    assert rows_of(table, "born") == ["1970", "1970", None, "1971", "1970"]
    assert rows_of(table, "seen")[1] == "1973"


def test_without_a_width_a_column_gets_about_ten_ranges(comm, workspace):
    draw = np.random.default_rng(0)
    rows = {
        "age": draw.integers(0, 100, 2000),
        "share": draw.random(2000) / 3,
        "large": draw.normal(0, 1e6, 2000),
        "same": np.full(2000, 7),
    }
    table = privacy.clean(table_of(workspace, 500, **rows), comm, generalise=("*",))
    for name, values in rows.items():
        found = rows_of(table, name)
        assert 1 <= len({*found}) <= 12
        assert len({*found}) >= 5 or name == "same"
        for value, text in zip(values.tolist(), found, strict=True):
            low, high = map(Decimal, text.split(".."))
            assert low <= Decimal(value) <= high
            assert re.fullmatch(r"-?0*[125]?0*(\.0*[125]?0*)?", str(high - low + (rows[name].dtype == np.int64)))
    assert {*rows_of(table, "age")} == {f"{low}..{low + 9}" for low in range(0, 100, 10)}


@IN_A_TEST
@given(values=st.lists(st.integers(-(2**62), 2**62), min_size=1, max_size=20), width=st.integers(1, 10**6))
def test_every_whole_number_lies_in_its_range_however_large(comm, workspace, values, width):
    table = privacy.clean(table_of(workspace, x=values), comm, generalise=("x",), width=float(width))
    for value, text in zip(values, rows_of(table, "x"), strict=True):
        low, high = (int(end) for end in re.fullmatch(r"(-?\d+)\.\.(-?\d+)", text).groups())
        assert low <= value <= high == low + width - 1
        assert low % width == 0


def test_dropped_columns_are_gone_and_their_order_stays(comm, workspace):
    table = privacy.clean(table_of(workspace, **PERSONS), comm, drop=("name", "b*", "list"))
    assert table.columns == ["age", "seen", "income", "phone", "town"]
    assert table.to_arrow().num_rows == 5
    assert workspace.metrics["privacy"]["dropped"] == ["name", "born", "list"]


def test_no_value_from_before_is_in_the_log_also_not_from_an_earlier_method(comm, workspace, key):
    values = [*range(2000), 10**6]
    columns = {"secret": values, "open": values, "code": [f"a{value}" for value in values]}
    table = errors.clean(table_of(workspace, 500, **columns), comm)
    assert {change[1] for change in changes(workspace)} == {"secret", "open"}
    privacy.clean(table, comm, mask=("secret",), hash=("code",), key=key)
    log = changes(workspace)
    assert (2002, "open", "1000000", None, "out_of_range") in log
    assert (2002, "secret", None, None, "out_of_range") in log
    assert Counter(change[4] for change in log) == {"out_of_range": 2, "masked": 2000, "hashed": 2001}
    assert not [change for change in log if change[4] != "out_of_range" and change[2] is not None]
    assert (3, "secret", None, "***", "masked") in log  # line 3 holds 1, which a mask of one letter would show
    assert all(re.fullmatch("[0-9a-f]{32}", change[3]) for change in log if change[4] == "hashed")


# keys


def test_a_key_may_stand_in_the_environment_and_never_in_what_is_told(comm, workspace, monkeypatch, key):
    by_file = privacy.clean(table_of(workspace, **PERSONS), comm, hash=("name",), key=key)
    monkeypatch.setenv("HVDEDGE_PRIVACY_KEY", KEY)
    by_variable = privacy.clean(table_of(workspace, **PERSONS), comm, hash=("name",))
    monkeypatch.setenv("HVDEDGE_OTHER", KEY + "!")
    other = privacy.clean(table_of(workspace, **PERSONS), comm, hash=("name",), key_variable="HVDEDGE_OTHER")
    assert rows_of(by_file, "name") == rows_of(by_variable, "name")
    assert not {*rows_of(by_file, "name")} & {*rows_of(other, "name")} - {None}
    assert KEY not in str(workspace.metrics) + str(changes(workspace))


@pytest.mark.parametrize("content", [None, b"", b"   \n", b"fifteen letters", "missing"])
def test_without_a_proper_key_nothing_is_hashed(content, comm, workspace, tmp_path, monkeypatch):
    monkeypatch.delenv("HVDEDGE_PRIVACY_KEY", raising=False)
    path = tmp_path / "weak"
    if isinstance(content, bytes):
        path.write_bytes(content)
    options = {} if content is None else {"key": str(path)}
    with pytest.raises(InputError, match=r"clean\.privacy\.(hash|key): received .*allowed: .*openssl rand") as caught:
        privacy.clean(table_of(workspace, **PERSONS), comm, hash=("name",), **options)
    assert "\n" not in str(caught.value)
    assert "fifteen" not in str(caught.value)


def test_a_key_that_cannot_be_read_is_one_line(comm, workspace, tmp_path):
    with pytest.raises(RankError) as caught:
        privacy.clean(table_of(workspace, **PERSONS), comm, hash=("name",), key=str(tmp_path))
    assert caught.value.is_input
    assert "clean.privacy.key: received" in caught.value.cause


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"drop": ("nam",)}, "clean.privacy.drop: received 'nam', which matches no column, allowed: name, age"),
        ({"drop": ("name",), "mask": ("n*",)}, "clean.privacy.mask: received 'name', which is in 'drop', too"),
        ({"generalise": ("town",)}, "clean.privacy.generalise: received 'town', which holds category, allowed: age,"),
        ({"mask": ("list",)}, "clean.privacy.mask: received 'list', which holds array, allowed: name, age"),
        ({"hash": ("name",), "key_variable": "SECRET"}, "key_variable: received 'SECRET', allowed: .* HVDEDGE_"),
        ({"k": 2}, r"clean.privacy.k: received 2 with quasi = \[\], allowed: k of at least 1 with columns"),
        ({"quasi": ("age",)}, r"clean.privacy.k: received 0 with quasi = \['age'\]"),
        ({"quasi": ("ages",), "k": 2}, "clean.privacy.quasi: received 'ages'"),
        ({"quasi": ("age",), "k": 2, "drop": ("age",)}, "clean.privacy.quasi: received 'age', which is dropped"),
        ({"suppress": True}, "clean.privacy.suppress: received true without k"),
    ],
)
def test_options_that_cannot_be_are_refused(options, line, comm, workspace):
    with pytest.raises(InputError, match=line):
        privacy.clean(table_of(workspace, **PERSONS), comm, **options)


# groups


@IN_A_TEST
@given(
    rows=st.lists(
        st.tuples(st.sampled_from([None, "", "a", "b"]), st.sampled_from([None, 1, 2])), min_size=1, max_size=30
    ),
    k=st.integers(1, 4),
)
def test_groups_are_those_of_counter(comm, workspace, rows, k):
    wanted = Counter(rows)
    columns = {
        "t": pa.array([row[0] for row in rows], pa.string()),
        "n": pa.array([row[1] for row in rows], pa.int64()),
    }
    table = table_of(workspace, 7, **columns)
    sizes, groups = frequencies(row_keys(table, ["t", "n"]), comm)
    assert sizes.tolist() == [wanted[row] for row in rows]
    assert groups == len(wanted)
    kept = privacy.clean(table, comm, quasi=("t", "n"), k=k, suppress=True)
    assert [tuple(row.values()) for row in rows_of(kept)] == [row for row in rows if wanted[row] >= k]
    found = workspace.metrics["privacy"]
    small = sum(wanted[row] < k for row in rows)
    assert (found["smallest_group"], found["groups"]) == (min(wanted.values()), len(wanted))
    assert found["rows_below_k"] == found["rows_suppressed"] == small
    assert [change[1:] for change in changes(workspace)] == [(None, None, None, "suppressed")] * small


def test_the_same_value_in_another_column_is_another_group(comm, workspace):
    table = table_of(workspace, a=["x", None, "y"], b=[None, "x", "y"])
    assert frequencies(row_keys(table, ["a", "b"]), comm)[0].tolist() == [1, 1, 1]


def test_groups_are_counted_after_generalising_and_rows_stay_unless_asked(comm, workspace):
    rows = {
        "age": [31, 35, 38, 52, 57, 80],
        "town": pa.array(["Ulm", "Ulm", "Ulm", "Jena", "Jena", "Jena"]).dictionary_encode(),
        "born": [datetime.date(1990, 1, day) for day in range(1, 7)],
    }
    options = {"generalise": ("age", "born"), "width": 10.0, "quasi": ("age", "town", "born"), "k": 2}
    table = privacy.clean(table_of(workspace, 2, **rows), comm, **options)
    found = workspace.metrics["privacy"]
    assert table.num_rows == 6
    assert found["groups"] == 3
    assert (found["smallest_group"], found["rows_below_k"], found["rows_suppressed"]) == (1, 1, 0)
    table = privacy.clean(table_of(workspace, 2, **rows), comm, suppress=True, **options)
    assert rows_of(table, "age") == ["30..39"] * 3 + ["50..59"] * 2
    assert "80" not in str(changes(workspace))


def test_a_table_without_rows_passes(comm, workspace, key):
    table = table_of(workspace, name=pa.array([], pa.string()), age=pa.array([], pa.int64()))
    result = privacy.clean(
        table, comm, hash=("name",), generalise=("age",), key=key, quasi=("age",), k=3, suppress=True
    )
    assert result.num_rows == 0
    assert workspace.metrics["privacy"]["smallest_group"] is None
    assert pathlib.Path(key).read_text().strip() == KEY
