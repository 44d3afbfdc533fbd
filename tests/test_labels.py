"""Label noise planted with its truth; the models against numpy's least squares, the rule in plain Python."""

import functools
from dataclasses import replace

import digit_rows
import numpy as np
import pyarrow as pa
import pytest
import small_tables

from hvdedge.cleaning import labels
from hvdedge.errors import InputError, RankError
from hvdedge.kernel_ridge import RIDGES, SHARPNESS, CrossFit, Numbers

table_of = functools.partial(small_tables.table_of, batch_rows=200)


def blobs(count: int = 600, flipped: int = 30, seed: int = 0) -> tuple[dict, np.ndarray]:
    """Return three clouds of points, the colour that goes with each, their labels, and which of these were changed."""
    draw = np.random.default_rng(seed)
    true = draw.integers(0, 3, count)
    points = draw.normal(size=(count, 2)) + 6 * np.array([[0, 0], [1, 0], [0, 1]])[true]
    wrong = draw.choice(count, flipped, replace=False)
    label = true.copy()
    label[wrong] = (true[wrong] + draw.integers(1, 3, flipped)) % 3
    rows = {
        "a": points[:, 0],
        "b": points[:, 1] * 1000,
        "colour": [["red", "green", "blue"][number] if draw.random() < 0.9 else None for number in true],
        "label": [f"class {number}" for number in label],
    }
    return rows, np.isin(np.arange(count), wrong)


def listed(workspace) -> list[tuple[int, str]]:
    return [(row["_line"], row["text"]) for batch in workspace.quarantine for row in batch.to_pylist()]


@pytest.mark.parametrize("seed", range(3))
def test_labels_that_were_changed_are_listed_and_nothing_else_happens(seed, comm, workspace):
    rows, wrong = blobs(seed=seed)
    table = table_of(workspace, **rows)
    after = labels.clean(table, comm)
    assert after.to_arrow() == table.to_arrow()
    found = {line - 2 for line, _ in listed(workspace)}
    planted = {*np.flatnonzero(wrong).tolist()}
    assert len(found & planted) >= 0.9 * len(planted)
    assert len(found - planted) <= 2
    assert len(workspace.changes) == 0
    metrics = workspace.metrics["labels"]
    assert metrics["noisy"] == len(found)
    assert metrics["rows_removed"] == 0
    assert sum(count for row in metrics["suggested"].values() for count in row.values()) == len(found)
    assert metrics["share"] == len(found) / 600
    assert all("probably class" in text for _, text in listed(workspace))


def test_they_are_removed_where_asked_and_logged(comm, workspace):
    rows, _ = blobs()
    after = labels.clean(table_of(workspace, **rows), comm, remove=True)
    gone = {line for line, _ in listed(workspace)}
    assert {*range(2, 602)} - {*after.to_arrow()["_line"].to_pylist()} == gone
    logged = [tuple(row.values())[1:] for batch in workspace.changes for row in batch.to_pylist()]
    assert logged == [(line, None, None, None, "label_noise") for line in sorted(gone)]
    assert workspace.metrics["labels"]["rows_removed"] == len(gone) == 600 - after.num_rows


def test_the_digits_of_scikit_learn_keep_their_labels_but_for_those_that_were_changed(comm, workspace, tmp_path):
    rows = digit_rows.make(tmp_path, copies=0)
    draw = np.random.default_rng(0)
    true = rows["label"].to_pylist()
    wrong = [number for number in draw.choice(len(true), 90, replace=False) if true[number] is not None]
    now = [(label + 1 + int(draw.integers(9))) % 10 if n in {*wrong} else label for n, label in enumerate(true)]
    place = rows.schema.get_field_index("label")
    spoilt = rows.set_column(place, "label", pa.array(now, pa.int64()))
    cells = "".join(f"s{number:05d},label,label_noise,{true[number]}\n" for number in wrong)
    (tmp_path / "wrong.csv").write_text("scan,column,kind,value\n" + cells)
    table = digit_rows.deal(spoilt, comm, workspace)
    labels.clean(table, comm, truth=str(tmp_path / "wrong.csv"), features=256)
    metrics = workspace.metrics["labels"]
    assert metrics["f1"] >= 0.75  # with few features, and cells that are missing or far out
    assert metrics["left_out"] == {"scan": "more than 50 values"}


