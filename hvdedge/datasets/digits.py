"""The 1,797 handwritten digits that scikit-learn ships, as a drawer of messy CSV files whose truth is known.

Six scanning stations export what they have in their own ways: delimiters, encodings, preambles, quoting, line ends,
orders of columns, forms of dates. Records were copied, by hand now and then; cells were lost, written as text,
mistyped; rows were cut off or got too long. Each row has a `scan` of its own, its `site`, the day it was `scanned`,
the digit as `label` and 8 x 8 pixels `p00` .. `p63` from 0 to 16. What is true stands in `raw/truth/` (see `_truth`),
for those who judge the repairs; no reader or cleaner looks there.

Source: Alpaydin and Kaynak 1998, Optical recognition of handwritten digits (UCI), test set, as in scikit-learn.
"""

import csv
import datetime
import io
from dataclasses import dataclass
from typing import Literal

import numpy as np
from mpi4py import MPI

from hvdedge.datasets import csv as csv_reader
from hvdedge.digit_images import load_digits
from hvdedge.options import Share
from hvdedge.parallel import agree
from hvdedge.records import replace
from hvdedge.tables import Table
from hvdedge.workspace import Source

PIXELS = [f"p{place:02d}" for place in range(64)]
COLUMNS = ["scan", "site", "scanned", "label", *PIXELS]
SITE, SCANNED, LABEL, FIRST_PIXEL = 1, 2, 3, 4
SITES = ("Zürich", "Malmö", "Genève", "Århus", "São Paulo", "Logroño, La Rioja")
SITE_SHARES = (0.3, 0.22, 0.18, 0.14, 0.1, 0.06)
SPELLINGS = ("", "NA", "n/a", "null", "-", "?")
OUT_OF_RANGE = (99, -20, 255, 1600)
NOTES = ("rescan", "see log 12", "checked: K. Å.")
FIRST_DAY, DAYS = datetime.date(2024, 1, 8), 300
DARKEST = 16


@dataclass(frozen=True)
class _Export:
    """How one station writes its file."""

    file: str
    encoding: str
    delimiter: str
    line_end: str = "\n"
    quoting: Literal[0, 1, 2, 3] = csv.QUOTE_MINIMAL
    iso_dates: bool = True
    preamble: tuple[str, ...] = ()
    columns: tuple[str, ...] = tuple(COLUMNS)


EXPORTS = (
    _Export("station_a.csv", "utf-8", ","),
    _Export(
        "station_b.csv",
        "utf-8-sig",
        ";",
        line_end="\r\n",
        iso_dates=False,
        preamble=("# Digitalisierung, Gerät 2", "# exportiert am 12.11.2024; alle Scans"),
    ),
    _Export("station_c.csv", "latin-1", "|", preamble=("Station C (Genève)",)),
    _Export(
        "station_d.csv",
        "cp1252",
        ";",
        line_end="\r\n",
        quoting=csv.QUOTE_NONNUMERIC,
        iso_dates=False,
        preamble=("Scan-Protokoll – Station D", "Gerät: „Flachbett 8×8“; Auflösung: 8 dpi", "Werte: 0 bis 16", ""),
    ),
    _Export("station_e.csv", "utf-16", "\t", line_end="\r\n"),
    _Export(
        "station_f.csv",
        "utf-8",
        ",",
        quoting=csv.QUOTE_ALL,
        preamble=("Export of digit scans, station F", "generated 2024-11-12 09:30, please do not edit", ""),
        columns=("label", "scan", "scanned", "site", *PIXELS),
    ),
)


def read(
    source: Source,
    comm: MPI.Intracomm,
    *,
    seed: int = 0,
    duplicates: Share = 0.05,
    noisy_duplicates: Share = 0.05,
    missing: Share = 0.01,
    text_numbers: Share = 0.005,
    out_of_range: Share = 0.002,
    ragged: Share = 0.01,
) -> Table:
    """Collective. Write the digits as six messy CSV files into the run's `raw` folder and read them like any others.

    Args:
        seed: the same seed and options write the same bytes.
        duplicates: exact copies of records, but for `scan`, as a share of the 1,797.
        noisy_duplicates: copies in which some pixels differ by 1 or 2 and a cell may be missing, as such a share.
        missing: share of the cells that are missing, in several spellings.
        text_numbers: share of the numbers that are written as text, such as "7 px".
        out_of_range: share of the pixels that hold what no pixel can.
        ragged: share of the rows that are too short or too long.
    Returns:
        This rank's rows, the columns `scan`, `site`, `scanned`, `label`, `p00` .. `p63`.
    Raises:
        RankError: on every rank, where scikit-learn's data is not there or the files cannot be written.
    """
    folder = source.workspace.run / "raw"
    with agree(comm):
        if comm.rank == 0:  # the files are made once, in one place
            dirt = _Dirt(missing, text_numbers, out_of_range, ragged)
            files = _make(load_digits("digits"), seed, duplicates, noisy_duplicates, dirt)
            for name, content in files.items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                replace(path, content)
    return csv_reader.read(Source(tuple(folder / export.file for export in EXPORTS), source.workspace), comm)


