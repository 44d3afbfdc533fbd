"""Records ready to be compared: each column of a table as a few parts of fixed width, one NumPy record a row.

    text       h hash of the normalised text, f its frequency, t its first bytes, g its letters, s hash of its sound
    number     the same of its digits, and v its value
    date       the same of yyyymmdd, and v its day
    words      w hashes of a text's rarest words and i how rare these are, n its length as a vector (TF-IDF)
    array      p its cells, 0 to STEPS from the smallest to the greatest of all, MISSING

The parts of a field travel between ranks as one block of bytes, and pairs of records are compared column by column.
Hashes and frequencies are whole numbers that do not depend on the ranks.

A column of one value and the id say nothing and are left out. An array is a group of at least 8 columns of numbers
whose names differ only by a number (p00..p63).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge.columns import CLOCKS, NUMBERS, TEXTS, arrays, kind, of_kind, to_floats, to_text
from hvdedge.hashes import hash_text, text_bytes
from hvdedge.parallel import allgather_json, counts, exchange_runs, frequencies
from hvdedge.tables import ORIGIN, Table

STEPS = 65534  # a cell's number in uint16: 0 to STEPS from the minimum to the maximum
MISSING = 65535
TEXT_BYTES = 32  # of a text, compared letter by letter
WORDS = 32  # of a text, compared word by word: its rarest
WORDY = 1.3  # words a cell, from which on they are compared, too
LONG = 5.0  # words a cell, from which on only they are
TOGETHER_BYTES = 1 << 20  # of a column that are read at once
RARE = 8  # steps of a word's rarity for each halving of its frequency
HASH = 0xFFFFFFFF  # the bits of a word's hash

Rows = dict[str, np.ndarray]  # the parts of some records by name, as h3 for the hash of field 3: (records, ...)


@dataclass(frozen=True)
class Field:
    """One column, or array of columns, to compare.

    Attributes:
        name: its name, or the first of an array's.
        columns: the table's columns.
        kind: text, number, date or array.
        parts: which of the fields of a record it has: h f t g s v w i n p.
        low, wide: of numbers and arrays, the smallest value and how far the greatest is from it.
        agrees: the chance that two records which both have a cell have the same.
    """

    name: str
    columns: tuple[str, ...]
    kind: str
    parts: str
    low: float = 0.0
    wide: float = 0.0
    agrees: float = 1.0

    @property
    def weight(self) -> float:
        """What it counts in a mean of similarities: an array less than its cells, as they depend on each other."""
        return float(np.sqrt(len(self.columns)))


@dataclass
class Records:
    """This rank's records.

    Attributes:
        fields: what they are made of.
        packed: `file`, a number for the source, and the parts of each field, `part + its number`: one array of NumPy
            records each, (rows here,), so that what belongs together is taken together.
        here, total: the number of records on this rank and on all.
    """

    fields: list[Field]
    packed: list[np.ndarray]
    here: int
    total: int

    @property
    def cells(self) -> Rows:
        """The parts by name, (rows here, ...)."""
        return _parts(self.packed)

    def fetch(self, numbers: np.ndarray, comm: MPI.Intracomm) -> Rows:
        """Collective. Return the parts of the records with global `numbers`, wherever they are."""
        starts = np.concatenate([[0], np.cumsum(counts(self.here, comm))])
        order = np.argsort(numbers, kind="stable")
        sizes = np.diff(np.searchsorted(numbers[order], starts))
        asked, sizes = exchange_runs(numbers[order], sizes, comm)
        asked -= starts[comm.rank]
        found = [exchange_runs(part.take(asked), sizes, comm)[0] for part in self.packed]
        if (order[1:] < order[:-1]).any():
            back = np.argsort(order)
            found = [part.take(back) for part in found]
        return _parts(found)


def read(table: Table, names: Sequence[str], comm: MPI.Intracomm) -> Records:
    """Collective. Return this rank's records, of the columns `names` that tell records apart."""
    table = _at_hand(table, [*names, *ORIGIN])
    total = int(counts(table.num_rows, comm).sum())
    numeric = of_kind(table, ("boolean", *NUMBERS, *CLOCKS), names)
    lowest, highest = _ranges(table, numeric, comm)
    fields, packed = [], [_packed({"file": _files(table, comm)})]
    grouped = set()
    for group in _groups(
        [name for name in numeric if kind(table.schema.field(name).type) in NUMBERS], numeric, lowest, highest
    ):
        chosen = [numeric.index(name) for name in group]
        low, high = lowest[chosen].min(), highest[chosen].max()
        fields.append(Field(group[0], tuple(group), "array", "p", low, high - low))
        packed.append(_packed({f"p{len(fields) - 1}": _cells(table, group, low, high - low)}))
        grouped |= set(group)
    single = [name for name in names if name not in grouped and kind(table.schema.field(name).type) != "array"]
    words = _mean_words(table, of_kind(table, TEXTS, single), comm)
    long = [name for name in words if words[name] >= LONG]
    for columns in [[name] for name in single if name not in long] + [long] * bool(long):
        found, parts = _column(table, columns, words.get(columns[0], 0.0), total, comm)
        if found is not None:
            if columns[0] in numeric:
                place = numeric.index(columns[0])
                found = replace(found, low=lowest[place], wide=highest[place] - lowest[place])
            packed.append(_packed({f"{part}{len(fields)}": cells for part, cells in parts.items()}))
            fields.append(found)
    pa.default_memory_pool().release_unused()
    return Records(fields, packed, table.num_rows, total)


