"""Which records are compared: passes that sort all records by a key, and the pairs of neighbours in each.

    all          every pair                                                       tables of a few hundred rows
    columns      records that agree in a set of columns, exactly or by sound      the smallest sets that few share
    words        records that share a rare word, in whichever column              texts of several words
    minhash      records whose texts share many triples of letters                few columns, long texts
    sorted       neighbours in the order of a text, forwards and backwards        few columns
    projection   neighbours on a line onto which numbers are thrown at random     arrays

Every pass gives each record keys (block, place). All entries are sorted by them over all ranks (a sample sort), and
each is paired with the `window` - 1 entries after it in its block. So blocks up to that size are compared whole,
greater ones as sorted neighbourhoods. The entries are then dealt anew such that all ranks get pairs in proportion to
their speed, a great block being split like any other:

    sorted   a a a a a a a a a b b c c c c      pairs of each entry  3 3 3 3 3 3 2 1 0 1 0 3 2 1 0   = 28
    rank 0   |-----------|. . .                  3 3 3 3 (and three more entries to pair with)        = 12 + ...
    rank 1                |----------------|

A pair that an earlier pass by columns has given is left out; others may come twice and are made one at the end.

Source: Kolb, Thor and Rahm 2012, Load balancing for MapReduce-based entity resolution (PairRange); Hernandez and
Stolfo 1995, The merge/purge problem for large databases; Broder 1997, On the resemblance and containment of documents
(MinHash); Bilenko, Kamath and Mooney 2006, Adaptive blocking.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import combinations

import numpy as np
from mpi4py import MPI

from hvdedge.fields import MISSING, RARE, Field, Records, Rows
from hvdedge.mixing import mix
from hvdedge.parallel import allgather_rows, counts, exchange_runs

ENTRY = np.dtype([("key", np.uint64), ("place", np.uint64), ("row", np.int64), ("file", np.uint8)])
FEW_ROWS = 300  # of which all are compared
SAMPLE_ROWS = 20_000  # from which the sizes of blocks are foreseen
COLUMNS = 3  # in a key, at most
PAIRS_PER_ROW = 1.0  # that a key of columns may give; a greater one gets one more column
PASSES = 40  # by columns, at most
WINDOW = 64  # blocks up to that size are compared whole
NEAR = 12  # neighbours in a sorted order
BATCH_PAIRS = 1 << 14
CHUNK_ROWS = 1 << 15
WORDS_OF = 5  # rare words of a record that are keys
COMMON = 16  # records that share a word which is not rare any more
BANDS, GRAM = 12, 3
TELLING = 0.05  # a text that two records share by chance more often than that is no order
PROJECTIONS = 10
SUBSET = (3, 12)  # how many cells a projection takes: few enough to miss those that differ
MEASURED_PAIRS = 1_000_000  # of each rank, before its speed is believed
UNEQUAL = 1.25  # ranks whose speeds differ by less get the same


@dataclass(frozen=True)
class Pass:
    """One order of all records; `parts` are the fields of a record that make the key, as h3 or s0."""

    kind: str
    parts: tuple[str, ...] = ()
    window: int = WINDOW
    turn: int = 0


@dataclass
class Batch:
    """Pairs to compare: `rows[a]` and `rows[b]`, whose global numbers are `numbers[a]` and `numbers[b]`."""

    rows: Rows
    numbers: np.ndarray
    a: np.ndarray
    b: np.ndarray


@dataclass
class Blocking:
    """The passes over `records`, and what they cost.

    Attributes:
        link: only pairs of different files.
        max_candidates: how many pairs may be given in all.
        produced: pairs that each rank was given, int64 (ranks,), alike on every rank.
        narrowed: passes whose window was made smaller to keep to `max_candidates`.
    """

    records: Records
    comm: MPI.Intracomm
    link: bool
    max_candidates: int
    seed: int
    passes: list[Pass] = field(default_factory=list)
    produced: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    narrowed: int = 0

    def __post_init__(self) -> None:
        self.produced = np.zeros(self.comm.size, np.int64)
        self._seconds = 0.0
        self._done: list[Pass] = []

    def choose(self, kinds: tuple[str, ...]) -> None:
        """Collective. Set the passes: those of `kinds`, or what suits the data where there are none."""
        fields = self.records.fields
        if not kinds and self.records.total <= FEW_ROWS:
            self.passes = [Pass("all", (), FEW_ROWS)] if fields else []
            return
        arrays = [number for number, one in enumerate(fields) if one.kind == "array"]
        wordy = [number for number, one in enumerate(fields) if "w" in one.parts]
        texts = [number for number, one in enumerate(fields) if one.kind == "text" and one.agrees < TELLING]
        by_columns = self._column_sets() if not kinds or "columns" in kinds else []
        few = sum(set(p.parts).isdisjoint(q.parts) for p, q in combinations(by_columns, 2)) < 3
        chosen = set(kinds) or {
            "columns",
            *(["words"] if wordy else []),
            *(["minhash"] if texts and (few or any("t" not in fields[number].parts for number in texts)) else []),
            *(["sorted"] if few and not arrays else []),
            *(["projection"] if arrays else []),
        }
        self.passes = by_columns if "columns" in chosen else []
        if "words" in chosen and wordy:
            self.passes.append(Pass("words"))
        if "minhash" in chosen and texts:
            self.passes += [Pass("minhash", turn=turn) for turn in range(BANDS)]
        if "sorted" in chosen:
            for number, one in enumerate(fields):
                if "t" in one.parts and one.agrees < TELLING:
                    turns = range(2) if one.kind == "text" else range(1)
                    self.passes += [Pass("sorted", (f"t{number}",), NEAR, turn) for turn in turns]
        if "projection" in chosen and any(one.kind != "text" for one in fields):
            self.passes += [Pass("projection", (), NEAR, turn) for turn in range(PROJECTIONS)]

    def batches(self) -> Iterator[Batch]:
        """Collective. Yield pairs to compare, as many batches on every rank; some may be empty."""
        for number, one in enumerate(self.passes):
            yield from self._pass(one, len(self.passes) - number)

    def _column_sets(self) -> list[Pass]:
        """Collective. Return keys of columns that few records share: the smallest sets, by sound where that will do.

        What a key gives is foreseen from a sample that depends on the rows alone, each rank holding the same one.
        """
        records = self.records
        share = min(1.0, SAMPLE_ROWS / max(records.total, 1))
        drawn = np.random.default_rng(0).random(records.total if share < 1 else 0)
        start = int(counts(records.here, self.comm)[: self.comm.rank].sum())
        mine = np.flatnonzero(drawn[start : start + records.here] < share) if share < 1 else slice(None)
        names = [f"{part}{n}" for n, one in enumerate(records.fields) for part in "hs" if part in one.parts]
        if not names:
            return []
        sample = allgather_rows(np.stack([records.cells[name][mine] for name in names], axis=1), self.comm)
        columns = dict(zip(names, sample.T, strict=True))
        numbers = [n for n, one in enumerate(records.fields) if "h" in one.parts]
        found: list[Pass] = []
        taken: list[set[int]] = []
        for size in range(1, COLUMNS + 1):
            for chosen in combinations(numbers, size):
                if any(before <= set(chosen) for before in taken) or len(found) >= PASSES:
                    continue
                for part in "sh":
                    parts = tuple(f"{part if f'{part}{n}' in columns else 'h'}{n}" for n in chosen)
                    keys = _joined([columns[name] for name in parts])
                    sizes = np.unique(keys[keys != 0], return_counts=True)[1]
                    if (sizes * (sizes - 1) // 2).sum() <= PAIRS_PER_ROW * share * len(sample):
                        found.append(Pass("columns", parts))
                        taken.append(set(chosen))
                        break
        return found

    def _entries(self, one: Pass) -> np.ndarray:
        """Return this rank's entries of a pass, unsorted."""
        rows, fields = self.records.cells, self.records.fields
        numbers, files = np.arange(self._start, self._start + self.records.here), rows["file"]
        nowhere, one_block = np.zeros(self.records.here, np.uint64), np.ones(self.records.here, np.uint64)
        if one.kind == "columns":
            others = [n for n, f in enumerate(fields) if "t" in f.parts and f"{n}" not in {p[1:] for p in one.parts}]
            order = min(others, key=lambda n: fields[n].agrees, default=None)
            places = nowhere if order is None else _first_letters(rows[f"t{order}"])
            return _entered(_joined([rows[name] for name in one.parts]), places, numbers, files)
        if one.kind == "all":
            return _entered(one_block, nowhere, numbers, files)
        if one.kind == "words":
            return self._word_entries()
        if one.kind == "minhash":
            telling = [(n, f) for n, f in enumerate(fields) if f.kind == "text" and f.agrees < TELLING]
            texts = [rows[f"t{n}"] if "t" in f.parts else rows[f"w{n}"] for n, f in telling]
            return _entered(_minhash(texts, one.turn), nowhere, numbers, files)
        if one.kind == "sorted":
            ordered = rows[one.parts[0]]
            places = _first_letters(ordered if one.turn == 0 else _backwards(ordered))
            return _entered((places != 0).astype(np.uint64), places, numbers, files)
        places = _projection(rows, fields, np.random.default_rng([self.seed % 2**64, one.turn]))
        return _entered(one_block, places, numbers, files)

    def _word_entries(self) -> np.ndarray:
        rows, fields = self.records.cells, self.records.fields
        wordy = [number for number, one in enumerate(fields) if "w" in one.parts]
        alone = round(RARE * np.log2(max(self.records.total, 2)))
        made = [np.empty(0, ENTRY)]
        for start in range(0, self.records.here, CHUNK_ROWS):
            here = slice(start, start + CHUNK_ROWS)
            words = np.concatenate([rows[f"w{number}"][here] for number in wordy], axis=1)
            rarity = np.concatenate([rows[f"i{number}"][here] for number in wordy], axis=1).astype(np.int64)
            rarity[(rarity >= alone) | (words == 0)] = 0
            rarity[rarity < alone - round(RARE * np.log2(COMMON))] = 0
            order = np.argsort(-rarity, axis=1, kind="stable")[:, :WORDS_OF]
            at, place = np.nonzero(np.take_along_axis(rarity, order, axis=1))
            keys = mix(words[at, order[at, place]].astype(np.uint64))
            at += start
            made.append(_entered(keys, np.zeros(len(at), np.uint64), at + self._start, rows["file"][at]))
        return np.concatenate(made)

    @property
    def _start(self) -> int:
        if not hasattr(self, "_first"):
            self._first = int(counts(self.records.here, self.comm)[: self.comm.rank].sum())
        return self._first

    def _pass(self, one: Pass, left: int) -> Iterator[Batch]:
        entries = _sort(self._entries(one), self.comm)
        followers = _followers(entries["key"], self.comm)
        window, complete = self._window(followers, one.window, left)
        rows, pairs = _deal(entries, np.minimum(followers, window - 1), self._speeds(), self.comm)
        del entries, followers
        produced = counts(int(pairs.sum()), self.comm)
        self.produced += produced
        ends = np.cumsum(pairs)
        edges = np.searchsorted(ends, np.arange(0, int(ends[-1]) if len(ends) else 0, BATCH_PAIRS), side="left")
        edges = np.unique(np.append(edges, len(pairs)))
        steps = np.array(max(len(edges) - 1, 0), np.int64)
        self.comm.Allreduce(MPI.IN_PLACE, steps, op=MPI.MAX)
        for step in range(int(steps)):
            first, last = (edges[step], edges[step + 1]) if step + 1 < len(edges) else (0, 0)
            number = pairs[first:last]
            left_side = np.repeat(np.arange(first, last), number)
            right_side = left_side + 1 + np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number)
            a, b = rows["row"][left_side], rows["row"][right_side]
            if self.link:
                apart = rows["file"][left_side] != rows["file"][right_side]
                a, b = a[apart], b[apart]
            a, b = np.minimum(a, b), np.maximum(a, b)
            numbers, places = np.unique(np.concatenate([a, b]), return_inverse=True)
            held = self.records.fetch(numbers, self.comm)
            began = time.process_time()
            left_side, right_side = places[: len(a)], places[len(a) :]
            fresh = (a != b) & ~self._seen(held, left_side, right_side)
            yield Batch(held, numbers, left_side[fresh], right_side[fresh])
            self._seconds += time.process_time() - began
        if one.kind == "columns" and complete:
            self._done.append(one)

    def _seen(self, rows: Rows, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Return which pairs a pass before this one has given."""
        equal: dict[str, np.ndarray] = {}
        seen = np.zeros(len(a), bool)
        for before in self._done:
            both = np.ones(len(a), bool)
            for name in before.parts:
                if name not in equal:
                    left = rows[name][a]
                    equal[name] = (left == rows[name][b]) & (left != 0)
                both &= equal[name]
            seen |= both
        return seen

    def _window(self, followers: np.ndarray, window: int, left: int) -> tuple[int, bool]:
        """Collective. Return the greatest window that keeps to the bound, and whether no block is greater."""
        windows = [window]
        while windows[-1] > 2:
            windows.append((windows[-1] + 1) // 2)
        sums = np.array([*(np.minimum(followers, size - 1).sum() for size in windows), followers.sum()], np.int64)
        self.comm.Allreduce(MPI.IN_PLACE, sums, op=MPI.SUM)
        remaining = max(self.max_candidates - int(self.produced.sum()), 0)
        share = remaining if left == 1 else max(2 * remaining // left, 1)
        fits = [size for size, total in zip(windows, sums, strict=False) if total <= share]
        chosen = fits[0] if fits else 1
        if chosen != window:
            self.narrowed += 1
        return chosen, chosen == window and sums[0] == sums[-1]

    def _speeds(self) -> np.ndarray:
        """Collective. Return each rank's pairs a second of processor so far, equal ones where they hardly differ."""
        mine = np.array(self.produced[self.comm.rank] / max(self._seconds, 1e-3))
        speeds = np.empty(self.comm.size)
        self.comm.Allgather(mine, speeds)
        if self.produced.min() < MEASURED_PAIRS or speeds.max() < UNEQUAL * speeds.min():
            return np.ones(self.comm.size)
        return speeds


def _joined(columns: list[np.ndarray]) -> np.ndarray:
    """Return one key for the cells of several columns, 0 where one is missing."""
    keys = np.zeros(len(columns[0]), np.uint64)
    there = np.ones(len(keys), bool)
    for number, column in enumerate(columns):
        keys += mix(column.astype(np.uint64) + np.uint64(number << 40))
        there &= column != 0
    return np.where(there, keys | np.uint64(1), np.uint64(0))


def _entered(keys: np.ndarray, places: np.ndarray, rows: np.ndarray, files: np.ndarray) -> np.ndarray:
    """Return entries of records that have a key."""
    there = keys != 0
    entries = np.empty(int(there.sum()), ENTRY)
    for name, values in (("key", keys), ("place", places), ("row", rows), ("file", files)):
        entries[name] = values[there]
    return entries


def _first_letters(texts: np.ndarray) -> np.ndarray:
    """Return the first 8 bytes of each text, as a number that sorts like them."""
    letters = _as_bytes(texts)[:, :8]
    held = np.zeros((len(texts), 8), np.uint8)
    held[:, : letters.shape[1]] = letters
    return held.view(">u8").reshape(-1).astype(np.uint64)


def _as_bytes(texts: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(texts).view(np.uint8).reshape(len(texts), texts.dtype.itemsize)


def _backwards(texts: np.ndarray) -> np.ndarray:
    letters = _as_bytes(texts)
    lengths = np.strings.str_len(texts)
    places = lengths[:, None] - 1 - np.arange(letters.shape[1])
    turned = np.where(places >= 0, np.take_along_axis(letters, np.maximum(places, 0), axis=1), 0).astype(np.uint8)
    return turned.view(f"S{letters.shape[1]}").reshape(-1)


def _minhash(texts: list[np.ndarray], turn: int) -> np.ndarray:
    """Return a key that two records share the likelier, the more triples of letters, or words, they share."""
    keys = np.zeros(len(texts[0]), np.uint64)
    for each in range(2):
        least = np.full(len(keys), np.iinfo(np.uint64).max, np.uint64)
        salt = np.uint64((2 * turn + each + 1) * 0x9E3779B97F4A7C15 % 2**64)
        for text in texts:
            if text.dtype.kind == "S":
                letters = _as_bytes(text).astype(np.uint64)
                places = range(max(letters.shape[1] - GRAM + 1, 0))
                grams = (
                    letters[:, p] << np.uint64(16) | letters[:, p + 1] << np.uint64(8) | letters[:, p + 2]
                    for p in places
                )
                grams = (np.where(letters[:, p + GRAM - 1] > 0, gram, 0) for p, gram in zip(places, grams, strict=True))
            else:
                grams = (text[:, place].astype(np.uint64) for place in range(text.shape[1]))
            for gram in grams:
                least = np.where(gram > 0, np.minimum(least, mix(gram ^ salt)), least)
        keys += mix(least + np.uint64(each))
        keys[least == np.iinfo(np.uint64).max] = 0
    return keys


def _projection(rows: Rows, fields: list[Field], random: np.random.Generator) -> np.ndarray:
    """Return a number for each record that is near for records whose drawn cells are near."""
    total = np.full(len(rows["file"]), 2**62, np.int64)
    cells = [(n, place) for n, one in enumerate(fields) if one.kind == "array" for place in range(len(one.columns))]
    cells += [(n, -1) for n, one in enumerate(fields) if one.kind in ("number", "date") and not cells]
    drawn = random.choice(len(cells), min(int(random.integers(*SUBSET, endpoint=True)), len(cells)), replace=False)
    for number, place in (cells[each] for each in drawn):
        factor = int(np.rint(random.normal() * 4096))
        if place >= 0:
            steps = rows[f"p{number}"][:, place].astype(np.int64)
            steps[steps == MISSING] = 0
        else:
            values = np.nan_to_num(rows[f"v{number}"])
            steps = np.rint(np.sign(values) * np.log1p(np.abs(values)) * 1024).astype(np.int64)
        total += steps * factor
    return total.astype(np.uint64)


def _sort(entries: np.ndarray, comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return this rank's part of all ranks' entries, sorted over all ranks by key, place and row.

    Source: Frazer and McKellar 1970, Samplesort.
    """
    entries = _ordered(entries)
    if comm.size == 1:
        return entries
    drawn = entries[np.linspace(0, len(entries) - 1, 64 * comm.size).astype(np.int64)] if len(entries) else entries
    sample = _ordered(allgather_rows(drawn, comm))
    splitters = sample[len(sample) * np.arange(1, comm.size) // comm.size] if len(sample) else sample
    edges = [0, *(_place(entries, splitter) for splitter in splitters)]
    edges += [len(entries)] * (comm.size + 1 - len(edges))
    entries, _ = exchange_runs(entries, np.diff(edges), comm)
    return _ordered(entries)


def _ordered(entries: np.ndarray) -> np.ndarray:
    """Return entries, equal ones of which are in the order of their rows, sorted by key, place and row."""
    if entries["place"].any():
        return entries[np.lexsort((entries["place"], entries["key"]))]
    return entries[np.argsort(entries["key"], kind="stable")]


def _place(entries: np.ndarray, entry: np.void) -> int:
    """Return how many of the sorted entries come before `entry`."""
    first, last = 0, len(entries)
    for name in ("key", "place", "row"):
        values = entries[name][first:last]
        last = first + int(np.searchsorted(values, entry[name], side="right"))
        first += int(np.searchsorted(values, entry[name]))
    return first


def _followers(keys: np.ndarray, comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return for each entry how many come after it in its block, on this rank and those after it."""
    edges = (
        np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1], [True]])) if len(keys) else np.zeros(1, np.int64)
    )
    ends = np.repeat(edges[1:], np.diff(edges))
    followers = ends - np.arange(len(keys)) - 1
    first_run = int(edges[1]) if len(keys) else 0
    told = np.array([len(keys), first_run, *((keys[0], keys[-1]) if len(keys) else (0, 0))], np.uint64)
    everyone = allgather_rows(told[None], comm)
    if len(keys):
        more = 0
        for count, run, first, _ in everyone[comm.rank + 1 :]:
            if count and first != keys[-1]:
                break
            more += int(run)
            if count and run != count:
                break
        followers[edges[-2] :] += more
    return followers.astype(np.int64)


