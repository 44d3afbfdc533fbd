"""A column of text becomes token numbers, by a vocabulary that the training rows alone decide.

    "Free entry, now!"  ->  [17, 402, 5, 61, 8, 0, 0, 0]     0 fills up, 1 is a token that is not in the vocabulary

All ranks count together, exactly, in as many passes over the rows as it takes to keep to the memory limit: the same
vocabulary on any number of ranks. What encodes is in `hvdedge/tokens.py`, how subwords are learnt in
`hvdedge/byte_pairs.py`.
"""

from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge import byte_pairs
from hvdedge.class_labels import find_classes, split_codes, training_rows
from hvdedge.columns import TEXTS, kind, of_kind, plain, shown
from hvdedge.errors import InputError
from hvdedge.frequent import frequent
from hvdedge.options import ColumnName, Count
from hvdedge.splits import LEFT_OUT
from hvdedge.tables import SPLIT, Table
from hvdedge.tensors import Features
from hvdedge.tokens import END, FIRST, UNKNOWN, encode, number, split, symbols

EXAMPLES = ("tokens",)
ROWS = 1024  # at a time
MOST_WORDS = 50_000  # from which subwords are learnt, the most frequent ones
LONGEST = 4096  # tokens of a row
COVERED = 0.95  # of the training rows that "auto" does not cut


def extract(
    table: Table,
    comm: MPI.Intracomm,
    *,
    label: ColumnName = "label",
    column: ColumnName = "text",
    tokens: Literal["words", "subwords", "characters"] = "words",
    vocabulary: Count = 10_000,
    least: Count = 2,
    length: Literal["auto"] | Count = "auto",
    lower: bool = True,
) -> Features:
    """Collective. Make rows of token numbers of a text column, and class numbers of a label column.

    Args:
        table: this rank's rows; its column `_split`, uint8, says which are for training (0), validation (1) and
            test (2). Others, and rows without a label, are left out and counted. A row without text has no token.
        label: the column that holds the class, of numbers, text or booleans.
        column: the column of text.
        tokens: what has a number: words and other signs, subwords (byte-pair encoding), or characters.
        vocabulary: the most tokens that have a number of their own, the most frequent ones.
        least: how often a token has to be in the training rows; what is rarer is what unknown ones are learnt from.
        length: the tokens of a row; "auto": the fewest, up to 4,096, that cut at most 5 % of the training rows.
        lower: whether capitals are taken as small letters.
    Returns:
        The examples: x int32 (rows, length), y int64 (rows,), the number of the label among the sorted classes.
        `text` in the spec is what `tokens.encode` takes. A rank holds an eighth of its memory for counts, and of
        subwords 50,000 words.
    Raises:
        InputError: where the label or the column does not fit the table, there is no row for training, or no token is
            there as often as `least`.
    """
    classes = find_classes(table, label, comm)
    if column == label or column not in of_kind(table, TEXTS):
        allowed = [name for name in of_kind(table, TEXTS) if name != label]
        holds = kind(table.schema.field(column).type) if column in table.columns else "no column"
        raise InputError(
            f"extract.column: received {column!r}, {'the label' if column == label else holds}, allowed: a column of "
            f"text ({shown(allowed)}); name one"
        )
    if isinstance(length, int) and length > LONGEST:
        raise InputError(f"extract.length: received {length}, allowed: up to {LONGEST}; lower it")
    train, rows_left_out = training_rows(table, [column], label, comm)
    text: dict[str, Any] = {"column": column, "tokens": tokens, "lower": lower}
    text |= _learn(train, text, vocabulary, least, comm)
    if not text["vocabulary"]:
        raise InputError(
            f"extract.least: received {least} for {column!r}, of which no token is there as often in the training rows,"
            " allowed: less; lower it or name another column"
        )
    seen = _look(train, text, comm)
    text["length"] = seen.covering() if length == "auto" else length

    def batches() -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        for batch in _pieces(table.select([SPLIT, label, column])):
            codes, _ = split_codes(batch, label)
            codes, batch = codes[codes != LEFT_OUT], batch.filter(pa.array(codes != LEFT_OUT))
            y = pc.index_in(plain(batch.column(label)), value_set=classes)
            yield codes, encode(batch.column(column), text), np.asarray(y, np.int64)

    spec = {
        "task": "classification",
        "input_shape": [text["length"]],
        "classes": classes.to_pylist(),
        "label": label,
        "vocabulary_size": FIRST + len(text["vocabulary"]),
        "text": text,
    }
    others = [name for name in table.columns if name not in (column, label, SPLIT)]
    return Features(
        spec,
        batches,
        x_type="int32",
        left_out=dict.fromkeys(others, f"is not {column!r}"),
        rows_left_out=rows_left_out,
        decisions={column: seen.told(text)},
    )


