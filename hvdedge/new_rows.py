"""New rows for the model of a run: read, repaired and filled as the run's own were, then encoded by its features.

    FILE --the run's reader, its types (known_columns)--> table --fillings, treatments--> table --encodings, ...--> x

What clean decides among rows stays out: duplicates, errors found by other rows, labels. A window of a series ends in
each row that has enough of them before it.
"""

import pathlib
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from hvdedge import alone, encodings, fillings, images, known_columns, methods, projections, tokens
from hvdedge.columns import plain
from hvdedge.errors import InputError, RankError
from hvdedge.fillings import Fillings
from hvdedge.known_columns import KnownColumns
from hvdedge.options import Path
from hvdedge.tables import Table
from hvdedge.trained_runs import TrainedRun
from hvdedge.workspace import Source, Workspace

TEXT_READERS = ("csv", "json_lines")  # whose cells become values by what is known of their columns
NAMELESS = re.compile(r"column_\d+")
BLOCK_ROWS = 256  # encoded at once: where blocks end is the same whatever the batches of a table are
MEMORY_BYTES = 32_000_000  # of tables of text; what is more goes to scratch
LEVELLED = ("one_hot", "embed", "aggregate")

Block = tuple[pa.RecordBatch, np.ndarray, np.ndarray]


class NewRows:
    """The rows of some files.

    Attributes:
        needed: the columns that the model takes.
        label: the column with what it tells, "" for none.
        unseen: column -> cells with a value that training never saw.
        lacks_fillings: whether the run had something to fill cells by, which was left behind.
        known: the run's columns, and what the files had besides.
        is_named: whether they have names.
        places: name of a file -> its place among the files.
        has_several_files: whether rows are of more than one.
    """

    def __init__(self, run: TrainedRun, spec: dict[str, Any], paths: Sequence[pathlib.Path], workspace: Workspace):
        self._spec = spec
        self.needed = _needed(spec)
        self.label = run.options("extract").get("label") or ""
        self.unseen: dict[str, int] = {}
        kept = run.read_json("clean", fillings.FILE, is_needed=False)
        self.fillings = Fillings(kept, self.needed) if kept else None
        self.lacks_fillings = not kept and fillings.FILE in run.records["clean"].outputs
        self._cleaners = _cleaners(run, self.fillings)
        self.known = KnownColumns.from_json(run.read_json("prepare", known_columns.FILE))
        self.known.needed, self.known.label = tuple(self.needed), self.label
        workspace.known = self.known
        self.workspace = workspace
        self.reader, options = _reader(run, self.known, paths)
        self.known.labels = tuple(map(str, spec.get("classes", ())))
        self.known.lacking = self.reader == "json_lines"
        if self.reader not in TEXT_READERS:  # some of which take no row that is large beside it
            workspace.memory_bytes = max(workspace.memory_bytes, run.options("prepare")["memory_bytes"])
        read = methods.find("datasets", self.reader, "prepare.reader").load()
        source = Source(tuple(paths), workspace)
        try:
            self.table: Table = read(source, alone.comm(), **options)
        except RankError as error:
            raise InputError(error.cause) if error.is_input else error from None
        self.is_named = not _are_nameless(self.known.names)
        self.places = {source.name(path): place for place, path in enumerate(source.paths)}
        files = [file for file in workspace.metrics["files"] if "error" not in file]
        self.has_several_files = len(paths if self.reader == "image_folder" else files) > 1
        self._is_typed = self.reader not in TEXT_READERS
        if self._is_typed:
            self.known.check(self.table.columns)
        shape = _image_shape(spec, run.options("extract"))
        self._image_spec = spec | {"input_shape": shape} if shape else spec

    def blocks(self) -> Iterator[Block]:
        """Yield the rows, which of them have an answer, bool (rows,), and x of these: float32 or int32 (rows, ...)."""
        if "window" in self._spec:
            yield from self._windows()
            return
        for batch in _even(self._cleaned(), BLOCK_ROWS):
            yield batch, np.ones(batch.num_rows, bool), self._reduced(self._encode(batch))

    def _cleaned(self) -> Iterator[pa.RecordBatch]:
        for batch in self.table.batches():
            if self._is_typed:
                batch = self.known.cast(batch)
            for cleaner in self._cleaners:
                batch = cleaner(batch)
            yield batch

    def _encode(self, batch: pa.RecordBatch) -> np.ndarray:
        spec = self._spec
        if "text" in spec:
            return tokens.encode(batch.column(spec["text"]["column"]), spec["text"])
        if "encodings" not in spec:
            return images.encode(batch, self._image_spec)
        self._count_unseen(batch)
        return encodings.encode(batch, spec["encodings"])

    def _reduced(self, x: np.ndarray) -> np.ndarray:
        for step in self._spec.get("reductions", ()):
            x = projections.project(x, step)
        return x

    def _count_unseen(self, batch: pa.RecordBatch) -> None:
        found: dict[str, int] = {}
        for encoding in self._spec["encodings"]:
            if encoding["as"] in LEVELLED:
                column = batch.column(encoding["column"])
                places = encodings.level_places(column, encoding["levels"])
                found[encoding["column"]] = int(((places < 0) & ~encodings.is_missing(column)).sum())
        for name, count in found.items():
            self.unseen[name] = self.unseen.get(name, 0) + count

    def _windows(self) -> Iterator[Block]:
        """Yield the rows in the table's order; x holds the window that ends in each."""
        from hvdedge.sequences import Sequences
        from hvdedge.window_aggregates import aggregate

        spec, length = self._spec, self._spec["window"]
        first = next(batches := self._cleaned(), None)
        if first is None:
            return
        table = Table.from_batches(first.schema, _chained(first, batches), self.workspace)
        scales = {channel["column"]: channel for channel in spec["channels"]}

        def scaled(name: str, numbers: np.ndarray) -> np.ndarray:
            return (numbers - scales[name]["mean"]) / scales[name]["deviation"]

        comm = alone.comm()
        rows = Sequences(table, comm, time=spec["time"], series=spec["series"], where=("FILE", "FILE"))
        values = rows.place([*scales], scaled, max(length - 1, 1))
        places = np.full(table.num_rows, -1)
        places[rows.sort(np.arange(table.num_rows))] = np.arange(len(rows.places))  # row -> its place in the order
        start = 0
        for batch in _even(table.batches(), BLOCK_ROWS):
            here = places[start : start + batch.num_rows]
            start += batch.num_rows
            has_window = here >= 0
            has_window[has_window] = rows.places[here[has_window]] >= length - 1
            cut = values[here[has_window][:, None] + np.arange(1 - length, 1)]  # (windows, window, channels)
            if spec["missing"] == "leave_out":
                is_whole = ~np.isnan(cut).any(axis=(1, 2))
                has_window[has_window] = is_whole
                cut = cut[is_whole]
            x = np.nan_to_num(cut)
            if spec["aggregates"]:
                told = aggregate(x, spec["aggregates"]) if len(x) else np.empty((0, *spec["input_shape"]), np.float32)
                x = np.concatenate([told, x.reshape(len(x), -1)], axis=1) if spec["raw"] and len(x) else told
            yield batch, has_window, self._reduced(x) if len(x) else x


