"""Text becomes token numbers by the training rows alone."""

import json

import numpy as np
import pyarrow as pa
import pytest

from hvdedge.errors import InputError
from hvdedge.features.text import extract
from hvdedge.tables import Table
from hvdedge.tokens import encode

WAYS = ("words", "subwords", "characters")
TRAINING = ["go now", "go now and go", "win a prize now", "and a prize", None, "go"]
OTHERS = ["go win", "never seen"]


def made(workspace, training=TRAINING, others=OTHERS, batch_rows: int = 3, **columns) -> Table:
    count = len(training) + len(others)
    rows = pa.table(
        {
            "text": pa.array([*training, *others], pa.string()),
            "label": ["ham", "spam"] * (count // 2) + ["ham"] * (count % 2),
            "_split": pa.array([0] * len(training) + [2] * len(others), pa.uint8()),
            **columns,
        }
    )
    return Table.from_batches(rows.schema, rows.to_batches(batch_rows), workspace)


def x_of(features) -> np.ndarray:
    return np.concatenate([x for _, x, _ in features.batches()])


def test_words_are_numbered_by_how_often_they_are_in_the_training_rows(comm, workspace):
    features = extract(made(workspace), comm, length=4)
    # go 4 now 3, a, and, prize 2 in order of the alphabet, win 1: too rare
    assert features.spec == {
        "task": "classification",
        "input_shape": [4],
        "classes": ["ham", "spam"],
        "label": "label",
        "vocabulary_size": 7,
        "text": {
            **{"column": "text", "tokens": "words", "lower": True, "length": 4},
            "vocabulary": ["go", "now", "a", "and", "prize"],
        },
    }
    assert features.x_type == "int32"
    assert x_of(features).tolist() == [
        *([2, 3, 0, 0], [2, 3, 5, 2], [1, 4, 6, 3], [5, 4, 6, 0], [0, 0, 0, 0], [2, 0, 0, 0]),
        *([2, 1, 0, 0], [1, 1, 0, 0]),
    ]
    assert [y.tolist() for _, _, y in features.batches()] == [[0, 1, 0], [1, 0, 1], [0, 1]]
    assert features.decisions["text"] == (
        "words: 5 in the vocabulary, 7.14% of the tokens in the training rows unknown, 0.00% of the rows cut to 4; "
        "1 training rows have none"
    )


def test_the_length_covers_95_percent_of_the_training_rows(comm, workspace):
    texts = ["a " * number for number in range(1, 101)]
    features = extract(made(workspace, texts, ["a " * 900]), comm)
    assert features.spec["input_shape"] == [95]
    assert "5.00% of the rows cut to 95" in features.decisions["text"]
    long = extract(made(workspace, ["a " * 5000, "a"], []), comm)
    assert long.spec["input_shape"] == [4096]


@pytest.mark.parametrize("tokens", WAYS)
def test_the_vocabulary_is_as_large_as_asked_for_at_most(tokens, comm, workspace):
    features = extract(made(workspace), comm, tokens=tokens, vocabulary=4, least=1)
    assert len(features.spec["text"]["vocabulary"]) == 4
    assert features.spec["vocabulary_size"] == 6
    assert x_of(features).max() == 5


def test_subwords_are_learnt_from_the_words(comm, workspace):
    texts = ["low"] * 5 + ["lowest"] * 2 + ["newer"] * 6 + ["wider"] * 3
    features = extract(made(workspace, texts), comm, tokens="subwords", vocabulary=15)
    assert features.spec["text"]["vocabulary"][-4:] == ["er", "er ", "lo", "low"]
    again = extract(made(workspace, texts), comm, tokens="subwords", vocabulary=500)
    assert again.spec["text"]["vocabulary"][:15] == features.spec["text"]["vocabulary"]
    assert {"low ", "newer ", "wider ", "lowest "} <= {*again.spec["text"]["vocabulary"]}
    assert np.count_nonzero(x_of(again)[0]) == 1


@pytest.mark.parametrize("tokens", WAYS)
def test_rows_that_are_not_for_training_change_nothing_that_is_learnt(tokens, comm, workspace):
    strange = [None, "zzz zzz zzz zzz zzz zzz zzz zzz zzz"]
    found = [extract(made(workspace, others=others), comm, tokens=tokens, least=1) for others in (OTHERS, strange)]
    assert found[0].spec == found[1].spec
    assert found[0].decisions == found[1].decisions
    assert (x_of(found[0])[:6] == x_of(found[1])[:6]).all()


@pytest.mark.parametrize("tokens", WAYS)
def test_what_json_holds_encodes_rows_in_the_same_way(tokens, comm, workspace):
    table = made(workspace)
    features = extract(table, comm, tokens=tokens)
    text = json.loads(json.dumps(features.spec, allow_nan=False))["text"]
    again = np.concatenate([encode(batch.column(0), text) for batch in table.batches()])
    assert again.tobytes() == x_of(features).tobytes()


def test_categories_are_text_and_rows_without_a_label_are_left_out(comm, workspace):
    column = pa.array([*TRAINING, *OTHERS]).dictionary_encode()
    features = extract(made(workspace, text=column, label=[None, *"ababab", None], other=[1] * 8), comm, length=4)
    assert x_of(features).tolist()[-1] == [2, 1, 0, 0]
    assert len(x_of(features)) == 6
    assert features.rows_left_out == {"no label": 2}
    assert features.left_out == {"other": "is not 'text'"}


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"column": "texts"}, "extract.column: received 'texts', no column, allowed: a column of text .text"),
        ({"column": "n"}, "extract.column: received 'n', integer, allowed: a column of text .text"),
        ({"column": "label"}, "extract.column: received 'label', the label, allowed: a column of text .text"),
        ({"label": "n"}, "extract.label: received 'n' with one label alone"),
        ({"length": 5000}, "extract.length: received 5000, allowed: up to 4096; lower it"),
        ({"least": 9}, "extract.least: received 9 for 'text', of which no token is there as often"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(options, line, comm, workspace):
    with pytest.raises(InputError, match=line) as caught:
        extract(made(workspace, n=[1] * 8), comm, **options)
    assert "\n" not in str(caught.value)


def test_training_rows_without_text_or_no_training_rows_are_refused(comm, workspace):
    with pytest.raises(InputError, match="extract.least: received 2 for 'text'"):
        extract(made(workspace, training=[None, " "]), comm)
    with pytest.raises(InputError, match="extract: received no row for training"):
        extract(made(workspace, training=[]), comm)
