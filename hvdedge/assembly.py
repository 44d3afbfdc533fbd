"""From cells of text, as readers find them, to one typed table: columns joined, types agreed on over all ranks.

Each rank brings pieces: what it read of a file, as text, with the evidence for the types of its columns. Files are
joined by the names of their columns, then by what these hold (joining), types decided by the sums of the evidence; then
each rank converts its cells.
"""

import pathlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mpi4py import MPI

from hvdedge import joining, known_columns
from hvdedge.columns import shown
from hvdedge.conversion import MISSING, RULES, TOO_LARGE, TYPE, Plan, convert
from hvdedge.evidence import Evidence, is_measured, sampled, without
from hvdedge.known_columns import KnownColumns
from hvdedge.parallel import agree, allgather_json
from hvdedge.spool import Spool
from hvdedge.structure import missing as missing_
from hvdedge.structure import numbers as numbers_
from hvdedge.structure import patterns as patterns_
from hvdedge.structure import placeholders as placeholders_
from hvdedge.structure import sentinels as sentinels_
from hvdedge.structure import types as types_
from hvdedge.structure import values as values_
from hvdedge.structure import variants as variants_
from hvdedge.tables import ORIGIN, Table
from hvdedge.workspace import Source, Workspace

LEAST_FIT = 0.8  # of the columns of the same kind, where a file is joined by position
SAMPLE_LINES = 1000  # of a file, whose cells tell where another has the same column
SAMPLE_CHARS = 100  # of a cell
LEAST_WORD = 0.05  # of a column's cells, that one spelling of a missing value empties
LEFT_BYTES = 1 << 20  # of cells that wait for a closer look


