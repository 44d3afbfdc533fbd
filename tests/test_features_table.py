"""Rows of a table as vectors: encodings against sums by hand; nothing is learnt from other than training rows."""

import json
import math
from datetime import date, datetime, time

import numpy as np
import pyarrow as pa
import pytest
from small_tables import table_of

from hvdedge.encodings import encode
from hvdedge.errors import InputError
from hvdedge.features.table import extract
from hvdedge.reduction import random_projection

TRAINING = 40


def made(workspace, others: int = 0, split=None, **columns):
    """Return columns as a table of which the last `others` rows are not for training."""
    count = len(next(iter(columns.values())))
    split = pa.array([0] * (count - others) + [1 + number % 2 for number in range(others)], pa.uint8())
    return table_of(workspace, 7, **{"label": [*"ab"] * (count // 2) + ["a"] * (count % 2), **columns, "_split": split})


def vectors(features) -> np.ndarray:
    return np.concatenate([x for _, x, _ in features.batches()])


def test_numbers_are_standardised_and_missing_ones_are_the_mean_with_a_column_that_says_so(comm, workspace):
    features = extract(made(workspace, n=[1.0, 3.0, None, 5.0, float("nan"), 3.0]), comm)
    deviation = math.sqrt(2)  # of 1 3 5 3
    x = vectors(features)
    assert x.dtype == np.float32
    assert x[:, 0] == pytest.approx([-2 / deviation, 0, 0, 2 / deviation, 0, 0])
    assert x[:, 1].tolist() == [0, 0, 1, 0, 1, 0]
    assert features.decisions == {
        "n": "number: it holds float; a column says where it is missing: 33.3% of the training rows"
    }
    assert [y.tolist() for _, _, y in features.batches()] == [[0, 1, 0, 1, 0, 1]]


def test_one_missing_cell_in_a_hundred_has_no_column_of_its_own(comm, workspace):
    features = extract(made(workspace, n=[None, *(number % 7 for number in range(99))]), comm)
    assert features.spec["input_shape"] == [1]
    assert vectors(features)[0, 0] == 0


def test_a_skew_is_taken_away_by_the_logarithm_also_below_zero(comm, workspace):
    cells = [math.expm1(number / 4) for number in range(1, 40)]
    features = extract(made(workspace, n=[*cells, *(-cell for cell in cells), -cells[-1] * 8]), comm)
    (encoding,) = features.spec["encodings"]
    assert encoding["log"] is True
    assert "by its logarithm as the skew is" in features.decisions["n"]
    logs = [*(number / 4 for number in range(1, 40)), *(-number / 4 for number in range(1, 40))]
    logs.append(-math.log1p(cells[-1] * 8))
    wanted = (np.array(logs) - np.mean(logs)) / np.std(logs)
    assert vectors(features)[:, 0] == pytest.approx(wanted, rel=1e-5)  # float32
    even = extract(made(workspace, n=[*range(10)] * 3), comm)
    assert even.spec["encodings"][0]["log"] is False
    two = extract(made(workspace, n=[True] + [False] * 40), comm)
    assert two.spec["encodings"][0]["log"] is False


def test_categories_are_one_hot_hashed_or_counted_by_how_many_there_are(comm, workspace):
    columns = {
        "few": ["x", "y", None, "x"] * 10,
        "some": [f"s{number % 5}" for number in range(40)],
        "many": [f"m{number % 13}" for number in range(40)],
    }
    features = extract(made(workspace, **columns), comm, one_hot_levels=2, hash_levels=5, buckets=3)
    assert [one["as"] for one in features.spec["encodings"]] == ["one_hot", "missing", "hash", "frequency"]
    x = vectors(features)
    assert x[:4, :3].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]
    hashed = x[:, 3:6]
    assert (np.abs(hashed).sum(axis=1) == 1).all()
    assert (hashed[:5] == hashed[5:10]).all()
    # 13 values in 40 rows: m0 has 4, the others 3; log1p of it, standardised
    counted = np.log1p([4 if number % 13 == 0 else 3 for number in range(40)])
    assert x[:, 6] == pytest.approx((counted - counted.mean()) / counted.std(), rel=1e-5)
    assert features.decisions["many"] == "frequency: 13 values in the training rows, over 5"


def test_dates_are_year_month_weekday_hour_on_their_circles(comm, workspace):
    when = [datetime(2023 + number % 2, 1 + number % 12, 3, 6 * (number % 4), 30) for number in range(24)]
    features = extract(made(workspace, when=when), comm)
    assert [one["as"] for one in features.spec["encodings"]] == ["year", "month", "weekday", "hour"]
    x = vectors(features)
    assert x[:2, 0].tolist() == [-1, 1]
    for row, moment in enumerate(when):
        circles = [(moment.month, 12), (moment.weekday(), 7), (moment.hour, 24)]
        wanted = [f(2 * math.pi * part / whole) for part, whole in circles for f in (math.sin, math.cos)]
        assert x[row, 1:] == pytest.approx(wanted, abs=1e-6)


def test_parts_of_dates_that_never_change_are_left_out(comm, workspace):
    features = extract(
        made(workspace, day=[date(2024, 1 + n % 12, 1) for n in range(24)], at=[time(n % 24) for n in range(24)]), comm
    )
    assert [one["as"] for one in features.spec["encodings"]] == ["month", "weekday", "hour"]
    assert features.decisions["day"].endswith("without what never changes: year")
    with pytest.raises(InputError, match="the same year, month, weekday and hour"):
        extract(made(workspace, at=[datetime(2024, 1, 1, 9, n) for n in range(24)]), comm)


def test_keys_and_what_tells_nothing_are_left_out_with_the_reason(comm, workspace):
    count = 2000
    columns = {
        "id": [*range(7, 7 + count)],
        "code": [f"c{number}" for number in range(count)],
        "cents": [number * 1_000_003 for number in range(count)],  # no two alike, and at random none would be
        "flag": ["no"] * (count - 2) + ["yes"] * 2,
        "nearly": [None] * (count - 2) + [1.0, 2.0],
        "nothing": pa.nulls(count),
        "list": [[1]] * count,
        "n": [number % 5 for number in range(count)],
    }
    features = extract(made(workspace, **columns), comm)
    assert features.left_out == {
        "id": "a key: 2,000 training rows, none with the value of another",
        "code": "a key: 2,000 training rows, none with the value of another",
        "flag": "near-constant: 99.90% of the training rows have one value",
        "nearly": "near-constant: 99.90% of the training rows have no value",
        "nothing": "no value in the training rows",
        "list": "arrays cannot be encoded",
    }
    assert {*features.decisions} == {"cents", "n"}


def test_a_key_of_more_values_than_are_counted_is_found(comm, workspace):
    count = 10_500
    columns = {"id": [f"{number:x}" for number in range(count)], "name": [f"{n % 10_400}" for n in range(count)]}
    features = extract(made(workspace, **columns), comm)
    assert {*features.left_out} == {"id"}
    assert features.decisions == {"name": "frequency: 10,400 values in the training rows, over 1,000"}
    with pytest.raises(InputError, match="extract.one_hot: received 'name', which has over 10,000 values"):
        extract(made(workspace, **columns), comm, one_hot=("name",))


def test_each_decision_can_be_overruled(comm, workspace):
    columns = {"id": [*range(60)], "size": [number % 3 for number in range(60)], "at": [date(2024, 1, 1)] * 60}
    columns |= {"a1": [*"xyz"] * 20, "a2": [*"xyz"] * 20}
    features = extract(
        made(workspace, **columns), comm, keep=("id",), one_hot=("size",), numbers=("at",), hash=("a1",), drop=("*2",)
    )
    assert [(one["column"], one["as"]) for one in features.spec["encodings"]] == [
        *(("id", "number"), ("size", "one_hot"), ("at", "number"), ("a1", "hash"))
    ]
    assert features.left_out == {"a2": "drop names it"}
    assert features.decisions["size"] == "one_hot: one_hot names it"
    assert features.spec["encodings"][1]["levels"] == ["0", "1", "2"]
    assert np.isfinite(vectors(features)).all()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"drop": ("q*",)}, r"extract.drop: received 'q\*', which matches no column, allowed: n, t, l"),
        ({"keep": ("label",)}, "extract.keep: received 'label', which matches no column"),
        ({"numbers": ("t",)}, "extract.numbers: received 't', text, allowed: numbers, booleans and times"),
        ({"one_hot": ("l",)}, "extract.one_hot: received 'l', array, allowed: columns without arrays"),
        ({"one_hot": ("n",), "hash": ("n",)}, "extract.hash: received 'n', which one_hot names, too, allowed: one"),
        ({"drop": ("*",)}, r"extract: received no column that tells rows apart \(n: drop names it, t: drop names it"),
        ({"label": "l"}, "extract.label: received 'l', array, allowed: boolean"),
        ({"label": "c"}, "extract.label: received 'c' with one label alone"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(options, line, comm, workspace):
    columns = {"n": [1, 2, 2, 1], "t": [*"xyxy"], "l": [[1]] * 4, "c": ["k"] * 4}
    with pytest.raises(InputError, match=line):
        extract(made(workspace, **columns), comm, **options)


def test_no_row_for_training_is_refused(comm, workspace):
    with pytest.raises(InputError, match="extract: received no row for training"):
        extract(made(workspace, others=4, n=[1, 2, 2, 1]), comm)


def random_columns(rng, count: int) -> dict:
    return {
        "n": rng.normal(5, 2, count).tolist(),
        "skewed": np.exp(rng.normal(0, 2, count)).tolist(),
        "word": rng.choice([*"uvwxyz", None], count).tolist(),
        "many": [f"k{number}" for number in rng.integers(0, 30, count)],
        "when": [datetime(2020, 1, 1).replace(month=int(month)) for month in rng.integers(1, 13, count)],
    }


def test_rows_that_are_not_for_training_change_nothing_that_is_learnt(comm, workspace):
    rng = np.random.default_rng(1)
    training, others = random_columns(rng, TRAINING), random_columns(rng, 20)
    strange = {
        "n": [1e300, None] * 10,
        "skewed": [-1e9, float("inf")] * 10,
        "word": ["never", None] * 10,
        "many": [f"new{number}" for number in range(20)],
        "when": [datetime(1999, 1, 1, 23), None] * 10,
    }
    found = [
        extract(
            made(workspace, 20, **{name: training[name] + rest[name] for name in training}),
            comm,
            one_hot_levels=8,
            hash_levels=10,
        )
        for rest in (others, strange)
    ]
    assert found[0].spec == found[1].spec
    assert found[0].decisions == found[1].decisions
    assert (vectors(found[0])[:TRAINING] == vectors(found[1])[:TRAINING]).all()
    assert np.isfinite(vectors(found[1])).all()


def test_parameters_from_json_encode_rows_in_the_same_way(comm, workspace):
    table = made(workspace, **random_columns(np.random.default_rng(2), TRAINING))
    features = extract(table, comm, one_hot_levels=8, hash_levels=10)
    encodings = json.loads(json.dumps(features.spec, allow_nan=False))["encodings"]
    x = np.concatenate([encode(batch, encodings) for batch in table.batches()])
    assert x.tobytes() == vectors(features).tobytes()
    assert list(x.shape[1:]) == features.spec["input_shape"]


def test_a_row_of_very_many_features_is_made_in_small_batches(comm, workspace):
    columns = {f"c{number}": [f"{row % 60}" for row in range(120)] for number in range(300)}
    features = extract(made(workspace, **columns), comm)
    assert features.spec["input_shape"] == [300 * 60]
    assert max(x.nbytes for _, x, _ in features.batches()) <= 8_400_000


def profile_of(tmp_path, *dependencies) -> str:
    path = tmp_path / "data_profile.json"
    path.write_text(
        json.dumps(
            {
                "functional_dependencies": [
                    [[left] if isinstance(left, str) else list(left), right] for left, right in dependencies
                ]
            }
        )
    )
    return str(path)


def test_a_column_that_follows_from_another_is_left_out_unless_it_is_kept_by_name(comm, workspace, tmp_path):
    rows = {"town": [*"pqrr"] * 10, "land": [*"xyyy"] * 10, "code": [1, 2, 3, 3] * 10, "n": [3, 1, 4, 1, 5] * 8}
    follow = [("town", "land"), ("town", "code"), ("code", "town"), ("code", "land"), (("n", "x"), "town")]
    path = profile_of(tmp_path, *follow)
    features = extract(made(workspace, **rows), comm, dependencies=path)
    assert features.left_out == {
        "land": "follows from town by a functional dependency",
        "code": "follows from town by a functional dependency",
    }
    assert "land" not in extract(made(workspace, **rows), comm, dependencies=path, keep=("land",)).left_out
    without = extract(made(workspace, **rows), comm, dependencies=path, drop=("town",))
    assert without.left_out == {"town": "drop names it", "land": "follows from code by a functional dependency"}


def test_a_column_of_values_that_hardly_come_twice_leaves_the_others_in(comm, workspace, tmp_path):
    rows = {"price": [number / 7 for number in range(40)], "town": [*"pqrr"] * 10}
    path = profile_of(tmp_path, ("price", "town"))
    assert extract(made(workspace, **rows), comm, dependencies=path).left_out == {}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("", "it is none"),
        ("{}", "it has none"),
        ("[1]", "it is none"),
        ('{"functional_dependencies": 3}', "it is none"),
    ],
)
def test_a_profile_without_dependencies_is_refused(content, reason, comm, workspace, tmp_path):
    path = tmp_path / "data_profile.json"
    path.write_text(content)
    with pytest.raises(
        InputError, match=rf"extract.dependencies: received .* \({reason}\), .* add .profile.functional_dep"
    ):
        extract(made(workspace, n=[1, 2, 3, 4]), comm, dependencies=str(path))


