"""Encodings, found over whole files however their bytes are dealt, and text given back as it was meant."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdedge import text_files
from hvdedge.errors import InputError
from hvdedge.structure import encoding


def opened(tmp_path, comm, content: bytes):
    """Return a file's encoding and its text."""
    path = tmp_path / "some.csv"
    path.write_bytes(content)
    files, _, errors = text_files.open_all([path], 200, comm)
    if errors:
        raise InputError(errors[0])
    with files[0].open() as source:
        return files[0], files[0].encoding.to_utf8(source.read()).decode()


@pytest.mark.parametrize(
    ("text", "codec", "name"),
    [
        ("id,name\n1,Anna\n", "ascii", "utf-8"),
        ("id,name\n1,Zoë\n", "utf-8", "utf-8"),
        ("id,name\n1,Zoë\n", "utf-8-sig", "utf-8-sig"),
        ("id,name\n1,Zoë\n", "utf-16", "utf-16"),
        ("id,name\n1,Zoë\n", "utf-16-be", "utf-16-be"),
        ("id,name\n1,Zoë\n", "utf-16-le", "utf-16-le"),
        ("id,name\n1,Zoë\n", "utf-32", "utf-32"),
        ("id,name\n1,Zoë\n", "latin-1", "latin-1"),
        ("id,name\n1,Zoë – „so“\n", "cp1252", "cp1252"),
    ],
)
def test_the_encoding_is_found_and_gives_the_text_back(tmp_path, comm, text, codec, name):
    file, read = opened(tmp_path, comm, text.encode(codec))
    assert file.encoding.name == name and read == text
    assert file.survey.broken == file.survey.broken_lines == 0


def test_a_utf8_file_with_broken_lines_stays_utf8_and_says_so(tmp_path, comm):
    good = "Äpfel,Öl,Übung\n" * 20
    file, read = opened(tmp_path, comm, good.encode() + b"M\xfcnchen,\x93,x\n1,2,3\ncaf\xe9,,\n")
    assert (file.encoding.name, file.survey.broken, file.survey.broken_lines) == ("utf-8", 3, 2)
    assert read == good + "München,“,x\n1,2,3\ncafé,,\n"


def test_many_broken_lines_are_counted_each_once(tmp_path, comm):
    content = "Äpfel,Öl,Übung\n".encode() * 2000 + b"caf\xe9,\xe4\xf6\xfc\n" * 600
    survey = opened(tmp_path, comm, content)[0].survey
    assert (survey.broken, survey.broken_lines) == (2400, 600)


def test_an_encoding_far_behind_the_beginning_counts(tmp_path, comm):
    file, _ = opened(tmp_path, comm, b"a,b\n" * 600_000 + "é,ü\n".encode("latin-1"))
    assert file.encoding.name == "latin-1"


def test_nuls_inner_marks_and_line_ends_written_twice_are_no_text(tmp_path, comm):
    file, read = opened(tmp_path, comm, b"\xef\xbb\xbfa,b\n1,\xef\xbb\xbf2\n3,\x004\n" + b"\0" * 50)
    assert read == "a,b\n1,2\n3,4\n" and (file.survey.nuls, file.survey.marks) == (51, 2)
    assert opened(tmp_path, comm, b"a,b\r\r\n1,2\r\r\n")[1] == "a,b\r\n1,2\r\n"


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.text("aä€😀\t\n\x01\x1b\x7f\0\ufeff").map(str.encode), st.binary()))
def test_bytes_are_counted_as_python_counts_them(data):
    found = encoding.survey([data])
    text = data.decode("utf-8", "surrogateescape")
    broken = sum("\udc80" <= sign <= "\udcff" for sign in text)
    controls = set(range(1, 32)) - set(b"\t\n\v\f\r\x1b") | {127}
    assert (found.size, found.broken, found.nuls) == (len(data), broken, data.count(0))
    assert found.controls == sum(byte in controls for byte in data)
    assert found.windows == sum(0x80 <= byte < 0xA0 for byte in data)
    assert found.wide == sum(ord(sign) > 127 for sign in text) - broken


def test_surveys_of_parts_add_up_wherever_the_file_is_cut():
    data = "id,name\r\n1,Zoë\n2,ü\r".encode() + b"\xe9,\x93\0\n" + "\ufeffend\r\n".encode()
    whole = encoding.survey([data])
    assert (whole.lines, whole.wide, whole.broken, whole.windows, whole.nuls, whole.marks) == (5, 3, 2, 1, 1, 1)
    for cut in range(len(data)):
        assert encoding.survey([data[:cut], data[cut:]]) == whole


@pytest.mark.parametrize(
    ("content", "received"),
    [
        (b"", "an empty file"),
        (b"\r\n \n\n", "only empty lines"),
        (b"%PDF-1.4", "a PDF file"),
        (bytes(np.random.default_rng(1).integers(1, 256, 5000, np.uint8)), "binary data"),
    ],
)
def test_what_is_no_text_is_one_clear_line(tmp_path, comm, content, received):
    with pytest.raises(InputError, match=received) as error:
        opened(tmp_path, comm, content)
    assert str(error.value).startswith(f"{tmp_path / 'some.csv'}: received {received}")
    assert "\n" not in str(error.value)
