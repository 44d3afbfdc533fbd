"""Windows as one would cut them by hand, row by row, to hold the extractor against."""

import math

import pyarrow as pa

from hvdedge.series import groups


def standardised(rows, names):
    """Return column -> (mean, deviation) of the rows with `_split` 0."""
    found = {}
    for name in names:
        values = [row[name] for row in rows if row["_split"] == 0 and row[name] is not None]
        mean = math.fsum(values) / len(values)
        found[name] = mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values)) or 1.0
    return found


def cut(rows, names, targets, window, horizon, stride, label=None):
    """Return (split, x, y) of each window of the rows, dicts, and how many were left out for what.

    Series come in the order of their names' hashes, as they are sorted.
    """
    scale = standardised(rows, {*names, *targets})
    series = {}
    for row in rows:
        if row["time"] is not None and row["series"] is not None and row["_split"] < 3:
            series.setdefault(row["series"], []).append(row)
    found, left_out = [], {"splits": 0, "missing": 0, "label": 0}

    def scaled(row, name):
        return None if row[name] is None else (row[name] - scale[name][0]) / scale[name][1]

    for name in sorted(series, key=lambda name: groups(pa.array([name]))[0]):
        its = series[name]
        its.sort(key=lambda row: row["time"])  # stable, as is the table's order
        span = window + (0 if label else horizon)
        for start in range(0, len(its) - span + 1, stride):
            past, later = its[start : start + window], its[start + window : start + span]
            x = [[scaled(row, name) for name in names] for row in past]
            y = [[scaled(row, name) for name in targets] for row in later] if not label else past[-1][label]
            codes = {row["_split"] for row in later or past[-1:]}
            if len(codes) > 1:
                left_out["splits"] += 1
            elif any(cell is None for line in (x if label else x + y) for cell in line):
                left_out["missing"] += 1
            elif label and y is None:
                left_out["label"] += 1
            else:
                found.append((codes.pop(), x, y))
    return found, left_out