@pytest.mark.parametrize("what", ["count", "mean", "std", "min", "max"])
def test_aggregates_are_those_of_the_training_rows_of_the_group(what, comm, workspace):
    rng = np.random.default_rng(3)
    client, amount = rng.choice([*"abcde"], 60), rng.normal(1000, 30, 60)
    amount[7] = math.nan
    text = "count by client" if what == "count" else f"{what}(amount) by client"
    table = made(workspace, 15, client=[*client[:-1], "new"], amount=amount)
    features = extract(table, comm, drop=("client", "amount"), aggregates=(text,))
    train = slice(0, 45)
    told = {"count": lambda cells: np.log1p(len(cells))}.get(what, getattr(np, f"nan{what}", None))
    groups = {name: told(amount[train][client[train] == name]) for name in "abcde"}
    wanted = np.array([groups[name] for name in client[:-1]])
    wanted = (wanted - wanted[train].mean()) / wanted[train].std()
    np.testing.assert_allclose(vectors(features)[:-1, 0], wanted, atol=1e-4)
    assert vectors(features)[-1, 0] == 0  # no training row has its client
    assert features.decisions == {text: "aggregate: of 5 groups in the training rows"}


def test_shares_are_a_histogram_of_the_group(comm, workspace):
    table = made(workspace, 2, client=[*"aaabbbaa"], kind=[*"xxyyyyxz"])
    features = extract(table, comm, drop=("client", "kind"), aggregates=("shares(kind) by client",))
    assert [*features.decisions] == ["shares(kind) by client: x", "shares(kind) by client: y"]
    share = np.array([2 / 3, 0])
    np.testing.assert_allclose(vectors(features)[:6, 0], np.repeat((share - 1 / 3) / (1 / 3), 3), atol=1e-6)
    np.testing.assert_allclose(vectors(features)[:6, 1], np.repeat((1 / 3 - share) / (1 / 3), 3), atol=1e-6)


