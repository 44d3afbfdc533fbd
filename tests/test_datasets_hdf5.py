"""HDF5 files on one rank: what h5py wrote comes back as rows, and what leads elsewhere or does not fit is one line."""

import fcntl
import tracemalloc
import warnings

import h5py
import numpy as np
import pyarrow as pa
import pytest

from hvdedge import hdf5_files
from hvdedge.datasets import hdf5
from hvdedge.errors import InputError, RankError
from hvdedge.hdf5_texts import TextLengths
from hvdedge.workspace import Source

RNG = np.random.default_rng(4)


@pytest.fixture
def read(tmp_path, workspace, comm):
    """Write files by functions, or datasets by name, and read them; return the table."""

    def run(*files, **options):
        paths = []
        for number, content in enumerate(files):
            paths.append(tmp_path / f"{number}.h5")
            if isinstance(content, bytes):
                paths[-1].write_bytes(content)
                continue
            with h5py.File(paths[-1], "w") as file:
                if callable(content):
                    content(file)
                else:
                    for name, values in content.items():
                        file[name] = values
        return hdf5.read(Source(tuple(paths), workspace), comm, **options).to_arrow()

    return run


def error(read, *files, **options):
    with pytest.raises((InputError, RankError)) as caught:
        read(*files, **options)
    told = caught.value
    assert isinstance(told, InputError) or told.is_input
    assert "\n" not in str(told)
    return str(told)


def test_datasets_become_columns(read, workspace):
    pixels = RNG.integers(0, 256, (5, 2, 3)).astype(np.uint8)
    text = np.array(["é", "b", "", "d" * 70, "e"], object)
    content = {
        "images": pixels,
        "group/label": np.arange(5) % 2 == 0,
        "who": text,
        "fixed": np.array([b"ab", b"c"] * 2 + [b"d"]),
    }
    content |= {"big": np.arange(5, dtype=">i4"), "half": np.arange(5).astype(np.float16), "_file": np.arange(5.0)}
    rows = read(content)
    assert rows["images"].to_pylist() == pixels.reshape(5, 6).tolist()
    assert rows.schema.field("images").type == pa.list_(pa.uint8(), 6)
    assert rows["group.label"].to_pylist() == [True, False, True, False, True]
    assert rows["who"].to_pylist() == text.tolist() and rows["fixed"].to_pylist() == ["ab", "c", "ab", "c", "d"]
    assert rows["big"].to_pylist() == [0, 1, 2, 3, 4] and rows.schema.field("half").type == pa.float32()
    assert rows["_file_2"].to_pylist() == [0, 1, 2, 3, 4] and {*rows["_file"].to_pylist()} == {"0.h5"}
    assert rows["_line"].to_pylist() == [1, 2, 3, 4, 5]
    columns = workspace.metrics["columns"]
    assert {name: columns[name]["type"] for name in ("images", "group.label", "who", "big", "half")} == {
        **{"images": "array", "group.label": "boolean", "who": "text", "big": "integer", "half": "float"}
    }
    assert workspace.metrics["files"] == [{"file": "0.h5", "rows": 5}] and not workspace.events


def by_groups(file):
    for split, rows in (("train", 3), ("Test", 2), ("val", 1)):
        file[f"{split}/x"], file[f"{split}/deep/y"] = np.full((rows, 2), rows), np.arange(rows)


def by_names(file):
    for split, rows in (("train", 3), ("test", 2), ("valid", 1)):
        file[f"x_{split}"], file[f"deep/{split}_y"] = np.full((rows, 2), rows), np.arange(rows)


@pytest.mark.parametrize("write", [by_groups, by_names])
def test_groups_and_names_tell_the_split(write, read):
    rows = read(write)
    y = "deep.y"
    assert {*rows.column_names} == {"x", y, "split", "_file", "_line"}
    assert rows["split"].to_pylist() == ["train"] * 3 + ["validation"] + ["test"] * 2
    assert rows["x"].to_pylist() == [[3, 3]] * 3 + [[1, 1]] + [[2, 2]] * 2
    assert rows[y].to_pylist() == [0, 1, 2, 0, 0, 1] and rows["_line"].to_pylist() == [1, 2, 3, 4, 5, 6]
    assert read(write, datasets=("*x*",)).column_names == ["x", "split", "_file", "_line"]


