"""The columns of a run's table, as JSON: what prepare decided of each, so that new rows are read as the run's own were.

    name        what the table calls it; `names`: what files call it besides
    type        of its values in Arrow
    plan        how its cells of text are converted (`conversion.Plan`); none where a reader gives typed values

What one file alone tells, such as the order of day and month in its dates, is told anew by each file of new rows, and
is as the run's files had it where such a file tells nothing.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import pyarrow as pa

from hvdedge.columns import kind, plain, shown
from hvdedge.conversion import TYPES, Plan
from hvdedge.errors import InputError
from hvdedge.evidence import Evidence
from hvdedge.joining import folded
from hvdedge.structure.types import ColumnType, FileFormat, format_of

FILE = "columns.json"
HEADER_ROWS = 50  # among which a header is looked for
LABEL_ROWS = 500  # among which labels are looked for
ALIASES = ("bool", "float", "double", "string", "large_string", "date32[day]", "date64[ms]", "binary")
EMPTY = ("", "na", "n/a", "nan", "null", "none")  # what means a missing value where the run read no text


@dataclass(frozen=True)
class KnownColumn:
    """One column of the run's table; `type` is None for one that is not cast."""

    name: str
    type: pa.DataType | None
    names: tuple[str, ...] = ()
    plan: Plan | None = None