def _deal(
    entries: np.ndarray, pairs: np.ndarray, speeds: np.ndarray, comm: MPI.Intracomm
) -> tuple[np.ndarray, np.ndarray]:
    """Collective. Return the entries of this rank's share of the pairs, and those after them that they are paired with.

    Returns:
        The entries, and for the first of them how many pairs each has.
    """
    if comm.size == 1:
        return entries, pairs
    told = allgather_rows(np.array([[len(entries), pairs.sum(), pairs.max(initial=0)]], np.int64), comm)
    lengths, sums = told[:, 0], told[:, 1]
    start, before, total = int(lengths[: comm.rank].sum()), int(sums[: comm.rank].sum()), int(sums.sum())
    targets = np.floor(np.cumsum(speeds)[:-1] / speeds.sum() * total).astype(np.int64)
    running = before + np.cumsum(pairs) - pairs  # pairs before each entry
    cuts = np.full(comm.size + 1, 0, np.int64)
    cuts[1:-1] = np.searchsorted(running, targets)
    comm.Allreduce(MPI.IN_PLACE, cuts, op=MPI.SUM)
    cuts[-1] = lengths.sum()
    halo = int(told[:, 2].max())
    firsts = np.clip(cuts[:-1] - start, 0, len(entries))
    sizes = np.clip(cuts[1:] + halo - start, firsts, len(entries)) - firsts
    sent = np.empty(sizes.sum(), [("row", np.int64), ("pairs", np.int32), ("file", np.uint8)])
    for first, size, last in zip(firsts, sizes, np.cumsum(sizes), strict=True):
        run, here = sent[last - size : last], slice(first, first + size)
        run["row"], run["pairs"], run["file"] = entries["row"][here], pairs[here], entries["file"][here]
    arrived, _ = exchange_runs(sent, sizes, comm)
    return arrived, arrived["pairs"][: max(int(cuts[comm.rank + 1] - cuts[comm.rank]), 0)]