@dataclass(frozen=True)
class _Dirt:
    """The shares of cells and rows that are spoilt."""

    missing: float
    text_numbers: float
    out_of_range: float
    ragged: float


@dataclass
class _Records:
    """All rows of the raw files in their order, and the truth about them.

    Attributes:
        cells: the rows as they are, objects (rows, columns): int, str or date; None where a cell is missing.
        true: the same without any dirt.
        kinds: what was done to each cell, "" for nothing.
        cluster: which original each row stems from.
        file: the place in EXPORTS of each row's file.
    """

    cells: np.ndarray
    true: np.ndarray
    kinds: np.ndarray
    cluster: np.ndarray
    file: np.ndarray


def _make(digits: np.ndarray, seed: int, duplicates: float, noisy: float, dirt: _Dirt) -> dict[str, bytes]:
    """Return file -> content: the raw files, and below truth/ what is true of them."""
    rng = np.random.default_rng(seed)
    records = _records(digits, rng, round(duplicates * len(digits)), round(noisy * len(digits)), dirt)
    ragged = _choose_ragged(records, rng, dirt.ragged)
    raws = [_write(export, number, records, ragged, rng, dirt) for number, export in enumerate(EXPORTS)]
    files = dict(zip((export.file for export in EXPORTS), raws, strict=True))
    return files | {f"truth/{name}": content for name, content in _truth(files, records, ragged).items()}


def _records(digits: np.ndarray, rng: np.random.Generator, copies: int, noisy: int, dirt: _Dirt) -> _Records:
    """Return the originals and their copies, shuffled, with missing cells and values out of range.

    A copy takes over what is wrong in its original; an original has one copy at most.
    """
    count = len(digits)
    copied = rng.permutation(count)[: copies + noisy]
    origin = np.concatenate([np.arange(count), copied])
    is_noisy = np.concatenate(
        [np.zeros(count + min(copies, len(copied)), bool), np.ones(max(len(copied) - copies, 0), bool)]
    )
    true = np.empty((count, len(COLUMNS)), object)
    true[:, SITE] = np.array(SITES, object)[rng.choice(len(SITES), count, p=SITE_SHARES)]
    days = np.sort(rng.integers(0, DAYS, count))  # scanned in the order of the data set
    true[:, SCANNED] = [FIRST_DAY + datetime.timedelta(days=int(day)) for day in days]
    true[:, LABEL] = digits[:, -1]
    true[:, FIRST_PIXEL:] = digits[:, :-1]
    cells, kinds = true.copy(), np.full(true.shape, "", object)
    _lose(cells, kinds, rng, dirt.missing)
    _push_out(cells, kinds, rng, dirt.out_of_range)
    order = rng.permutation(len(origin))
    origin, is_noisy = origin[order], is_noisy[order]
    records = _Records(cells[origin], true[origin], kinds[origin], origin, np.empty(0, np.int64))
    for row in np.flatnonzero(is_noisy).tolist():
        _blur(records, row, rng)
    records.true[:, 0] = records.cells[:, 0] = [f"s{scan:05d}" for scan in rng.permutation(len(origin))]
    records.file = np.sort(rng.integers(0, len(EXPORTS), len(origin)))
    return records


def _lose(cells: np.ndarray, kinds: np.ndarray, rng: np.random.Generator, share: float) -> None:
    """Empty a share of the cells; the label, which nothing else tells, stays."""
    lost = rng.random(cells.shape) < share
    lost[:, [0, LABEL]] = False
    cells[lost], kinds[lost] = None, "missing"


def _push_out(cells: np.ndarray, kinds: np.ndarray, rng: np.random.Generator, share: float) -> None:
    wrong = (rng.random(cells.shape) < share) & (kinds == "")
    wrong[:, :FIRST_PIXEL] = False
    cells[wrong], kinds[wrong] = rng.choice(OUT_OF_RANGE, wrong.sum()), "out_of_range"


def _blur(records: _Records, row: int, rng: np.random.Generator) -> None:
    """Change three to six pixels of a row by 1 or 2, and empty one in every third row."""
    good = FIRST_PIXEL + np.flatnonzero(records.kinds[row, FIRST_PIXEL:] == "")
    chosen = rng.choice(good, rng.integers(4, 8), replace=False)
    for place in chosen[1:]:
        value = records.true[row, place]
        step = int(rng.integers(1, 3))
        up = value + step <= DARKEST and (value - step < 0 or rng.random() < 0.5)
        records.cells[row, place], records.kinds[row, place] = value + (step if up else -step), "noise"
    if rng.random() < 1 / 3:
        records.cells[row, chosen[0]], records.kinds[row, chosen[0]] = None, "missing"