@dataclass
class KnownColumns:
    """The columns of a run, and which of them new rows need.

    Attributes:
        needed: those that have to be there; a file that lacks one is wrong input.
        label: the one that new rows usually lack; "" for none. `labels` are its values, where they are classes.
        lacking: whether a file may lack some of the needed ones, as a key of JSON may be left out.
        unknown: the columns of files that the run does not know, by what they are called; filled by `match`.
        by_place: the files without a header whose columns were taken by their places.
    """

    columns: tuple[KnownColumn, ...]
    needed: tuple[str, ...] = ()
    label: str = ""
    labels: tuple[str, ...] = ()
    lacking: bool = False
    unknown: dict[str, None] = field(default_factory=dict)
    by_place: list[str] = field(default_factory=list)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "KnownColumns":
        spellings = tuple(value["spellings"])
        return cls(tuple(_column_from_json(one, spellings, value["formats"]) for one in value["columns"]))

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    def header(self, rows: Sequence[Sequence[str]], asked: Literal["auto"] | bool) -> Literal["auto"] | bool:
        """Return whether the first rows of a file hold a header, by the names in it; `asked` where these do not tell.

        A file of few rows shows too little of what its cells are to tell a header from them.
        """
        known = {folded(name) for column in self.columns for name in (column.name, *column.names)}
        for row in rows[:HEADER_ROWS]:
            filled = [folded(cell) for cell in row if cell.strip()]
            if filled and 2 * sum(cell in known for cell in filled) > len(filled):
                return True
        return asked

    def is_one_text(self, rows: Sequence[Sequence[str]]) -> bool:
        """Tell whether the first rows of a file without a header are texts cut at some sign, one whole text each.

        That can only be where the run has a label and a text alone; the label then stands in no row.
        """
        rest = self.without_label(self.names, len(self.columns) - 1)
        filled = [row for row in rows[:LABEL_ROWS] if any(cell.strip() for cell in row)]
        if len(self.columns) != 2 or len(rest) != 1 or all(len(row) == 1 for row in filled):
            return False
        place = 1 - self.names.index(rest[0])
        labels = {folded(label) for label in self.labels}
        return 2 * sum(len(row) == 2 and folded(row[place]) in labels for row in filled) < len(filled)

    def without_label(self, names: Sequence[str], width: int) -> list[str]:
        """Return `names`, or those but the label's where these are as many as a file has columns."""
        rest = [name for name in names if folded(name) != folded(self.label)]
        return rest if len(rest) == width != len(names) else [*names]

    def match(self, files: Mapping[int, tuple[str, Sequence[str] | None, int]]) -> dict[int, list[int]]:
        """Return file -> for each of its columns its place among the run's, -1 for one that the run does not know.

        Args:
            files: name of the file, names of its columns, None for none, and how many they are.
        Raises:
            InputError: where a file lacks a column that is needed.
        """
        found = {}
        for number, (file, names, width) in files.items():
            called = self._by_place(file, width) if names is None else names
            places = self._places(called)
            self.unknown |= {name: None for name, place in zip(called, places, strict=True) if place < 0}
            there = {self.columns[place].name for place in places if place >= 0}
            lacks = [name for name in self.needed if name not in there]
            if lacks and not (self.lacking and len(lacks) < len(self.needed)):
                raise InputError(_lacking(file, lacks, called))
            found[number] = places
        return found

    def plans(self, files: Sequence[Sequence[Evidence | None]], marks: Sequence[str | None]) -> list[Plan]:
        """Return how each column is to be converted, with a format for each file.

        Args:
            files: of each file what was seen of the run's columns, None for one that it lacks.
            marks: the decimal mark that most columns of each file show, None where they show none.
        """
        plans = []
        for place, column in enumerate(self.columns):
            plan = column.plan or Plan(_plain_type(column.type), EMPTY)
            if plan.type is None:
                plans.append(plan)
                continue
            usual = plan.type.formats[0]
            formats = tuple(
                format_of(plan.type.name, seen[place] or Evidence(), mark, usual)
                for seen, mark in zip(files, marks, strict=True)
            )
            plans.append(replace(plan, type=replace(plan.type, formats=formats), known={}))
        return plans

    def cast(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return the columns of typed rows that the run knows in its types, and their origin.

        Raises:
            InputError: where a value is none of its column's type.
        """
        arrays, names = [], []
        for column in self.columns:
            if column.name not in batch.schema.names:
                continue
            cells = plain(batch.column(column.name))
            if column.type is not None and cells.type != column.type:
                try:
                    cells = cells.cast(column.type)
                except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                    raise InputError(
                        f"{column.name}: received {kind(cells.type)} that is no {kind(column.type)} ({error}), "
                        "allowed: values as in the run; convert them"
                    ) from None
            arrays.append(cells)
            names.append(column.name)
        origin = ["_file", "_line"]
        return pa.record_batch([*arrays, *(batch.column(name) for name in origin)], names=[*names, *origin])

    def check(self, names: Sequence[str]) -> None:
        """Hold that typed rows with the columns `names` have those that are needed; note those unknown."""
        there = {*self.names}
        self.unknown |= {name: None for name in names if name not in there}
        lacks = [name for name in self.needed if name not in names]
        if lacks:
            raise InputError(_lacking("", lacks, names))

    def _places(self, names: Sequence[str]) -> list[int]:
        exact = {column.name: place for place, column in enumerate(self.columns)}
        spelled: dict[str, int] = {}
        for place, column in enumerate(self.columns):
            for name in (column.name, *column.names):
                spelled.setdefault(folded(name), place)
        found: list[int] = []
        for name in names:
            place = exact.get(name, spelled.get(folded(name), -1))
            found.append(-1 if place in found else place)  # a column that is there twice is the first one
        return found

    def _by_place(self, file: str, width: int) -> list[str]:
        for names in (self.names, self.without_label(self.names, width)):
            if len(names) == width:
                self.by_place.append(file)
                return names
        raise InputError(
            f"{file}: received {width} columns without names, allowed: {len(self.columns)}, {shown(self.names)}, or "
            f"all but {self.label!r}; write their names above them"
        )


def to_json(
    names: Sequence[str], plans: Sequence[Plan], other_names: Iterable[Sequence[str]], spellings: Sequence[str]
) -> dict:
    """Return what `KnownColumns.from_json` takes, of columns that were read as text."""
    columns = []
    for name, plan, others in zip(names, plans, other_names, strict=True):
        told: dict[str, Any] = {"name": name, "type": _type_name(plan.arrow_type)}
        told |= {"names": [*others]} if others else {}
        told["plan"] = _plan_to_json(plan)
        columns.append(told)
    return {"spellings": [*spellings], "formats": all(plan.formats for plan in plans), "columns": columns}


def of_schema(schema: pa.Schema) -> dict:
    """Return what `KnownColumns.from_json` takes, of columns whose values a reader gives typed."""
    columns = [{"name": one.name, "type": _type_name(one.type)} for one in schema if not one.name.startswith("_")]
    return {"spellings": [], "formats": True, "columns": columns}


def _plan_to_json(plan: Plan) -> dict[str, Any]:
    if plan.type is None:
        return {"as": None}
    forms = Counter((form.decimal, form.day_first) for form in plan.type.formats)
    decimal, day_first = max(forms, key=forms.__getitem__)
    told = {
        "unit": plan.type.unit,
        "scale": plan.type.scale,
        "placeholders": [*plan.placeholders],
        "sentinels": [*plan.sentinels],
        "variants": dict(plan.variants),
        "pattern": plan.pattern,
    }
    form = {"decimal": decimal, "day_first": day_first}
    return {"as": plan.type.name, **form, **{key: value for key, value in told.items() if value}}


def _column_from_json(value: Mapping[str, Any], spellings: tuple[str, ...], formats: bool) -> KnownColumn:
    told = value.get("plan")
    plan = None
    if told is not None and told["as"] is None:
        plan = Plan(None)
    elif told is not None:
        form = FileFormat(told["decimal"], told["day_first"])
        plan = Plan(
            ColumnType(told["as"], (form,), told.get("unit", ""), (), told.get("scale", "")),
            spellings,
            tuple(told.get("placeholders", ())),
            tuple(told.get("sentinels", ())),
            formats,
            told.get("variants", {}),
            told.get("pattern", ""),
        )
    return KnownColumn(value["name"], _type_of(value["type"]), tuple(value.get("names", ())), plan)


def _plain_type(type: pa.DataType | None) -> ColumnType | None:
    """Return the type that text is converted to where a reader gave typed values."""
    name: Any = kind(type) if type is not None else "text"
    if name not in TYPES and name not in ("category", "text"):
        return None
    return ColumnType(name, (FileFormat(),))


def _type_name(type: pa.DataType) -> str:
    """Return the name of a type that cells can be cast to, "" for another one."""
    if kind(type) in ("category", "text") and not pa.types.is_binary(type):
        return "string"
    name = str(type)
    return name if _type_of(name) is not None else ""


def _type_of(name: str) -> pa.DataType | None:
    is_simple = name in ALIASES or name.rstrip("0123456789") in ("int", "uint") or name.startswith(("time32", "time64"))
    if name.startswith("timestamp") and "tz" not in name:
        is_simple = True
    return pa.type_for_alias(name) if is_simple else None


def _lacking(file: str, lacks: Sequence[str], names: Sequence[str]) -> str:
    where = f"{file}: " * bool(file)
    return (
        f"{where}received the columns {shown(names)}, which lack {shown(lacks)}, allowed: those that the model needs; "
        "add them, or rename what they are called"
    )
