"""Packed files by their content: what is read is what was written, and what is cut, damaged or a bomb is one line."""

import bz2
import gzip
import lzma
import os
import zipfile

import pyarrow as pa
import pytest

from hvdedge import contents
from hvdedge.errors import InputError

TEXT = b"id,name\n" + b"".join(b"%d,name %d\n" % (n, n * 7919 % 1000) for n in range(5000))


def zipped(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def zstd(data):
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


PACKERS = {"": bytes, "gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress, "zstd": zstd}


@pytest.mark.parametrize("packed", [*PACKERS, "zip"])
def test_a_packed_file_is_known_by_its_bytes_and_read_from_any_place(tmp_path, packed):
    path = tmp_path / "misnamed.gz"
    if packed == "zip":
        zipped(path, {"folder/": b"", "folder/a.csv": TEXT, "__MACOSX/x": b"1"})
    else:
        path.write_bytes(PACKERS[packed](TEXT))
    content = contents.look(path, 200)
    assert content.packed == packed
    assert b"".join(content.chunks()) == TEXT
    for start, stop in ((0, 10), (17, 1000), (len(TEXT) - 5, None), (len(TEXT) + 9, None)):
        assert b"".join(content.chunks(start, stop)) == TEXT[start:stop]


@pytest.mark.parametrize("packed", ["gzip", "bzip2", "xz"])
def test_a_cut_or_damaged_file_is_one_clear_line(tmp_path, packed):
    whole = PACKERS[packed](os.urandom(50_000).hex().encode())
    middle = len(whole) // 2
    for damaged in (whole[:middle], whole[:middle] + b"????????" + whole[middle + 8 :]):
        path = tmp_path / "damaged"
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=f"received a {packed} file that is cut or damaged") as error:
            for _ in contents.look(path, 200).chunks():
                pass
        assert "\n" not in str(error.value) and str(error.value).startswith(str(path))


def test_a_bomb_ends_at_the_limit_and_a_higher_one_lets_it_pass(tmp_path):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(b"0" * 20_000_000))
    with pytest.raises(InputError, match=r"unpacks to more than 200 times its size.*prepare.unpack_ratio"):
        for _ in contents.look(path, 200).chunks():
            pass
    assert sum(map(len, contents.look(path, 2000).chunks())) == 20_000_000


def test_a_zip_of_several_members_names_them(tmp_path):
    zipped(tmp_path / "two.zip", {"../a.csv": b"1", "b.csv": b"2"})
    with pytest.raises(InputError, match=r"a zip file of 2 members \(../a.csv, b.csv\), allowed: one"):
        contents.look(tmp_path / "two.zip", 200)
    assert [path.name for path in tmp_path.iterdir()] == ["two.zip"]


@pytest.mark.parametrize(
    ("head", "received"),
    [
        (b"PAR1", "a Parquet file"),
        (b"%PDF-1.4", "a PDF file"),
        (b"version https://git-lfs.github", "a Git LFS pointer"),
    ],
)
def test_other_formats_are_named_with_what_to_do(tmp_path, head, received):
    (tmp_path / "x.csv").write_bytes(head)
    with pytest.raises(InputError, match=f"received {received}, expected a table as text; "):
        contents.look(tmp_path / "x.csv", 200)


def test_a_folder_a_pipe_and_nothing_are_told_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    told = {"pipe": "something that is no file", "none": "a path where nothing is", "": "a folder"}
    for name, received in told.items():
        with pytest.raises(InputError, match=f"received {received}"):
            contents.look(tmp_path / name, 200)
    with pytest.raises(InputError):
        contents.look(tmp_path / "loop", 200)