def test_an_aggregate_that_is_the_same_everywhere_is_left_out(comm, workspace):
    features = extract(made(workspace, client=[*"aabb"], n=[1, 2, 3, 9]), comm, aggregates=("count by client",))
    assert features.left_out["count by client"] == "the same in all groups"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("total(n) by client", "received 'total.n. by client', allowed: 'count by COLUMN'"),
        ("mean by client", "allowed: 'count by COLUMN'"),
        ("mean(m) by client", "received 'mean.m. by client', in which 'm' is no column of the features"),
        ("mean(n) by town", "received 'mean.n. by town', .*, allowed: client, n, list, not the label,"),
        ("mean(label) by client", "received 'mean.label. by client', .* not the label, which a feature"),
        ("mean(client) by n", "but 'client' holds text, allowed: integer, float"),
        ("shares(n) by client", "but 'n' holds integer, allowed: category, text, boolean"),
        ("count by list", "but 'list' holds array, allowed: all but arrays"),
    ],
)
def test_an_aggregate_that_cannot_be_is_refused(text, line, comm, workspace):
    table = made(workspace, client=[*"aabb"], n=[1, 2, 3, 9], list=[[1], [2], [], [3]])
    with pytest.raises(InputError, match=f"extract.aggregates: {line}" if line.startswith("rec") else line):
        extract(table, comm, aggregates=(text,))


