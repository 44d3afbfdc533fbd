"""Folders of images on one rank: labels, splits, what is set aside, and a cache that is only used where it fits."""

import os
import tracemalloc

import h5py
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from small_photos import folder, photo

from hvdedge.datasets import image_folder
from hvdedge.errors import InputError, RankError
from hvdedge.workspace import Source, Workspace

SMALL = {"height": 4, "width": 5}


@pytest.fixture
def read(tmp_path, comm):
    """Read all files below the test's folder `raw`; return the rows and the workspace."""

    def run(**options):
        scratch = tmp_path / "scratch" / str(len(os.listdir(tmp_path / "scratch")))
        scratch.mkdir()
        workspace = Workspace(tmp_path, scratch, 64_000_000)
        paths = sorted(path for path in (tmp_path / "raw").rglob("*") if path.is_file())
        table = image_folder.read(Source(tuple(paths), workspace), comm, **(SMALL | options))
        rows = table.to_arrow()
        assert rows.num_rows == table.num_rows
        return rows.to_pydict(), workspace

    (tmp_path / "scratch").mkdir()
    return run


@pytest.fixture
def raw(tmp_path):
    (tmp_path / "raw").mkdir()
    return tmp_path / "raw"


def events(workspace, what):
    return [event for event in workspace.events if event["what"] == what]


def test_images_come_with_the_name_of_their_folder(read, raw):
    paths = folder(raw)
    rows, workspace = read()
    assert [*rows] == ["image", "label", "_file", "_line"]
    assert rows["label"] == ["rose"] * 6 + ["tulip"] * 6 and {*rows["_line"]} == {1}
    assert rows["_file"] == [str(path.relative_to(raw)) for path in paths]
    with Image.open(paths[0]) as image:
        assert image.size == (16, 12)
        cut = image.resize((5, 4), Image.Resampling.BILINEAR, (0.5, 0, 15.5, 12))
    assert rows["image"][0] == np.asarray(cut).reshape(-1).tolist()
    assert workspace.metrics["files"] == [
        {"file": kind, "rows": 6, "rows_quarantined": 0} for kind in ("rose", "tulip")
    ]
    assert workspace.metrics["columns"]["image"] == {"type": "array", "missing": 0, "changed": 0}
    assert not workspace.events
    assert len(read(channels=1)[0]["image"][0]) == 20


def test_batches_are_bounded_and_may_be_read_again(read, raw, monkeypatch):
    folder(raw)
    (raw / "rose/0.png").write_bytes(b"")
    rows, _ = read()
    monkeypatch.setattr("hvdedge.tables.ARRAY_BYTES", 150)
    monkeypatch.setattr(image_folder, "CHUNK_BYTES", 200)
    assert read()[0] == rows and len(rows["label"]) == 11


@pytest.mark.parametrize(
    ("names", "labels", "splits"),
    [
        (["TEST/a/3", "train/a/1", "val/b/2"], ["a", "a", "b"], ["test", "train", "validation"]),
        (["test/x/b/2", "train/x/a/1"], ["b", "a"], ["test", "train"]),
        (["test/2", "train/1"], None, ["test", "train"]),
        (["a/2", "train/a/1"], ["a", "a"], None),
        (["1", "2"], None, None),
        (["1", "a/2"], ["raw", "a"], None),
        (["a/dev/3", "a/train/1", "b/train/2"], ["a", "a", "b"], ["validation", "train", "train"]),
    ],
)
def test_folders_tell_label_and_split(names, labels, splits, read, raw):
    for name in names:
        path = raw / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo(1).save(path)
    rows, workspace = read()
    assert (rows.get("label"), rows.get("split")) == (labels, splits)
    assert rows["_file"] == [f"{name}.png" for name in names]
    assert bool(events(workspace, "split_not_told")) == (names == ["a/2", "train/a/1"])