def test_clear_labels_are_left(comm, workspace):
    rows, _ = blobs(flipped=0)
    labels.clean(table_of(workspace, **rows), comm)
    assert workspace.metrics["labels"]["noisy"] <= 1
    assert workspace.metrics["labels"]["accuracy"] >= 0.99


def test_models_are_ridge_regressions_on_the_rows_of_the_other_folds(comm, workspace):
    rows, _ = blobs(200)
    table = table_of(workspace, batch_rows=70, **rows)
    numbers = Numbers(table, ["a", "b", "colour"], comm)
    classes = pa.array(["class 0", "class 1", "class 2"])
    model = CrossFit(table, numbers, "label", classes, comm, folds=3, features=20, seed=5)
    parts = [*model._rows(table)]
    phi, given, fold = (np.concatenate([part[side] for part in parts]) for side in range(3))
    assert set(fold) == {0, 1, 2}
    one_hot = np.eye(3)[given]

    def fitted(ridge: float) -> np.ndarray:
        scores = np.zeros((200, 3))
        for number in range(3):
            learn = fold != number
            weight = np.sqrt(ridge * 200)
            design = np.vstack([phi[learn], weight * np.eye(phi.shape[1])])
            solution = np.linalg.lstsq(design, np.vstack([one_hot[learn], np.zeros((phi.shape[1], 3))]), rcond=None)[0]
            scores[~learn] = phi[~learn] @ solution
        return scores

    best = min((fitted(ridge) for ridge in RIDGES), key=lambda scores: ((scores - one_hot) ** 2).sum())
    raw = np.concatenate([scores for _, scores in model._raw_scores(table)])
    assert raw == pytest.approx(best, abs=1e-9)
    power = [np.exp(sharpness * best) for sharpness in SHARPNESS]
    likely = max((p / p.sum(1, keepdims=True) for p in power), key=lambda p: np.log(p[np.arange(200), given]).sum())
    found = np.concatenate([scores for _, scores in model.scores(table)])
    assert found == pytest.approx(likely, abs=1e-5)  # in steps of 2**-20


def test_the_rule_is_that_of_confident_learning(comm, workspace):
    rows, _ = blobs(300, 40)
    table = table_of(workspace, **rows)
    labels.clean(table, comm, features=50, seed=2)
    names = ["class 0", "class 1", "class 2"]
    classes = pa.array(sorted(names, key=lambda name: (-rows["label"].count(name), name)))
    numbers = Numbers(table, ["a", "b", "colour"], comm)
    model = CrossFit(table, numbers, "label", classes, comm, folds=5, features=50, seed=2)
    scores = np.concatenate([scores for _, scores in model.scores(table)])
    given = [classes.to_pylist().index(name) for name in rows["label"]]
    threshold = [np.mean([p[j] for p, label in zip(scores, given, strict=True) if label == j]) for j in range(3)]
    joint = np.zeros((3, 3))
    disagreeing = {}
    for row, (p, label) in enumerate(zip(scores, given, strict=True)):
        sure = [j for j in range(3) if p[j] >= threshold[j]]
        if sure:
            joint[label, max(sure, key=lambda j: p[j])] += 1
        best = int(np.argmax(p))
        if best != label:
            disagreeing.setdefault((label, best), []).append((p[label] - p[best], row + 2))
    expected = set()
    for (i, j), rows_there in disagreeing.items():
        wrong = round(given.count(i) * joint[i, j] / joint[i].sum())
        expected |= {line for _, line in sorted(rows_there)[:wrong]}
    found = {line for line, _ in listed(workspace)}
    assert expected <= found  # and those that share a bin with the last one
    assert len(found - expected) <= 2


