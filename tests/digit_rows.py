"""A table like the one of the digits case, with known trouble, made without the code under test."""

import csv
import importlib.util
import pathlib

import numpy as np
import pyarrow as pa

from hvdedge.parallel import block
from hvdedge.tables import Table

PIXELS = [f"p{number:02d}" for number in range(64)]
SITES = ["Köln", "Łódź", "São Paulo", "Zürich"]


def make(folder, seed: int = 1, originals: int = 1797, copies: int = 120, noisy_pixels: int = 5) -> pa.Table:
    """Return the rows; write cells.csv and duplicates.csv, the truth, into `folder`."""
    random = np.random.default_rng(seed)
    images, labels = load_digits()
    source = np.concatenate([np.arange(originals), random.choice(originals, copies, replace=False)])
    pixels = images[source].astype(np.int64)
    cells = []  # row, column, kind, true value
    for row in range(originals, originals + copies):
        if row % 2:
            for column in random.choice(64, noisy_pixels, replace=False):
                value = pixels[row, column]
                pixels[row, column] = np.clip(value + random.choice([-2, -1, 1, 2]), 0, 16)
                cells.append((row, PIXELS[column], "noise", value))
    order = random.permutation(len(source))
    place = np.argsort(order)
    pixels, source = pixels[order], source[order]
    cells = [(place[row], *rest) for row, *rest in cells]
    shown = pixels.astype(np.float64)
    taken = random.choice(pixels.size, int(0.025 * pixels.size), replace=False)
    for number, cell in enumerate(taken):
        row, column = divmod(int(cell), 64)
        is_wrong = number % 8 == 0
        cells.append((row, PIXELS[column], "out_of_range" if is_wrong else "missing", pixels[row, column]))
        shown[row, column] = random.choice([-40, 99, 160, 999]) if is_wrong else np.nan
    site = random.integers(0, len(SITES), originals)[source]
    day = random.integers(18000, 19500, originals)[source]
    no_label = random.random(len(source)) < 0.005
    table = pa.table(
        {
            "scan": [f"s{number:05d}" for number in range(len(source))],
            "site": [SITES[number] if random.random() > 0.01 else None for number in site],
            "scanned": pa.array(day, pa.int32()).cast(pa.date32()),
            "label": pa.array(labels[source], pa.int64(), mask=no_label),
            **{name: pa.array(shown[:, i], from_pandas=True).cast(pa.int64()) for i, name in enumerate(PIXELS)},
            "_file": [f"digits_{number % 3}.csv" for number in range(len(source))],
            "_line": np.arange(len(source)) // 3 + 2,
        }
    )
    table = table.set_column(1, "site", table["site"].combine_chunks().dictionary_encode())
    _write(folder / "cells.csv", "scan,column,kind,value", [(f"s{row:05d}", *rest) for row, *rest in cells])
    twice = {number for number in source if (source == number).sum() > 1}
    copied = [(f"s{row:05d}", f"c{number}") for row, number in enumerate(source) if number in twice]
    _write(folder / "duplicates.csv", "scan,cluster", copied)
    return table


def deal(rows: pa.Table, comm, workspace, batch_rows: int = 500) -> Table:
    """Return this rank's block of `rows`, in batches."""
    mine = block(len(rows), comm.size, comm.rank)
    part = rows.slice(mine.start, mine.stop - mine.start).unify_dictionaries().combine_chunks()
    return Table.from_batches(rows.schema, part.to_batches(batch_rows), workspace)


def load_digits() -> tuple[np.ndarray, np.ndarray]:
    package = importlib.util.find_spec("sklearn")  # importing it takes seconds
    digits = np.loadtxt(pathlib.Path(package.origin).parent / "datasets/data/digits.csv.gz", delimiter=",")
    return digits[:, :-1], digits[:, -1].astype(np.int64)


def _write(path, header: str, rows: list[tuple]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        file.write(header + "\n")
        csv.writer(file).writerows(rows)