def _packed(parts: dict[str, np.ndarray]) -> np.ndarray:
    """Return columns, (rows, ...), as one NumPy record a row."""
    dtype = [(name, part.dtype, part.shape[1:]) for name, part in parts.items()]
    packed = np.empty(len(next(iter(parts.values()))), dtype)
    for name, part in parts.items():
        packed[name] = part
    return packed


def _parts(packed: list[np.ndarray]) -> Rows:
    return {name: part[name] for part in packed for name in part.dtype.names or ()}


def _at_hand(table: Table, names: list[str]) -> Table:
    """Return the columns `names`, held in memory where they are small, as each is read by itself."""
    chosen = table.select(names)
    held, size_bytes = [], 0
    for batch in chosen.batches():
        held.append(batch)
        size_bytes += batch.nbytes
        if size_bytes > table.workspace.table_bytes // 4:
            return chosen
    return Table(chosen.schema, table.num_rows, table.workspace, lambda: iter(held))


def normalised(column: pa.Array) -> pa.Array:
    """Return text in small letters without accents and punctuation, its words parted by one blank; null for none.

    The blanks go, too, where there are digits only: they group a number as its writer likes it.
    """
    text = pc.utf8_lower(pc.utf8_normalize(to_text(column), form="NFKD"))
    text = pc.replace_substring_regex(text, r"[\p{M}'’]+", "")
    text = pc.utf8_trim_whitespace(pc.replace_substring_regex(text, r"[^\p{L}\p{N}]+", " "))
    text = pc.if_else(pc.match_substring_regex(text, r"[^0-9 ]"), text, pc.replace_substring(text, " ", ""))
    return pc.if_else(pc.equal(text, ""), None, text)


def _sound(text: pa.Array) -> pa.Array:
    """Return what is left of a text when letters that are often mistaken are made one and vowels go."""
    for pattern, other in (
        (r"ph|gh", "f"), (r"[td]h", "t"), (r"(?:s?ch|sh|tch|cz|[sz5])+", "s"), (r"(?:ck|qu|[cgkqx])+", "k"),
        (r"(?:rn|[mn])+", "n"), (r"[ wvuyaeiouh01lj]+", "a"), (r"[dt]+", "t"), (r"[bp8]+", "p"), (r"f+", "f"),
        (r"r+", "r"),
    ):  # fmt: skip
        text = pc.replace_substring_regex(text, pattern, other)
    return pc.replace_substring_regex(text, r"(.)a+", r"\1")


def _each_once(function: Callable[[pa.Array], pa.Array], column: pa.Array) -> pa.Array:
    """Return `function` of each cell, having it work on each different one once."""
    coded = column.dictionary_encode()
    return function(coded.dictionary).take(coded.indices)