def test_numbers_are_brought_to_one_scale(comm, workspace):
    draw = np.random.default_rng(0)
    rows = {
        "x": draw.normal(5, 100, 1000),
        "whole": draw.integers(0, 1000, 1000),
        "flag": draw.random(1000) < 0.3,
        "kind": draw.choice(["u", "v"], 1000),
        "empty": pa.nulls(1000, pa.float64()),
        "constant": np.full(1000, 3),
        "text": [f"t{number}" for number in range(1000)],
        "list": [[1]] * 1000,
    }
    table = table_of(workspace, **rows)
    numbers = Numbers(table, list(rows), comm)
    cells = np.concatenate([numbers.of(batch) for batch in table.batches()])
    assert numbers.left_out == {"text": "more than 50 values", "list": "neither numbers nor categories"}
    assert cells.shape == (1000, numbers.width) == (1000, 7)
    live = cells[:, [0, 1, 2, 5, 6]]
    assert live.mean(axis=0) == pytest.approx(0, abs=0.02)
    assert live.std(axis=0) == pytest.approx(1, abs=0.02)
    assert not cells[:, [3, 4]].any()


def test_with_one_class_or_no_other_column_nothing_is_looked_at_and_told(comm, workspace):
    for rows, why in (
        ({"a": [1, 2], "label": ["x", "x"]}, "'label' has 0 classes of at least 25 rows, and two are needed"),
        ({"a": [*range(60)], "label": ["x"] * 60}, "'label' has 1 class of at least 25 rows, and two are needed"),
        ({"label": [1, 2] * 50}, "there is no column to tell the class by"),
    ):
        assert labels.clean(table_of(workspace, **rows), comm).num_rows == len(next(iter(rows.values())))
        assert workspace.metrics["labels"] == {"noisy": None, "rows_removed": 0}
        assert workspace.events.pop() == {"what": "not_run", "action": f"clean.labels looked at nothing: {why}"}


def test_the_label_is_what_extract_learns_where_no_column_is_called_so(comm, workspace):
    rows = {"a": [*range(100)], "bought": ["no"] * 50 + ["yes"] * 50}
    with pytest.raises(InputError, match="received 'label', allowed: a, bought; name one of these"):
        labels.clean(table_of(workspace, **rows), comm)
    workspace = replace(workspace, learned={"bought": "extract.label"})
    labels.clean(table_of(workspace, **rows), comm)
    assert workspace.metrics["labels"]["noisy"] == 0 and workspace.metrics["labels"]["accuracy"] > 0.9


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"label": "labl"}, "clean.labels.label: received 'labl', allowed: a, label; did you mean 'label'"),
        ({"label": "a"}, "clean.labels.label: received 'a', which has more than 100 different values"),
        ({"columns": ("z*",)}, r"clean.errors.columns|clean.labels.columns: received 'z\*', which matches no column"),
    ],
)
def test_options_that_cannot_be_are_refused(options, line, comm, workspace):
    with pytest.raises(InputError, match=line):
        labels.clean(table_of(workspace, a=[*range(200)], label=[1, 2] * 100), comm, **options)


def test_a_truth_of_another_length_is_refused(comm, workspace, tmp_path):
    (tmp_path / "truth.csv").write_text("a,label\n1,2\n")
    with pytest.raises(RankError, match="received 1 rows, allowed: 2"):
        labels.clean(table_of(workspace, a=[1, 2], label=[1, 2]), comm, truth=str(tmp_path / "truth.csv"))


def test_a_clean_table_judges_too(comm, workspace, tmp_path):
    rows, wrong = blobs()
    true, _ = blobs(flipped=0)
    lines = [f"{a},{label}\n" for a, label in zip(true["a"], true["label"], strict=True)]
    (tmp_path / "truth.csv").write_text("a,label\n" + "".join(lines))
    labels.clean(table_of(workspace, **rows), comm, truth=str(tmp_path / "truth.csv"))
    found = {line - 2 for line, _ in listed(workspace)}
    metrics = workspace.metrics["labels"]
    assert metrics["recall"] == len(found & {*np.flatnonzero(wrong).tolist()}) / 30
    assert metrics["f1"] > 0.9
