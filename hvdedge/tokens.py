"""Text as token numbers, by parameters that JSON can hold: words, subwords or characters.

    "Hi, you 2!"    words       hi  ,  you  2  !          letters and digits together, any other sign by itself
                    subwords    hi_ ,_ you_ 2_ !_         a word's characters and its end (_), joined by `merges`
                    characters  h i , _ y o u _ 2 !       blanks in a row are one (_)

0 fills a row up, 1 is a token that has no number, 2 is the first of `vocabulary`. Text is brought into Unicode's form C
first, into small letters with "lower". A word is up to 64 characters long, a longer one is several.
"""

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hvdedge.byte_pairs import join_pairs
from hvdedge.columns import to_text
from hvdedge.hashes import text_bytes

PAD, UNKNOWN, FIRST = 0, 1, 2
END = " "  # of a word, where it is made of subwords; no word holds one
LONGEST_WORD = 64
BLANK, IN_WORD, SIGN = 0, 1, 2


def split(column: pa.Array, tokens: str, lower: bool) -> tuple[pa.Array, np.ndarray, np.ndarray]:
    """Return the words or characters of texts; subwords are made of words.

    Args:
        column: cells of any kind, taken as text; a missing one has no token.
        tokens: words, subwords or characters.
    Returns:
        The different ones, strings; which of them each token is, int64 (tokens of all rows, one after the other); and
        how many tokens each row has, int64 (rows,).
    """
    texts = pc.utf8_normalize(pc.fill_null(to_text(column), ""), "NFC")
    points, lengths = code_points(pc.utf8_trim_whitespace(pc.utf8_lower(texts) if lower else texts))
    different, which = _different(points)
    row = np.repeat(np.arange(len(texts)), lengths)
    kinds = np.array([_kind(chr(point)) for point in different], np.int8)[which]
    if tokens == "characters":
        kept = (kinds != BLANK) | _follows(kinds != BLANK, row)
        points = np.where(kinds == BLANK, ord(" "), points)[kept]
        different, which = _different(points)
        return _texts(different, np.ones(len(different), bool)), which, np.bincount(row[kept], minlength=len(texts))
    starts = kinds == SIGN
    starts |= (kinds == IN_WORD) & ~_follows(kinds == IN_WORD, row)
    place = np.arange(len(points))
    starts |= (kinds == IN_WORD) & ((place - np.maximum.accumulate(np.where(starts, place, 0))) % LONGEST_WORD == 0)
    words = _texts(points[kinds != BLANK], starts[kinds != BLANK]).dictionary_encode()
    return words.dictionary, np.asarray(words.indices, np.int64), np.bincount(row[starts], minlength=len(texts))


def code_points(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return the characters of all texts as numbers, uint32, one after the other, and how many each has, int64."""
    data = text_bytes(texts)[0].tobytes().decode()
    return np.frombuffer(data.encode("utf-32-le"), np.uint32), np.asarray(pc.utf8_length(texts), np.int64)


def _different(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the different characters, rising, and which of them each is; several times as fast as sorting."""
    seen = np.zeros(int(points.max(initial=0)) + 1, bool)
    seen[points] = True
    return np.flatnonzero(seen), (np.cumsum(seen) - 1)[points]


def _kind(character: str) -> int:
    category = unicodedata.category(character)
    if category[0] == "Z" or character.isspace():
        return BLANK
    return IN_WORD if category[0] in "LMN" else SIGN


def _follows(chosen: np.ndarray, row: np.ndarray) -> np.ndarray:
    """Return whether each character stands behind a chosen one of its row."""
    return np.append(False, chosen[:-1] & (row[1:] == row[:-1]))[: len(row)]


def _texts(points: np.ndarray, starts: np.ndarray) -> pa.Array:
    """Return characters as strings, each of which begins where `starts` says."""
    data = points.astype(np.uint32).tobytes().decode("utf-32-le").encode()
    sizes = 1 + (points >= 0x80) + (points >= 0x800) + (points >= 0x10000)
    before = np.append(np.cumsum(sizes) - sizes, len(data))
    offsets = before[np.append(np.flatnonzero(starts), len(points))].astype(np.int32)
    return pa.StringArray.from_buffers(len(offsets) - 1, pa.py_buffer(offsets), pa.py_buffer(data))


def number(column: pa.Array, text: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return the token numbers of all rows, int64, one after the other, and how many each row has, int64 (rows,).

    Args:
        text: `tokens`, `lower`, `vocabulary` (the tokens that have numbers, in their order) and, of subwords, `merges`
            (pairs of token numbers; the token of the first one follows on the alphabet).
    """
    different, which, lengths = split(column, text["tokens"], text["lower"])
    if text["tokens"] != "subwords":
        return _places(different, text["vocabulary"])[which], lengths
    numbers, sizes = _subwords(different, text["vocabulary"], text["merges"])
    starts, sizes = (np.cumsum(sizes) - sizes)[which], sizes[which]
    ends = np.cumsum(sizes)
    inside = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - sizes, sizes)
    bounds = np.concatenate([[0], ends])[np.concatenate([[0], np.cumsum(lengths)])]
    return numbers[np.repeat(starts, sizes) + inside], np.diff(bounds)


def encode(column: pa.Array, text: dict[str, Any]) -> np.ndarray:
    """Return the rows as x, int32 (rows, length): each row's first `length` token numbers, 0 behind them."""
    numbers, lengths = number(column, text)
    x = np.full((len(column), text["length"]), PAD, np.int32)
    row = np.repeat(np.arange(len(column)), lengths)
    place = np.arange(len(numbers)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    fits = place < text["length"]
    x[row[fits], place[fits]] = numbers[fits]
    return x


def symbols(words: pa.Array, alphabet: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of the words' characters and ends, int64, one word after the other, and the word of each."""
    points, lengths = code_points(words)
    word = np.repeat(np.arange(len(words)), lengths)
    different, which = _different(points)
    places = _places(pa.array([chr(point) for point in different], pa.string()), alphabet)[which]
    end = _places(pa.array([END]), alphabet)
    ends = np.cumsum(lengths)
    return np.insert(places, ends, end), np.insert(word, ends, np.arange(len(words)))


def _places(texts: pa.Array, vocabulary: Sequence[str]) -> np.ndarray:
    found = pc.index_in(texts, value_set=pa.array(vocabulary, pa.string()))
    return np.asarray(found.fill_null(UNKNOWN - FIRST), np.int64) + FIRST


def _subwords(words: pa.Array, vocabulary: Sequence[str], merges: Sequence[Sequence[int]]):
    """Return the token numbers of the words, one word after the other, and how many each has."""
    alphabet = len(vocabulary) - len(merges)
    numbers, word = symbols(words, vocabulary[:alphabet])
    numbers, word = join_pairs(numbers, word, np.array(merges, np.int64).reshape(-1, 2), FIRST + alphabet)
    return numbers, np.bincount(word, minlength=len(words))
