"""Dialects and tables of 60 messy files with a known truth, found by ours and by others.

The files lie in $HVDEDGE_DATA/structure (Pollock, CSVsniffer, csv-spectrum). A dialect is right where the delimiter is,
and the quote where it occurs in the text; a table where its cells are, header left out, outer blanks, empty rows and
empty cells at the end of a row aside. One JSON line a peer: share right of ours and theirs. Ours is the csv reader with
all its repairs, `types = false`. The peers are installed into bench/.venv at the first call.

    python bench/structure.py [--only clevercsv sniffer duckdb pandas polars] [--wrong]
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
PACKAGES = {
    "clevercsv": ("clevercsv==0.8.3",),
    "sniffer": (),
    "duckdb": ("duckdb==1.4.1",),
    "pandas": ("pandas==2.3.3",),
    "polars": ("polars==1.34.0",),
}
WANTED = {"dialects": 0.92, "tables": 0.75}


def main() -> None:
    """Compare and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=PACKAGES, default=list(PACKAGES))
    parser.add_argument("--wrong", action="store_true", help="name the files that ours reads otherwise than the truth")
    arguments = parser.parse_args()
    folder = pathlib.Path(os.environ.get("HVDEDGE_DATA") or ROOT / "data") / "structure"
    if not folder.is_dir():
        sys.exit(f"{folder}: received no folder, expected the messy files with truth.json; set HVDEDGE_DATA")
    files = json.loads((folder / "truth.json").read_text())["files"]
    ours = _score(folder, files, _ours(folder, files), arguments.wrong)
    for name in arguments.only or ["ours"]:
        theirs = _score(folder, files, _peer(name, folder, files)) if name in PACKAGES else {}
        for what, share in ours.items():
            has_none = name == "pandas" and what == "dialects"  # it does not tell
            print(
                json.dumps(
                    {
                        "figure": f"{what} right / {name}",
                        "ours": round(share, 3),
                        name: None if has_none or not theirs else round(theirs[what], 3),
                        "at_least": WANTED[what],
                    }
                ),
                flush=True,
            )


def _ours(folder: pathlib.Path, files: list[dict]) -> list[dict]:
    sys.path.insert(0, str(ROOT))
    from mpi4py import MPI

    from hvdedge.datasets.csv import read
    from hvdedge.parallel import MeteredComm
    from hvdedge.workspace import Source, Workspace

    found = []
    for file in files:
        with tempfile.TemporaryDirectory() as scratch:
            workspace = Workspace(pathlib.Path(scratch), pathlib.Path(scratch), memory_bytes=512_000_000)
            try:
                table = read(Source((folder / file["file"],), workspace), MeteredComm(MPI.COMM_SELF), types=False)
                rows = [[cell or "" for cell in row.values()] for row in _rows(table)]
                told = workspace.metrics["files"][0]
                found.append({"delimiter": told["delimiter"], "quote": told["quote"], "rows": rows})
            except (ValueError, RuntimeError) as error:
                found.append({"delimiter": None, "quote": None, "rows": [[str(error)]]})
    return found


def _rows(table) -> list[dict]:
    return table.select(table.columns).to_arrow().to_pylist()


def _peer(name: str, folder: pathlib.Path, files: list[dict]) -> list[dict]:
    sys.path.insert(0, str(HERE / "programs"))
    from peers import python_with

    python = python_with(*PACKAGES[name])
    tasks = [
        {"path": str(folder / file["file"]), "encoding": file["encoding"], "header": bool(file.get("header_lines", 1))}
        for file in files
    ]
    with tempfile.TemporaryDirectory() as scratch:
        done = subprocess.run(
            [str(python), str(HERE / "programs" / "structure_peers.py"), name, scratch],
            input="".join(json.dumps(task) + "\n" for task in tasks),
            capture_output=True,
            text=True,
            check=True,
            timeout=900,
        )
    return [json.loads(line) for line in done.stdout.splitlines()]


def _score(folder: pathlib.Path, files: list[dict], found: list[dict], tell: bool = False) -> dict[str, float]:
    dialects = tables = with_table = 0
    for file, one in zip(files, found, strict=True):
        text = (folder / file["file"]).read_bytes().decode(file["encoding"], "replace")
        right = one["delimiter"] == file["delimiter"]
        if file["quotechar"] and file["quotechar"] in text:
            right = right and (one["quote"] or "") == file["quotechar"]
        dialects += right
        same = None
        if file.get("table"):
            with_table += 1
            want = _normal(json.loads((folder / file["table"]).read_text()))
            same = _normal(one["rows"]) == want[1 if file.get("header_lines", 1) else 0 :]
            tables += same
        if tell and (not right or same is False):
            print(f"{file['file']}: dialect {right}, table {same}", file=sys.stderr)
    return {"dialects": dialects / len(files), "tables": tables / with_table}


def _normal(rows: list[list[str]]) -> list[list[str]]:
    rows = [[cell.strip() for cell in row] for row in rows]
    rows = [row[: max((place + 1 for place, cell in enumerate(row) if cell), default=0)] for row in rows]
    return [row for row in rows if row]


if __name__ == "__main__":
    main()
