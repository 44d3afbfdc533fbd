"""Delimited text: messy files in, one typed table out.

    bytes --encoding--> text --dialect--> rows --header, ragged--> cells of text, spilled to scratch
          --all ranks and files agree on columns and types--> missing, numbers, dates --> table

Files are dealt to the ranks in runs of about as many bytes each. A file is read in blocks of whole lines: by Arrow
where a block is in order, by Python's own reader where it has rows of the wrong width or cells over several lines.
"""

import csv
import io
import itertools
import pathlib
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from mpi4py import MPI

from hvdedge.errors import InputError
from hvdedge.parallel import agree, allgather_json, bcast_json
from hvdedge.structure import booleans as booleans_
from hvdedge.structure import dates as dates_
from hvdedge.structure import dialect as dialect_
from hvdedge.structure import encoding as encoding_
from hvdedge.structure import header as header_
from hvdedge.structure import missing as missing_
from hvdedge.structure import numbers as numbers_
from hvdedge.structure import ragged as ragged_
from hvdedge.structure import types as types_
from hvdedge.tables import ORIGIN, Table
from hvdedge.workspace import Source, Workspace

SAMPLE_CHARS = 1 << 17
BLOCK_CHARS = 1 << 20
WEAK_DELIMITERS = " :=*~&."  # that stand in prose, too
PROSE_WORDS = 4
LEAST_REGULAR = 0.6  # of the rows as wide as the table, where only a weak delimiter parts them
LEAST_FIT = 0.8  # of the columns of the same kind, where a file is joined by position
ARROW_TYPES = {
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "float": pa.float64(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
}
PLAIN = {  # type -> a cell that needs no entry in the change log
    "integer": r"^-?(0|[1-9]\d*)$",
    "float": r"^-?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$",
    "date": r"^\d{4}-\d\d-\d\d$",
}
RULES = ("", "missing", "number", "date", "type", "short_row")
UNCHANGED, MISSING, NUMBER, DATE, TYPE, SHORT_ROW = range(6)


def read(
    source: Source,
    comm: MPI.Intracomm,
    *,
    header: Literal["auto"] | bool = "auto",
    names: tuple[str, ...] = (),
    types: bool = True,
    missing: tuple[str, ...] = ("", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "missing", "-", "--", "?", "."),
) -> Table:
    """Collective. Read delimited text files as one table, with their structure and types repaired.

    Columns are joined by name, in the order of the first file; a file without a header is joined by position where its
    columns look like those of a file that has one. What was changed is in `workspace.changes`: `after` is null where
    a cell spells a missing value (rule "missing"), does not fit its column's type ("type") or was lost with the end of
    its row ("short_row"); a surplus of empty cells that was cut ("long_row") stands under the column "". A form that
    most cells of a column in a file have, such as a decimal comma, is that file's format and no change.

    Args:
        header: whether the files begin with the columns' names; "auto" decides for each file.
        names: the columns' names, instead of those in the files.
        types: False keeps each cell as the text that it is.
        missing: what means a missing value, outer blanks and case aside.
    Returns:
        This rank's rows: those of its run of files.
    Raises:
        RankError: on every rank, where a file cannot be read or holds no table.
    """
    if not source.paths:
        raise InputError("prepare.source: received no files, expected at least one; name a file, a folder or a pattern")
    spellings = tuple(spelling.strip().lower() for spelling in missing)
    workspace = source.workspace
    sizes = bcast_json([_size_bytes(path) for path in source.paths], comm)
    numbers = _deal(sizes, comm.size)[comm.rank]
    mine: list[_File] = []
    with agree(comm):
        for number in numbers:
            path = source.paths[number]
            reader = _Reader(path, source.name(path), workspace, header, names, spellings if types else None)
            mine.append(reader.read())
    parts = allgather_json([file.to_json() for file in mine], comm)
    files = [_File.from_json(found) for part in parts for found in part]
    columns, places = _join(files)
    mine_places = [places[number] for number in numbers]
    agreed = _agree_types(files, len(columns), places, mine, mine_places, comm) if types else None
    converter = _Converter(columns, agreed, spellings, workspace)
    with agree(comm):
        batches = (
            batch
            for number, file, where in zip(numbers, mine, mine_places, strict=True)
            for batch in converter.convert(file, where, number)
        )
        table = Table.from_batches(converter.schema, batches, workspace)
    comm.Allreduce(MPI.IN_PLACE, converter.missing, op=MPI.SUM)
    comm.Allreduce(MPI.IN_PLACE, converter.changed, op=MPI.SUM)
    workspace.metrics["files"] = [file.metrics for file in files]
    workspace.metrics["columns"] = {
        name: {"type": kind, "missing": int(empty), "changed": int(changed)}
        for name, kind, empty, changed in zip(
            columns, converter.kinds, converter.missing, converter.changed, strict=True
        )
    }
    return table


@dataclass
class _File:
    """A file's structure and evidence, and where its cells are, on the rank that read it."""

    metrics: dict
    names: list[str] | None
    width: int
    evidence: list[types_.Evidence]
    cells: pathlib.Path | None = None

    def to_json(self) -> list:
        return [self.metrics, self.names, self.width, [evidence.to_json() for evidence in self.evidence]]

    @classmethod
    def from_json(cls, value: list) -> "_File":
        metrics, names, width, evidence = value
        return cls(metrics, names, width, [types_.Evidence.from_json(found) for found in evidence])


def _size_bytes(path: pathlib.Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # told by the rank that is to read it
        return 0


def _deal(sizes: list[int], ranks: int) -> list[range]:
    """Return the files of each rank, in runs; a file goes where the middle of its bytes falls."""
    ends = np.cumsum(sizes)
    middles = ends - np.array(sizes) / 2
    owner = np.minimum(middles * ranks // max(ends[-1], 1), ranks - 1)
    edges = np.searchsorted(owner, np.arange(ranks + 1)).tolist()
    return [range(edges[rank], edges[rank + 1]) for rank in range(ranks)]


class _Reader:
    """Reads one file's cells as text, in batches, and gathers the evidence for its columns' types."""

    def __init__(
        self,
        path: pathlib.Path,
        name: str,
        workspace: Workspace,
        header: Literal["auto"] | bool,
        names: tuple[str, ...],
        spellings: tuple[str, ...] | None,
    ):
        self._path = path
        self._name = name
        self._workspace = workspace
        self._header_option = header
        self._names = names
        self._spellings = spellings
        self._most_chars = workspace.memory_bytes // 16  # of a line or a cell
        # Python's cells of one or two characters take sixty times their text
        self._block_chars = min(BLOCK_CHARS, workspace.memory_bytes // 64)
        self._line = 0  # physical lines read so far
        self._quote_seen = False
        self._counts = {"rows": 0, "rows_quarantined": 0, "rows_ragged": 0, "rows_empty": 0}

    def read(self) -> _File:
        """Return the file's structure; its cells are in the scratch folder."""
        self._encoding = encoding_.repair(self._path)
        with self._encoding.open(self._path) as file:
            sample = self._encoding.mend(self._cut(file.read(SAMPLE_CHARS) + self._rest_of_line(file)))
        self._dialect = dialect_.repair(sample)
        rows = self._dialect.sample_rows(sample)
        self._header = header_.repair(rows, self._header_option)
        self._check_table(sample, rows)
        evidence = [types_.Evidence() for _ in range(self._header.width)]
        with self._encoding.open(self._path) as file, self._spill() as sink:
            csv.field_size_limit(self._most_chars)
            with pa.ipc.new_stream(sink, self._schema, options=pa.ipc.IpcWriteOptions(compression="lz4")) as writer:
                try:
                    for batch in self._batches(file):
                        writer.write_batch(batch)
                        self._counts["rows"] += batch.num_rows
                        if self._spellings is not None:
                            _add_evidence(evidence, batch, self._spellings)
                except csv.Error:  # all that the reader, not being strict, minds is a cell beyond its limit
                    raise self._too_long() from None
        quote = self._dialect.quote if self._quote_seen else ""
        metrics = {
            "file": self._name,
            "encoding": self._encoding.name,
            "delimiter": self._dialect.delimiter,
            "quote": quote,
            "escape": self._dialect.escape if quote else "",
            "preamble_rows": self._header.preamble_rows,
            "header_rows": self._header.header_rows,
            **self._counts,
            "broken_bytes": self._encoding.broken_bytes,
        }
        names = list(self._names) or self._header.names
        cells = pathlib.Path(sink.name)
        return _File(metrics, None if names is None else list(names), self._header.width, evidence, cells)

    @property
    def _schema(self) -> pa.Schema:
        fields = [(str(place), pa.string()) for place in range(self._header.width)]
        return pa.schema([*fields, ("_line", pa.int64())])

    def _spill(self):
        return tempfile.NamedTemporaryFile(dir=self._workspace.scratch, suffix=".arrow", delete=False)

    def _check_table(self, sample: str, rows: list[list[str]]) -> None:
        """Raise where the sample is text but no table, or not one of as many columns as there are names."""
        what = None
        width = self._header.width
        filled = [row for row in rows if any(cell.strip() for cell in row)]
        regular = sum(len(row) == width for row in filled)
        words = sorted(len(row[0].split()) for row in filled if len(row) == 1)
        delimiter, quote = self._dialect.delimiter, self._dialect.quote
        is_weak = delimiter and delimiter in WEAK_DELIMITERS and not (quote and quote in sample)
        told = self._header_option != "auto" or self._names
        is_prose = words and words[len(words) // 2] >= PROSE_WORDS
        is_loose = is_weak and regular < LEAST_REGULAR * len(filled)
        if sample.lstrip()[:14].lower().startswith(("<!doctype html", "<html", "<?xml", "<head")):
            what = "a web page"
        elif not filled or (is_loose and not told):
            what = "text without a table"
        elif width == 1 and is_prose and not told:
            what = "prose, or one column of it"
        if what is not None:
            raise InputError(
                f"{self._path}: received {what}, expected rows of delimited cells; remove the file, or set "
                "prepare.header to true or false to have it read all the same"
            )
        if self._names and len(self._names) != width:
            raise InputError(
                f"{self._path}: prepare.names: received {len(self._names)} names, the file has {width} columns; "
                "give one name a column"
            )

    def _batches(self, file: io.TextIOWrapper) -> Iterator[pa.RecordBatch]:
        """Yield the rows below the header, as text."""
        self._skip_header(file)
        while block := self._cut(file.read(self._block_chars) + self._rest_of_line(file)):
            block = self._encoding.mend(block)
            self._quote_seen = self._quote_seen or self._dialect.quote in block
            batch = self._by_arrow(block)
            if batch is None:
                batch = self._by_python(block, file)
            if batch.num_rows:
                yield batch

    def _rest_of_line(self, file: io.TextIOWrapper) -> str:
        return file.readline(self._most_chars)

    def _cut(self, block: str) -> str:
        """Return `block`; raise where its last line is longer than memory allows."""
        if len(block) >= self._most_chars and not block.endswith(("\n", "\r")):
            longest = max(block.rfind("\n"), block.rfind("\r"))
            if len(block) - longest >= self._most_chars:
                raise self._too_long()
        return block

    def _too_long(self) -> InputError:
        return InputError(
            f"{self._path}: line {self._line + 1} or below: received a line or quoted cell of more than "
            f"{self._most_chars} characters, allowed is a 16th of the memory limit; close its quote or raise memory"
        )

    def _lines(self, file: io.TextIOWrapper) -> Iterator[str]:
        while line := self._rest_of_line(file):
            yield self._encoding.mend(self._cut(line))

    def _skip_header(self, file: io.TextIOWrapper) -> None:
        reader = csv.reader(self._lines(file), **self._dialect.reader_options())
        first = ""
        for _ in range(self._header.preamble_rows + self._header.header_rows):
            first += "".join(next(reader, []))
        self._line = reader.line_num
        # quotes of a header are gone here; the sample holds it whole
        self._quote_seen = bool(self._dialect.quote) and self._dialect.quote in first

    def _by_arrow(self, block: str) -> pa.RecordBatch | None:
        """Return a block's rows if each line of it is a row of the right width, else None."""
        dialect, width = self._dialect, self._header.width
        full_width = width + self._header.surplus
        lines = block.count("\n") + block.count("\r") - block.count("\r\n") + (not block.endswith(("\n", "\r")))
        is_odd = dialect.skips_blanks or full_width < 2 or (dialect.escape == "\\" and "\\" in block)
        if is_odd:
            return None
        data = block.encode("utf-8", "replace")
        names = [str(place) for place in range(full_width)]
        try:
            table = pyarrow.csv.read_csv(
                pa.BufferReader(data),
                pyarrow.csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=names),
                pyarrow.csv.ParseOptions(
                    delimiter=dialect.delimiter,
                    quote_char=dialect.quote or False,
                    newlines_in_values=bool(dialect.quote),
                    ignore_empty_lines=False,
                ),
                pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), check_utf8=False),
            )
        except pa.ArrowInvalid:
            return None
        if table.num_rows != lines or any(pc.any(pc.not_equal(table[name], "")).as_py() for name in names[width:]):
            return None
        if table[full_width - 1][-1].as_py().endswith(("\n", "\r")):  # its quote is closed behind the block
            return None
        numbers = pa.array(np.arange(self._line + 1, self._line + 1 + lines))
        self._line += lines
        batch = table.select(names[:width]).append_column("_line", numbers).combine_chunks().to_batches()[0]
        return self._without_empty(batch)

    def _without_empty(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        empty = np.ones(batch.num_rows, bool)
        for column in batch.columns[:-1]:
            empty &= pc.equal(column, "").to_numpy(zero_copy_only=False)
            if not empty.any():
                return batch
        self._counts["rows_empty"] += int(empty.sum())
        return batch.filter(pa.array(~empty))

    def _by_python(self, block: str, file: io.TextIOWrapper) -> pa.RecordBatch:
        """Return the rows that begin in `block`; the last may go on in the lines of `file` behind it."""
        source = itertools.chain(io.StringIO(block, newline=""), self._lines(file))
        lines = block.count("\n") + block.count("\r") - block.count("\r\n") + (not block.endswith(("\n", "\r")))
        reader = csv.reader(source, **self._dialect.reader_options())
        rows, starts, before = [], [], self._line
        for row in reader:
            rows.append(row)
            starts.append(self._line + 1)
            self._line = before + reader.line_num
            if reader.line_num >= lines:
                break
        numbers = np.array(starts, np.int64)
        found = ragged_.repair(rows, self._header.width, self._header.surplus)
        self._log(rows, numbers, found)
        columns = zip(*found.rows, strict=True) if found.rows else [[]] * self._header.width
        arrays = [pa.array(column, pa.string()) for column in columns]
        return pa.record_batch([*arrays, pa.array(numbers[found.kept])], schema=self._schema)

    def _log(self, rows: list[list[str]], numbers: np.ndarray, found: ragged_.Ragged) -> None:
        self._counts["rows_empty"] += found.empty
        self._counts["rows_ragged"] += len(found.short) + len(found.long)
        self._counts["rows_quarantined"] += len(found.aside)
        if found.long:
            places = list(found.long)
            self._workspace.log_changes(
                _file=[self._name] * len(places),
                _line=numbers[places],
                column=[""] * len(places),
                before=[self._dialect.delimiter * (count - self._header.width) for count in found.long.values()],
                after=[None] * len(places),
                rule=["long_row"] * len(places),
            )
        if found.aside:
            places = list(found.aside)
            self._workspace.set_aside(
                _file=[self._name] * len(places),
                _line=numbers[places],
                text=[self._as_line(rows[place]) for place in places],
                rule=list(found.aside.values()),
            )

    def _as_line(self, row: list[str]) -> str:
        line = io.StringIO()
        csv.writer(line, delimiter=self._dialect.delimiter or ",", lineterminator="").writerow(row)
        return line.getvalue()


def _add_evidence(evidence: list[types_.Evidence], batch: pa.RecordBatch, spellings: tuple[str, ...]) -> None:
    for found, column in zip(evidence, batch.columns[:-1], strict=True):
        encoded = column.dictionary_encode()
        values = missing_.repair(encoded.dictionary, spellings)
        numbers = np.bincount(encoded.indices.drop_null().to_numpy(), minlength=len(values))
        if values.null_count < len(values):
            found.add(values.drop_null(), numbers[values.is_valid().to_numpy(zero_copy_only=False)])


def _join(files: list[_File]) -> tuple[list[str], list[list[int]]]:
    """Return the columns' names, and for each file the place of each of its columns among them.

    Names are the same where only case and blanks differ. A file without names takes those of the first file that is
    as wide and has columns of the same kinds; where there is none, its columns are column_0, column_1, ...
    """
    columns: list[str] = []
    known: dict[str, int] = {}
    places: list[list[int]] = [[] for _ in files]

    def add(number: int, names: Iterable[str]) -> None:
        for name in names:
            folded = " ".join(name.split()).casefold()
            if folded not in known:
                known[folded] = len(columns)
                columns.append(name)
            places[number].append(known[folded])

    named = [number for number, file in enumerate(files) if file.names is not None]
    for number in named:
        add(number, _unique_names(files[number].names or []))
    for number, file in enumerate(files):
        if file.names is None:
            like = next((other for other in named if _look_alike(files[other], file)), None)
            if like is None:
                add(number, [f"column_{place}" for place in range(file.width)])
            else:
                places[number] = places[like]
    return columns, places


def _unique_names(names: Iterable[str]) -> list[str]:
    """Return `names` made unique, case and blanks aside.

    A second "name" is "name_2"; a column without a name is "column_" and its place.
    """
    seen = set(ORIGIN)
    result = []
    for place, name in enumerate(names):
        base = name or f"column_{place}"
        found, number = base, 1
        while " ".join(found.split()).casefold() in seen:
            number += 1
            found = f"{base}_{number}"
        seen.add(" ".join(found.split()).casefold())
        result.append(found)
    return result


def _look_alike(file: _File, other: _File) -> bool:
    """Tell whether two files have columns of the same kinds in the same order; one without values is of any kind."""
    if file.width != other.width:
        return False
    pairs = zip(file.evidence, other.evidence, strict=True)
    seen = [(_kind(one), _kind(two)) for one, two in pairs if one.counts["cells"] and two.counts["cells"]]
    return sum(one == two for one, two in seen) >= LEAST_FIT * len(seen)


def _kind(evidence: types_.Evidence) -> str:
    name = types_.repair([evidence]).name
    return {"integer": "number", "float": "number", "category": "text"}.get(name, name)


def _agree_types(
    files: list[_File],
    count: int,
    places: list[list[int]],
    mine: list[_File],
    mine_places: list[list[int]],
    comm: MPI.Intracomm,
) -> list[types_.ColumnType]:
    """Collective. Return the type of each column, with a format for each file (one that lacks the column has any).

    Args:
        files, places: all files, and where their columns are in the table.
        mine, mine_places: the same of this rank's files, whose evidence has the levels, too.
    """
    by_column = [[types_.Evidence() for _ in files] for _ in range(count)]
    decimals = []
    for number, file in enumerate(files):
        for place, evidence in zip(places[number], file.evidence, strict=True):
            by_column[place][number] = evidence
        marks = [evidence.decimal_mark for evidence in file.evidence]
        commas, points = marks.count(","), marks.count(".")
        decimals.append(None if commas == points else "," if commas > points else ".")
    agreed = [types_.repair(evidence, decimals) for evidence in by_column]
    words = {place for place, found in enumerate(agreed) if found.name in ("category", "text")}
    seen = {place: types_.Evidence() for place in sorted(words)}
    for file, where in zip(mine, mine_places, strict=True):
        for place, evidence in zip(where, file.evidence, strict=True):
            if place in words:
                seen[place].merge(types_.Evidence(levels=evidence.levels))
    levels = [None if found.levels is None else sorted(found.levels) for found in seen.values()]
    for part in allgather_json(levels, comm):
        for place, found in zip(seen, part, strict=True):
            by_column[place][0].merge(types_.Evidence(levels=None if found is None else set(found)))
    return [
        types_.repair(by_column[place], decimals) if place in words else found for place, found in enumerate(agreed)
    ]


class _Converter:
    """Turns cells of text into the table's columns, and counts by column what is missing and what was changed."""

    def __init__(
        self,
        columns: list[str],
        agreed: list[types_.ColumnType] | None,
        spellings: tuple[str, ...],
        workspace: Workspace,
    ):
        self._columns = columns
        self._agreed = agreed
        self._spellings = spellings
        self._workspace = workspace
        self.kinds = [found.name for found in agreed] if agreed else ["text"] * len(columns)
        self.missing = np.zeros(len(columns), np.int64)
        self.changed = np.zeros(len(columns), np.int64)
        fields = [(name, ARROW_TYPES.get(kind, pa.string())) for name, kind in zip(columns, self.kinds, strict=True)]
        self.schema = pa.schema([*fields, ("_file", pa.string()), ("_line", pa.int64())])

    def convert(self, file: _File, places: list[int], number: int) -> Iterator[pa.RecordBatch]:
        """Yield a file's rows as the table has them, and drop its cells of text."""
        assert file.cells is not None
        where = {place: at for at, place in enumerate(places)}
        with pa.OSFile(str(file.cells)) as stored:
            for batch in pa.ipc.open_stream(stored):
                yield self._convert_batch(batch, where, number, file.metrics["file"])
        file.cells.unlink()

    def _convert_batch(self, batch: pa.RecordBatch, where: dict[int, int], number: int, name: str) -> pa.RecordBatch:
        lines = batch.column(batch.num_columns - 1)
        columns, logs = [], []
        for place, column_name in enumerate(self._columns):
            if place not in where:
                column = pa.nulls(batch.num_rows, self.schema.field(column_name).type)
            else:
                text = batch.column(where[place])
                column, rules = self._convert_column(text, place, number)
                rows = np.flatnonzero(rules)
                if len(rows):
                    logs.append((place, rows, text.take(rows), column.take(rows).cast(pa.string()), rules[rows]))
            self.missing[place] += column.null_count
            columns.append(column)
        self._log(name, lines, logs)
        files = pa.repeat(pa.scalar(name, pa.string()), batch.num_rows)
        return pa.record_batch([*columns, files, lines], schema=self.schema)

    def _convert_column(self, text: pa.Array, place: int, number: int) -> tuple[pa.Array, np.ndarray]:
        """Return a column's values and for each cell the rule, a place in RULES, by which it was changed."""
        lost = text.is_null().to_numpy(zero_copy_only=False)
        if self._agreed is None:
            return text, lost * SHORT_ROW
        kind, form = self._agreed[place].name, self._agreed[place].formats[number]
        encoded = text.dictionary_encode()  # each value is read once
        raw = encoded.dictionary
        values = missing_.repair(raw, self._spellings)
        read, rule = values, UNCHANGED
        if kind in ("integer", "float"):
            trimmed = pc.utf8_trim_whitespace(values)
            read, rule = numbers_.repair(trimmed, decimal=form.decimal, integer=kind == "integer"), NUMBER
        elif kind in ("date", "timestamp", "time"):
            read, rule = dates_.repair(values, to=kind, day_first=form.day_first), DATE
        elif kind == "boolean":
            read = booleans_.repair(values)
        rules = np.zeros(len(raw), np.int8)
        if form.is_plain and kind in PLAIN:
            rules[~_matches(raw, PLAIN[kind])] = rule
        is_missing = values.is_null().to_numpy(zero_copy_only=False)
        rules[is_missing] = np.where(_matches(raw.filter(pa.array(is_missing)), r"\S"), MISSING, UNCHANGED)
        rules[~is_missing & read.is_null().to_numpy(zero_copy_only=False)] = TYPE
        found = np.full(len(text), SHORT_ROW, np.int8)
        found[~lost] = rules[encoded.indices.drop_null().to_numpy()]
        return read.take(encoded.indices), found

    def _log(
        self, name: str, lines: pa.Array, logs: list[tuple[int, np.ndarray, pa.Array, pa.Array, np.ndarray]]
    ) -> None:
        if not logs:
            return
        for place, rows, *_ in logs:
            self.changed[place] += len(rows)
        counts = [len(rows) for _, rows, *_ in logs]
        self._workspace.log_changes(
            _file=[name] * sum(counts),
            _line=lines.take(np.concatenate([rows for _, rows, *_ in logs])),
            column=np.repeat([self._columns[place] for place, *_ in logs], counts).tolist(),
            before=pa.concat_arrays([before for _, _, before, *_ in logs]),
            after=pa.concat_arrays([after for *_, after, _ in logs]),
            rule=[RULES[rule] for *_, rules in logs for rule in rules],
        )


def _matches(values: pa.Array, pattern: str) -> np.ndarray:
    return pc.match_substring_regex(values, pattern).to_numpy(zero_copy_only=False).astype(bool)