def _pieces(table: Table) -> Iterator[pa.RecordBatch]:
    for whole in table.batches():
        yield from (whole.slice(start, ROWS) for start in range(0, whole.num_rows, ROWS))


def _learn(train: Table, text: dict[str, Any], vocabulary: int, least: int, comm: MPI.Intracomm) -> dict[str, Any]:
    """Collective. Return the vocabulary, and of subwords the merges."""
    limit_bytes = train.workspace.table_bytes

    def counted() -> Iterator[tuple[pa.Array, np.ndarray]]:
        for batch in _pieces(train):
            different, which, _ = split(batch.column(0), text["tokens"], text["lower"])
            yield different, np.bincount(which, minlength=len(different))

    if text["tokens"] != "subwords":
        return {"vocabulary": frequent(counted, vocabulary, least, limit_bytes, comm)["value"].to_pylist()}
    words = frequent(counted, MOST_WORDS, 1, limit_bytes, comm)
    alphabet = _alphabet(words, vocabulary, least)
    mine = words.take(pa.array(np.arange(comm.rank, len(words), comm.size)))
    numbers, word = symbols(mine["value"].combine_chunks(), alphabet)
    first, counts = FIRST + len(alphabet), np.asarray(mine["count"], np.int64)
    merges = byte_pairs.learn(numbers, word, counts, first, vocabulary - len(alphabet), least, comm)
    for left, right in merges:
        alphabet.append(alphabet[left - FIRST] + alphabet[right - FIRST])
    return {"vocabulary": alphabet, "merges": merges}


def _alphabet(words: pa.Table, vocabulary: int, least: int) -> list[str]:
    """Return the characters of the words and their end, by falling count, then rising code point."""
    held: dict[str, int] = {}
    for word, count in zip(words["value"].to_pylist(), words["count"].to_pylist(), strict=True):
        for character in (*word, END):
            held[character] = held.get(character, 0) + count
    found = sorted((name for name in held if held[name] >= least), key=lambda name: (-held[name], name))
    return found[:vocabulary]


class _Seen:
    """What the training rows are with a vocabulary: tokens, unknown ones, and how many rows have how many tokens."""

    def __init__(self, tokens: int, unknown: int, rows: np.ndarray):
        self.tokens = tokens
        self.unknown = unknown
        self.rows = rows  # by the number of their tokens, 0 to LONGEST or more

    def covering(self) -> int:
        """Return the fewest tokens, 1 to LONGEST, that leave the share `COVERED` of the rows uncut."""
        covered = np.searchsorted(np.cumsum(self.rows), COVERED * self.rows.sum())
        return min(max(int(covered), 1), LONGEST)

    def told(self, text: dict[str, Any]) -> str:
        rows, length = int(self.rows.sum()), text["length"]
        cut, empty = self.rows[length + 1 :].sum() / rows, int(self.rows[0])
        note = f"; {empty:,} training rows have none" if empty else ""
        return (
            f"{text['tokens']}: {len(text['vocabulary']):,} in the vocabulary, {self.unknown / max(self.tokens, 1):.2%}"
            f" of the tokens in the training rows unknown, {cut:.2%} of the rows cut to {length}{note}"
        )


def _look(train: Table, text: dict[str, Any], comm: MPI.Intracomm) -> _Seen:
    """Collective."""
    rows, sums = np.zeros(LONGEST + 2, np.int64), np.zeros(2, np.int64)
    for batch in _pieces(train):
        numbers, lengths = number(batch.column(0), text)
        rows += np.bincount(np.minimum(lengths, LONGEST + 1), minlength=len(rows))
        sums += len(numbers), (numbers == UNKNOWN).sum()
    comm.Allreduce(MPI.IN_PLACE, rows, op=MPI.SUM)
    comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
    return _Seen(int(sums[0]), int(sums[1]), rows)