def _ranges(table: Table, names: list[str], comm: MPI.Intracomm) -> tuple[np.ndarray, np.ndarray]:
    ends = np.full((2, len(names)), np.inf)  # smallest number, smallest negative number
    for batch in table.select(names).batches() if names else ():
        for number, name in enumerate(names):
            values = to_floats(batch.column(name))
            ends[:, number] = np.fmin(
                ends[:, number], [np.fmin.reduce(values, initial=np.inf), np.fmin.reduce(-values, initial=np.inf)]
            )
    comm.Allreduce(MPI.IN_PLACE, ends, op=MPI.MIN)
    return ends[0], -ends[1]


def _groups(candidates: list[str], names: list[str], lowest: np.ndarray, highest: np.ndarray) -> list[list[str]]:
    """Return the arrays among the columns of numbers.

    Columns are no array, whatever their names, where most of them reach over less than a 16th of the whole's range.
    """
    wide = dict(zip(names, np.where(highest > lowest, highest - lowest, 0.0), strict=True))
    low, high = dict(zip(names, lowest, strict=True)), dict(zip(names, highest, strict=True))
    groups = []
    for group in arrays(candidates):
        varied = [name for name in group if wide[name] > 0]
        whole = max((high[name] for name in varied), default=0) - min((low[name] for name in varied), default=0)
        if varied and 2 * sum(wide[name] >= whole / 16 for name in varied) >= len(varied):
            groups.append(group)
    return groups


def _cells(table: Table, group: list[str], low: float, wide: float) -> np.ndarray:
    cells = np.empty((table.num_rows, len(group)), np.uint16)
    row = 0
    for batch in table.batches():
        for number, name in enumerate(group):
            with np.errstate(over="ignore", invalid="ignore"):
                steps = np.rint((to_floats(batch.column(name)) - low) / wide * STEPS)
                held = np.where((steps >= 0) & (steps <= STEPS), steps, MISSING)
            cells[row : row + batch.num_rows, number] = held.astype(np.uint16)
        row += batch.num_rows
    return cells


def _mean_words(table: Table, names: list[str], comm: MPI.Intracomm) -> dict[str, float]:
    """Collective. Return how many words the cells of each column have in the mean."""
    told = np.zeros((2, len(names)), np.int64)
    for number, name in enumerate(names):
        for batch in _regrouped(table.select([name])):
            words = np.asarray(pc.fill_null(_each_once(_count_words, to_text(batch.column(0))), 0))
            told[:, number] += (words > 0).sum(), words.sum()
    comm.Allreduce(MPI.IN_PLACE, told, op=MPI.SUM)
    return dict(zip(names, (told[1] / np.maximum(told[0], 1)).tolist(), strict=True))


def _count_words(text: pa.Array) -> pa.Array:
    return pc.count_substring_regex(text, r"[\pL\pN]+")


