"""Dealing the examples into training, validation and test, the same way on any number of ranks."""

import fnmatch
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge.columns import CLOCKS, NUMBERS, kind, of_classes, shown, to_floats, to_text
from hvdedge.errors import InputError
from hvdedge.hashes import hash_text
from hvdedge.mixing import GOLDEN, mix
from hvdedge.parallel import agree, allgather_json, allgather_rows, counts
from hvdedge.tables import gather_table

SPLITS = ("train", "validation", "test")
LEFT_OUT = 255
WORDS = {
    **{"train": 0, "training": 0, "validation": 1, "valid": 1, "val": 1, "dev": 1, "test": 2, "testing": 2},
    **{"none": LEFT_OUT, "": LEFT_OUT},
}


def split_of(word: str) -> str:
    """Return train, validation or test for a word that means one, in any case, else nothing."""
    number = WORDS.get(word.lower(), LEFT_OUT)
    return "" if number == LEFT_OUT else SPLITS[number]


def stratified(
    labels: pa.Array | pa.ChunkedArray, comm: MPI.Intracomm, *, validation: float, test: float, seed: int
) -> np.ndarray:
    """Collective. Return which split each of this rank's rows belongs to, with the shares kept in every class.

    Each class has as many examples in each split as the shares ask for, to the nearest whole number (largest
    remainder). Which ones is decided by a hash of the seed and of the global row number, so neither the number of
    ranks nor the order of arrival changes it. Every rank holds 12 bytes for each row of all ranks.

    Args:
        labels: this rank's labels, of any type that sorts; a row without one is left out.
        validation, test: shares of the rows, at least 0 and together below 1; the rest is for training.
    Returns:
        uint8 (rows here,): 0 training, 1 validation, 2 test, 255 left out.
    Raises:
        InputError: where the shares leave nothing for training.
    """
    shares = _shares(validation, test)
    codes, classes = _encode(labels, comm)
    everyone = allgather_rows(codes, comm)
    order = np.lexsort((splitmix64(np.arange(len(everyone), dtype=np.uint64), seed), everyone))
    sizes = np.bincount(everyone + 1, minlength=len(classes) + 1)
    split = np.full(len(everyone), LEFT_OUT, np.uint8)
    start = int(sizes[0])  # the rows without a label sort first
    for number, size in enumerate(sizes[1:].tolist()):
        parts = largest_remainder(size, shares, number)
        split[order[start : start + size]] = np.repeat(np.arange(3, dtype=np.uint8), parts)
        start += size
    first = int(counts(len(codes), comm)[: comm.rank].sum())
    return split[first : first + len(codes)]


def random(
    labels: pa.Array | pa.ChunkedArray, comm: MPI.Intracomm, *, validation: float, test: float, seed: int
) -> np.ndarray:
    """Collective. As `stratified`, with the shares kept among all labelled rows and not in every class."""
    return stratified(alike(labels), comm, validation=validation, test=test, seed=seed)


