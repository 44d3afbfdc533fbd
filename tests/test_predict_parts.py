"""The parts of predict: what is known of columns, what fills cells, which model is taken, how answers are written."""

import datetime
import json
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_photos import folder as photos
from small_tables import table_of

from hvdedge import answers, fillings, known_columns, new_rows, prediction
from hvdedge.cleaning.missing import clean
from hvdedge.cleaning.privacy import clean as treat
from hvdedge.conversion import Plan
from hvdedge.datasets import csv as csv_reader
from hvdedge.errors import InputError
from hvdedge.fillings import Fillings
from hvdedge.known_columns import KnownColumns
from hvdedge.records import Output, RunRecord, sha256
from hvdedge.trained_runs import TrainedRun, smallest
from hvdedge.workspace import QUARANTINE, Source, Workspace


def through_json(value):
    return json.loads(json.dumps(value))


def read_csv(tmp_path, comm, text: str, known: KnownColumns | None = None, **options):
    """Return the rows of a file, and the workspace."""
    scratch = tmp_path / f"scratch-{len(list(tmp_path.iterdir()))}"
    scratch.mkdir()
    (tmp_path / "a.csv").write_text(text)
    workspace = Workspace(scratch, scratch, 64_000_000, known=known)
    table = csv_reader.read(Source((tmp_path / "a.csv",), workspace), comm, **options)
    return table.to_arrow().drop_columns(["_file", "_line"]).to_pylist(), workspace


def known_of(tmp_path, comm, text: str, label: str = "", needed=(), **options) -> KnownColumns:
    """Return what reading a file leaves of its columns."""
    _, workspace = read_csv(tmp_path, comm, text, **options)
    known = KnownColumns.from_json(through_json(workspace.kept[known_columns.FILE]))
    known.label, known.needed = label, tuple(needed)
    return known


COLOURS = ("red", "Blue", "blue")
MANY = "code,price,day,seen,colour,label\n" + "".join(
    f'{n},"{n % 7},5 €",{n % 28 + 1:02}.03.2024,{"999" if n % 5 == 0 else n % 40},{COLOURS[n % 3]},{n % 2}\n'
    for n in range(200)
)


def test_few_rows_are_read_by_the_types_and_formats_of_the_run(tmp_path, comm):
    known = known_of(tmp_path, comm, MANY, label="label")
    rows, workspace = read_csv(tmp_path, comm, 'code,price,day,seen,colour\n7,"3,5 €",02.03.2024,12,Blue\n', known)
    whole, _ = read_csv(tmp_path, comm, MANY)
    alike = next(row for row in whole if row["code"] == 7)
    assert rows[0]["price"] == 3.5 and rows[0]["day"] == datetime.date(2024, 3, 2)  # the day first, as in the run
    assert rows[0]["colour"] == alike["colour"] and rows[0]["label"] is None
    assert not workspace.kept  # nothing is decided anew


def test_cells_that_fit_no_type_are_missing_and_listed(tmp_path, comm):
    known = known_of(tmp_path, comm, MANY)
    rows, workspace = read_csv(tmp_path, comm, "price,day\ncheap,02.03.2024\n2.5,soon\n", known)
    assert [(row["price"], row["day"]) for row in rows] == [(None, datetime.date(2024, 3, 2)), (2.5, None)]
    listed = [row for batch in workspace.quarantine for row in batch.to_pylist()]
    assert [(row["_line"], row["column"], row["text"]) for row in listed] == [(2, "price", "cheap"), (3, "day", "soon")]


@pytest.mark.parametrize(
    ("header", "lines", "said"),
    [
        ("Price,COLOUR", "1.5,red", None),
        ("colour,extra,price", "red,x,1.5", None),
        ("colour", "red", "a.csv: received the columns colour, which lack price, allowed"),
        ("1", "2", "a.csv: received 1 columns without names, allowed: 6, code, price"),
        ("7,1.5,02.03.2024,3,red", "7,1.5,02.03.2024,3,red", None),  # no names, all but the label
    ],
)
def test_columns_are_found_by_their_names_or_their_places(tmp_path, comm, header, lines, said):
    known = known_of(tmp_path, comm, MANY, "label", ("price", "colour"))
    if said:
        with pytest.raises(InputError, match=said):
            read_csv(tmp_path, comm, f"{header}\n{lines}\n", known, header=False if header == "1" else "auto")
        return
    is_named = not header[0].isdigit()
    rows, _ = read_csv(tmp_path, comm, f"{header}\n{lines}\n", known)
    assert [(row["price"], row["colour"]) for row in rows] == [(1.5, "red")] * (1 if is_named else 2)
    assert [*known.unknown] == (["extra"] if "extra" in header else [])
    assert bool(known.by_place) is not is_named