def _choose_ragged(records: _Records, rng: np.random.Generator, share: float) -> dict[int, str]:
    """Return row -> "short", "long", or "note", a long row with text in its surplus, from rows without a copy.

    Short rows lose their last cells here. What stands in a row with a note cannot be read for certain, so it is the
    whole truth that it stands aside, and its cells are left as they are true.
    """
    alone = np.flatnonzero(np.bincount(records.cluster)[records.cluster] == 1)
    chosen = rng.choice(alone, min(round(share * len(records.cluster)), len(alone)), replace=False)
    ragged = {}
    for row in sorted(chosen.tolist()):
        ragged[row] = ("short", "short", "short", "long", "long", "note")[rng.integers(6)]
        if ragged[row] == "short":
            lost = int(rng.integers(1, 6))  # all exports end in pixels
            records.cells[row, -lost:], records.kinds[row, -lost:] = None, "ragged"
        elif ragged[row] == "note":
            records.cells[row], records.kinds[row] = records.true[row], ""
    return ragged


def _write(
    export: _Export, number: int, records: _Records, ragged: dict[int, str], rng: np.random.Generator, dirt: _Dirt
) -> bytes:
    """Return the bytes of one raw file."""
    text = io.StringIO()
    text.write("".join(line + export.line_end for line in export.preamble))
    writer = csv.writer(text, delimiter=export.delimiter, quoting=export.quoting, lineterminator=export.line_end)
    writer.writerow(export.columns)
    order = [COLUMNS.index(name) for name in export.columns]
    for row in np.flatnonzero(records.file == number).tolist():
        cells = [_as_text(export, row, place, records, ragged, rng, dirt) for place in order]
        kind = ragged.get(row)
        if kind == "short":
            del cells[len(cells) - int((records.kinds[row] == "ragged").sum()) :]
        elif kind is not None:
            cells += [""] * int(rng.integers(1, 4))
            if kind == "note":
                cells[-1] = str(rng.choice(NOTES))
        writer.writerow(cells)
    return text.getvalue().encode(export.encoding)


def _as_text(
    export: _Export,
    row: int,
    place: int,
    records: _Records,
    ragged: dict[int, str],
    rng: np.random.Generator,
    dirt: _Dirt,
) -> str | int:
    """Return a cell as the file has it; numbers, unless spoilt, as numbers, which not every export quotes."""
    value = records.cells[row, place]
    if value is None:
        return str(rng.choice(SPELLINGS))
    if place == SCANNED:
        return value.isoformat() if export.iso_dates else value.strftime("%d.%m.%Y")
    if place in (0, SITE):
        return value
    if records.kinds[row, place] or ragged.get(row) == "note" or rng.random() >= dirt.text_numbers:
        return int(value)
    records.kinds[row, place] = "text_number"
    forms = [f" {value} ", f"{value}.0", f"+{value}"]
    if export.delimiter != ",":
        forms.append(f"{value},0")
    if place >= FIRST_PIXEL:
        forms.append(f"{value} px")
    return forms[rng.integers(len(forms))]


def _truth(raws: dict[str, bytes], records: _Records, ragged: dict[int, str]) -> dict[str, bytes]:
    """Return what is true of the raw files.

    files.csv: each file's structure. cells.csv: each cell that is not as it was, with its true value; its kind is
    missing, text_number, out_of_range, ragged (lost with the end of its row) or noise (in a noisy copy).
    duplicates.csv: each row that is a copy or has one; the same cluster is the same original. ragged.csv: rows of the
    wrong width.
    """
    scans = records.cells[:, 0]
    files = [
        {
            "file": export.file,
            "encoding": export.encoding,
            "delimiter": export.delimiter,
            "quote": '"' if '"' in raws[export.file].decode(export.encoding) else "",
            "preamble_rows": len(export.preamble),
            "header_rows": 1,
            "rows": int((records.file == number).sum()),
            "ragged_rows": sum(records.file[row] == number for row in ragged),
        }
        for number, export in enumerate(EXPORTS)
    ]
    cells = [
        {
            "scan": scans[row],
            "column": COLUMNS[place],
            "kind": records.kinds[row, place],
            "value": records.true[row, place],
        }
        for row, place in np.argwhere(records.kinds != "")
    ]
    sizes = np.bincount(records.cluster)[records.cluster]
    clusters = [{"scan": scans[row], "cluster": records.cluster[row]} for row in np.flatnonzero(sizes > 1)]
    rows = [{"scan": scans[row], "kind": kind.replace("note", "long")} for row, kind in ragged.items()]
    return {
        "files.csv": _table(files),
        "cells.csv": _table(cells, ("scan", "column", "kind", "value")),
        "duplicates.csv": _table(clusters, ("scan", "cluster")),
        "ragged.csv": _table(rows, ("scan", "kind")),
    }


def _table(rows: list[dict], columns: tuple[str, ...] = ()) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns or list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