def test_a_name_alone_tells_no_split(read):
    rows = read({"blood_test": np.arange(3), "age": np.arange(3), "test_a": np.arange(3)})
    assert rows.column_names == ["age", "blood_test", "test_a", "_file", "_line"]


def test_files_are_joined_by_name(read, workspace):
    rows = read({"a": np.arange(3, dtype=np.int8), "b": [1.5] * 3}, {"a": [0.5, 1.5], "c": [True, False]})
    assert rows["a"].to_pylist() == [0, 1, 2, 0.5, 1.5] and rows["b"].to_pylist() == [1.5] * 3 + [None] * 2
    assert rows["c"].to_pylist() == [None] * 3 + [True, False] and rows["_line"].to_pylist() == [1, 2, 3, 1, 2]
    assert workspace.metrics["columns"]["c"] == {"type": "boolean", "missing": 3, "changed": 0}


def test_what_has_another_length_is_left_out_where_that_is_clear(read, workspace):
    rows = read({"x": np.arange(4), "y": np.arange(4), "names": np.arange(3), "version": 1, "train_x": [1]})
    assert rows.column_names == ["x", "y", "_file", "_line"]
    (event,) = workspace.events
    assert event["datasets"] == "names (3), train_x (1), version (a single value)"
    assert "different lengths, x (4), y (3), allowed" in error(read, {"x": np.arange(4), "y": np.arange(3)})
    assert "different lengths, x (4), z (3), allowed" in error(
        read, {"x": np.arange(4), "y": np.arange(4), "z": np.arange(3)}, datasets=("x", "z")
    )
    read({"x_train": [1], "x_test": [2], "classes": [1, 2]})
    assert workspace.events[-1]["datasets"] == "classes (2)"


def test_blocks_are_bounded(read, monkeypatch):
    content = {"a": np.arange(50), "x": RNG.random((50, 3, 2)), "t": np.array([str(n) for n in range(50)], object)}
    rows = read(content)
    monkeypatch.setattr(hdf5, "BATCH_BYTES", 300)
    assert read(content).to_pydict() == rows.to_pydict() and rows["t"].to_pylist()[7] == "7"
    assert len(rows["a"].chunks) == 1 and len(read(content)["a"].chunks) > 20


def test_links_inside_the_file_are_followed_and_loops_end(read):
    def write(file):
        file["a/x"] = np.arange(3)
        file["a/loop"] = file["/"]  # hard
        for name, target in {
            "b/soft": "/a/x",
            "b/up": "/",
            "b/self": "/b/self",
            "b/one": "/b/two",
            "none": "/c",
        }.items():
            file[name] = h5py.SoftLink(target)
        file["b/two"] = h5py.SoftLink("one")
        file["twice"] = file["a/x"]

    assert read(write).column_names == ["twice", "_file", "_line"]
    assert read(write, datasets=("b/soft",)).column_names == ["b.soft", "_file", "_line"]
    assert "'none', which matches no dataset, allowed: twice; name" in error(read, write, datasets=("none",))


