"""Lists of objects in a file: each item with its line, however the text is cut, and broken ones one clear line."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hvdedge import json_documents
from hvdedge.errors import InputError
from hvdedge.json_documents import is_document, items


def found(text, most_chars=1 << 20):
    return list(items(io.StringIO(text).read, "a.json", most_chars))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3)
)


@given(
    st.lists(st.dictionaries(st.text(), VALUES, max_size=4), max_size=9), st.sampled_from([None, 1]), st.integers(1, 9)
)
def test_each_item_comes_as_it_is_written_on_its_line(objects, indent, chunk_chars):
    text = json.dumps(objects, indent=indent, ensure_ascii=False)
    whole = json.dumps({"count": 3, "data": objects or [{}], "next": None}, indent=indent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_documents, "CHUNK_CHARS", chunk_chars)
        assert [repr(json.loads(item)) for _, item in found(text)] == list(map(repr, objects))
        first, *inside, last = found(whole)
    assert (first[1], last[1]) == ('"count": 3', '"next": null')
    assert [repr(json.loads(item)) for _, item in inside] == list(map(repr, objects or [{}]))
    lines = text.split("\n")
    assert all(lines[line - 1].strip()[0] in "[{" for line, _ in found(text))


@pytest.mark.parametrize(
    ("head", "lines", "expected"),
    [
        ('[{"a": 1}, {"a": 2}]', 0, True),
        ('[\n {\n  "a": 1\n', 30, True),
        ("[]", 1, True),
        ('{"data": [{"a": 1}]}\n', 1, True),
        ('{\n "count": 1,\n "data": [', 30, True),
        ('{"count": 2, "data": [{"a": ' + "9" * 99, 0, True),
        ('{"a": 1}\n{"a": 2}\n', 2, False),
        ('{"id": 1, "items": [{"a": 1}]}\n', 1, False),
        ('{"items": [{"a": 1}]}\n{"items": []}\n', 2, False),
        ('{"a": 1\n{"a": 2}\n', 2, False),
        ('{"items": [{"a": ' + "9" * 99, 7, False),
        ("[1, 2]\n", 1, False),
        ("", 0, False),
    ],
)
def test_documents_are_told_from_lines(head, lines, expected):
    assert is_document(head, lines) is expected


@pytest.mark.parametrize(
    ("text", "received"),
    [
        ('[{"a": 1},\n {"a": 2', "line 2: received JSON that is broken"),
        ('[{"a": 1}\n {"a": 2}]', "line 2: received JSON that is broken"),
        ('[{"a": 1}]\n[]', "line 2: received more behind the end of the list"),
        ('{"a": [{}], "b": [{}]}', "line 1: received several lists of objects"),
        ('{\n"a": 1\n}\n{\n"a": 2\n}', "line 3: received an object written on several lines"),
        ("[" + "[" * 100_000, "line 1: received JSON that is broken"),
        ('[{"a": "' + "x" * 2000, "line 1: received JSON that is broken, or an item of more than 1000 bytes"),
    ],
)
def test_what_is_no_list_is_one_clear_line(text, received):
    with pytest.raises(InputError) as error:
        found(text, most_chars=1000)
    assert str(error.value).startswith(f"a.json: {received}") and "convert it with jq -c" in str(error.value)
