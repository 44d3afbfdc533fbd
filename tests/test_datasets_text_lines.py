"""Texts of a line each on one rank: what stands in the lines comes back, whatever stands in them."""

import bz2
import gzip

import pytest

from hvdedge.datasets import csv, text_lines
from hvdedge.errors import InputError, RankError
from hvdedge.workspace import Source

SMS = [
    'ham\tGo until jurong point, crazy.. Available only in "bugis n great world la e buffet...',
    "ham\tOk lar... Joking wif u oni...",
    "spam\tFree entry in 2 a wkly comp to win FA Cup final tkts; text FA to 87121\tnow",
    "ham\tU dun say so early hor... U c already then say...\u2028£5 – é",
    "spam\t007",
]


@pytest.fixture
def read(tmp_path, workspace, comm):
    """Write files by name and read them."""

    def run(files, reader=text_lines, **options):
        paths = []
        for name, content in files.items():
            paths.append(tmp_path / name)
            paths[-1].parent.mkdir(parents=True, exist_ok=True)
            paths[-1].write_bytes(content)
        return reader.read(Source(tuple(paths), workspace), comm, **options).to_arrow()

    return run


def error(read, files, **options):
    with pytest.raises((InputError, RankError)) as caught:
        read(files, **options)
    assert getattr(caught.value, "is_input", True) and "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32-le", "cp1252"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress])
def test_each_line_is_a_text_with_its_label(end, encoding, pack, read, workspace):
    lines = [line.replace("\u2028", " ") for line in SMS] if encoding == "cp1252" else SMS
    marked = "\ufeff" * encoding.endswith("le")
    content = pack((marked + end.join([*lines[:2], "", " \t ", *lines[2:]]) + end).encode(encoding))
    rows = read({"sms.txt": content}, separator="\t")
    assert rows.column_names == ["text", "label", "_file", "_line"]
    assert rows["label"].to_pylist() == ["ham", "ham", "spam", "ham", "spam"]
    assert rows["text"].to_pylist() == [line.partition("\t")[2] for line in lines]
    assert rows["_line"].to_pylist() == [1, 2, 5, 6, 7] and {*rows["_file"].to_pylist()} == {"sms.txt"}
    (file,) = workspace.metrics["files"]
    assert (file["rows"], file["rows_empty"], file["rows_quarantined"]) == (5, 2, 0)
    assert workspace.metrics["columns"]["label"] == {"type": "category", "missing": 0, "changed": 0}


def test_without_a_separator_a_line_is_kept_whole(read):
    rows = read({"a.txt": b' "a, b\t\n;c  \n\n"'})
    assert rows.to_pydict() == {**{"text": [' "a, b\t', ";c  ", '"'], "_file": ["a.txt"] * 3, "_line": [1, 2, 4]}}


def test_lines_without_the_separator_are_set_aside(read, workspace):
    rows = read({"a.txt": b"x :: one\nnone\n :: two :: three\nlast"}, separator=" :: ")
    assert rows["text"].to_pylist() == ["one", "two :: three"] and rows["label"].to_pylist() == ["x", None]
    (batch,) = workspace.quarantine
    assert [tuple(row.values()) for row in batch.to_pylist()] == [
        ("a.txt", 2, None, "none", "no_separator"),
        ("a.txt", 4, None, "last", "no_separator"),
    ]
    assert workspace.events == [{"what": "lines_without_separator", "lines": 2, "action": "set them aside"}]
    assert workspace.metrics["columns"]["label"]["missing"] == 1
    assert "a.txt: received 1 lines without '|', allowed: some with a text; set" in error(
        read, {"a.txt": b"a"}, separator="|"
    )


def test_a_file_or_a_folder_tells_the_label(read):
    files = {"pos/a.b.txt": b"good\nfine\n", "neg/a.txt.gz": gzip.compress(b"bad\n")}
    assert read(files, label="file")["label"].to_pylist() == ["a.b", "a.b", "a"]
    assert read(files, label="folder")["label"].to_pylist() == ["pos", "pos", "neg"]
    assert "received 'file' with separator = ','" in error(read, files, label="file", separator=",")
    assert "received '\\n', which ends a line" in error(read, files, separator="\n")


def test_what_holds_no_text_is_left_out_or_one_clear_line(read, workspace):
    whole = gzip.compress(b"some text of some length\n" * 1000)
    rows = read({"a.txt": b"a\n", "b.txt": b"", "c.gz": whole[:-20]})
    assert rows["text"].to_pylist() == ["a"]
    assert [event["file"] for event in workspace.events] == ["b.txt", "c.gz"]
    bomb = gzip.compress(bytes(10**8))
    for content, told in ((whole[:-20], "a gzip file that is cut"), (bomb, "unpacks to more than 200"), (b"", "empty")):
        assert told in (line := error(read, {"x": content}))
        assert line == error(read, {"x": content}, reader=csv)
    assert "received only empty lines" in error(read, {"x": b"\n \n"})
    blanks = "\u00a0\n".encode()
    assert "received no line but empty ones, allowed: some with a text; fill" in error(read, {"x": blanks})
    assert "received a line of more than" in error(read, {"x": b"a" * 5_000_000 + b"\nb\n"})
    assert 'received an HDF5 file, expected a table as text; set prepare.reader = "hdf5"' in error(
        read, {"x": b"\x89HDF\r\n\x1a\n"}
    )