def test_the_names_of_the_pipeline_go_with_and_without_the_label(tmp_path, comm):
    names = ("a", "b", "label")
    known = known_of(tmp_path, comm, "".join(f"{n},{n % 3},{n % 2}\n" for n in range(50)), "label", "ab", names=names)
    for text in ("5,1,0\n", "5,1\n", "b,a\n1,5\n", "label;b;a\n0;1;5\n"):
        rows, _ = read_csv(tmp_path, comm, text, known, names=names, header=False)
        assert [(row["a"], row["b"]) for row in rows] == [(5, 1)], text


def test_rows_that_cannot_be_read_are_listed_in_the_order_of_their_lines(tmp_path, comm):
    lines = MANY.splitlines()
    odd = {40: lines[0], 60: "7,8,9,1,2,3,4,5,6,7,8", 80: lines[0], 100: "1,2,3,4,5,6,7,8,9,0,1"}
    text = "\n".join(odd.get(number, line) for number, line in enumerate(lines)) + "\n"
    _, workspace = read_csv(tmp_path, comm, text)
    listed = [line for batch in workspace.quarantine for line in batch.column("_line").to_pylist()]
    assert listed == [number + 1 for number in odd]


class Quarantine:
    """Batches of rows that could not be read, made as they are asked for."""

    def __init__(self, *starts, count=10_000):
        self._starts, self._count = starts, count

    def __iter__(self):
        rows = range(self._count)
        for start in self._starts:
            columns = {"_file": "new.csv", "_line": range(start, start + self._count), "text": "x", "rule": "r"}
            arrays = [
                columns.get(one.name) if one.name == "_line" else [columns.get(one.name) for _ in rows]
                for one in QUARANTINE
            ]
            yield pa.record_batch(arrays, QUARANTINE)


class Found:
    """What `_Rejected` asks of new rows."""

    needed, label, places = ("a",), "", {"new.csv": 0}

    def __init__(self, quarantine):
        self.workspace = type("Some", (), {"changes": (), "quarantine": quarantine})


def test_rejected_rows_are_not_held():
    tracemalloc.start()
    rejected = prediction._Rejected(Found(Quarantine(*range(0, 100_000, 10_000))))
    assert tracemalloc.get_traced_memory()[0] < 500_000  # 5 bytes a row
    tracemalloc.stop()
    assert rejected.count == 100_000
    assert [line for _, _, line in rejected.in_order()] == [*range(100_000)]


def test_rejected_rows_come_in_order_whatever_the_reader_does():
    rejected = prediction._Rejected(Found(Quarantine(50, 0, 100, count=50)))
    assert [line for _, _, line in rejected.in_order()] == [*range(150)]


def test_columns_without_types_stay_texts(tmp_path, comm):
    known = known_of(tmp_path, comm, "a,b\n1,x\n2,y\n3,x\n", types=False)
    assert known.columns[0].plan == Plan(None)
    assert read_csv(tmp_path, comm, "a,b\n07,NA\n", known, types=False)[0] == [{"a": "07", "b": "NA"}]


def test_typed_columns_are_cast_to_the_types_of_the_run():
    schema = pa.schema([("n", pa.int64()), ("x", pa.float64()), ("c", pa.dictionary(pa.int32(), pa.string()))])
    schema = schema.append(pa.field("v", pa.list_(pa.uint8(), 3))).append(pa.field("_file", pa.string()))
    known = KnownColumns.from_json(through_json(known_columns.of_schema(schema)))
    assert [str(column.type) for column in known.columns] == ["int64", "double", "string", "None"]
    origin = {"_file": ["f"], "_line": [1]}
    batch = pa.RecordBatch.from_pydict({"x": pa.array([2], pa.int8()), "n": ["12"], "other": [1], **origin})
    assert known.cast(batch).to_pylist() == [{"n": 12, "x": 2.0, "_file": "f", "_line": 1}]
    with pytest.raises(InputError, match="n: received text that is no integer"):
        known.cast(pa.RecordBatch.from_pydict({"n": ["many"], **origin}))
    known.needed = ("n", "v")
    with pytest.raises(InputError, match="received the columns x, n, which lack v, allowed"):
        known.check(["x", "n"])