def test_what_is_no_image_is_left_out_and_what_is_broken_set_aside(read, raw):
    folder(raw)
    (raw / "rose" / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (raw / "rose" / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (raw / "license.txt").write_text("BM")
    (raw / "rose" / "0.png").write_bytes((raw / "rose" / "0.png").read_bytes()[:60])
    Image.new("RGB", (300, 200)).save(raw / "tulip" / "huge.png")
    (raw / "tulip" / "empty.jpg").write_bytes(b"")
    rows, workspace = read(most_pixels=50_000)
    assert len(rows["label"]) == 11 and "rose/0.png" not in rows["_file"]
    (batch,) = workspace.quarantine
    told = {row["_file"]: (row["rule"], row["_line"], row["column"]) for row in batch.to_pylist()}
    assert told == {
        "rose/0.png": ("broken_image", 1, None),
        "tulip/empty.jpg": ("broken_image", 1, None),
        "tulip/huge.png": ("image_too_large", 1, None),
    }
    assert workspace.metrics["files"][1] == {"file": "tulip", "rows": 6, "rows_quarantined": 2}
    (event,) = events(workspace, "images_set_aside")
    assert event["images"] == 3 and event["files"] == "rose/0.png, tulip/empty.jpg, tulip/huge.png"
    (event,) = events(workspace, "no_images_left_out")
    assert (event["files"], event["endings"]) == (3, "1 .DS_Store, 1 .db, 1 .txt")


def test_what_lies_between_far_images_is_not_read(raw, workspace, comm):
    count = 400
    for number in range(count):
        (raw / f"{number:03}.png").write_bytes(b"x")
    for number in (0, 1, count - 1):
        Image.fromarray(np.full((8, 8, 3), number % 255, np.uint8)).save(raw / f"{number:03}.png")
    table = image_folder.read(Source(tuple(sorted(raw.iterdir())), workspace), comm, height=200, width=200)
    tracemalloc.start()
    batches = [*table.batches()]
    assert tracemalloc.get_traced_memory()[1] < 16_000_000  # of 48 MB
    tracemalloc.stop()
    assert [row[0] for batch in batches for row in batch.column("image").to_pylist()] == [0, 1, (count - 1) % 255]


def test_names_of_any_bytes_are_told_apart(read, raw):
    (raw / "Gänse\nblümchen").mkdir()
    for name in (b"a\xff.png", b"a\xfe.png", "é\n.png".encode(), b" .png"):
        photo(1).save(os.fsencode(raw / "Gänse\nblümchen") + b"/" + name, "PNG")
    folder(raw, ("rose",), 1)
    rows, _ = read()
    assert len({*rows["_file"]}) == 5 and {*rows["label"]} == {"Gänse\nblümchen", "rose"}
    pa.array(rows["_file"]).validate(full=True)


def test_nothing_to_decode_is_one_clear_line(read, raw):
    (raw / "a.txt").write_text("x")
    with pytest.raises(InputError, match=r"received 1 files of which none is an image \(1 .txt\), allowed: JPEG, PNG"):
        read()
    (raw / "b.jpg").write_bytes(b"x")
    with pytest.raises(InputError, match=r"received 1 image of which none can be decoded \(b.jpg: no image in JPEG"):
        read()
    with pytest.raises(InputError, match="prepare.height: received 9999 x 9999 x 3 values an image, allowed: 1000000"):
        read(height=9999, width=9999)


def test_a_cache_is_used_where_nothing_has_changed(read, raw, tmp_path, monkeypatch):
    paths = folder(raw)
    (raw / "rose/0.png").write_bytes(b"")
    cache = tmp_path / "cache"
    rows, _ = read(cache=str(cache))
    (part,) = cache.iterdir()
    assert part.name.startswith("images-") and part.name.endswith("-00000-of-00001.h5")

    def again(count, **options):
        found, workspace = read(cache=str(cache), **options)
        told = events(workspace, "images_from_cache")
        assert [event["images"] for event in told] == ([count] if count else [])
        assert len(events(workspace, "images_set_aside")) == 1
        return found

    with monkeypatch.context() as patched:
        patched.setattr(image_folder, "decode", None)
        assert again(11) == rows
    assert again(0, fit="pad") != rows and len([*cache.iterdir()]) == 2
    assert again(11) == rows
    os.utime(paths[3], (1, 1))
    assert again(0) == rows and again(11) == rows
    photo(9).save(raw / "tulip/new.png")
    assert len(again(0)["label"]) == 12 and len(again(12)["label"]) == 12
    assert len([*cache.iterdir()]) == 2


@pytest.mark.parametrize("how", ["cut", "other bytes", "no part", "other shape", "no key", "a folder"])
def test_a_cache_that_is_broken_is_made_anew(how, read, raw, tmp_path):
    folder(raw)
    cache = tmp_path / "cache"
    rows, _ = read(cache=str(cache))
    (part,) = cache.iterdir()
    content = bytearray(part.read_bytes())
    if how == "cut":
        part.write_bytes(content[: len(content) // 2])
    elif how == "other bytes":
        pixels = bytes(rows["image"][2])
        content[content.index(pixels)] ^= 1
        part.write_bytes(content)
    elif how == "no part":
        part.write_bytes(b"no part")
    elif how == "other shape":
        with h5py.File(part, "r+") as file:
            del file["kept"]
            file["kept"] = np.ones(3)
    elif how == "no key":
        with h5py.File(part, "r+") as file:
            del file.attrs["key"]
    else:
        part.unlink()
        part.mkdir()
        with pytest.raises(RankError, match="cannot be written .* give another prepare.cache"):
            read(cache=str(cache))
        return
    found, workspace = read(cache=str(cache))
    assert found == rows and not workspace.events
    assert events(read(cache=str(cache))[1], "images_from_cache")


def test_a_cache_that_is_no_folder_is_one_clear_line(read, raw, tmp_path):
    folder(raw)
    (tmp_path / "cache").write_text("")
    with pytest.raises(RankError, match="cache.* cannot be written") as caught:
        read(cache=str(tmp_path / "cache"))
    assert caught.value.is_input
