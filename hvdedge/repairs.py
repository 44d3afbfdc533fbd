"""What the repairs of a run found and missed, from its change logs, where the truth of its raw files is known.

The truth is a folder of four CSV files: `files` (how each was written), `cells` (scan, column, kind, true value of
each spoilt cell), `duplicates` (scan, cluster) and `ragged` (scan, kind of row), as `datasets/digits.py` writes them.
A record is named by its id, the first column of `cells`; the logs name it by file and line.
"""

import pathlib
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from itertools import combinations
from typing import Any

import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge import records, truth
from hvdedge.parallel import agree
from hvdedge.tables import Table, gather_table

FILE_FACTS = {
    "encodings": "encoding",
    "delimiters": "delimiter",
    "preambles": "preamble_rows",
    "headers": "header_rows",
}
RAGGED_RULES = {"short_row", "long_row", "shifted_cells"}
TOLERANCE = 0.1  # a filled number is right this near to the truth, as a share of its column's range
Cell = tuple[str, str]  # a record's id, a column


def judge(
    run: pathlib.Path, folder: str, comm: MPI.Intracomm, read_table: Callable[[str], Table]
) -> dict[str, dict[str, float]]:
    """Collective. Return repair -> {found, true, right, precision, recall, f1}.

    Every rank gathers the logs and the ids of all records: truth is known of data that was made, which is small.

    Args:
        run: the run's folder, with the record of prepare.
        folder: the truth's folder.
        read_table: gives this rank's rows of a table of the run: prepared, cleaned, changes/... or quarantine/...
    Raises:
        RankError: of an InputError, where the truth cannot be read.
    """
    known: dict[str, list[dict]] = {}
    files: list[dict] = []
    with agree(comm):
        for name in ("files", "cells", "duplicates", "ragged"):
            known[name] = truth.read(str(pathlib.Path(folder) / f"{name}.csv")).to_pylist()
        files = records.read(run / "prepare.json").metrics["files"]

    def rows(name: str) -> list[dict]:
        return gather_table(read_table(name).to_arrow(), comm).to_pylist()

    key = next(iter(known["duplicates"][0])) if known["duplicates"] else "id"
    prepared = gather_table(read_table("prepared").to_arrow(), comm)
    ids = {(row["_file"], row["_line"]): row[key] for row in prepared.select(["_file", "_line", key]).to_pylist()}
    cleaned = gather_table(read_table("cleaned").to_arrow(), comm)
    kept = set(cleaned[key].to_pylist())
    changes = [*rows("changes/prepare"), *rows("changes/clean")]
    done = _done(changes, ids)
    spoilt: dict[str, dict[Cell, str]] = defaultdict(dict)
    for cell in known["cells"]:
        spoilt[cell["kind"]][cell[key], cell["column"]] = cell["value"]
    lost = {**spoilt["missing"], **spoilt["ragged"]}
    to_fill = {cell: value for cell, value in {**lost, **spoilt["out_of_range"]}.items() if cell[0] in kept}
    empty = {
        (record, name)
        for name in prepared.column_names
        for record in prepared.filter(pc.is_null(prepared[name]))[key].to_pylist()
    }
    near = {cell for cell, value in done["filled"].items() if _is_near(value, to_fill.get(cell), cleaned[cell[1]])}
    ragged = {ids[row["_file"], row["_line"]] for row in changes if row["rule"] in RAGGED_RULES}
    aside = [row for row in rows("quarantine/prepare") if row["rule"] in RAGGED_RULES]
    ragged |= _quarantined(aside, known["ragged"], key)
    return {
        **{name: _files(files, known["files"], fact) for name, fact in FILE_FACTS.items()},
        "ragged_rows": _sets(ragged, {row[key] for row in known["ragged"]}),
        "missing_cells": _sets(empty, lost.keys()),
        "text_numbers": _sets(done["number"].keys(), spoilt["text_number"].keys()),
        "errors": _sets(done["out_of_range"].keys(), spoilt["out_of_range"].keys()),
        "duplicates": _sets(
            _found_pairs(changes, ids), _pairs((row[key], row["cluster"]) for row in known["duplicates"])
        ),
        "missing": truth.rates(len(near), len(done["filled"]), len(to_fill)),
    }


def _done(changes: list[dict], ids: Mapping[tuple[str, int], str]) -> dict[str, dict[Cell, str]]:
    """Return rule -> the cells that it changed, with what they became."""
    done: dict[str, dict[Cell, str]] = defaultdict(dict)
    for row in changes:
        if row["column"]:
            done[row["rule"]][ids[row["_file"], row["_line"]], row["column"]] = row["after"]
    return done


def _files(found: list[dict], known: list[dict], fact: str) -> dict[str, float]:
    facts = {file["file"]: str(file[fact]).lower() for file in found}
    right = sum(facts.get(file["file"]) == file[fact].lower() for file in known)
    return truth.rates(right, len(facts), len(known))


def _quarantined(rows: list[dict], known: list[dict], key: str) -> set[str]:
    """Return the ids in rows that could not be read, or the row's text where it holds none that is known."""
    of_ragged = {row[key] for row in known}
    whole = [row["text"] for row in rows if row["column"] is None]
    return {next((word for word in re.findall(r"\w+", text) if word in of_ragged), text) for text in whole}


def _found_pairs(changes: list[dict], ids: Mapping[tuple[str, int], str]) -> set[frozenset]:
    clusters = []
    for row in changes:
        if row["rule"] == "duplicate":
            file, _, line = row["after"].rpartition(":")
            clusters += [(record, row["after"]) for record in (ids[row["_file"], row["_line"]], ids[file, int(line)])]
    return _pairs(clusters)


def _pairs(members: Iterable[tuple[str, str]]) -> set[frozenset]:
    """Return all pairs of records of one cluster, from (record, cluster)."""
    clusters = defaultdict(set)
    for record, cluster in members:
        clusters[cluster].add(record)
    return {frozenset(pair) for cluster in clusters.values() for pair in combinations(cluster, 2)}


def _is_near(value: str, true: str | None, column: Any) -> bool:
    if true is None or value == true:
        return true is not None
    try:
        span = pc.min_max(column).as_py()
        return abs(float(value) - float(true)) <= TOLERANCE * (span["max"] - span["min"])
    except (TypeError, ValueError):
        return False


def _sets(found: Iterable, true: Iterable) -> dict[str, float]:
    found, true = set(found), set(true)
    return truth.rates(len(found & true), len(found), len(true))