@pytest.mark.parametrize("method", ["mean", "median", "mode", "regression"])
def test_cells_are_filled_as_clean_filled_them(comm, workspace, method):
    rng = np.random.default_rng(1)
    size = rng.normal(0, 1, 300)
    columns = {
        "size": pa.array(size, mask=rng.random(300) < 0.2),
        "twice": pa.array(np.round(2 * size, 1), mask=rng.random(300) < 0.2),
        "count": pa.array(rng.integers(0, 9, 300), mask=rng.random(300) < 0.2),
        "kind": pa.array(np.where(size > 0, "a", "b"), mask=rng.random(300) < 0.2),
        "known": pa.array(size > 0.5, mask=rng.random(300) < 0.2),
        "day": pa.array(rng.integers(0, 999, 300).astype("datetime64[D]"), mask=rng.random(300) < 0.2),
    }
    table = table_of(workspace, **columns)
    wanted = clean(table, comm, method=method).to_arrow()
    filler = Fillings(through_json(workspace.kept[fillings.FILE]), [*columns])
    found = pa.Table.from_batches([filler.fill(batch) for batch in table.batches()])
    for name in columns:
        assert found[name].to_pylist() == wanted[name].to_pylist(), name
    names = [name for name in columns if method not in ("mean", "median") or name not in ("kind", "known")]
    told = [f"{name} ({columns[name].null_count} by {method})" for name in names]
    assert sorted(filler.told()) == sorted(told)


def test_in_place_of_the_nearest_rows_stands_the_regression(comm, workspace):
    rng = np.random.default_rng(1)
    size = rng.normal(0, 1, 200)
    hidden = rng.random(200) < 0.2
    table = table_of(workspace, size=size, twice=pa.array(2 * size, mask=hidden))
    clean(table, comm, method="knn")
    filler = Fillings(through_json(workspace.kept[fillings.FILE]), ["twice"])
    found = pa.Table.from_batches([filler.fill(batch) for batch in table.batches()])["twice"].to_numpy()
    assert np.abs(found - 2 * size).max() < 0.2  # by the ridge some percent
    assert filler.told() == [f"twice ({hidden.sum()} by regression in place of knn)"]
    alone = pa.RecordBatch.from_pydict({"twice": pa.array([None], pa.float64()), "_file": ["f"], "_line": [1]})
    assert filler.fill(alone)["twice"][0].is_valid  # the other column is not there at all


def test_columns_are_treated_as_by_privacy(comm, workspace, tmp_path):
    from hvdedge.cleaning import privacy

    (tmp_path / "key").write_text("a key of more than sixteen bytes")
    columns = {
        "age": [31, 45, None],
        "name": ["Ann", "Bob", None],
        "city": ["Bonn", "Ulm", "Kiel"],
        "pay": [1.5, 2.5, 70],
    }
    table = table_of(workspace, **columns)
    options = {"key": str(tmp_path / "key"), "key_variable": "HVDEDGE_KEY", "keep_first": 1, "keep_last": 0}
    lists = {"generalise": ("age", "pay"), "hash": ("name",), "mask": ("city",)}
    wanted = treat(table, comm, **options, **lists, dates="month").to_arrow().to_pylist()
    function = privacy.treatment(through_json(workspace.kept[privacy.FILE]), options | {"dates": "month"}, comm)
    assert [row for batch in table.batches() for row in function(batch).to_pylist()] == wanted


@pytest.mark.parametrize(
    ("models", "chosen"),
    [
        ({"float32": (100, 0.9), "prune": (50, 0.896), "small": (10, 0.894)}, "prune"),
        ({"float32": (100, 0.9), "small": (10, 0.895)}, "small"),
        ({"float32": (100, 0.5)}, "float32"),
        ({}, ""),
    ],
)
def test_the_smallest_of_about_the_best_is_taken(models, chosen):
    assert smallest({name: {"bytes": size, "accuracy": its} for name, (size, its) in models.items()}) == chosen


def test_a_model_is_chosen_by_validation_rows_where_there_are_some():
    test = {"float32": (100, 0.9), "prune": (50, 0.9), "small": (10, 0.9)}
    models = {name: {"bytes": size, "accuracy": its} for name, (size, its) in test.items()}
    assert smallest(models) == "small"
    for name, its in (("float32", 0.95), ("prune", 0.947), ("small", 0.92)):
        models[name]["validation_accuracy"] = its
    assert smallest(models) == "prune"