@dataclass
class Piece:
    """What one rank read of one file, as text. Pieces of one file on several ranks are in rank order its rows in order.

    Attributes:
        number: the file's place among the source's.
        names: the columns' names, None where the file has none.
        width: how many columns it has.
        cells: batches of the columns "0", "1", ... as text and "_line", int64; a null was lost with the end of its row.
        evidence: what the cells look like, one a column; complete once it is settled.
        metrics: the file's entry in the record: texts, lists and `facts`, a dict, are alike on all its pieces; numbers
            are of this piece and summed.
    """

    number: int
    names: list[str] | None
    width: int
    cells: Spool
    evidence: list[Evidence]
    spellings: tuple[str, ...] | None
    metrics: dict

    @classmethod
    def empty(
        cls, number: int, names: list[str] | None, width: int, workspace: Workspace, missing: tuple[str, ...] | None
    ) -> "Piece":
        """Return a piece without rows; `missing` spells missing values, None where no types are wanted."""
        fields = [(str(place), pa.string()) for place in range(width)]
        cells = Spool(pa.schema([*fields, ("_line", pa.int64())]), workspace.scratch, workspace.table_bytes // 2)
        spellings = None if missing is None else _folded(missing)
        return cls(number, names, width, cells, [Evidence() for _ in range(width)], spellings, {})

    def add(self, batch: pa.RecordBatch) -> None:
        """Take in rows."""
        self.cells.append(batch)
        if self.spellings is None:
            return
        sample = sampled(batch.column(batch.num_columns - 1).to_numpy())
        is_usual = without(self.spellings)
        for found, column in zip(self.evidence, batch.columns[:-1], strict=True):
            found.see(column, sample, is_usual)
        if sum(found.left_bytes for found in self.evidence) > LEFT_BYTES:
            self.settle()

    def settle(self) -> None:
        """Make the evidence complete."""
        spellings = self.spellings or ()
        for found in self.evidence:
            found.settle(lambda texts: missing_.repair(texts, spellings))


def settle(pieces: Sequence[Piece], limit_bytes: int) -> None:
    """Move cells to the scratch folder until the pieces hold no more than `limit_bytes`: for readers of many files."""
    for piece in sorted(pieces, key=lambda piece: -piece.cells.held_bytes):
        if sum(piece.cells.held_bytes for piece in pieces) <= limit_bytes:
            break
        piece.cells.spill()


def assemble(
    pieces: list[Piece],
    source: Source,
    comm: MPI.Intracomm,
    *,
    types: bool,
    missing: tuple[str, ...],
    formats: bool = True,
    sentinels: bool = True,
) -> Table:
    """Collective. Return the rows of this rank's pieces as one table with the columns of all files.

    Sets `workspace.metrics`: `files` and `columns`. A file without rows gives no columns, unless none has rows. Each
    cell that was changed is logged; a cell that does not fit its column's type goes to the quarantine, too.

    Args:
        types: False keeps each cell as the text that it is.
        missing: what means a missing value, outer blanks and case aside.
        formats: whether text is brought into one form: Unicode, blanks, spellings of a category, patterns.
        sentinels: whether numbers such as 9999 that stand out of their column's distribution are missing values.
    """
    workspace = source.workspace
    with agree(comm):
        for piece in pieces:
            piece.settle()
    files = _files(pieces, comm)
    empty = [number for number, file in files.items() if not file.metrics["rows"]]
    if len(empty) == len(files):
        empty = []  # a table of columns alone
    without_rows = [_without_rows(files.pop(number), source.paths[number]) for number in empty]
    pieces = [piece for piece in pieces if piece.number in files]
    if workspace.known is None:
        columns, by_number, plans = _decide(files, pieces, source, comm, types, _folded(missing), formats, sentinels)
    else:
        columns, by_number, plans = _as_known(files, workspace.known)
    converter = _Converter(columns, plans, list(files), workspace)
    with agree(comm):
        batches = (batch for piece in pieces for batch in converter.convert(piece, by_number[piece.number]))
        table = Table.from_batches(converter.schema, batches, workspace)
    for counted in (converter.filled, converter.missing, converter.changed, converter.emptied, converter.unread):
        comm.Allreduce(MPI.IN_PLACE, counted, op=MPI.SUM)
    if workspace.known is None:
        _tell_unread(columns, plans, converter, workspace)
        _tell_words(columns, plans, converter, workspace, comm)
    workspace.metrics["files"] = [file.metrics for file in files.values()]
    workspace.metrics["columns"] = {
        name: {"type": plan.type.name if plan.type else "text", "missing": int(absent), "changed": int(changed)}
        | ({"emptied": int(emptied)} if emptied else {})
        | _told(plan)
        for name, plan, absent, changed, emptied in zip(
            columns, plans, converter.missing, converter.changed, converter.emptied, strict=True
        )
    }
    tell_left_out(without_rows, workspace)
    return table


def _decide(
    files: dict[int, "_File"],
    pieces: list[Piece],
    source: Source,
    comm: MPI.Intracomm,
    types: bool,
    spellings: tuple[str, ...],
    formats: bool,
    sentinels: bool,
) -> tuple[list[str], dict[int, list[int]], list[Plan]]:
    """Collective. Return the columns, where those of each file are among them, and how they are converted.

    What is decided is kept for the rows to come.
    """
    workspace = source.workspace
    joined = _join(files, pieces, source, comm)
    columns = [column.names[0] for column in joined]
    by_number = {number: [0] * file.width for number, file in files.items()}
    for place, column in enumerate(joined):
        for number, at in column.at.items():
            by_number[number][at] = place
    plans = [Plan(None) for _ in columns]
    if types:
        plans = _plan(files, len(columns), by_number, pieces, spellings, formats, comm)
        _tell_open_days(columns, plans, workspace)
        _tell_units(columns, plans, workspace)
        if sentinels:
            _find_sentinels(plans, files, by_number, pieces, comm)
            _tell_sentinels(columns, plans, workspace)
    others = [column.names[1:] for column in joined]
    workspace.kept[known_columns.FILE] = known_columns.to_json(columns, plans, others, spellings)
    return columns, by_number, plans


def _as_known(files: dict[int, "_File"], known: KnownColumns) -> tuple[list[str], dict[int, list[int]], list[Plan]]:
    """Return what `_decide` does, for new rows of a run whose columns are known."""
    called = {
        number: (file.metrics["file"], None if file.names is None else _numbered(file.names), file.width)
        for number, file in files.items()
    }
    by_number = known.match(called)
    seen: list[list[Evidence | None]] = []
    for number, file in files.items():
        at = dict(zip(by_number[number], file.evidence, strict=True))
        seen.append([at.get(place) for place in range(len(known.columns))])
    return known.names, by_number, known.plans(seen, [_decimal_mark(file) for file in files.values()])


def _decimal_mark(file: "_File") -> str | None:
    """Return the decimal mark that most columns of a file show, None where they show none."""
    marks = [evidence.decimal_mark for evidence in file.evidence]
    commas, points = marks.count(","), marks.count(".")
    return None if commas == points else "," if commas > points else "."


def tell_left_out(entries: Iterable[dict], workspace: Workspace) -> None:
    """Tell of files that are no part of the table: in `metrics.files`, by `file`, `error` and what else is known."""
    for entry in entries:
        workspace.metrics["files"].append(entry)
        workspace.events.append({"what": "file_left_out", "file": entry["file"], "error": entry["error"]})


def _without_rows(file: "_File", path: pathlib.Path) -> dict:
    names = ", ".join((file.names or [])[:4])
    what = f"a file without rows below the names {names}" if names else "a file without rows"
    return {**file.metrics, "error": f"{path}: received {what}, expected some; its columns are left out"}


def _told(plan: Plan) -> dict:
    """Return what the record says of a column besides, where there is something to say."""
    told = {
        "unit": plan.type.unit if plan.type else "",
        "mixed": dict(plan.type.mixed) if plan.type else {},
        "placeholders": list(plan.placeholders),
        "sentinels": list(plan.sentinels),
        "pattern": plan.pattern,
    }
    return {name: value for name, value in told.items() if value}


@dataclass
class _File:
    """What all pieces of a file tell."""

    metrics: dict
    names: list[str] | None
    width: int
    evidence: list[Evidence]


def _folded(missing: Iterable[str]) -> tuple[str, ...]:
    """Return what spells a missing value, in lower case; an empty cell always does."""
    return tuple(dict.fromkeys(["", *(spelling.strip().lower() for spelling in missing)]))


def _files(pieces: list[Piece], comm: MPI.Intracomm) -> dict[int, _File]:
    """Collective. Return the files by number."""
    mine = [[p.number, p.metrics, p.names, p.width, [found.to_json() for found in p.evidence]] for p in pieces]
    files: dict[int, _File] = {}
    for number, metrics, names, width, evidence in [entry for part in allgather_json(mine, comm) for entry in part]:
        seen = [Evidence.from_json(found) for found in evidence]
        if number not in files:
            files[number] = _File({**metrics}, names, width, seen)
            continue
        file = files[number]
        for known, found in zip(file.evidence, seen, strict=True):
            known.merge(found)
        for name, value in metrics.items():
            if isinstance(value, int):
                file.metrics[name] += value
    for file in files.values():
        file.metrics |= file.metrics.pop("facts", {})
    return dict(sorted(files.items()))


def _join(files: dict[int, _File], pieces: list[Piece], source: Source, comm: MPI.Intracomm) -> list[joining.Column]:
    """Collective. Return the columns of the table; events tell what was joined by other than its name, what renamed.

    A file without names takes those of the first file that is as wide and has columns of the same kinds; where there is
    none, its columns are column_0, column_1, ...
    """
    names = {number: _numbered(file.names) for number, file in files.items() if file.names is not None}
    named = list(names)
    for number, file in files.items():
        if file.names is None:
            like = next((other for other in named if _look_alike(files[other], file)), None)
            names[number] = _numbered([""] * file.width) if like is None else names[like]
    columns, spelled = joining.by_name(names)
    wanted = [column.first for column in joining.to_compare(columns, len(files))]
    alike: list[joining.Column] = []
    if wanted:
        columns, alike = joining.by_content(columns, _samples(pieces, wanted, comm))
    for by, joined in (("name", spelled), ("content", alike)):
        if joined:
            told = ", ".join(" = ".join(column.names) for column in joined)
            source.workspace.events.append({"what": "columns_joined", "by": by, "columns": told})
    given = [pair for n, file in files.items() if file.names for pair in zip(file.names, names[n], strict=True)]
    for column, name in zip(columns, _unique_names([column.names[0] for column in columns]), strict=True):
        given.append((column.names[0], name))
        column.names[0] = name
    renamed = dict.fromkeys(f"{old!r} is now {new!r}" for old, new in given if old != new)
    if renamed:
        source.workspace.events.append({"what": "columns_renamed", "columns": shown([*renamed])})
    groups = joining.apart(columns, list(files))
    if len(groups) > 1:
        told = "; ".join(", ".join(files[number].metrics["file"] for number in group) for group in groups)
        source.workspace.events.append({"what": "no_column_in_common", "files": told})
    alone = {group[0] for group in groups if len(group) == 1}  # whose columns are all its own
    lonely = [column for column in columns if len(column.at) == 1 and column.first[0] not in alone]
    if lonely:
        told = shown([f"{column.names[0]} ({files[column.first[0]].metrics['file']})" for column in lonely])
        source.workspace.events.append({"what": "columns_of_one_file", "columns": told})
    near = {number: len(group) for group in groups for number in group}  # files that share columns with this one
    rare = [(column, near[column.first[0]]) for column in columns if 1 < len(column.at) < near[column.first[0]]]
    if rare:
        told = shown([f"{column.names[0]} (in {len(column.at)} of {count} files)" for column, count in rare])
        source.workspace.events.append({"what": "columns_some_files_lack", "columns": told})
    return columns


def _samples(
    pieces: list[Piece], wanted: list[tuple[int, int]], comm: MPI.Intracomm
) -> dict[tuple[int, int], list[str]]:
    """Collective. Return the cells of some columns, (file, place), in the first lines of their files."""
    found: list[list] = []
    with agree(comm):
        for piece in pieces:
            places = [place for number, place in wanted if number == piece.number]
            for batch in piece.cells if places else ():
                is_first = pc.less_equal(batch.column(batch.num_columns - 1), SAMPLE_LINES)
                for place in places:
                    cells = batch.column(place).filter(is_first).drop_null()
                    found.append([piece.number, place, pc.utf8_slice_codeunits(cells, 0, SAMPLE_CHARS).to_pylist()])
                if not pc.all(is_first).as_py():
                    break
    samples: dict[tuple[int, int], list[str]] = {column: [] for column in wanted}
    for number, place, cells in [entry for part in allgather_json(found, comm) for entry in part]:
        samples[number, place] += cells
    return samples


def _numbered(names: Iterable[str]) -> list[str]:
    """Return the names of one file, a column without one as "column_" and its place, made unique as spelled."""
    return _unique_names((name or f"column_{place}" for place, name in enumerate(names)), str)


def _unique_names(names: Iterable[str], key: Callable[[str], str] = joining.folded) -> list[str]:
    """Return `names` made unique, case and blanks aside: a second "name" is "name_2"."""
    seen = set(ORIGIN)
    result = []
    for name in names:
        found = joining.free_name(name, seen, key)
        seen.add(key(found))
        result.append(found)
    return result


def _look_alike(file: _File, other: _File) -> bool:
    """Tell whether two files have columns of the same kinds in the same order; one without values is of any kind."""
    if file.width != other.width:
        return False
    pairs = zip(file.evidence, other.evidence, strict=True)
    seen = [(_kind(one), _kind(two)) for one, two in pairs if one.counts["cells"] and two.counts["cells"]]
    return sum(one == two for one, two in seen) >= LEAST_FIT * len(seen)


def _kind(evidence: Evidence) -> str:
    name = types_.repair([evidence]).name
    return {"integer": "number", "float": "number", "category": "text"}.get(name, name)


def _plan(
    files: dict[int, _File],
    count: int,
    places: dict[int, list[int]],
    mine: list[Piece],
    spellings: tuple[str, ...],
    formats: bool,
    comm: MPI.Intracomm,
) -> list[Plan]:
    """Collective. Return how each column is to be converted; its type has a format for each file.

    Args:
        files, places: all files, and where their columns are in the table.
        mine: this rank's pieces, whose evidence has the levels, words and masks, too.
    """
    order = {number: place for place, number in enumerate(files)}
    by_column = [[Evidence() for _ in files] for _ in range(count)]
    decimals: list[str | None] = []
    for number, file in files.items():
        for place, evidence in zip(places[number], file.evidence, strict=True):
            by_column[place][order[number]] = evidence
        decimals.append(_decimal_mark(file))
    seen = _values_seen(count, places, mine, comm)
    for held, values in zip(by_column, seen, strict=True):
        held[0].merge(values)
    totals = [types_.repair(held, decimals) for held in by_column]
    words = [(values.words, is_measured(held)) for values, held in zip(seen, by_column, strict=True)]
    plans = []
    for place, absent in enumerate(placeholders_.repair(words)):
        agreed = types_.repair(by_column[place], decimals, absent) if absent else totals[place]
        plan = Plan(agreed, spellings, tuple(sorted(absent)), formats=formats)
        if agreed.name == "category":
            plan.variants = variants_.repair(_tidy(seen[place].levels or {}, absent))
        if agreed.name in ("category", "text"):
            sampled = sum(found.counts["sampled"] for found in by_column[place])
            plan.pattern = patterns_.choose(_tidy(seen[place].masks or {}, {}), sampled)
        plans.append(plan)
    return plans


def _tidy(levels: Mapping[str, int], absent: Mapping[str, int]) -> dict[str, int]:
    """Return the counts of a column's values in one form, those that stand for a missing value aside."""
    kept = [level for level in levels if level not in absent]
    result: dict[str, int] = {}
    for level, tidy in zip(kept, values_.repair(pa.array(kept, pa.string())).to_pylist(), strict=True):
        result[tidy] = result.get(tidy, 0) + levels[level]
    return result


def _values_seen(count: int, places: dict[int, list[int]], mine: list[Piece], comm: MPI.Intracomm) -> list[Evidence]:
    """Collective. Return for each column the levels, words and masks of all ranks."""
    seen = [Evidence() for _ in range(count)]
    for piece in mine:
        for place, evidence in zip(places[piece.number], piece.evidence, strict=True):
            seen[place].merge(Evidence(levels=evidence.levels, words=evidence.words, masks=evidence.masks))
    parts = allgather_json([[found.levels, found.words, found.masks] for found in seen], comm)
    result = [Evidence() for _ in range(count)]
    for part in parts:
        for found, (levels, words, masks) in zip(result, part, strict=True):
            found.merge(Evidence(levels=levels, words=words, masks=masks))
    return result


def _find_sentinels(
    plans: list[Plan], files: dict[int, _File], places: dict[int, list[int]], mine: list[Piece], comm: MPI.Intracomm
) -> None:
    """Collective. Set the sentinels of the plans; the cells are read again only where a column has candidates."""
    order = {number: place for place, number in enumerate(files)}
    candidates: dict[int, dict[float, int]] = {}
    numbers: dict[int, int] = {}
    for place, plan in enumerate(plans):
        if plan.type is None or plan.type.name not in ("integer", "float"):
            continue
        held = [file.evidence[places[n].index(place)] for n, file in files.items() if place in places[n]]
        nines = sum((evidence.nines for evidence in held), Counter())
        numbers[place] = sum(evidence.numbers for evidence in held)
        values = numbers_.repair(pa.array(list(nines), pa.string()), decimal=plan.type.formats[0].decimal)
        found: dict[float, int] = {}
        for value, number in zip(values.to_pylist(), nines.values(), strict=True):
            if value is not None:
                found[value] = found.get(value, 0) + number
        found = {value: number for value, number in found.items() if sentinels_.is_frequent(number, numbers[place])}
        if found:
            candidates[place] = found
    lowest, highest = np.full(len(plans), np.inf), np.full(len(plans), -np.inf)
    nine = np.zeros(len(plans), np.int64)
    with agree(comm):
        for piece in mine if candidates else ():
            at = {place: column for column, place in enumerate(places[piece.number])}
            for batch in piece.cells:
                for place in candidates.keys() & at.keys():
                    found_values, _ = convert(batch.column(at[place]), plans[place], order[piece.number])
                    others = found_values.cast(pa.float64()).drop_null()
                    others = others.filter(pc.invert(pc.is_in(others, value_set=pa.array([*candidates[place]]))))
                    span = pc.min_max(others).as_py()
                    if span["min"] is not None:
                        lowest[place] = min(lowest[place], span["min"])
                        highest[place] = max(highest[place], span["max"])
                        nine[place] += pc.sum(pc.match_substring_regex(others.cast(pa.string()), r"\d.*9$")).as_py()
    comm.Allreduce(MPI.IN_PLACE, lowest, op=MPI.MIN)
    comm.Allreduce(MPI.IN_PLACE, highest, op=MPI.MAX)
    comm.Allreduce(MPI.IN_PLACE, nine, op=MPI.SUM)
    for place, found in candidates.items():
        span = float(lowest[place]), float(highest[place])
        plans[place].sentinels = tuple(sentinels_.repair(found, numbers[place], *span, int(nine[place])))


def _tell_sentinels(columns: list[str], plans: list[Plan], workspace: Workspace) -> None:
    found = [
        f"{', '.join(f'{value:g}' for value in plan.sentinels)} of {name!r}"
        for name, plan in zip(columns, plans, strict=True)
        if plan.sentinels
    ]
    if found:
        action = f"took {'; '.join(found)} for missing values; prepare.sentinels = false keeps them"
        workspace.events.append({"what": "sentinels", "action": action})


def _tell_open_days(columns: list[str], plans: list[Plan], workspace: Workspace) -> None:
    mixed = [dict(plan.type.mixed) if plan.type else {} for plan in plans]
    found = [name for name, forms in zip(columns, mixed, strict=True) if types_.OPEN_DAYS in forms]
    if found:
        action = f"took the day to stand before the month in {shown(found)}: no cell tells which comes first"
        workspace.events.append({"what": "day_first_assumed", "action": action})


def _tell_units(columns: list[str], plans: list[Plan], workspace: Workspace) -> None:
    found = []
    for name, plan in zip(columns, plans, strict=True):
        mixed = plan.type.mixed if plan.type else ()
        units = [f"{number} of {form}" for form, number in mixed if form.startswith((types_.UNIT, types_.NO_UNIT))]
        if units and plan.type:
            found.append(f"{name!r} ({plan.type.name}): {', '.join(units)}")
    if found:
        workspace.events.append({"what": "units_mixed", "columns": "; ".join(found)})


def _tell_unread(columns: list[str], plans: list[Plan], converter: "_Converter", workspace: Workspace) -> None:
    found = []
    for name, plan, filled, unread in zip(columns, plans, converter.filled, converter.unread, strict=True):
        cells = int(filled + unread)
        if plan.type and unread > types_.most_strays(cells):
            found.append(f"{unread} of {cells} cells of {name!r} that are no {plan.type.name}")
    if found:
        action = f"emptied {shown(found)}; changes/prepare lists them, prepare.types = false keeps them as text"
        workspace.events.append({"what": "cells_emptied", "action": action})


def _tell_words(
    columns: list[str], plans: list[Plan], converter: "_Converter", workspace: Workspace, comm: MPI.Intracomm
) -> None:
    """Collective. Tell of words such as NA that stand for a missing value in texts alone, where they may be values."""
    spelled: list[Counter] = [Counter() for _ in columns]
    for part in allgather_json([dict(counts) for counts in converter.spelled], comm):
        for whole, counts in zip(spelled, part, strict=True):
            whole.update(counts)
    is_text = [plan.type is not None and plan.type.name in ("category", "text") for plan in plans]
    surely = {word for counts, is_one in zip(spelled, is_text, strict=True) if not is_one for word in counts}
    found = []
    for name, plan, counts, is_one, filled in zip(columns, plans, spelled, is_text, converter.filled, strict=True):
        cells = int(filled) + counts.total()
        for word, count in sorted(counts.items()) if is_one else ():
            if word.isalpha() and count >= LEAST_WORD * cells and word not in {*surely, *plan.placeholders}:
                found.append(f"{word} in {name!r} ({count} of {cells} cells)")
    if found:
        action = f"took {shown(found)} for missing values; if they are values, write prepare.missing without them"
        workspace.events.append({"what": "words_emptied", "action": action})


class _Converter:
    """Turns cells of text into the table's columns, and counts by column.

    Attributes:
        filled, missing: cells with and without a value.
        changed, emptied: cells that were changed, and those of them that are missing now.
        unread: emptied cells whose text is none of the column's type.
        spelled: text that spells a missing value -> cells.
    """

    def __init__(self, columns: list[str], plans: list[Plan], numbers: list[int], workspace: Workspace):
        self._columns = columns
        self._plans = plans
        self._order = {number: place for place, number in enumerate(numbers)}
        self._workspace = workspace
        self.filled = np.zeros(len(columns), np.int64)
        self.missing = np.zeros(len(columns), np.int64)
        self.changed = np.zeros(len(columns), np.int64)
        self.emptied = np.zeros(len(columns), np.int64)
        self.unread = np.zeros(len(columns), np.int64)
        self.spelled: list[Counter] = [Counter() for _ in columns]
        fields = [(name, plan.arrow_type) for name, plan in zip(columns, plans, strict=True)]
        self.schema = pa.schema([*fields, ("_file", pa.string()), ("_line", pa.int64())])

    def convert(self, piece: Piece, places: list[int]) -> Iterator[pa.RecordBatch]:
        """Yield a piece's rows as the table has them, and drop its cells of text."""
        where = {place: at for at, place in enumerate(places)}
        for batch in piece.cells:
            yield self._convert_batch(batch, where, self._order[piece.number], piece.metrics["file"])
        piece.cells.clear()

    def _convert_batch(self, batch: pa.RecordBatch, where: dict[int, int], order: int, name: str) -> pa.RecordBatch:
        lines = batch.column(batch.num_columns - 1)
        columns, logs = [], []
        for place, plan in enumerate(self._plans):
            if place not in where:
                column = pa.nulls(batch.num_rows, plan.arrow_type)
            else:
                text = batch.column(where[place])
                column, rules = convert(text, plan, order)
                if rules is not None:
                    rows = np.flatnonzero(rules)
                    logs.append((place, rows, text.take(rows), column.take(rows).cast(pa.string()), rules[rows]))
            self.missing[place] += column.null_count
            self.filled[place] += len(column) - column.null_count
            columns.append(column)
        if logs:
            self._log(name, lines, logs)
        files = pa.repeat(pa.scalar(name, pa.string()), batch.num_rows)
        return pa.record_batch([*columns, files, lines], schema=self.schema)

    def _log(
        self, name: str, lines: pa.Array, logs: list[tuple[int, np.ndarray, pa.Array, pa.Array, np.ndarray]]
    ) -> None:
        for place, rows, before, after, rules in logs:
            self.changed[place] += len(rows)
            self.emptied[place] += after.null_count
            self.unread[place] += int(((rules == TYPE) | (rules == TOO_LARGE)).sum())
            spelled = np.flatnonzero(rules == MISSING)
            if len(spelled):
                words = before.take(pa.array(spelled)).value_counts()
                counts = zip(words.field(0).to_pylist(), words.field(1).to_pylist(), strict=True)
                self.spelled[place].update(dict(counts))
        at = np.repeat([place for place, *_ in logs], [len(rows) for _, rows, *_ in logs])
        rules = np.concatenate([rules for *_, rules in logs])
        changes = {
            "_file": pa.repeat(pa.scalar(name, pa.string()), len(at)),
            "_line": lines.take(pa.array(np.concatenate([rows for _, rows, *_ in logs]))),
            "column": pa.array(self._columns, pa.string()).take(pa.array(at)),
            "before": pa.concat_arrays([before for _, _, before, *_ in logs]),
            "after": pa.concat_arrays([after for *_, after, _ in logs]),
            "rule": pa.array(RULES, pa.string()).take(pa.array(rules)),
        }
        self._workspace.log_changes(**changes)
        strays = pa.array(np.flatnonzero(rules == TYPE))
        if len(strays):
            aside = {key: changes[key].take(strays) for key in ("_file", "_line", "column", "rule")}
            self._workspace.set_aside(**aside, text=changes["before"].take(strays))
