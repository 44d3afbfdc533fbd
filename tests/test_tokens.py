"""Text as token numbers: words, subwords, characters, and the same numbers from what JSON holds."""

import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hvdedge.tokens import encode, number, split


def tokens_of(texts, tokens: str, lower: bool = True) -> list[list[str]]:
    different, which, lengths = split(pa.array(texts, pa.string()), tokens, lower)
    flat = [different[place].as_py() for place in which.tolist()]
    stops = np.cumsum(lengths)
    return [flat[stop - length : stop] for stop, length in zip(stops.tolist(), lengths.tolist(), strict=True)]


def test_words_are_letters_and_digits_together_and_every_other_sign_alone():
    texts = ["Hi  there,don't\u00a0you ÄB_9!", None, " ", "a\x00b \u2003 c", "naïve cafe\u0301 £5", "👍🏽x"]
    assert tokens_of(texts, "words") == [
        ["hi", "there", ",", "don", "'", "t", "you", "äb", "_", "9", "!"],
        [],
        [],
        ["a", "\x00", "b", "c"],
        ["naïve", "café", "£", "5"],  # the accent is put into its letter
        ["👍", "🏽", "x"],
    ]
    assert tokens_of(["Hi"], "words", lower=False) == [["Hi"]]


def test_a_word_of_over_64_characters_is_several():
    assert tokens_of(["ä" * 130 + " b"], "words") == [["ä" * 64, "ä" * 64, "ää", "b"]]


def test_characters_keep_one_blank_between_words():
    assert tokens_of([" A\t\n b\u00a0", "", None, "👍"], "characters") == [["a", " ", "b"], [], [], ["👍"]]


def words_by_hand(text: str) -> list[str]:
    found, before = [], False
    for character in unicodedata.normalize("NFC", text).strip():
        category = unicodedata.category(character)
        inside = category[0] in "LMN"
        if inside and before and len(found[-1]) < 64:
            found[-1] += character
        elif inside or not (character.isspace() or category[0] == "Z"):
            found.append(character)
        before = inside
    return found


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(st.sampled_from("ab1 \t\u00a0,.é́👍" + "z" * 20), max_size=90), max_size=5))
def test_words_are_those_of_a_loop_over_the_characters(texts):
    assert tokens_of(texts, "words", lower=False) == [words_by_hand(text) for text in texts]


def test_rows_are_cut_or_filled_up_and_what_has_no_number_is_1():
    text = {"tokens": "words", "lower": True, "vocabulary": ["b", "a"], "length": 3}
    x = encode(pa.array(["a b c a", "", None, "B"]), text)
    assert (x.dtype, x.tolist()) == (np.int32, [[3, 2, 1], [0, 0, 0], [0, 0, 0], [2, 0, 0]])


def test_a_slice_and_categories_are_encoded_as_text_is():
    text = {"tokens": "words", "lower": True, "vocabulary": ["b", "a"], "length": 2}
    column = pa.array(["x", "a b", "b", None])
    wanted = [[3, 2], [2, 0], [0, 0]]
    assert encode(column.slice(1), text).tolist() == wanted
    assert encode(column.dictionary_encode().slice(1), text).tolist() == wanted
    assert encode(pa.array([], pa.string()), text).shape == (0, 2)


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("low", [9]),  # l o w _: lo, low, low_
        ("lowlow", [8, 9]),
        ("wol", [4, 3, 2, 5]),
        ("zlo", [1, 7, 5]),  # z has no number
        ("", []),
    ],
)
def test_subwords_are_joined_in_the_order_of_the_merges(word, wanted):
    vocabulary = ["l", "o", "w", " ", "x", "lo", "low", "low "]  # numbers 2 to 9
    text = {"tokens": "subwords", "lower": True, "vocabulary": vocabulary, "merges": [[2, 3], [7, 4], [8, 5]]}
    numbers, lengths = number(pa.array([word, "low", word]), text)
    assert numbers.tolist() == [*wanted, 9, *wanted]
    assert lengths.tolist() == [len(wanted), 1, len(wanted)]