def test_models_of_numbers_are_judged_by_their_errors():
    models = {"float32": {"bytes": 9, "mse": 1.0, "mae": 1}, "a": {"bytes": 5, "mse": 1.009, "mae": 1}}
    assert smallest(models | {"b": {"bytes": 1, "mse": 1.02, "mae": 1}}) == "a"


def test_classes_have_their_shares():
    told = answers.find({"task": "classification", "classes": [False, True]})
    assert told.names == ["prediction", "p_false", "p_true"]
    outputs = np.log(np.array([[0.25, 0.75], [0.9, 0.1]], np.float32))
    assert told.cells(outputs) == [["true", "false"], ["0.25", "0.9"], ["0.75", "0.1"]]
    assert told.score() == ""
    told.judge(outputs, pa.array([True, True]))
    told.judge(outputs, pa.array([None, False]))
    assert told.score() == "accuracy 0.6667 over 3 rows with a label"


def test_numbers_come_in_their_unit():
    targets = [{"column": "x", "mean": 10.0, "deviation": 2.0}]
    told = answers.find({"task": "regression", "targets": targets, "output_shape": [1]})
    assert (told.names, told.cells(np.array([[0.5], [-1]], np.float32))) == (["x"], [["11", "8"]])
    told.judge(np.array([[0.5], [-1]], np.float32), pa.array([12.0, None]))
    assert told.score() == "mean absolute error 1 over 1 row with a label"
    both = [*targets, {"column": "y", "mean": 0.0, "deviation": 1.0}]
    told = answers.find({"task": "regression", "targets": both, "output_shape": [2, 2], "window": 3})
    assert told.names == ["x_1", "x_2", "y_1", "y_2"]
    assert told.cells(np.array([[[1, 2], [3, 4]]], np.float32)) == [["12"], ["16"], ["2"], ["4"]]


def test_anomalies_have_their_error():
    told = answers.find({"task": "anomalies"})
    assert (told.names, told.cells(np.array([[0.125, 7, 8]], np.float32))) == (["error"], [["0.125"]])


def run_of(folder, reader: str, columns: dict, spec: dict, **options) -> TrainedRun:
    """Return a run that has no more than what rows are read by."""
    folder.mkdir()
    for name, value in ((known_columns.FILE, columns), ("features.json", spec)):
        (folder / name).write_text(json.dumps(value))
    outputs = {path.name: Output(path.stat().st_size, sha256(path)) for path in folder.iterdir()}
    prepare = {"reader": reader, "sources": [["somewhere", 1, 1]], "memory_bytes": 64_000_000, **options}
    given = {"prepare": prepare, "clean": {"seed": 0}, "extract": {"label": "label"}, "train": {}}
    facts = {"case": "a", "run": "a", "status": "done", "cluster": "local", "started": "", "wall_seconds": 1.0}
    made = {
        stage: RunRecord(stage=stage, **facts, world_size=1, options=its, outputs=outputs)
        for stage, its in given.items()
    }
    return TrainedRun(folder, made)


def rows_of(tmp_path, run: TrainedRun, *paths):
    (tmp_path / "scratch").mkdir()
    workspace = Workspace(tmp_path / "scratch", tmp_path / "scratch", 64_000_000)
    return new_rows.NewRows(run, run.read_json("extract", "features.json"), paths, workspace)


NUMBER = {"as": "number", "log": False, "mean": 1.0, "deviation": 2.0}
VECTORS = {
    "task": "classification",
    "classes": ["a", "b"],
    "encodings": [{"column": "n", **NUMBER}, {"column": "x", **NUMBER}],
}


def test_parquet_and_files_for_a_reader_that_makes_its_rows(tmp_path):
    columns = known_columns.of_schema(pa.schema([("n", pa.int64()), ("x", pa.float64()), ("label", pa.string())]))
    pq.write_table(pa.table({"x": [1, 3], "n": [5, 7]}), tmp_path / "new.parquet")
    (tmp_path / "new.csv").write_text("x,n\n1,5\n3,7\nmany,nan\n")
    run = run_of(tmp_path / "run", "parquet", columns, VECTORS)
    [(batch, _, x)] = rows_of(tmp_path, run, tmp_path / "new.parquet").blocks()
    assert x.tolist() == [[2, 0], [3, 1]] and batch["_line"].to_pylist() == [1, 2]
    (tmp_path / "scratch").rmdir()
    run = run_of(tmp_path / "other", "sklearn", columns, VECTORS, sources=[])
    [(batch, _, x)] = rows_of(tmp_path, run, tmp_path / "new.csv").blocks()
    assert x.tolist() == [[2, 0], [3, 1], [0, 0]] and batch["_line"].to_pylist() == [2, 3, 4]