def elsewhere(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.arange(3)
    np.arange(3).tofile(tmp_path / "raw.bin")
    layout = h5py.VirtualLayout((3,), int)
    layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "x", (3,))
    return layout


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("external link", "x: received a link to another file, allowed: the datasets themselves"),
        ("soft to external", "soft: received a link to another file"),
        ("external storage", "x: received a dataset whose numbers are in another file"),
        ("virtual", "x: received a virtual dataset, made of others"),
        ("reference", "x: received references to other places, allowed: numbers, truth values, texts"),
        ("region", "x: received references to other places"),
        ("opaque", "x: received opaque bytes"),
        ("compound", "x: received values of type"),
        ("complex", "x: received values of type complex128"),
        ("lists", "x: received values of type object"),
        ("texts", "x: received texts in 2 dimensions"),
        ("nothing", "x: received rows of shape (0,), which hold nothing"),
        ("filter", "x: received a dataset packed by filter 305"),
        ("chunk", "x: received chunks of 16000000 bytes each, allowed: 8000000, a part of memory; raise memory"),
        ("wide", "x: received rows of 1200000 bytes each, allowed: 1000000"),
        ("bomb", "an HDF5 file that unpacks to 800000000 bytes, more than 200 times its size, the limit; if it is"),
        ("single", "an HDF5 file in which no dataset has rows (1 without), allowed"),
    ],
)
def test_what_leads_elsewhere_or_is_no_column_is_refused(name, told, read, tmp_path):
    layout = elsewhere(tmp_path)

    def write(file):
        match name:
            case "external link":
                file["x"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/x")
            case "soft to external":
                file["link"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/")
                file["soft"] = h5py.SoftLink("/link/x")
            case "external storage":
                file.create_dataset("x", (3,), int, external=[(str(tmp_path / "raw.bin"), 0, h5py.h5f.UNLIMITED)])
            case "virtual":
                file.create_virtual_dataset("x", layout)
            case "reference":
                file["x"] = np.array([file.ref], h5py.ref_dtype)
            case "region":
                file["y"] = np.arange(3)
                file["x"] = np.array([file["y"].regionref[:2]], h5py.regionref_dtype)
            case "opaque":
                file["x"] = np.array([b"abcd"], "V4")
            case "compound":
                file["x"] = np.zeros(3, [("a", int), ("b", float)])
            case "complex":
                file["x"] = np.zeros(3, complex)
            case "lists":
                file.create_dataset("x", (3,), h5py.vlen_dtype(int))
            case "texts":
                file["x"] = np.array([["a"]], object)
            case "nothing":
                file["x"] = np.zeros((3, 0))
            case "filter":
                plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
                plan.set_chunk((3,))
                plan.set_filter(305, h5py.h5z.FLAG_OPTIONAL)  # LZO, of which HDF5 comes without
                h5py.h5d.create(file.id, b"x", h5py.h5t.NATIVE_INT64, h5py.h5s.create_simple((3,)), plan)
            case "chunk":
                file.create_dataset("x", (3_000_000,), float, chunks=(2_000_000,), compression="gzip")
            case "wide":
                file.create_dataset("x", (2, 150_000), float, chunks=(1, 1000))
            case "bomb":
                file.create_dataset("x", (10**8,), float, chunks=(10_000,), compression="gzip")
            case "single":
                file["x"] = 7

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options = {"datasets": ("soft",)} if name == "soft to external" else {}
        options |= {"datasets": ("x",)} if name == "region" else {}
        assert f"0.h5: {told}" in (said := error(read, write, **options)) or f"0.h5: received {told}" in said, said


def test_what_is_no_whole_file_is_refused(read, tmp_path):
    assert "received no HDF5 file that can be read" in error(read, b"")
    assert "received no HDF5 file that can be read" in error(read, b"a,b\n1,2\n")
    values = RNG.integers(0, 255, (2000, 8))
    read({"x": values})
    content = (tmp_path / "0.h5").read_bytes()
    assert "received no HDF5 file that can be read (OSError: " in error(read, content[:-1000])

    def packed(file):
        file.create_dataset("x", data=values, chunks=(500, 8), compression="gzip", fletcher32=True)

    read(packed)
    content = bytearray((tmp_path / "0.h5").read_bytes())
    place = len(content) - 2000
    content[place : place + 20] = bytes(20)
    assert "x: received rows 1 to 2000 that cannot be read (OSError: " in error(read, bytes(content))


def test_texts_that_repeat_one_long_one_are_a_bomb(read):
    def write(file):
        file.create_dataset("x", data=np.array(["a" * 200_000] * 400, object), dtype=h5py.string_dtype())

    read(write, unpack_ratio=1.5)
    assert "received texts of more than 0.5 times the file's size, the limit; if it is sound, raise" in error(
        read, write, unpack_ratio=0.5
    )


def shared(path, count, text):
    """Write a file of texts that are all one object of its heap; return its bytes."""
    with h5py.File(path, "w") as file:
        data = file.create_dataset("x", (count,), h5py.string_dtype())
        data[0] = text
        place = data.id.get_offset()
    content = bytearray(path.read_bytes())
    content[place : place + 16 * count] = content[place : place + 16] * count
    return bytes(content)


def test_texts_are_bounded_before_they_are_read(read, tmp_path, comm, workspace):
    (tmp_path / "0.h5").write_bytes(shared(tmp_path / "made.h5", 64, "a" * 2_000_000))
    table = hdf5.read(Source((tmp_path / "0.h5",), workspace), comm)
    tracemalloc.start()
    assert sum(batch.num_rows for batch in table.batches()) == 64
    assert tracemalloc.get_traced_memory()[1] < 10_000_000  # some copies of one
    tracemalloc.stop()
    one = shared(tmp_path / "made.h5", 2, "a" * 9_000_000)
    assert "0.h5: received texts of 9000000 bytes in row 1, allowed: 8000000, a part of memory; raise" in error(
        read, one
    )


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"chunks": (130,)},
        {"chunks": (130,), "compression": "gzip", "shuffle": True},
        {"chunks": (700,), "compression": "lzf"},
        {"fillvalue": "abc"},
    ],
)
def test_lengths_of_texts_are_told_by_their_descriptors(more, tmp_path):
    texts = ["é" * (number % 97) for number in range(1000)]
    with h5py.File(tmp_path / "x.h5", "w", userblock_size=512) as file:
        data = file.create_dataset("x", (1000,), h5py.string_dtype(), **more)
        if "fillvalue" in more:
            texts = ["abc"] * 1000
        else:
            data[:] = texts
    with h5py.File(tmp_path / "x.h5") as file:
        lengths = TextLengths(tmp_path / "x.h5", file["x"])
        for start, stop in ((0, 1000), (999, 1000), (3, 7), (129, 531)):
            assert lengths.read(start, stop).tolist() == [len(text.encode()) for text in texts[start:stop]]