def _column(
    table: Table, names: list[str], words: float, total: int, comm: MPI.Intracomm
) -> tuple[Field | None, dict[str, np.ndarray]]:
    """Collective. Return the field of a column and its parts; None where it has not two values.

    Args:
        names: the column, or several of long texts: what one file says in a title stands in another's description.
        words: how many a cell has in the mean.
    """
    type = table.schema.field(names[0]).type
    is_a = {"date": "date", "timestamp": "date"}.get(
        kind(type), "number" if kind(type) in ("boolean", *NUMBERS, "time") else "text"
    )
    made: dict[str, list[np.ndarray]] = {}
    row = 0
    for batch in _regrouped(table.select(names)):
        text = _joined_text(batch)
        coded = text.dictionary_encode(null_encoding="encode")
        values, places = coded.dictionary, np.asarray(coded.indices)
        found = {"h": hash_text(values)[places]}
        if is_a != "text":
            found["v"] = to_floats(batch.column(0))
        if words < LONG:
            found["g"], found["t"] = _letters(values)[places], _fixed(values)[places]
        if is_a == "text" and words < LONG:
            found["s"] = (hash_text(_sound(values)) >> np.uint64(32)).astype(np.uint32)[places]
        if words >= WORDY:
            found["w"] = _word_hashes(text, _joined_text(batch, solid=True), row)
        for part, cells in found.items():
            made.setdefault(part, []).append(cells)
        row += batch.num_rows
    hashes = np.concatenate([np.empty(0, np.uint64), *made.pop("h", [])])
    held, _ = frequencies(hashes, comm)
    known = hashes != 0
    sums = np.array([known.sum(), (held[known] - 1).sum()], np.int64)
    comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
    cells, same = int(sums[0]), int(sums[1])
    if cells < 2 or same == cells * (cells - 1):
        return None, {}
    parts: dict[str, np.ndarray] = {"h": (hashes >> np.uint64(32)).astype(np.uint32)}
    parts["h"][known & (parts["h"] == 0)] = 1
    parts["f"] = np.where(known, np.rint(RARE * np.log2(np.maximum(held, 1))), 0).astype(np.uint8)
    if is_a != "text":
        parts["v"] = np.concatenate([np.empty(0), *made["v"]]) if made else np.empty(0)
    if words >= WORDY:
        parts |= _words(np.concatenate([np.empty(0, np.int64), *made.pop("w", [])]), table.num_rows, total, comm)
    if words < LONG:
        parts["g"] = np.concatenate([np.empty(0, np.uint32), *made.pop("g", [])])
        texts = np.concatenate([np.empty(0, "S1"), *made.pop("t", [])])
        width = np.array(texts.dtype.itemsize)
        comm.Allreduce(MPI.IN_PLACE, width, op=MPI.MAX)
        parts["t"] = texts.astype(f"S{width}", copy=False)
    if is_a == "text" and words < LONG:
        parts["s"] = np.concatenate([np.empty(0, np.uint32), *made.pop("s", [])])
    return Field(names[0], tuple(names), is_a, "".join(parts), agrees=same / (cells * (cells - 1))), parts


def _regrouped(table: Table) -> Iterator[pa.RecordBatch]:
    """Yield the rows in batches of about `TOGETHER_BYTES`: among many rows more are alike than among few."""
    held: list[pa.RecordBatch] = []
    for batch in table.batches():
        held.append(batch)
        if sum(part.nbytes for part in held) >= TOGETHER_BYTES:
            yield pa.concat_batches(held)
            held = []
    if held:
        yield pa.concat_batches(held)


def _joined_text(batch: pa.RecordBatch, solid: bool = False) -> pa.Array:
    """Return the cells of each row as one text; `solid` puts together what hyphens, dots and slashes part."""
    texts = []
    for column in batch.columns:
        texts.append(_as_text(pc.replace_substring_regex(to_text(column), r"[-./]", "") if solid else column))
    if len(texts) == 1:
        return texts[0]
    whole = pc.binary_join_element_wise(*texts, " ", null_handling="skip")
    return pc.if_else(pc.equal(whole, ""), None, whole)


def _as_text(column: pa.Array) -> pa.Array:
    type = column.type
    if pa.types.is_date(type) or pa.types.is_timestamp(type):
        return pc.strftime(column.cast(pa.timestamp("us")) if pa.types.is_date(type) else column, "%Y%m%d").cast(
            pa.string()
        )
    if kind(type) in NUMBERS:
        finite = pc.if_else(pc.is_finite(column), column, None)
        return pc.replace_substring_regex(finite.cast(pa.string()), r"\.0*$", "")
    return _each_once(normalised, to_text(column))


def _letters(text: pa.Array) -> np.ndarray:
    """Return a bit for each letter and digit, of 32, that a text has: one edit changes at most two of them."""
    data, _, lengths = text_bytes(text)
    code = np.where((data >= 48) & (data < 58), data - 22, (data - 97) % 26).astype(np.int64) % 32
    rows = np.repeat(np.arange(len(lengths)), lengths)
    has = np.zeros((len(lengths), 32), bool)
    has[rows[data != 32], code[data != 32]] = True
    return np.packbits(has, axis=1, bitorder="little").view(np.uint32).reshape(-1)


