"""Byte-pair encoding is that of the paper's loop, a merge at a time."""

import collections

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hvdedge.byte_pairs import join_pairs, learn


def flat(words) -> tuple[np.ndarray, np.ndarray]:
    lengths = [len(word) for word in words]
    return np.array([s for word in words for s in word], np.int64), np.repeat(np.arange(len(words)), lengths)


def merged(word: list[int], pair: tuple[int, int], new: int) -> list[int]:
    made, place = [], 0
    while place < len(word):
        hit = tuple(word[place : place + 2]) == pair
        made.append(new if hit else word[place])
        place += 1 + hit
    return made


def by_hand(words, counts, first: int, merges: int, least: int) -> tuple[list[list[int]], list[list[int]]]:
    """Merge the most frequent pair, of equal ones the one of older symbols, until there is none."""
    words, made = [list(word) for word in words], []
    while len(made) < merges:
        held = collections.Counter()
        for word, count in zip(words, counts, strict=True):
            for pair in zip(word, word[1:], strict=False):
                if 1 not in pair:
                    held[pair] += count
        held = {pair: count for pair, count in held.items() if count >= least}
        if not held:
            break
        best = min(held, key=lambda pair: (-held[pair], max(pair), pair))
        words = [merged(word, best, first + len(made)) for word in words]
        made.append([*best])
    return made, words


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.lists(st.integers(1, 5), min_size=1, max_size=9), st.integers(1, 4)), max_size=12),
    st.integers(0, 12),
    st.integers(1, 3),
)
@example([([2, 2], 1), ([3, 3, 3], 2)], 2, 1)
def test_merges_and_words_are_those_of_the_paper(words, merges, least):
    from mpi4py import MPI

    counts, words = [count for _, count in words], [word for word, _ in words]
    wanted, joined = by_hand(words, counts, 6, merges, least)
    symbols, word = flat(words)
    found = learn(symbols, word, np.array(counts, np.int64), 6, merges, least, MPI.COMM_SELF)
    assert found == wanted
    again, of = join_pairs(symbols, word, np.array(found, np.int64).reshape(-1, 2), 6)
    assert [again[of == number].tolist() for number in range(len(words))] == joined


def test_the_example_of_the_paper(comm):
    """low, lowest, newer, wider: the first merge is (r, end), then e and that, in Sennrich et al., algorithm 1."""
    texts = {"low.": 5, "lowest.": 2, "newer.": 6, "wider.": 3}
    letters = [*"lowestnrid."]
    names = ["", "", *dict.fromkeys(letters)]
    words = [[names.index(letter) for letter in text] for text in texts]
    found = learn(*flat(words), np.array([*texts.values()]), len(names), 4, 1, comm)
    for left, right in found:
        names.append(names[left] + names[right])
    assert names[-4:] == ["er", "er.", "lo", "low"]


@pytest.mark.parametrize("words", [[], [[2]], [[1, 1, 1]]])
def test_words_without_a_pair_have_no_merge(words, comm):
    assert learn(*flat(words), np.ones(len(words), np.int64), 6, 5, 1, comm) == []
