"""The lists that `hvdedge show` prints: methods with their options, clusters, the rows of a run's table."""

import json
import pathlib
import sys

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.dataset

from hvdedge import clusters, config, methods

UNNAMED = ("structure", "reports")  # readers and the page use all of them; a pipeline names none


FIRST_ROWS = 20


def is_table(path: pathlib.Path) -> bool:
    """Tell whether `path` is a Parquet file, or a folder with the parts of a run's table."""
    return path.suffix == ".parquet" if path.is_file() else any(path.glob("part-*.parquet"))


def show_rows(path: pathlib.Path, as_csv: bool) -> None:
    """Print the first rows of a table, or all of them as CSV, a batch at a time."""
    parts = [path] if path.is_file() else sorted(path.glob("part-*.parquet"))
    table = pyarrow.dataset.dataset([str(part) for part in parts])
    if as_csv:
        schema = pa.schema([(f.name, pa.string() if pa.types.is_nested(f.type) else f.type) for f in table.schema])
        with pyarrow.csv.CSVWriter(sys.stdout.buffer, schema) as writer:
            for batch in table.to_batches():
                writer.write_batch(pa.record_batch([_flat(column) for column in batch.columns], schema=schema))
        return
    from rich.console import Console

    from hvdedge.report_tables import Column, ReportTable

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 10_000  # a pipe gets one line a row
    rows = table.head(FIRST_ROWS).to_pylist()
    columns = [Column(name) for name in table.schema.names]
    shown = ReportTable(f"{path}: {table.count_rows():,} rows", tuple(columns), [tuple(row.values()) for row in rows])
    console.print(*shown.to_rich(console.width if console.is_terminal else None))


def _flat(column: pa.Array) -> pa.Array:
    """Return a column of lists as JSON, any other one as it is."""
    return pa.array(map(json.dumps, column.to_pylist()), pa.string()) if pa.types.is_nested(column.type) else column


def show_methods() -> None:
    """Print the settings of every stage, and every method: its name, what it does, its options and their defaults."""
    print("settings of the stages, beside the options of their methods")
    for stage, settings in config.SETTINGS.items():
        print(f"  [{stage}]: {' '.join((settings.__doc__ or '').split())}")
        for field in msgspec.structs.fields(settings):
            print(f"      {field.name} = {field.default!r}")
    for kind in methods.FUNCTIONS:
        if kind in UNNAMED:
            continue
        found = [methods.find(kind, name, kind) for name in methods.names(kind)]
        if not found:
            continue
        print(f"{kind}")
        for method in found:
            print(f"  {method.name}: {method.summary}")
            for name, option in method.options.items():
                print(f"      {name}: {option.written} = {option.default!r}")


def show_clusters() -> None:
    """Print every cluster: hosts, slots, how it is started, watts."""
    for name in clusters.names():
        cluster = clusters.read_cluster(name)
        usual = cluster.settings.usual
        watts = (
            f", {usual.idle_watts:g} to {usual.busy_watts:g} W a host"
            if usual.idle_watts is not None and usual.busy_watts is not None
            else ""
        )
        memory = f", {usual.memory} each" if usual.memory else ""
        slots = f"{len(cluster.slots)} hosts, {cluster.total_slots} slots"
        print(f"{name}: {slots}, start {cluster.settings.start}{memory}{watts}")