def _fixed(text: pa.Array) -> np.ndarray:
    """Return the first bytes of each text."""
    data, starts, lengths = text_bytes(text)
    cut = np.minimum(lengths, TEXT_BYTES)
    held = np.zeros((len(lengths), max(int(cut.max(initial=0)), 1)), np.uint8)
    rows = np.repeat(np.arange(len(lengths)), cut)
    place = np.arange(cut.sum()) - np.repeat(np.cumsum(cut) - cut, cut)
    held[rows, place] = data[np.repeat(starts, cut) + place]
    return held.view(f"S{held.shape[1]}").reshape(-1)


def _word_hashes(text: pa.Array, solid: pa.Array, start: int) -> np.ndarray:
    """Return the words of each text, int64 (words,): the row, from `start` on, above 32 bits of hash.

    Numbers and codes count as words in `solid` as well (ps-lx350 as pslx350), and by their beginnings
    (pslx350h as pslx3).
    """
    pieces = []
    for words, seed in ((text, 0), (_each_once(_beginnings, text), 1), (solid, 0)):
        split = pc.split_pattern(pc.fill_null(words, ""), " ")
        rows = np.repeat(np.arange(len(text)), np.asarray(pc.list_value_length(split)).astype(np.int64))
        flat = split.flatten()
        kept = np.asarray(pc.binary_length(flat)) > (0 if words is text else 4)
        if words is not text:
            kept &= np.asarray(pc.match_substring_regex(flat, "[0-9]"))
        hashes = (hash_text(flat) >> np.uint64(32)).astype(np.int64) ^ seed
        pieces.append((rows[kept] + start) << 32 | hashes[kept])
    return np.unique(np.concatenate(pieces))


def _beginnings(text: pa.Array) -> pa.Array:
    codes = pc.if_else(pc.match_substring_regex(text, "[0-9]"), text, "")
    return pc.replace_substring_regex(codes, r"\b([a-z]*[0-9][a-z0-9]{0,9}|[a-z0-9]{5})[a-z0-9]*\b", r"\1")


def _words(both: np.ndarray, here: int, total: int, comm: MPI.Intracomm) -> dict[str, np.ndarray]:
    """Collective. Return for each text its rarest words, as hashes, how rare they are, and the text's length.

    A word's weight is log(records / records with it), in steps of 1 / RARE; the length is the root of the squares' sum.
    """
    held, _ = frequencies((both & HASH).astype(np.uint64), comm)
    rarity = np.clip(np.rint(RARE * np.log2(max(total, 2) / held)), 1, 255).astype(np.int64)
    squares = np.zeros(here, np.int64)
    np.add.at(squares, both >> 32, rarity**2)
    order = np.lexsort((both & HASH, -rarity, both >> 32))
    both, rarity = both[order], rarity[order]
    rows = both >> 32
    place = np.arange(len(rows)) - np.searchsorted(rows, rows)
    width = np.array(min(place.max(initial=0) + 1, WORDS), np.int64)
    comm.Allreduce(MPI.IN_PLACE, width, op=MPI.MAX)
    words, rare = np.zeros((here, int(width)), np.uint32), np.zeros((here, int(width)), np.uint8)
    few = place < width
    words[rows[few], place[few]] = both[few] & HASH
    rare[rows[few], place[few]] = rarity[few]
    return {"w": words, "i": rare, "n": np.sqrt(squares).astype(np.float32)}


def _files(table: Table, comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return a number for each row's source file, alike on all ranks; 255 stands for all from there on."""
    names: dict[str, None] = {}
    for batch in table.select(["_file"]).batches():
        names |= dict.fromkeys(pc.unique(batch.column(0)).to_pylist())
    everyone = list(dict.fromkeys(name for part in allgather_json(list(names), comm) for name in part))
    known = pa.array(everyone, pa.string())
    parts = [np.empty(0, np.int64)]
    for batch in table.select(["_file"]).batches():
        parts.append(np.asarray(pc.index_in(to_text(batch.column(0)), known)))
    return np.minimum(np.concatenate(parts), 255).astype(np.uint8)
