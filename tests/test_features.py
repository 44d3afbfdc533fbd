"""Features: tensors made of pixel columns, written in parts, joined, and read back; hostile files refused."""

import dataclasses
import json
import pathlib
import shutil

import h5py
import numpy as np
import pyarrow as pa
import pytest

from hvdedge import methods, tensors
from hvdedge.errors import InputError
from hvdedge.features.image import extract
from hvdedge.records import to_json
from hvdedge.storage import choose
from hvdedge.tables import Table
from hvdedge.tensors import blocks, join, open_features, pack, write_part

SPLIT = [0, 0, 1, 2, 0, 255, 0]


def table_of(workspace, batch_rows: int = 2, **columns) -> Table:
    rows = pa.table(columns)
    return Table.from_batches(rows.schema, rows.to_batches(batch_rows), workspace)


def small(workspace, **columns) -> Table:
    """Return seven images of 1 x 2 pixels, of which four are for training: 0 to 8 in their pixels."""
    rows = {
        "p10": [8, 2, 16, None, 4, 99, 6],
        "p2": [0, None, -8, 4, 4, 99, 2],
        "note": [*"abcdefg"],
        "label": ["é", "b", "b", "a", None, "a", "é"],
        "_split": pa.array(SPLIT, pa.uint8()),
    }
    return table_of(workspace, **{**rows, **columns})


def batches_of(features) -> list[np.ndarray]:
    return [np.concatenate(parts) for parts in zip(*features.batches(), strict=True)]


def test_pixels_are_scaled_by_the_training_rows_and_empty_ones_are_zero(comm, workspace):
    features = extract(small(workspace), comm, columns="p*", shape=(1, 2, 1))
    codes, x, y = batches_of(features)
    assert codes.tolist() == [0, 0, 1, 2, 0]
    assert (x.dtype, x.shape, y.dtype) == (np.float32, (5, 1, 2, 1), np.int64)
    # in natural order p2 before p10; the row for validation reaches beyond 0..1; 0 to 8 are the ends of training
    assert x.reshape(5, 2).tolist() == [[0, 1], [0, 0.25], [-1, 2], [0.5, 0], [0.25, 0.75]]
    assert y.tolist() == [2, 1, 1, 0, 2]
    assert features.spec == {
        "task": "classification",
        "input_shape": [1, 2, 1],
        "classes": ["a", "b", "é"],
        "columns": ["p2", "p10"],
        "shape": [1, 2, 1],
        "scale": {"min": 0.0, "max": 8.0},
        "label": "label",
    }
    assert features.left_out == {"note": "does not match 'p*'"}
    assert features.rows_left_out == {"no label": 1, "in no split": 1}
    json.dumps(features.spec, allow_nan=False)


def test_unscaled_pixels_stay_as_they_are(comm, workspace):
    features = extract(small(workspace), comm, shape=(2, 1), scale=False)
    assert batches_of(features)[1].reshape(5, 2)[2].tolist() == [-8, 16]
    assert features.spec["scale"] is None


def test_rows_for_training_with_one_value_scale_to_zero(comm, workspace):
    features = extract(small(workspace, p2=[5] * 7, p10=[5] * 7), comm, shape=(2,))
    assert not batches_of(features)[1].any()


@pytest.mark.parametrize("name", methods.names("features"))
def test_every_extractor_refuses_a_label_that_is_not_there(name, comm, workspace):
    with pytest.raises(InputError, match="extract.label: received 'lable', .*allowed: p10, p2, note, label"):
        methods.find("features", name, "extract").load()(small(workspace), comm, label="lable")


@pytest.mark.parametrize(
    ("options", "columns", "line"),
    [
        ({"columns": "q*"}, {}, r"extract.columns: received 'q\*', which matches no column, allowed: p10, p2"),
        (
            {"columns": "[pn]*"},
            {},
            r"extract.columns: received '\[pn\]\*', which matches note, allowed: columns of num",
        ),
        ({"columns": "label"}, {}, "extract.columns: received 'label', which matches label alone, allowed: col"),
        ({}, {}, r"extract.shape: received \[8, 8, 1\] for the 2 columns that match 'p\*', allowed: .* product is 2"),
        ({"shape": ()}, {}, r"extract.shape: received \[\]"),
        ({"shape": (-1, -2)}, {}, r"extract.shape: received \[-1, -2\]"),
        ({"shape": (2,)}, {"label": ["a"] * 7}, "extract.label: received 'label' with one label alone, allowed: 2"),
        ({"shape": (2,)}, {"label": [None] * 7}, "extract.label: received 'label' with no label, allowed: 2"),
        ({"shape": (2,)}, {"label": [[1]] * 7}, "extract.label: received 'label', array, allowed: boolean, integer"),
        ({"shape": (2,)}, {"_split": pa.array([1] * 7, pa.uint8())}, "extract: received 0 rows for training"),
    ],
)
def test_what_does_not_fit_the_table_is_refused(options, columns, line, comm, workspace):
    with pytest.raises(InputError, match=line):
        extract(small(workspace, **columns), comm, **options)


