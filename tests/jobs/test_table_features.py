"""A table of numbers, categories and dates from its CSV file to a trained network; its splits, and what they refuse."""

import csv

import numpy as np
import pytest

from hvdedge.tensors import open_features

TOML = """case = "shop"
memory = "64MB"
[prepare]
reader = "csv"
source = "shop.csv"
[extract]
extractor = "table"
label = "paid"
[train]
model = "dense"
epochs = 8
learning_rate = 0.01
[evaluate]
"""


@pytest.fixture
def shop(tmp_path):
    """A pipeline on 400 orders, which are paid where the sum is small and not from the north."""
    rng = np.random.default_rng(4)
    with open(tmp_path / "shop.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["order", "client", "sum", "region", "day", "paid"])
        for number in range(400):
            total, region = rng.uniform(1, 100), rng.choice(["north", "south", "west"])
            day = f"2024-{number // 40 + 1:02}-{number % 28 + 1:02}"
            paid = "yes" if total < 70 and region != "north" else "no"
            rows.writerow([f"o{number}", f"client {rng.integers(0, 50)}", f"{total:.2f}", region, day, paid])
    (tmp_path / "shop.toml").write_text(TOML)
    return tmp_path


def run(hvdedge, shop, *words):
    return hvdedge("run", shop / "shop.toml", "--ranks", 2, "--results", shop / "results", "--run", "a", *words)


def test_the_record_says_what_became_of_rows_and_columns(shop, hvdedge, record):
    done = run(hvdedge, shop, "--to", "extract")
    assert done.status == 0, done.err
    metrics = record(shop / "results/shop/a", "extract")["metrics"]
    assert metrics["rows"] == {"train": 280, "validation": 40, "test": 80}
    assert metrics["left_out"] == {"order": "a key: 280 training rows, none with the value of another"}
    assert metrics["decisions"]["region"] == "one_hot: 3 values in the training rows, up to 64"
    assert metrics["decisions"]["day"].startswith("parts: it holds date, without what never changes: year")
    assert metrics["classes_left_out"] == {}


@pytest.mark.slow
def test_a_table_is_learnt_end_to_end(shop, hvdedge, record):
    done = run(hvdedge, shop, "--to", "evaluate")
    assert done.status == 0, done.err
    assert not (shop / "results/shop/a/compress.json").exists()  # the pipeline has no [compress]
    score = record(shop / "results/shop/a", "evaluate")["metrics"]["accuracy"]
    assert score > 0.8  # over half are "no"; the rule itself is simple


def test_splits_by_group_and_time_are_those_of_the_settings(shop, hvdedge, record):
    alone = ("--set", 'extract.drop=["client", "region", "sum"]', "--set", 'extract.numbers=["day"]')
    for split, by in (("group", "client"), ("time", "day")):
        settings = ("--set", f"extract.split={split}", "--set", f"extract.by={by}")
        done = run(hvdedge, shop, "--to", "extract", *settings, *alone)
        assert done.status == 0, done.err
        rows = record(shop / "results/shop/a", "extract")["metrics"]["rows"]
        assert sum(rows.values()) == 400
        assert abs(rows["test"] - 80) <= 20
        assert record(shop / "results/shop/a", "extract")["events"] == []
    reader = open_features(shop / "results/shop/a/features.h5")
    train, test = (reader.read(split, slice(None))[0] for split in ("train", "test"))
    assert train.shape[1:] == (1,)
    assert train.max() < test.min()


def test_a_split_left_empty_and_classes_left_out_are_told(shop, hvdedge, record):
    settings = ("split=time", "by=day", "validation=0.001", "label=client")
    done = run(hvdedge, shop, "--to", "extract", *(word for one in settings for word in ("--set", f"extract.{one}")))
    assert done.status == 0, done.err
    found = record(shop / "results/shop/a", "extract")
    left_out, empty = found["events"]
    assert {*found["metrics"]["classes_left_out"]} == {"test"}
    assert left_out["what"] == "classes_left_out"
    classes = ", ".join(found["metrics"]["classes_left_out"]["test"])
    assert f"no row for test of the class{'es' * (', ' in classes)} {classes};" in left_out["action"]
    assert (empty["what"], found["metrics"]["rows"]["validation"]) == ("validation_empty", 0)
    assert empty["action"].startswith("validation = 0.001 leaves none of 400 examples for validation")
    assert f"validation empty: action = {empty['action']}" in done.out


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            ["split=group", "by=clients"],
            "extract.by: received 'clients', which matches no column, allowed: order, client",
        ),
        (["split=time", "by=region"], "for split = 'time', allowed: dates, times, numbers"),
        (["split=group", "by=paid"], "received 'group' by 'paid', which leaves no row for"),
        (["drop=sums"], "extract.drop: received 'sums', which matches no column"),
    ],
)
def test_what_cannot_be_split_or_encoded_is_told_in_one_line(shop, hvdedge, changes, line):
    words = [word for change in changes for word in ("--set", f"extract.{change}")]
    done = run(hvdedge, shop, "--to", "extract", *words)
    assert done.status == 2
    assert line in done.err
    assert len(done.err.splitlines()) == 1


def test_each_clients_rows_are_kept_with_the_features_and_stay_on_one_rank(shop, hvdedge, record):
    federated = ["train.strategy=federated", "train.partition=client", "train.epochs=2", "extract.client=client"]
    words = [word for change in federated for word in ("--set", change)]
    done = run(hvdedge, shop, "--to", "train", *words)
    assert done.status == 0, done.err
    reader = open_features(shop / "results/shop/a/features.h5")
    clients = reader.clients()
    assert sorted(reader.spec["clients"]) == sorted({f"client {number}" for number in range(50)})
    of_ranks = record(shop / "results/shop/a", "train")["metrics"]["client_rows"]
    sizes = np.bincount(clients)
    assert sum(of_ranks) == len(clients) == 280
    assert max(of_ranks) - min(of_ranks) <= sizes.max()


def test_clients_that_nobody_named_or_that_are_no_column_are_told(shop, hvdedge):
    for changes, told in (
        (["train.strategy=federated", "train.partition=client"], 'received "client" without extract.client'),
        (["extract.client=cleint"], "extract.client: received 'cleint'"),
    ):
        done = run(hvdedge, shop, *(word for change in changes for word in ("--set", change)))
        assert done.status == 2
        assert told in done.err