def test_json_may_lack_keys_but_not_all(tmp_path, comm):
    (tmp_path / "old.jsonl").write_text("".join(f'{{"n": {n}, "x": {n}.5, "label": "a"}}\n' for n in range(30)))
    from hvdedge.datasets import json_lines

    scratch = tmp_path / "first"
    scratch.mkdir()
    workspace = Workspace(scratch, scratch, 64_000_000)
    json_lines.read(Source((tmp_path / "old.jsonl",), workspace), comm)
    run = run_of(tmp_path / "run", "json_lines", workspace.kept[known_columns.FILE], VECTORS)
    (tmp_path / "new.jsonl").write_text('{"n": 5}\nno JSON\n{"n": 7}\n')
    rows = rows_of(tmp_path, run, tmp_path / "new.jsonl")
    [(batch, _, x)] = rows.blocks()
    assert x.tolist() == [[2, 0], [3, 0]] and batch["_line"].to_pylist() == [1, 3]
    assert [batch["_line"].to_pylist() for batch in rows.workspace.quarantine] == [[2]]
    (tmp_path / "scratch").rename(tmp_path / "before")
    (tmp_path / "new.jsonl").write_text('{"m": 5}\n')
    with pytest.raises(InputError, match="received the columns m, which lack n, x"):
        rows_of(tmp_path, run, tmp_path / "new.jsonl")


def test_lines_of_text_need_no_label(tmp_path):
    columns = known_columns.of_schema(pa.schema([("text", pa.string()), ("label", pa.string())]))
    text = {"column": "text", "tokens": "words", "lower": True, "vocabulary": ["you", "hi"], "length": 2}
    run = run_of(
        tmp_path / "run",
        "text_lines",
        columns,
        {"task": "classification", "classes": ["a", "b"], "text": text},
        separator="\t",
    )
    (tmp_path / "new.txt").write_text("Hi, you\na\tyou\n\nyou hi\n")
    [(batch, _, x)] = rows_of(tmp_path, run, tmp_path / "new.txt").blocks()
    assert x.tolist() == [[3, 1], [2, 0], [2, 3]] and batch["label"].to_pylist() == [None, "a", None]


def test_one_photo_and_a_folder_of_photos(tmp_path):
    places = photos(tmp_path / "photos", kinds=("rose",), count=3)
    (tmp_path / "photos" / "rose" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))
    del places
    columns = known_columns.of_schema(pa.schema([("image", pa.list_(pa.uint8(), 48)), ("label", pa.string())]))
    spec = {"task": "classification", "classes": ["rose", "tulip"], "columns": ["image"], "shape": [4, 4, 3]}
    spec |= {"input_shape": [4, 4, 3], "scale": None}
    run = run_of(tmp_path / "run", "image_folder", columns, spec, height=4, width=4, cache="somewhere")
    every = sorted((tmp_path / "photos").rglob("*.*"))
    rows = rows_of(tmp_path, run, *every)
    [(batch, _, x)] = rows.blocks()
    assert rows.has_several_files and x.shape == (3, 4, 4, 3)
    assert [row["_file"] for part in rows.workspace.quarantine for row in part.to_pylist()] == ["broken.png"]
    (tmp_path / "scratch").rename(tmp_path / "before")
    [(_, _, one)] = rows_of(tmp_path, run, tmp_path / "photos" / "rose" / batch["_file"][1].as_py()).blocks()
    assert np.array_equal(one[0], x[1])


def test_no_fillings_and_no_levels_leave_cells_missing(tmp_path):
    spec = {
        "task": "classification",
        "classes": ["a", "b"],
        "encodings": [{"column": "c", "as": "embed", "levels": ["r"]}],
    }
    columns = known_columns.of_schema(pa.schema([("c", pa.string())]))
    run = run_of(tmp_path / "run", "sklearn", columns, spec, sources=[])
    (tmp_path / "new.csv").write_text("c,d\nr,1\n,2\nq,3\nq,4\n")
    rows = rows_of(tmp_path, run, tmp_path / "new.csv")
    [(_, has, x)] = rows.blocks()
    assert x.tolist() == [[1], [0], [0], [0]] and has.all() and rows.unseen == {"c": 2} and rows.fillings is None