def test_a_table_that_is_not_split_is_refused(comm, workspace):
    with pytest.raises(InputError, match="without '_split'"):
        extract(table_of(workspace, label=[1, 2], p1=[1, 2]), comm, shape=(1,))


@pytest.fixture
def written(comm, workspace, tmp_path) -> pathlib.Path:
    """A run with features.h5 over two parts, the second without examples for training."""
    features = extract(small(workspace), comm, shape=(1, 2, 1))
    run = tmp_path / "run"
    (run / "features").mkdir(parents=True)
    parts = [f"features/part-0000{number}.h5" for number in range(2)]
    assert write_part(features, run / parts[0]) == {"train": 3, "validation": 1, "test": 1}
    rest = extract(small(workspace), comm, shape=(1, 2, 1))
    keep = rest.batches
    object.__setattr__(rest, "batches", lambda: ((c[c > 0], x[c > 0], y[c > 0]) for c, x, y in keep()))
    assert write_part(rest, run / parts[1]) == {"train": 0, "validation": 1, "test": 1}
    (run / "features.json").write_bytes(to_json(features.spec))
    assert join(run, parts, run / "features.h5") == {"train": 3, "validation": 2, "test": 2}
    return run / "features.h5"


def test_what_is_written_is_read_back_from_wherever_the_folder_lies(written, tmp_path, monkeypatch):
    moved = tmp_path / "moved"
    written.parent.rename(moved)
    monkeypatch.chdir("/")
    reader = open_features(moved / "features.h5")
    assert [reader.rows(split) for split in ("train", "validation", "test")] == [3, 2, 2]
    assert reader.spec["classes"] == ["a", "b", "é"]
    x, y = reader.read("train", slice(0, 3))
    assert x.reshape(3, 2).tolist() == [[0, 1], [0, 0.25], [0.25, 0.75]]
    assert (x.dtype, y.tolist()) == (np.float32, [2, 1, 2])
    x, y = reader.read("train", np.array([2, 0, 2]))
    assert (y.tolist(), x[1].ravel().tolist()) == ([2, 2, 2], [0, 1])
    assert reader.labels().tolist() == reader.read("train", slice(None))[1].tolist()
    monkeypatch.setattr(tensors, "BLOCK_ROWS", 2)  # the rows are in several blocks
    assert all(
        (one == other).all() for one, other in zip(reader.read("train", np.array([2, 0, 2])), (x, y), strict=True)
    )
    assert [part.shape for part in reader.read("validation", slice(0, 0))] == [(0, 1, 2, 1), (0,)]
    assert reader.read("test", slice(None))[1].tolist() == [0, 0]


def test_a_working_folder_with_parts_of_the_same_name_is_not_read(written, tmp_path, monkeypatch):
    other = tmp_path / "other"
    shutil.copytree(written.parent, other)
    with h5py.File(other / "features/part-00000.h5", "a") as file:
        file["train/y"][:] = 77
    monkeypatch.chdir(other)
    assert open_features(written).read("train", slice(None))[1].tolist() == [2, 1, 2]


def test_the_same_features_are_the_same_bytes(comm, workspace, tmp_path):
    for name in ("one.h5", "two.h5"):
        write_part(extract(small(workspace), comm, shape=(1, 2, 1)), tmp_path / name)
    assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()


def test_a_missing_a_cut_and_a_shorter_part_are_refused(written):
    part = written.parent / "features/part-00000.h5"
    content = part.read_bytes()
    part.write_bytes(content[:-700])
    with pytest.raises(InputError, match="features that cannot be read"):
        open_features(written)
    part.write_bytes(content)
    with h5py.File(part, "a") as file:
        for name in ("x", "y", "weight"):
            file[f"train/{name}"].resize(2, axis=0)
    with pytest.raises(InputError, match="part-00000.h5 holds 2 rows in train/x and not 3"):
        open_features(written)
    part.unlink()
    with pytest.raises(InputError, match="its part 'features/part-00000.h5' is missing"):
        open_features(written)


def point_to(name: str, row_shape: tuple[int, ...] = (1, 2, 1)):
    def spoil(file: h5py.File) -> None:
        del file["train/x"]
        layout = h5py.VirtualLayout((3, *row_shape), "f4")
        layout[:] = h5py.VirtualSource(name, "train/x", (3, *row_shape))
        file.create_virtual_dataset("train/x", layout)

    return spoil


def link_out(file: h5py.File) -> None:
    del file["train"]
    file["train"] = h5py.ExternalLink("secret.h5", "/train")


def link_within(file: h5py.File) -> None:
    del file["train/x"]
    file["train/x"] = h5py.SoftLink("/validation/x")


def store_outside(file: h5py.File) -> None:
    del file["train/x"]
    file.create_dataset("train/x", (3, 1, 2, 1), "f4", external=[("secret.bin", 0, 24)])


def leave_a_gap(file: h5py.File) -> None:
    del file["train/x"]
    file.create_virtual_dataset("train/x", h5py.VirtualLayout((3, 1, 2, 1), "f4"))