def test_texts_in_the_header_of_their_dataset_are_taken_for_as_long_as_the_file(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_layout(h5py.h5d.COMPACT)
        type_ = h5py.h5t.py_create(h5py.string_dtype(), logical=True)
        data = h5py.Dataset(h5py.h5d.create(file.id, b"x", type_, h5py.h5s.create_simple((3,)), plan))
        data[:] = ["a", "bc", "d"]
    with h5py.File(tmp_path / "x.h5") as file:
        size = (tmp_path / "x.h5").stat().st_size
        assert TextLengths(tmp_path / "x.h5", file["x"]).read(0, 3).tolist() == [size] * 3


def test_columns_that_do_not_fit_together_are_refused(read):
    line = "1.h5: x: received rows of int64 3 beside int64 2 of x in 0.h5, allowed: rows of one kind and shape"
    assert line in error(read, {"x": np.zeros((2, 2), int)}, {"x": np.zeros((2, 3), int)})
    assert "rows of text beside int64 of x" in error(read, {"x": [1]}, {"x": np.array(["a"], object)})
    assert "of no split, beside those of train" in error(read, {"train/x": [1], "y": [2]}, datasets=("train", "y"))


def test_names_that_are_no_text_and_too_many_datasets_are_refused(read, monkeypatch):
    def write(file):
        file[b"a\xff"] = np.arange(3)

    assert r"received the name b'a\xff', allowed: UTF-8" in error(read, write)
    assert read({"\n": np.arange(3)}).column_names == ["\n", "_file", "_line"]
    monkeypatch.setattr(hdf5_files, "MOST_OBJECTS", 5)
    assert "more than 5 groups and datasets" in error(read, {str(n): [n] for n in range(5)})


def test_a_file_that_another_process_has_locked_is_read(tmp_path, workspace, comm):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["x"] = [1, 2]
    with open(path, "rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert hdf5.read(Source((path,), workspace), comm).to_arrow()["x"].to_pylist() == [1, 2]
