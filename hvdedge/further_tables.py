"""Tables that a stage reads beside the pipeline's own: each file one, or each folder of Parquet parts.

shop/clients.csv                      clients
shop/items.csv.gz                     items
results/orders/latest/cleaned         cleaned      a folder with parts, as a stage writes them
shop                                  clients, items, ...: each file of any other folder
"""

import pathlib
from collections.abc import Sequence

from mpi4py import MPI

from hvdedge import methods
from hvdedge.errors import InputError
from hvdedge.parallel import agree, bcast_json, counts
from hvdedge.tables import Table, balance
from hvdedge.workspace import Source, Workspace

READERS = {".parquet": "parquet", ".json": "json_lines", ".jsonl": "json_lines", ".ndjson": "json_lines"}
PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")


def read_all(paths: Sequence[str], where: str, workspace: Workspace, comm: MPI.Intracomm) -> dict[str, Table]:
    """Collective. Return this rank's block of the rows of each table, by its name: the file's, without its ending.

    They are read as prepare reads, with structure and types repaired. What was repaired is counted in
    `workspace.metrics["tables"]`.

    Args:
        where: the option that names them.
    Raises:
        RankError: on every rank, where a folder has no file, two tables have one name, or one cannot be read.
    """
    parts: dict[str, list[str]] = {}
    with agree(comm):
        parts = _parts(paths, where)
    parts = bcast_json(parts, comm)
    found, told = {}, {}
    for name, files in parts.items():
        own = Workspace(workspace.run, workspace.scratch, workspace.memory_bytes // len(parts))
        reader = methods.find("datasets", READERS.get(_plain(pathlib.Path(files[0])).suffix.lower(), "csv"), where)
        found[name] = balance(reader.load()(Source(tuple(map(pathlib.Path, files)), own), comm), comm)
        rows = int(counts(found[name].num_rows, comm).sum())
        told[name] = {"rows": rows, "files": own.metrics["files"], "columns": own.metrics["columns"]}
        workspace.events += [{**event, "table": name} for event in own.events]
    workspace.metrics["tables"] = told
    return found


def _parts(paths: Sequence[str], where: str) -> dict[str, list[str]]:
    """Return the name and the files of each table."""
    tables: dict[str, list[str]] = {}
    for path in map(pathlib.Path, paths):
        named = [(path, [path])]
        if path.is_dir() and (parts := sorted(path.glob("part-*.parquet"))):
            named = [(path, parts)]
        elif path.is_dir():
            named = [(file, [file]) for file in sorted(path.iterdir()) if file.is_file() and file.name[0] != "."]
        if not named:
            raise InputError(f"{where}: received {str(path)!r}, a folder without files; name one that has some")
        for place, files in named:
            name = place.name if place.is_dir() else _plain(place).stem
            if name in tables:
                raise InputError(
                    f"{where}: received two tables called {name!r}, {tables[name][0]} and {files[0]}, allowed: each "
                    "name once; rename a file or leave one out"
                )
            tables[name] = [str(file) for file in files]
    return tables


def _plain(path: pathlib.Path) -> pathlib.Path:
    """Return the path without what says that the file is packed."""
    return path.with_suffix("") if path.suffix.lower() in PACKED else path