def spoil_spec(file: h5py.File) -> None:
    pathlib.Path(file.filename).with_suffix(".json").write_text("[1")


def drop_spec(file: h5py.File) -> None:
    pathlib.Path(file.filename).with_suffix(".json").unlink()


def drop_weights(file: h5py.File) -> None:
    del file["train/weight"]


@pytest.mark.parametrize(
    ("spoil", "line"),
    [
        (point_to("/etc/secret.h5"), "outside its folder"),
        (point_to("../secret.h5"), "outside its folder"),
        (point_to("out.h5"), "outside its folder"),
        (point_to("."), "missing"),
        (link_out, "is missing or a link"),
        (link_within, "is missing or a link"),
        (store_outside, "is stored elsewhere"),
        (leave_a_gap, "rows that no part holds"),
        (spoil_spec, "cannot be read"),
        (drop_spec, "cannot be read"),
        (drop_weights, "train/weight is missing"),
    ],
)
def test_a_file_that_points_elsewhere_or_is_none_of_ours_is_refused(spoil, line, written, tmp_path):
    shutil.copy(written.parent / "features/part-00000.h5", tmp_path / "secret.h5")
    (written.parent / "out.h5").symlink_to(tmp_path / "secret.h5")
    with h5py.File(written, "a") as file:
        spoil(file)
    with pytest.raises(InputError, match=line) as caught:
        open_features(written)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("spoil", [point_to("../../secret.h5"), store_outside, link_out])
def test_a_part_that_points_elsewhere_is_refused(spoil, written):
    with h5py.File(written.parent / "features/part-00000.h5", "a") as file:
        spoil(file)
    with pytest.raises(InputError, match="stored elsewhere|a link"):
        open_features(written)


def test_a_part_that_claims_more_than_it_stores_is_refused(written):
    with h5py.File(written.parent / "features/part-00000.h5", "a") as file:
        for name in ("x", "y", "weight"):
            file[f"train/{name}"].resize(10**9, axis=0)
    with pytest.raises(InputError, match="compressed or cut"):
        open_features(written)


@pytest.mark.parametrize("content", [None, b"", b"no HDF5 at all"])
def test_what_is_no_hdf5_file_is_refused_in_one_line(content, tmp_path):
    path = tmp_path / "features.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="features.h5: received features that cannot be read") as caught:
        open_features(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("x_type", "storage", "kept"), [("float32", "float16", "float16"), ("int32", "auto", "uint8")])
def test_x_in_fewer_bytes_is_read_back_as_it_was_made(x_type, storage, kept, written, comm, workspace):
    folder, drafts = written.parent, [written.parent / f"features/part-0000{number}.h5" for number in range(2)]
    features = extract(small(workspace), comm, shape=(1, 2, 1), scale=False)
    parts = ["features/a.h5", "features/b.h5"]
    if x_type == "int32":  # from 1 on, as the row for validation holds -8
        keep = features.batches
        tokens = lambda: ((c, np.abs(x).astype(np.int32), y) for c, x, y in keep())  # noqa: E731
        features = dataclasses.replace(features, batches=tokens, x_type="int32")
    for draft, part in zip(drafts, parts, strict=True):
        write_part(features, draft)
        found = choose(lambda draft=draft: (x for _, x in blocks(draft)), x_type, storage, comm)
        pack(draft, folder / part, found)
    assert found.type == kept
    assert join(folder, parts, written, found) == {"train": 6, "validation": 2, "test": 2}
    with h5py.File(written) as file:
        assert file["train/x"].dtype == kept
        assert file["train/x"].shape == (6, 1, 2, 1)
    reader = open_features(written)
    for split in ("train", "validation", "test"):
        x, y = reader.read(split, slice(None))
        with h5py.File(drafts[0]) as file:
            assert x.dtype == x_type
            np.testing.assert_array_equal(x, np.tile(file[split]["x"][:], (2, 1, 1, 1)))  # small numbers: exact
            assert y.tolist() == file[split]["y"][:].tolist() * 2
    assert reader.read("train", np.array([2, 0]))[0].dtype == x_type


@pytest.mark.parametrize("attributes", [{"levels": np.zeros(3, np.float32)}, {"x_type": "S9"}, {"scale": np.nan}])
def test_a_file_that_says_what_cannot_be_of_its_numbers_is_refused(attributes, written):
    with h5py.File(written, "a") as file:
        file.attrs.update(attributes)
    with pytest.raises(InputError, match="features that cannot be read"):
        open_features(written)


def test_the_same_features_in_fewer_bytes_are_the_same_bytes(written, comm):
    draft, made = written.parent / "features/part-00000.h5", []
    for name in ("one", "two"):
        found = choose(lambda: (x for _, x in blocks(draft)), "float32", "auto", comm)
        pack(draft, written.parent / "features/packed.h5", found)
        join(written.parent, ["features/packed.h5"], written.parent / f"{name}.h5", found)
        made.append([(written.parent / path).read_bytes() for path in ("features/packed.h5", f"{name}.h5")])
    assert made[0] == made[1]
