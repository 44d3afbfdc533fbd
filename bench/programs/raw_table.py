"""Write a raw CSV file of a given size: ten columns of all types, with the dirt of real files.

    python bench/programs/raw_table.py FILE MEGABYTES [--clean]

Of the rows, one in 50 has a quoted text with a delimiter, a doubled quote or a line break, one in 100 a missing value
in one of its spellings, one in 500 a number or date written otherwise, one in 2000 too few or too many cells, one in
5000 a stray value. `--clean` leaves all of it out. Seeded: the same size gives the same bytes.
"""

import sys

import numpy as np

HEADER = "id,customer,city,amount,quantity,ordered,shipped,paid,score,remark\n"
CITIES = ["Berlin", "München", "Köln", "Paris", "Lyon", "Madrid", "Oslo", "Wien", "Zürich", "Roma"]
WORDS = ("light", "heavy", "green", "spare", "part", "delivered", "late", "early", "box", "old", "new", "small")
ROWS = 20_000


def main(path: str, megabytes: int, is_clean: bool) -> None:
    """Write the file."""
    size = 0
    with open(path, "w", encoding="utf-8", newline="") as file:
        file.write(HEADER)
        block = 0
        while size < megabytes * 1_000_000:
            text = _rows(block, is_clean)
            size += len(text.encode())
            file.write(text)
            block += 1


def _rows(block: int, is_clean: bool) -> str:
    random = np.random.default_rng([7, block])
    first = block * ROWS
    amounts = np.round(random.gamma(2, 60, ROWS), 2)
    quantities = random.integers(1, 500, ROWS)
    days = np.datetime64("2019-01-01") + random.integers(0, 2000, ROWS)
    minutes = random.integers(0, 1440, ROWS)
    scores = random.normal(0, 1, ROWS)
    cities = random.integers(0, len(CITIES), ROWS)
    words = random.integers(0, len(WORDS), (ROWS, 5))
    dirt = random.random((ROWS, 5))
    lines = []
    for i in range(ROWS):
        remark = " ".join(WORDS[word] for word in words[i, : 2 + i % 4])
        cells = [
            str(first + i),
            f"C{code(first + i):07d}",
            CITIES[cities[i]],
            f"{amounts[i]:.2f}",
            str(quantities[i]),
            str(days[i]),
            f"{days[i] + 3}T{minutes[i] // 60:02d}:{minutes[i] % 60:02d}:00",
            "true" if i % 3 else "false",
            f"{scores[i]:.6f}",
            remark,
        ]
        if not is_clean:
            _spoil(cells, dirt[i], i)
        lines.append(",".join(cells))
    return "\n".join(lines) + "\n"


def code(number: int) -> int:
    """Return a number below ten million that looks random, the same for the same number."""
    return number * 7_368_787 % 10_000_019 % 9_999_991


def _spoil(cells: list[str], dirt: np.ndarray, i: int) -> None:
    if dirt[0] < 0.02:
        cells[9] = ('"%s, second"', '"the ""%s"" one"', '"%s\nand more"')[i % 3] % cells[9]
    if dirt[1] < 0.01:
        cells[2 + i % 7] = ("", "NA", "n/a", "null", "-", "?")[i % 6]
    if dirt[2] < 0.002:
        cells[3 + 2 * (i % 2)] = ('"1,234.50"', "EUR 12.00", "3.4.2021", "12 Mar 2020")[i % 4]
    if dirt[3] < 0.0005:
        del cells[8:]
        if i % 2:
            cells += ["x", "y", "z", "u"]
    if dirt[4] < 0.0002:
        cells[4] = "unknown"


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), "--clean" in sys.argv)