def alike(labels: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return one class for all labels, none where there is none: for labels that are no classes."""
    return pc.if_else(_plain(labels).is_valid(), 0, None)


def grouped(
    labels: pa.Array | pa.ChunkedArray,
    groups: pa.Array | pa.ChunkedArray,
    comm: MPI.Intracomm,
    *,
    validation: float,
    test: float,
    seed: int,
) -> np.ndarray:
    """Collective. Return which split each of this rank's rows belongs to, with no group in two of them.

    The groups, in an order that the seed decides, go one by one to the split that lacks most rows. So the shares are
    kept as nearly as whole groups allow. Every rank holds 8 bytes for each row of all ranks.

    Args:
        labels: this rank's labels; a row without one is left out.
        groups: this rank's groups, of any type but arrays; a row without one is left out.
    Returns:
        As `stratified`.
    Raises:
        InputError: where the shares leave nothing for training, or the groups are arrays.
    """
    shares = _shares(validation, test)
    if kind(groups.type) == "array":
        raise InputError(
            "extract.by: received a column of arrays for split = 'group', allowed: any other; name another column"
        )
    hashes = hash_text(to_text(_whole(groups)))
    hashes[np.asarray(_plain(labels).is_null())] = 0
    names, sizes = np.unique(allgather_rows(hashes, comm), return_counts=True)
    names, sizes = names[names != 0], sizes[names != 0]
    lacking = [float(share * int(sizes.sum())) for share in shares]
    split = np.empty(len(names), np.uint8)
    for place in np.argsort(splitmix64(names, seed)).tolist():
        chosen = lacking.index(max(lacking))
        lacking[chosen] -= int(sizes[place])
        split[place] = chosen
    found = np.append(split, np.uint8(LEFT_OUT))  # also where there is no group at all
    return np.where(hashes == 0, np.uint8(LEFT_OUT), found[np.searchsorted(names, hashes)])


def by_time(
    labels: pa.Array | pa.ChunkedArray,
    times: pa.Array | pa.ChunkedArray,
    comm: MPI.Intracomm,
    *,
    validation: float,
    test: float,
    borders: Sequence[str] = (),
) -> np.ndarray:
    """Collective. Return which split each of this rank's rows belongs to: the latest are the test.

    Those before them are for validation, the earliest for training. Rows of the same time are never parted; they go to
    the later split. Every rank holds 8 bytes for each row of all ranks.

    Args:
        labels: this rank's labels; a row without one is left out.
        times: this rank's dates, times, timestamps or numbers; a row without one is left out.
        borders: when validation begins, when the test does and, if there is a third, when it ends: such as the times
            are written. Instead of the shares.
    Returns:
        As `stratified`.
    Raises:
        InputError: where the shares leave nothing for training, the times are of another kind, or the borders are no
            rising times.
    """
    shares = _shares(validation, test)
    if kind(times.type) not in (*NUMBERS, *CLOCKS):
        raise InputError(
            f"extract.by: received a column of {kind(times.type)} for split = 'time', allowed: dates, times, numbers; "
            "name another column"
        )
    mine = to_floats(_whole(times))
    mine[np.asarray(_plain(labels).is_null())] = np.nan
    if borders:
        codes = np.searchsorted(_moments(borders, times), mine, "right")  # what is NaN comes last
        return np.where(np.isnan(mine) | (codes >= len(SPLITS)), LEFT_OUT, codes).astype(np.uint8)
    everyone = allgather_rows(mine, comm)
    everyone = np.append(np.sort(everyone[~np.isnan(everyone)]), np.inf)  # the last one: where a split has no row
    starts = everyone[np.cumsum(largest_remainder(len(everyone) - 1, shares))[:2]]
    return np.where(np.isnan(mine), LEFT_OUT, np.searchsorted(starts, mine, "right")).astype(np.uint8)


def as_given(labels: pa.Array | pa.ChunkedArray, words: pa.Array | pa.ChunkedArray, comm: MPI.Intracomm) -> np.ndarray:
    """Collective. Return which split each of this rank's rows belongs to, as a column names it.

    Args:
        labels: this rank's labels; a row without one is left out.
        words: this rank's words, those of `WORDS` in any case; a row without one, or with none, is left out.
    Returns:
        As `stratified`.
    Raises:
        RankError: of an InputError, where a word is another one.
    """
    codes = np.empty(0, np.uint8)
    with agree(comm):
        texts = pc.utf8_lower(pc.utf8_trim_whitespace(pc.fill_null(to_text(_whole(words)), "")))
        places = pc.index_in(texts, value_set=pa.array(list(WORDS)))
        if places.null_count:
            other = words.filter(places.is_null())[0]
            raise InputError(
                f"extract.by: received a column with {str(other)!r} for split = 'given', allowed: "
                f"{', '.join(filter(None, WORDS))}, or nothing; name another column"
            )
        codes = np.array([*WORDS.values()], np.uint8)[np.asarray(places)]
    return np.where(np.asarray(_plain(labels).is_null()), np.uint8(LEFT_OUT), codes)


def by_files(
    labels: pa.Array | pa.ChunkedArray,
    files: pa.Array | pa.ChunkedArray,
    comm: MPI.Intracomm,
    *,
    test_files: Sequence[str],
    validation: float,
    seed: int,
) -> np.ndarray:
    """Collective. Return which split each of this rank's rows belongs to: those of some files are the test.

    The others are dealt as by `stratified` without a test.

    Args:
        labels: this rank's labels; a row without one is left out.
        files: this rank's rows' files.
        test_files: names of those for the test, or patterns.
    Returns:
        As `stratified`.
    Raises:
        InputError: on every rank, where a name or pattern fits no file.
    """
    mine = pc.unique(_plain(_whole(files)))
    names = sorted({name for part in allgather_json(mine.to_pylist(), comm) for name in part})
    for pattern in test_files:
        if not fnmatch.filter(names, pattern):
            raise InputError(
                f"extract.test_files: received {pattern!r}, allowed: names of files that were read, or patterns "
                f"({shown(names)}); change it"
            )
    chosen = [name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in test_files)]
    is_test = np.asarray(pc.is_in(_whole(files), value_set=pa.array(chosen, pa.string())))
    known = _plain(_whole(labels))
    others = pc.if_else(pa.array(is_test), None, known)
    codes = stratified(others, comm, validation=validation, test=0.0, seed=seed)
    codes[is_test & np.asarray(known.is_valid())] = SPLITS.index("test")
    return codes


def classes_left_out(
    split: np.ndarray, labels: pa.Array | pa.ChunkedArray, where: str, remedy: str, comm: MPI.Intracomm
) -> dict[str, list]:
    """Collective. Return validation, test -> the classes of which it has no row, though it has others.

    Raises:
        InputError: where there is no row for training or for the test, or a class has none for training; `where` says
            how the rows were split, `remedy` what could be changed.
    """
    codes, classes = _encode(labels, comm)
    rows = np.zeros((len(SPLITS), len(classes)), np.int64)
    chosen = (split != LEFT_OUT) & (codes >= 0)
    np.add.at(rows, (split[chosen], codes[chosen]), 1)
    comm.Allreduce(MPI.IN_PLACE, rows, op=MPI.SUM)
    for number, name in ((0, "training"), (2, "the test")):
        if not rows[number].any():
            raise InputError(
                f"extract.split: received {where}, which leaves no row for {name}, allowed: at least one; "
                f"split otherwise or {remedy}"
            )
    names = np.array([str(name) for name in classes.to_pylist()], object)
    if not rows[0].all():
        raise InputError(
            f"extract.split: received {where}, which leaves no row for training of the "
            f"{of_classes(names[rows[0] == 0].tolist())}, allowed: at least one of each; split otherwise or leave them "
            "out"
        )
    missing = {SPLITS[number]: names[rows[number] == 0].tolist() for number in (1, 2) if rows[number].any()}
    return {name: found for name, found in missing.items() if found}


def largest_remainder(size: int, shares: Sequence[Fraction], turn: int = 0) -> list[int]:
    """Return whole numbers that sum to `size`, each its share of it but for less than one.

    What is left after rounding down goes to the largest remainders. Among equal ones the first is served, counted
    from share number `turn`, so that many small classes do not all favour the same split.

    Source: Hamilton 1792, Report on apportionment.
    """
    exact = [share * size for share in shares]
    parts = [int(part) for part in exact]
    order = sorted(range(len(parts)), key=lambda i: (parts[i] - exact[i], (i - turn) % len(parts)))
    for i in order[: size - sum(parts)]:
        parts[i] += 1
    return parts


def splitmix64(numbers: np.ndarray, seed: int) -> np.ndarray:
    """Return a well mixed uint64 for each number, another one for another seed; no two numbers share one.

    Source: Steele, Lea and Flood 2014, Fast splittable pseudorandom number generators.
    """
    start = (seed * 0xD1342543DE82EF95 + 0x2545F4914F6CDD1D) % 2**64  # far apart for seeds that are near each other
    return mix(numbers.astype(np.uint64) * GOLDEN + np.uint64(start))


def _shares(validation: float, test: float) -> list[Fraction]:
    """Return the shares of training, validation and test, as the decimals that were written."""
    shares = [Fraction(repr(float(share))) for share in (validation, test)]
    if sum(shares) >= 1:
        raise InputError(
            f"extract: received validation = {validation} and test = {test}, allowed: together below 1; lower one"
        )
    return [Fraction(1) - sum(shares), *shares]


def _moments(borders: Sequence[str], times: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Return the borders as numbers like those of the times."""
    known = times.drop_null()
    example = f" {known[0]}" if len(known) else f" ({times.type})"
    try:
        found = to_floats(pa.array(borders, pa.string()).cast(times.type))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        found = np.full(len(borders), np.nan)
    if not (np.diff(found) > 0).all():
        raise InputError(
            f"extract.borders: received {list(borders)}, allowed: rising values such as the column's{example}; "
            "change them"
        )
    return found


def _whole(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _plain(labels: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return labels without dictionary, NaN as missing."""
    values = pc.cast(labels, labels.type.value_type) if pa.types.is_dictionary(labels.type) else labels
    return pc.if_else(pc.is_nan(values), None, values) if pa.types.is_floating(values.type) else values


def _encode(labels: pa.Array | pa.ChunkedArray, comm: MPI.Intracomm) -> tuple[np.ndarray, pa.Array]:
    """Collective. Return this rank's labels as class numbers, int32 and -1 for none, and all classes, sorted."""
    values = _plain(labels)
    everyone = gather_table(pa.table({"label": values.unique().drop_null()}), comm)["label"].unique()
    classes = everyone.take(pc.sort_indices(everyone))
    codes = pc.fill_null(pc.index_in(values, value_set=classes), -1)
    return np.asarray(codes, np.int32), classes