@pytest.mark.slow
def test_more_groups_than_a_rank_holds_are_refused(comm, workspace):
    rows = {"client": [f"c{number // 2}" for number in range(30_000)], "n": [*range(3)] * 10_000}
    with pytest.raises(InputError, match="extract.aggregates: received 'client', which has over 10,000 groups"):
        extract(made(workspace, **rows), comm, aggregates=("mean(n) by client",))


def test_categories_become_level_numbers_where_asked_for(comm, workspace):
    columns = {
        "few": [*"xyxx"] * 10,
        "some": [f"s{number % 5}" for number in range(40)],
        "many": [f"m{number % 13}" for number in range(40)],
        "size": [None, 3, 1, 3] * 10,
    }
    options = {"one_hot_levels": 2, "embed_levels": 5, "hash_levels": 20, "buckets": 3, "embed": ("size",)}
    features = extract(made(workspace, **columns), comm, **options)
    assert [one["as"] for one in features.spec["encodings"]] == ["one_hot", "embed", "hash", "embed", "missing"]
    assert features.spec["embedded"] == [{"place": 2, "levels": 5}, {"place": 6, "levels": 2}]
    assert vectors(features)[:6, 2].tolist() == [1, 2, 3, 4, 5, 1]
    assert vectors(features)[:4, 6].tolist() == [0, 1, 2, 1]  # 3 is more frequent than 1; a missing one is 0
    assert features.decisions["some"] == "embed: 5 values in the training rows, over 2, up to 5"
    assert features.decisions["size"].startswith("embed: embed names it")
    assert "embedded" not in extract(made(workspace, **columns), comm).spec


def test_a_level_that_no_training_row_has_is_0(comm, workspace):
    features = extract(made(workspace, 2, word=[*"xyxyxxq", None]), comm, embed=("word",))
    assert vectors(features)[:, 0].tolist() == [1, 2, 1, 2, 1, 1, 0, 0]


def test_level_numbers_cannot_be_reduced(comm, workspace):
    features = extract(made(workspace, word=[*"xyxy"], n=[1, 2, 2, 1]), comm, embed=("word",))
    with pytest.raises(InputError, match="extract.random_projection: received columns of x that are numbers of levels"):
        random_projection.reduce(features, comm, components=1)