def _needed(spec: dict[str, Any]) -> list[str]:
    """Return the columns that x is made of.

    Raises:
        InputError: where x is made of more than rows.
    """
    if "text" in spec:
        return [spec["text"]["column"]]
    if "encodings" in spec:
        return list(dict.fromkeys(encoding["column"] for encoding in spec["encodings"]))
    if "window" in spec:
        return [*(channel["column"] for channel in spec["channels"]), *filter(None, (spec["time"], spec["series"]))]
    if "columns" in spec and "shape" in spec:
        return spec["columns"]
    raise InputError(
        "RUN: received a run on the nodes of a graph, allowed: rows, images, texts and series, as the edges of new "
        "nodes are not known; run the pipeline on the whole graph instead"
    )


def _reader(run: TrainedRun, known: KnownColumns, paths: Sequence[pathlib.Path]) -> tuple[str, dict[str, Any]]:
    """Return the name of the reader of new rows and its options: the run's, or one of files where that one makes rows.

    A reader that makes its own rows as text is one of delimited text.
    """
    given = run.options("prepare")
    name = given["reader"]
    is_text = known.columns[0].plan is not None
    if name not in TEXT_READERS and (is_text or not given["sources"]):
        name = "parquet" if paths[0].suffix == ".parquet" else "csv"
        given = {}
    options = {}
    for option, its in methods.find("datasets", name, "prepare.reader").options.items():
        options[option] = msgspec.convert(given.get(option, its.default), its.type)
        if its.type is Path:
            options[option] = ""  # a place that the run kept things in
    files = run.records["prepare"].metrics.get("files", ())
    had_header = any(file.get("header_rows") for file in files)  # few rows show too little to tell one by
    if options.get("header") == "auto" and not had_header and (options["names"] or _are_nameless(known.names)):
        options["header"] = False
    return name, options


def _are_nameless(names: Sequence[str]) -> bool:
    """Tell whether columns are called by their places, as where no file has names."""
    return all(NAMELESS.fullmatch(name) for name in names)


def _cleaners(run: TrainedRun, filler: Fillings | None) -> list[Callable[[pa.RecordBatch], pa.RecordBatch]]:
    """Return what clean does to a row by itself, in its order."""
    found: list[Callable[[pa.RecordBatch], pa.RecordBatch]] = []
    for name, options in run.options("clean").items():
        if name == "missing" and filler is not None:
            found.append(filler.fill)
        if name == "privacy" and isinstance(options, dict):
            from hvdedge.cleaning import privacy

            kept = run.read_json("clean", privacy.FILE)
            treatment = privacy.treatment(kept, options, alone.comm())
            found.append(treatment)
    return found


def _image_shape(spec: dict[str, Any], options: dict[str, Any]) -> list[int]:
    """Return the shape of images before what reduces them; nothing where x is no image."""
    if "columns" not in spec or "shape" not in spec:
        return []
    return [*options["resize"], spec["shape"][2]] if options.get("resize") else spec["shape"]


def _even(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Yield all rows, as many at once, whatever the batches are; fewer at the end."""
    held: list[pa.RecordBatch] = []
    for batch in map(_plain, batches):
        start = min(rows - sum(part.num_rows for part in held), batch.num_rows) if held else 0
        if held:
            held.append(batch.slice(0, start))
            if sum(part.num_rows for part in held) < rows:
                continue
            yield pa.concat_batches(held)
        stop = start + (batch.num_rows - start) // rows * rows
        yield from (batch.slice(place, rows) for place in range(start, stop, rows))
        held = [batch.slice(stop)] if stop < batch.num_rows else []
    if held:
        yield pa.concat_batches(held)


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the rows with categories as text, as batches may have other dictionaries."""
    if not any(pa.types.is_dictionary(type_) for type_ in batch.schema.types):
        return batch
    return pa.record_batch([plain(column) for column in batch.columns], names=batch.schema.names)


def _chained(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest
