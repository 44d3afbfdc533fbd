"""Delimited text: messy files in, one typed table out, each file read by all ranks in parts.

    bytes --contents, encoding--> text --dialect, layout--> records --ragged--> cells of text, spilled to scratch
          --all ranks and files agree on columns and types (assembly)--> table

One rank looks at a file's beginning, its end and samples from all over it, and tells the others dialect and layout.
Each rank then reads its ranges in blocks of whole records: by Arrow where the quotes of a block are in order, leniently
where one is astray; rows of the wrong width are repaired one by one.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from mpi4py import MPI

from hvdedge import assembly
from hvdedge.alignment import Aligner
from hvdedge.cell_kinds import ColumnModel
from hvdedge.delimited import Dialect, Records, read_records, split_lines
from hvdedge.errors import InputError
from hvdedge.joining import folded
from hvdedge.known_columns import KnownColumns
from hvdedge.options import Positive
from hvdedge.parallel import agree, allgather_json
from hvdedge.record_blocks import Block, Blocks, even_end, find_start, line_ends
from hvdedge.sources import each_once
from hvdedge.spool import Spool
from hvdedge.structure import dialect as dialect_
from hvdedge.structure import layout as layout_
from hvdedge.structure import ragged as ragged_
from hvdedge.table_shape import RULES, Layout
from hvdedge.tables import Table
from hvdedge.text_files import Piece, TextFile, open_all
from hvdedge.workspace import CHANGES, QUARANTINE, Source, Workspace

HEAD_BYTES = 1 << 18
MOST_HEAD_BYTES = 1 << 22
SAMPLE_BYTES = 1 << 14
SAMPLES = 4  # from each piece
BLOCK_BYTES = 1 << 21
MOST_CELL_BYTES = 1 << 23
WEAK_DELIMITERS = " :=*~&."  # that stand in prose, too
PROSE_WORDS = 4
STRONG = (",", ";", "\t", "|")  # that stand in few columns of fixed width
SURELY = 0.9  # of the lines
LEAST_REGULAR = 0.6  # of the rows as wide as the table, where only a weak delimiter parts them
JSON = re.compile(r'[\s\ufeff]*(?:(?P<object>\{\s*["}]|\[\s*\{)|\[\s*\[\s*(?:[-\d"\[\]]|true|false|null))')
JSON_ENDS = ("}", "]", "{", "[", ",")  # of a line
USUAL = Dialect(",", '"', '"')
ARROW_MARK = "\x1f"  # for a delimiter that Arrow cannot take


def read(
    source: Source,
    comm: MPI.Intracomm,
    *,
    header: Literal["auto"] | bool = "auto",
    names: tuple[str, ...] = (),
    widths: tuple[int, ...] = (),
    types: bool = True,
    missing: tuple[str, ...] = (
        "",
        "na",
        "n/a",
        "#n/a",
        "n.a.",
        "<na>",
        "nan",
        "null",
        "(null)",
        "\\n",
        "none",
        "nil",
        "missing",
        "-",
        "--",
        "---",
        "–",
        "—",
        "?",
        ".",
    ),
    formats: bool = True,
    sentinels: bool = True,
    unpack_ratio: Positive = 200.0,
) -> Table:
    """Collective. Read delimited text files as one table, with their structure and types repaired.

    Columns are joined by name and content, in the order of the first file; a file without a header is joined by
    position where its columns look like those of a file that has one. What was changed is in `workspace.changes`, what
    is no row of the table in `workspace.quarantine`: see docs/prepare.md. Where several files are read, one that holds
    no table is told in `metrics.files` and left out.

    Args:
        header: whether the files begin with the columns' names; "auto" decides for each file.
        names: the columns' names, all different, instead of those in the files.
        widths: how many characters each column takes, where nothing parts them; found where columns are aligned.
        types: False keeps each cell as the text that it is.
        missing: what means a missing value besides an empty cell, outer blanks and case aside.
        formats: whether text is brought into one form: Unicode, blanks, spellings of a category, patterns.
        sentinels: whether numbers such as 9999 that stand out of their column's distribution are missing values.
        unpack_ratio: how many times its size a packed file may unpack to.
    Returns:
        This rank's rows: those that begin in its ranges of the files.
    Raises:
        InputError: on every rank, where a name is given twice.
        RankError: on every rank, where no file holds a table, or one cannot be read to its end.
    """
    again = [name for place, name in enumerate(names) if folded(name) in map(folded, names[:place])]
    if again:
        raise InputError(
            f"prepare.names: received {again[0]!r} twice, allowed: names that differ, case and blanks aside; rename one"
        )
    source = each_once(source, comm)
    files, pieces, errors = open_all(source.paths, unpack_ratio, comm)
    plans, found = _plan(files, pieces, header, names, widths, source.workspace.known, comm)
    errors |= found
    if not plans:
        raise InputError(next(iter(errors.values())))
    readers: list[_PieceReader] = []
    with agree(comm):
        for piece in pieces:
            if piece.number in plans:
                name = source.name(source.paths[piece.number])
                spellings = missing if types else None
                reader = _PieceReader(
                    files[piece.number], piece, plans[piece.number], name, source.workspace, spellings
                )
                reader.read()
                readers.append(reader)
                assembly.settle([other.cells for other in readers], source.workspace.table_bytes)
    _settle(readers, comm)
    quoted = allgather_json(sorted({reader.piece.number for reader in readers if reader.quote_seen}), comm)
    seen = {number for part in quoted for number in part}
    parts = [reader.part(is_quoted=reader.piece.number in seen) for reader in readers]
    table = assembly.assemble(parts, source, comm, types=types, missing=missing, formats=formats, sentinels=sentinels)
    for number, plan in plans.items():
        if plan.misfit:
            name = source.name(source.paths[number])
            source.workspace.events.append({"what": "widths_do_not_fit", "file": name, "found": plan.misfit})
    for file in source.workspace.metrics["files"]:
        if file["other_tables"]:
            tables = ", ".join(
                f"{table['rows']} rows from record {table['first'] + 1} on" for table in file["other_tables"]
            )
            source.workspace.events.append({"what": "other_tables_left_out", "file": file["file"], "tables": tables})
    left_out = [{"file": source.name(source.paths[number]), "error": error} for number, error in errors.items()]
    assembly.tell_left_out(left_out, source.workspace)
    return table


@dataclass
class _Plan:
    """How a file is to be read, as found by one rank and told to all.

    Attributes:
        start, stop: the bytes of the data, header and footer aside.
        first_line: the number of the line at `start`.
        quote_seen: whether the header or what stands before it holds the quote.
        misfit: where the widths that the user gave do not fit the lines.
    """

    dialect: Dialect
    layout: Layout
    start: int
    stop: int
    first_line: int
    quote_seen: bool
    names: list[str] | None
    aside: list[tuple[int, str, str]] = field(default_factory=list)  # line, text, rule
    misfit: str = ""


def _plan(
    files: dict[int, TextFile],
    pieces: list[Piece],
    header: Literal["auto"] | bool,
    names: tuple[str, ...],
    widths: tuple[int, ...],
    known: KnownColumns | None,
    comm: MPI.Intracomm,
) -> tuple[dict[int, _Plan], dict[int, str]]:
    """Collective. Return how each file is to be read, and why the others cannot be."""
    samples: dict[int, list[str]] = {}
    tails: dict[int, tuple[int, int, str]] = {}
    with agree(comm):
        for piece in pieces:
            file = files[piece.number]
            if file.size > HEAD_BYTES:
                samples.setdefault(piece.number, []).extend(_samples(file, piece))
                if piece.is_last:
                    tails[piece.number] = _tail(file, piece)
    samples = _by_number(samples, comm)
    tails = _by_number(tails, comm)
    plans: dict[int, dict] = {}
    errors: dict[int, str] = {}
    with agree(comm):
        for number in [piece.number for piece in pieces if not piece.start]:
            try:
                file, sample, tail = files[number], samples.get(number, []), tails.get(number)
                plan = _plan_file(file, sample, tail, header, names, widths, known)
                plans[number] = msgspec.to_builtins(plan, str_keys=True, enc_hook=ColumnModel.to_json)
            except InputError as error:
                errors[number] = str(error)
    told = {
        number: msgspec.convert(plan, _Plan, str_keys=True, dec_hook=lambda type, value: type.from_json(value))
        for number, plan in sorted(_by_number(plans, comm).items())
    }
    return told, dict(sorted(_by_number(errors, comm).items()))


def _by_number(values: Mapping[int, Any], comm: MPI.Intracomm) -> dict:
    """Collective. Return the values of all ranks; lists of the same file one after the other."""
    result: dict = {}
    for part in allgather_json(values, comm):
        for number, value in part.items():
            known = result.get(int(number))
            result[int(number)] = known + value if known is not None else value
    return result


def _text(file: TextFile, start: int, size: int, is_whole: bool = False) -> tuple[str, bytes]:
    """Return the whole lines among `size` bytes from a line's beginning on, as text and as bytes."""
    with file.open(start) as source:
        data = source.read(size)
    if not is_whole:
        data = data[: max(data.rfind(b"\n"), data.rfind(b"\r", 0, len(data) - 1)) + 1] or data
    return file.encoding.to_utf8(data).decode("utf-8", "replace"), data


def _samples(file: TextFile, piece: Piece) -> list[str]:
    found = []
    for turn in range(SAMPLES):
        start = piece.start + (piece.stop - piece.start) * turn // SAMPLES
        text, _ = _text(file, start, SAMPLE_BYTES)
        if turn:
            text = text[min(text.find("\n") % len(text), text.find("\r") % len(text)) + 1 :] if text else ""
        if start >= HEAD_BYTES:
            found.append(text)
    return found


def _tail(file: TextFile, piece: Piece) -> tuple[int, int, str]:
    """Return the end of a file: where its first whole line begins, with which number, and the text from there."""
    start = max(file.size - SAMPLE_BYTES, piece.start)
    with file.open(start) as source:
        data = source.read()
    ends = line_ends(data, True)
    skipped = int(ends[0]) + 1 if start > piece.start and len(ends) else 0
    data = data[skipped:]
    line = file.survey.lines - len(line_ends(data, True)) + 1
    return start + skipped, line, file.encoding.to_utf8(data).decode("utf-8", "replace")


def _plan_file(
    file: TextFile,
    samples: list[str],
    tail: tuple[int, int, str] | None,
    header: Literal["auto"] | bool,
    names: tuple[str, ...],
    widths: tuple[int, ...],
    known: KnownColumns | None,
) -> _Plan:
    size = HEAD_BYTES
    head, data = _text(file, 0, size, file.size <= size)
    # a long cell with line breaks is open where the head ends
    while file.size > size and even_end(data, USUAL) < size // 2 and size < MOST_HEAD_BYTES:
        size *= 2
        head, data = _text(file, 0, size, file.size <= size)
    complete = file.size <= size
    told = header != "auto" or bool(names) or known is not None
    _check_start(file, head, complete, told)  # the search for a dialect takes long where quotes close nothing
    dialect = dialect_.repair([head, *samples])
    found = dialect
    if widths:
        dialect = Dialect("", "", "", cuts=_cuts(file, widths))
    records = read_records(head, dialect, complete=complete)
    if known is not None:
        header = known.header(records.rows, header)
        names = () if header is True else names
    parted = known is None or header is not True  # what stands below the names of the run is one table
    layout = layout_.repair(records.rows, header=header, complete=complete, dialect=dialect, parted=parted)
    if known is not None and header is not True and known.is_one_text(records.rows):
        dialect = Dialect("", "", "")
        records = read_records(head, dialect, complete=complete)
        layout = layout_.repair(records.rows, header=False, complete=complete, dialect=dialect)
    if records.astray:
        records = read_records(head, dialect, layout.width + layout.surplus, complete, layout.columns)
        layout = layout_.repair(records.rows, header=header, complete=complete, dialect=dialect, parted=parted)
    rows = records.rows
    _check_table(file, head, rows, dialect, layout, told)
    if names and known is not None:
        names = tuple(known.without_label(names, layout.width))
        names = names if len(names) == layout.width else ()  # what is lacking is told with the columns of all files
    if names and len(names) != layout.width:
        raise InputError(
            f"{file.path}: prepare.names: received {len(names)} names, the file has {layout.width} columns; "
            "give one name a column"
        )
    ends = np.concatenate([[0], line_ends(data, True) + 1, [len(data)]])
    first = records.first_lines[layout.first]
    stop = file.size
    aside = _aside(records, range(layout.preamble_rows), 1, layout, "preamble")
    if complete and layout.last is not None:
        stop = int(ends[min(records.first_lines[layout.last], len(ends) - 1)])
        aside += _aside(records, range(layout.last, len(rows)), 1, layout, "footer")
    elif tail is not None and tail[0] > ends[first]:
        at, line, text = tail
        last = read_records(text, dialect, layout.width + layout.surplus, columns=layout.columns)
        count = layout.footer(last.rows)
        if count:
            place = last.first_lines[len(last.rows) - count]
            stop = at + int(line_ends(text.encode(), True)[place - 1]) + 1 if place else at
            aside += _aside(last, range(len(last.rows) - count, len(last.rows)), line, None, "footer")
    misfit = ""
    if widths:
        end = None if layout.last is None else records.first_lines[layout.last]
        misfit = _misfit(split_lines(head)[first:end], widths, found.delimiter)
    called = list(names) or (None if layout.names is None else list(layout.names))
    seen = bool(dialect.quote) and dialect.quote in "".join(records.lines[:first])
    return _Plan(dialect, layout, int(ends[first]), stop, first + 1, seen, called, aside, misfit)


def _aside(
    records: Records, places: range, first_line: int, layout: Layout | None, usual: str
) -> list[tuple[int, str, str]]:
    """Return line, text and rule of the records at `places` that hold something."""
    return [
        (records.first_lines[n] + first_line, records.text(n), layout.told.get(n, usual) if layout else usual)
        for n in places
        if any(cell.strip() for cell in records.rows[n])
    ]


def _cuts(file: TextFile, widths: tuple[int, ...]) -> tuple[int, ...]:
    if min(widths) < 1:
        raise InputError(f"{file.path}: prepare.widths: received {min(widths)}, allowed: 1 or more; correct it")
    return tuple(np.cumsum(widths)[:-1].tolist())


def _misfit(lines: Sequence[str], widths: tuple[int, ...], delimiter: str) -> str:
    """Return what tells that columns of these widths are not those of the lines, "" where nothing does."""
    lengths = [len(line.rstrip()) for line in lines if line.strip()]
    longest, whole, told = max(lengths, default=0), sum(widths), []
    longer = sum(length > whole for length in lengths)
    if longer:
        told.append(
            f"{longer} of the first {len(lengths)} lines are longer than the {whole} characters of all widths, up to "
            f"{longest}: what is beyond stands in the last column"
        )
    unreached = sum(start >= longest for start in np.cumsum(widths)[:-1])
    if unreached and lengths:
        told.append(
            f"no line reaches the last {unreached} of the {len(widths)} columns: the longest has {longest} characters"
        )
    marks = Counter(line.count(delimiter) for line in lines if line.strip()) if delimiter in STRONG else Counter()
    count, having = marks.most_common(1)[0] if marks else (0, 0)
    if count >= max(2, len(widths) - 1) and having >= SURELY * len(lengths):
        told.append(f"{count} {delimiter!r} part nearly every line: without prepare.widths it would be cut there")
    return "; ".join(told)


def _check_start(file: TextFile, head: str, complete: bool, told: bool) -> None:
    """Raise where a file's beginning is of another format, unless the user has `told` how its table begins."""
    what = None
    first, _, rest = head.strip().partition("\n")
    found = JSON.match(head)
    if head.lstrip()[:14].lower().startswith(("<!doctype html", "<html", "<?xml", "<head")):
        what = "a web page"
    elif found and not told:
        is_cut = not rest and not complete
        if is_cut or first.rstrip().endswith(JSON_ENDS) or rest.endswith(JSON_ENDS):
            what = "JSON that is a list of lists, not of objects"
            if found["object"] is not None:
                what = 'JSON; set prepare.reader = "json_lines"'
    if what is not None:
        raise _no_table(file, what)


def _no_table(file: TextFile, what: str) -> InputError:
    return InputError(
        f"{file.path}: received {what}, expected rows of delimited cells; remove the file, or set "
        "prepare.header to true or false to have it read all the same"
    )


def _check_table(
    file: TextFile, sample: str, rows: list[list[str]], dialect: Dialect, layout: Layout, told: bool
) -> None:
    """Raise where the sample is text but no table."""
    what = None
    filled = [row for row in rows if any(cell.strip() for cell in row)]
    regular = sum(len(row) == layout.width for row in filled)
    words = sorted(len(row[0].split()) for row in filled if len(row) == 1)
    is_weak = dialect.delimiter in WEAK_DELIMITERS and not (dialect.quote and dialect.quote in sample)
    is_prose = words and words[len(words) // 2] >= PROSE_WORDS
    is_loose = bool(dialect.delimiter) and is_weak and regular < LEAST_REGULAR * len(filled)
    if not filled or (is_loose and not told):
        what = "text without a table"
    elif layout.width == 1 and is_prose and not told:
        what = "prose, or one column of it"
    if what is not None:
        raise _no_table(file, what)


def _settle(readers: list["_PieceReader"], comm: MPI.Intracomm) -> None:
    """Collective. Read again each piece whose first record was taken to begin where the piece before did not end."""
    while True:
        bounds = allgather_json([[r.piece.number, r.piece.start, r.begin, r.end] for r in readers], comm)
        ends: dict[tuple[int, int], int] = {}  # piece -> where the one before ended
        last: dict[int, int] = {}
        wrong = False
        for number, start, begin, end in [bound for part in bounds for bound in part]:
            if number in last and begin != max(last[number], begin if end == begin else last[number]):
                ends[number, start] = last[number]
                wrong = True
            last[number] = max(end, last.get(number, 0))
        if not wrong:
            return
        with agree(comm):
            for reader in readers:
                if (reader.piece.number, reader.piece.start) in ends:
                    reader.read(ends[reader.piece.number, reader.piece.start])


class _PieceReader:
    """Reads one piece of a file: its rows as cells of text, with what was repaired and set aside.

    Attributes:
        begin, end: where its first record begins, and the first one behind it.
    """

    def __init__(
        self,
        file: TextFile,
        piece: Piece,
        plan: _Plan,
        name: str,
        workspace: Workspace,
        missing: tuple[str, ...] | None,
    ):
        self.file = file
        self.piece = piece
        self.plan = plan
        self._name = name
        self._workspace = workspace
        self._missing = missing
        self._aligner = Aligner(plan.layout.columns, plan.layout.usual, plan.dialect)
        self._names = [str(place) for place in range(plan.layout.width + plan.layout.surplus)]

    def read(self, begin: int | None = None) -> None:
        """Read the rows; `begin` is where the first record begins, where that is known."""
        plan, piece = self.plan, self.piece
        memory = self._workspace.memory_bytes
        stop = min(piece.stop, plan.stop)
        if begin is None:
            begin = plan.start if piece.start <= plan.start else find_start(self.file, piece, plan.dialect)
        line = plan.first_line if begin == plan.start else piece.first_line + self._lines_between(piece.start, begin)
        self.begin = self.end = begin
        self.quote_seen = plan.quote_seen
        self._counts = {"rows": 0, "rows_quarantined": 0, "rows_ragged": 0, "rows_empty": 0}
        self._changes = Spool(CHANGES, self._workspace.scratch, self._workspace.table_bytes // 8)
        self._aside = Spool(QUARANTINE, self._workspace.scratch, self._workspace.table_bytes // 8)
        self._odd: list[pa.RecordBatch] = []  # what is set aside of a block
        fields = [(name, pa.string()) for name in self._names[: plan.layout.width]]
        self._schema = pa.schema([*fields, ("_line", pa.int64())])
        self._part = assembly.Piece.empty(piece.number, plan.names, plan.layout.width, self._workspace, self._missing)
        if begin >= stop:
            return
        most = min(MOST_CELL_BYTES, memory // 16)
        csv.field_size_limit(max(most, csv.field_size_limit()))
        blocks = Blocks(
            self.file,
            begin,
            stop,
            line,
            plan.dialect,
            width=plan.layout.width + plan.layout.surplus,
            columns=plan.layout.columns,
            block_bytes=min(BLOCK_BYTES, memory // 64),
            most_bytes=most,
        )
        for block in blocks:
            self.quote_seen = self.quote_seen or plan.dialect.quote.encode() in block.data
            for batch in self._batches(block):
                if batch.num_rows:
                    self._counts["rows"] += batch.num_rows
                    self._part.add(batch)
            self._keep_aside()
        self.end = blocks.end

    @property
    def cells(self) -> assembly.Piece:
        """What was read so far."""
        return self._part

    def part(self, is_quoted: bool) -> assembly.Piece:
        """Return what was read, its logs handed to the workspace."""
        for batch in self._changes:
            self._workspace.changes.append(batch)
        for batch in self._aside:
            self._workspace.quarantine.append(batch)
        if not self.piece.start and self.plan.aside:
            lines, texts, rules = zip(*self.plan.aside, strict=True)
            self._workspace.set_aside(
                _file=[self._name] * len(lines), _line=lines, text=texts, rule=rules, column=[None] * len(lines)
            )
            self._counts["rows_quarantined"] += sum(line >= self.plan.first_line for line in lines)
        dialect, layout, survey = self.plan.dialect, self.plan.layout, self.file.survey
        self._part.metrics = {
            "file": self._name,
            "encoding": self.file.encoding.name,
            **({"packed": self.file.content.packed} if self.file.content.packed else {}),
            "delimiter": dialect.delimiter,
            "quote": dialect.quote if is_quoted else "",
            "escape": dialect.escape if is_quoted else "",
            "facts": {
                **{"preamble_rows": layout.preamble_rows, "header_rows": layout.header_rows},
                **{"broken_bytes": survey.broken, "broken_lines": survey.broken_lines, "nuls": survey.nuls},
            },
            "other_tables": [asdict(other) for other in layout.others],
            **self._counts,
        }
        return self._part

    def _lines_between(self, start: int, stop: int) -> int:
        if stop <= start:
            return 0
        with self.file.open(start) as source:
            return len(line_ends(source.read(stop - start), True))

    def _batches(self, block: Block) -> Iterator[pa.RecordBatch]:
        batch = self._by_arrow(block) if block.records is None else None
        if batch is not None:
            yield batch
            return
        records = block.records
        if records is None:
            text = block.data.decode("utf-8", "replace")
            records = read_records(text, self.plan.dialect, len(self._names), columns=self.plan.layout.columns)
        numbers = np.array(records.first_lines[:-1], np.int64) + block.first_line
        yield self._repaired(records, numbers)

    def _by_arrow(self, block: Block) -> pa.RecordBatch | None:
        """Return a block's rows, those of another width repaired, or None where Arrow sees other records than we."""
        dialect, layout = self.plan.dialect, self.plan.layout
        data = block.data
        has_quote = bool(dialect.quote) and dialect.quote.encode() in data
        if dialect.skips_blanks and has_quote:
            return None
        mark = dialect.delimiter
        if len(mark) != 1 or not mark.isascii():
            data, mark = data.replace(dialect.mark.encode(), ARROW_MARK.encode()), ARROW_MARK
        odd: list[tuple[int, str]] = []

        def keep_odd(row: pyarrow.csv.InvalidRow) -> str:
            odd.append((row.number - 1, row.text))
            return "skip"

        try:
            table = pyarrow.csv.read_csv(
                pa.BufferReader(data),
                pyarrow.csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=self._names),
                pyarrow.csv.ParseOptions(
                    delimiter=mark,
                    quote_char=dialect.quote if has_quote else False,
                    escape_char=dialect.escape if dialect.escape not in ("", dialect.quote) else False,
                    newlines_in_values=has_quote,
                    ignore_empty_lines=False,
                    invalid_row_handler=keep_odd,
                ),
                pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(self._names, pa.string()), check_utf8=False, strings_can_be_null=False
                ),
            )
        except pa.ArrowInvalid:
            return None
        firsts = self._first_lines(data, has_quote, table.num_rows + len(odd))
        if firsts is None:
            return None
        is_odd = np.zeros(len(firsts), bool)
        is_odd[[place for place, _ in odd]] = True
        if len(firsts) < block.lines:
            of_lines = np.diff(firsts[~is_odd], append=block.lines + 1) > 1
            if self._swallows(table.filter(pa.array(of_lines)), mark):
                return None
        numbers = firsts + block.first_line
        batch = table.combine_chunks().to_batches()[0] if table.num_rows else None
        if batch is None:
            batch = pa.record_batch([pa.nulls(0, pa.string())] * len(self._names), names=self._names)
        if dialect.skips_blanks:
            batch = pa.record_batch([pc.utf8_ltrim(column, " ") for column in batch.columns], names=self._names)
        regular = batch.select(self._names[: layout.width]).append_column("_line", pa.array(numbers[~is_odd]))
        regular = regular.cast(self._schema)
        long = self._filled(batch.columns[layout.width :])
        texts = [(place, text.replace(mark, dialect.mark)) for place, text in odd]
        if long.any():
            full = zip(*(column.filter(pa.array(long)).to_pylist() for column in batch.columns), strict=True)
            places = np.flatnonzero(~is_odd)[long].tolist()
            texts = sorted(texts + [(place, self._as_line(row)) for place, row in zip(places, full, strict=True)])
            regular = regular.filter(pa.array(~long))
        regular = self._without_rules(self._without_empty(regular))
        if not texts:
            return regular
        repaired = self._repaired(self._as_records([text for _, text in texts]), numbers[[n for n, _ in texts]])
        return _in_order(regular, repaired)

    def _swallows(self, table: pa.Table, mark: str) -> bool:
        """Tell whether a cell holds line breaks and as many delimiters as a row: two quotes may be astray.

        Args:
            table: the rows of several lines at least.
        """
        for column in table.columns:
            long = column.filter(pc.match_substring(column, "\n"))
            if len(long) and pc.max(pc.count_substring(long, mark)).as_py() >= self.plan.layout.width - 1:
                return True
        return False

    def _as_records(self, texts: list[str]) -> Records:
        """Return records read from a text each, line breaks in their cells kept."""
        options = self.plan.dialect.reader_options()
        rows = [next(csv.reader(io.StringIO(text, newline=""), **options), []) for text in texts]
        return Records(rows, list(range(len(texts) + 1)), set(), texts)

    def _first_lines(self, data: bytes, has_quote: bool, rows: int) -> np.ndarray | None:
        """Return the line, from 0, on which each of `rows` records begins; None where there are more or fewer."""
        if not has_quote and b"\r" not in data:
            lines = data.count(b"\n") + (not data.endswith(b"\n"))
            return np.arange(rows) if lines == rows else None
        ends = line_ends(data, True)
        if has_quote:
            buffer = np.frombuffer(data, np.uint8)
            places = np.flatnonzero(buffer == ord(self.plan.dialect.quote))
            escape = self.plan.dialect.escape
            if escape not in ("", self.plan.dialect.quote):
                places = places[buffer[np.maximum(places - 1, 0)] != ord(escape)]
            is_end = np.searchsorted(places, ends) % 2 == 0
        else:
            is_end = np.ones(len(ends), bool)
        firsts = np.concatenate([[0], np.flatnonzero(is_end) + 1])
        if not len(ends) or ends[-1] == len(data) - 1:
            firsts = firsts[:-1] if len(ends) else firsts
        return firsts if len(firsts) == rows else None

    @staticmethod
    def _filled(columns: list[pa.Array]) -> np.ndarray:
        filled = [np.asarray(pc.greater(pc.binary_length(column), 0)) for column in columns]
        return np.logical_or.reduce(filled) if filled else np.zeros(0, bool)

    def _without_empty(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        empty = np.ones(batch.num_rows, bool)
        for column in batch.columns[:-1]:
            empty &= np.asarray(pc.equal(pc.binary_length(column), 0))
            if not empty.any():
                return batch
        self._counts["rows_empty"] += int(empty.sum())
        return batch.filter(pa.array(~empty))

    def _without_rules(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the batch without the rows that are no data, which are set aside."""
        rules = self.plan.layout.of_batch(batch)
        if not rules.any():
            return batch
        odd = batch.filter(pa.array(rules != 0))
        rows = zip(*(column.to_pylist() for column in odd.columns[:-1]), strict=True)
        texts = [self._as_line(list(row)) for row in rows]
        self._set_aside(np.asarray(odd.column(odd.num_columns - 1)), texts, [RULES[rule] for rule in rules[rules != 0]])
        return batch.filter(pa.array(rules == 0))

    def _repaired(self, records: Records, numbers: np.ndarray) -> pa.RecordBatch:
        """Return the rows with as many cells as the table has columns, and log what was done."""
        layout, rows = self.plan.layout, records.rows
        found = ragged_.repair(rows, layout, records.text, records.astray, self.plan.dialect, self._aligner)
        self._counts["rows_empty"] += found.empty
        self._counts["rows_ragged"] += len(found.short) + len(found.long) + len(found.aligned)
        if found.long:
            places = list(found.long)
            surplus = [self.plan.dialect.delimiter * (count - layout.width) for count in found.long.values()]
            self._log(numbers[places], surplus, ["long_row"] * len(places))
        if found.aligned:
            places = list(found.aligned)
            self._log(numbers[places], [records.text(n) for n in places], list(found.aligned.values()))
        if told := sorted(records.astray - found.aligned.keys() - found.aside.keys()):
            self._log(numbers[told], [records.text(n) for n in told], ["stray_quote"] * len(told))
        if found.aside:
            places = list(found.aside)
            self._set_aside(numbers[places], [records.text(n) for n in places], list(found.aside.values()))
        columns = zip(*found.rows, strict=True) if found.rows else [[]] * layout.width
        arrays = [pa.array(column, pa.string()) for column in columns]
        return pa.record_batch([*arrays, pa.array(numbers[found.kept], pa.int64())], schema=self._schema)

    def _log(self, lines, texts: list[str], rules: list[str]) -> None:
        count = len(texts)
        columns = {"_file": [self._name] * count, "_line": lines, "column": [""] * count}
        columns |= {"before": texts, "after": [None] * count, "rule": rules}
        self._changes.append(pa.record_batch(columns, CHANGES))

    def _set_aside(self, lines: np.ndarray, texts: list[str], rules: list[str]) -> None:
        self._counts["rows_quarantined"] += len(texts)
        columns = {"_file": [self._name] * len(texts), "_line": lines, "text": texts, "rule": rules}
        columns["column"] = [None] * len(texts)
        self._odd.append(pa.record_batch(columns, QUARANTINE))

    def _keep_aside(self) -> None:
        """Take in what was set aside of a block, in the order of its lines."""
        if self._odd:
            for batch in pa.Table.from_batches(self._odd).sort_by("_line").to_batches():
                self._aside.append(batch)
            self._odd = []

    def _as_line(self, row: Sequence[str | None]) -> str:
        line = io.StringIO()
        csv.writer(line, delimiter=(self.plan.dialect.delimiter or ",")[0], lineterminator="").writerow(row)
        return line.getvalue()


def _in_order(regular: pa.RecordBatch, repaired: pa.RecordBatch) -> pa.RecordBatch:
    """Return the rows of both in the order of their lines, in which each of the two is."""
    places = np.searchsorted(regular["_line"], repaired["_line"])  # rows of `regular` before each of the other
    starts = np.flatnonzero(np.diff(places, prepend=-1)).tolist()
    parts, before = [], 0
    for start, stop in zip(starts, [*starts[1:], len(places)], strict=False):
        parts += [regular.slice(before, places[start] - before), repaired.slice(start, stop - start)]
        before = places[start]
    return pa.concat_batches([*parts, regular.slice(before)])
