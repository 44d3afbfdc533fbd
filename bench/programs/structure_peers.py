"""Dialect and rows of files as others read them, as JSON lines: {"delimiter", "quote", "rows"}, header left out.

python structure_peers.py PEER < lines of {"path", "encoding", "header": whether the table has one}
"""

import csv
import io
import json
import pathlib
import sys


def main() -> None:
    """Read each file named on standard input."""
    read = globals()[f"_{sys.argv[1]}"]
    for line in sys.stdin:
        task = json.loads(line)
        try:
            delimiter, quote, rows = read(task["path"], task["encoding"], task["header"])
        except Exception as error:  # whatever a peer raises is its answer
            delimiter, quote, rows = None, None, [[f"{type(error).__name__}: {error}"[:200]]]
        rows = [["" if cell is None else str(cell) for cell in row] for row in rows]
        print(json.dumps({"delimiter": delimiter, "quote": quote, "rows": rows}), flush=True)


def _text(path: str, encoding: str) -> str:
    return pathlib.Path(path).read_bytes().decode(encoding, "replace").removeprefix("\ufeff")


def _clevercsv(path, encoding, header):
    import clevercsv

    text = _text(path, encoding)
    found = clevercsv.Sniffer().sniff(text)
    return found.delimiter, found.quotechar, list(clevercsv.reader(io.StringIO(text, newline=""), found))[header:]


def _sniffer(path, encoding, header):
    text = _text(path, encoding)
    found = csv.Sniffer().sniff(text)
    return found.delimiter, found.quotechar, list(csv.reader(io.StringIO(text, newline=""), found))[header:]


def _duckdb(path, encoding, header):
    import duckdb

    told = duckdb.execute(f"select delimiter, quote from sniff_csv('{_as_utf8(path, encoding)}')").fetchone()
    rows = duckdb.execute(f"select * from read_csv('{_as_utf8(path, encoding)}', all_varchar = true)").fetchall()
    return told[0], told[1], rows


def _pandas(path, encoding, header):
    import pandas

    found = pandas.read_csv(
        path,
        sep=None,
        engine="python",
        dtype=str,
        encoding=encoding,
        keep_default_na=False,
        header=0 if header else None,
    )
    return None, None, found.reset_index(drop=True).values.tolist()


def _polars(path, encoding, header):
    import polars

    found = polars.read_csv(
        _as_utf8(path, encoding), infer_schema=False, truncate_ragged_lines=True, has_header=bool(header)
    )
    return ",", '"', found.rows()


def _as_utf8(path: str, encoding: str) -> str:
    """Return a copy in UTF-8 for those that read nothing else."""
    copy = pathlib.Path(sys.argv[2]) / "copy.csv"
    copy.write_text(_text(path, encoding), "utf-8", newline="")
    return str(copy)


if __name__ == "__main__":
    main()
