"""What the profile makes of tables with hardly anything in them, and of far too much: a result, or one clear line."""

import json

import numpy as np
import pytest

HEAD = 'case = "odd"\nmemory = "128MB"\n[prepare]\nreader = "csv"\nsource = "odd.csv"\n'
PROFILERS = ("correlations", "functional_dependencies", "unique_columns", "inclusion_dependencies")
ALL = "".join(f"[profile.{name}]\n" for name in PROFILERS)


@pytest.fixture
def profiled(hvdedge, tmp_path):
    """Run a text as CSV through prepare, clean and profile on two ranks; return how it ended, and its run."""

    def run(text: str, sections: str = ALL, head: str = ""):
        (tmp_path / "odd.csv").write_text(text)
        (tmp_path / "odd.toml").write_text(HEAD + head + sections)
        words = ("run", tmp_path / "odd.toml", "--to", "profile", "--ranks", 2, "--results", tmp_path, "--run", "r")
        return hvdedge(*words), tmp_path / "odd" / "r"

    return run


def result(done, run) -> dict:
    assert done.status == 0, done.err
    return json.loads((run / "data_profile.json").read_text())


def test_a_table_of_one_column(profiled):
    found = result(*profiled("name\n" + "".join(f"n{number}\n" for number in range(20))))
    assert found["unique_columns"] == [["name"]]
    assert found["functional_dependencies"] == found["inclusion_dependencies"] == []


def test_a_table_of_one_row(profiled):
    found = result(*profiled("a,b\n1,x\n"))
    assert found["rows"] == 1
    assert found["unique_columns"] == [[]]  # no two rows are alike in no column at all
    assert sorted(found["functional_dependencies"]) == [[[], "a"], [[], "b"]]
    assert (found["columns"]["a"]["mean"], found["columns"]["a"]["std"]) == (1.0, None)


@pytest.mark.parametrize(
    ("sections", "line"),
    [
        ("", "prepare.source: received a table without rows, whose columns are a, b, allowed: at least one row; add"),
        ('[clean.missing]\nmethod = "drop"\n', "clean.missing: received rows of which it leaves none, allowed"),
    ],
)
def test_a_table_of_no_row_is_one_line(profiled, sections, line):
    rows = "1,\n2,\n" if sections else ""
    done, _ = profiled(f"a,b\n{rows}", sections, head="header = true\n")
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert line in done.err


def test_a_column_all_missing(profiled):
    found = result(*profiled("a,none,b\n" + "".join(f"{number},,{number % 3}\n" for number in range(30))))
    none = found["columns"]["none"]
    assert (none["missing"], none["distinct"], none["min"], none["top"]) == (30, 0, None, [])
    assert [[], "none"] in found["functional_dependencies"]
    assert all("none" not in left + right for left, right in found["inclusion_dependencies"])


def test_300_columns_are_narrowed_within_the_time_limit(profiled, record):
    draw = np.random.default_rng(0)
    rows = [
        ",".join(f"c{number}" for number in range(300)),
        *(",".join(map(str, row)) for row in draw.integers(0, 9, (300, 300))),
    ]
    sections = "[profile.functional_dependencies]\ntime_limit = 3\n[profile.unique_columns]\ntime_limit = 3\n"
    done, run = profiled("\n".join(rows) + "\n", sections)
    found = result(done, run)
    assert 0 <= found["complete"]["functional_dependencies"] < 10
    profile = record(run, "profile")
    assert "narrowed" in [event["what"] for event in profile["events"]]


@pytest.mark.parametrize(
    ("label", "mentions"),
    [("clas", ["profile.correlations.label", "'clas'", "class"]), ("one", ["profile.correlations.label", "'one'"])],
)
def test_a_label_that_is_none_or_has_one_class_is_one_line(profiled, label, mentions):
    text = "class,one,x\n" + "".join(f"{'ab'[number % 2]},same,{number}\n" for number in range(30))
    done, _ = profiled(text, f'[profile.correlations]\nlabel = "{label}"\n')
    assert done.status == 2
    assert len(done.err.splitlines()) == 1, done.err
    assert all(mention in done.err for mention in mentions), done.err


def test_a_further_table_that_is_none_is_one_line(profiled, tmp_path):
    sections = '[profile.inclusion_dependencies]\ntables = ["other.csv"]\n'
    done, _ = profiled("a,b\n1,x\n2,y\n", sections)
    assert (done.status, len(done.err.splitlines())) == (2, 1), done.err
    assert "profile.inclusion_dependencies.tables: received 'other.csv', found neither in" in done.err
    (tmp_path / "other.csv").write_bytes(b"\x00\x01\x02" * 50)
    done, _ = profiled("a,b\n1,x\n2,y\n", sections)
    assert (done.status, len(done.err.splitlines())) == (2, 1), done.err


def test_a_further_table_is_read_on_all_ranks_and_recorded(profiled, tmp_path, record):
    (tmp_path / "towns.csv").write_text("id;name\n1;Ulm\n2;Bonn\n3;Köln\n")
    text = "person,town_id\n" + "".join(f"p{number},{1 + number % 2}\n" for number in range(20))
    done, run = profiled(text, '[profile.inclusion_dependencies]\ntables = "towns.csv"\n')
    first = result(done, run)["foreign_keys"][0]
    assert (first["column"], first["of"], first["used"]) == ("town_id", "towns.id", 2 / 3)
    assert record(run, "profile")["metrics"]["tables"]["towns"]["rows"] == 3
