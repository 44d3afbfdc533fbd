"""A table of a report, and how it is written for a page, a paper, a spreadsheet or a terminal.

Its cells are plain values in SI units and None for what is not known; a column's kind says how they read.
"""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from hvdedge.runs import Run, labels

DASH = "\N{EN DASH}"
SPACE = "\N{NO-BREAK SPACE}"
TIMES = "\N{MULTIPLICATION SIGN}"
PREFIXES = {-9: "n", -6: "\N{MICRO SIGN}", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P"}
JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
"""Characters of format that words of some languages need; the others can turn a line around or hide text."""
ACRONYMS = {name.lower(): name for name in ("F1", "AUC", "MSE", "MAE", "RMSE", "R2")}
LATEX: dict[str, str | int | None] = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "[": "{[}",  # after \\ it would be read as a length
    "]": "{]}",
    DASH: "--",
    SPACE: r"\,",
    TIMES: r"$\times$",
    "\N{MICRO SIGN}": r"$\mu$",
    "\N{DOWNWARDS ARROW}": r"$\downarrow$",
    "\N{RIGHTWARDS ARROW}": r"$\rightarrow$",
}

Kind = Literal["text", "count", "number", "seconds", "bytes", "joules", "percent", "share", "times", "rate", "setting"]


@dataclass(frozen=True)
class Column:
    """One column.

    Args:
        key: its name in CSV, with its unit at the end.
        title: its heading; the key with blanks unless given.
        kind: how its values read: text, count (1,797), number (0.0412), seconds, bytes and joules (with SI prefixes),
            percent (98.12 %), share (92.5 %), times (1.85 x), rate (3,300 /s), setting (0.001, as it was given).
        is_key: whether it says what a row is about; it is repeated where a terminal is too narrow for all columns.
    """

    key: str
    title: str = ""
    kind: Kind = "text"
    is_key: bool = False

    @property
    def heading(self) -> str:
        return self.title or ACRONYMS.get(self.key) or self.key.replace("_", " ")

    @property
    def is_number(self) -> bool:
        return self.kind != "text"

    def text(self, value: Any) -> str:
        """Return `value` as a reader wants it; an en dash for what is not known."""
        if value is None or value == "" or (isinstance(value, float) and not math.isfinite(value)):
            return DASH
        if isinstance(value, bool):
            return "yes" if value else "no"
        if self.is_number and isinstance(value, int | float):
            return FORMATS[self.kind](value)
        return plain(value)


@dataclass(frozen=True)
class Plot:
    """How a table is drawn; its keys are those of the table's columns.

    Args:
        kind: `lines` over x, `bars` with a label x each, `matrix` for shares of the rows as shades of the cells,
            `graph` with an arrow a row, from a column in the table x to the panel's other table and column; of trials,
            whose state `by` tells: `scatter` of the panel's second column over its first, `parallel` with a line a row
            through an axis a column, the best row first, `steps` of the first column over x with dots of the second.
        panels: (title, keys of the columns drawn there) of each picture.
        by: the column whose values part the rows into one line each, or tell how a row is drawn.
        ideal: whether a diagonal y = x is drawn as what could be reached.
        alternative: what the picture shows, for readers who cannot see it.
        is_log: of columns of which it is known, whether their axis is logarithmic.
    """

    kind: Literal["lines", "bars", "matrix", "graph", "scatter", "parallel", "steps"]
    x: str = ""
    panels: tuple[tuple[str, tuple[str, ...]], ...] = ()
    by: str = ""
    ideal: bool = False
    alternative: str = ""
    is_log: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class ReportTable:
    """A table of a report.

    Args:
        rows: one value a column each.
        note: what a reader must know to read it right.
        foot: a last row that sums up the others, with "" where there is nothing to sum up; not in CSV.
        empty: what to say where there are no rows.
        plot: how it is drawn, if it is.
        is_folded: whether a page shows its rows only when asked.
        is_optional: whether a page says nothing of it where it has no rows, not even in a section without others.
    """

    title: str
    columns: tuple[Column, ...]
    rows: list[tuple]
    note: str = ""
    foot: tuple | None = None
    empty: str = "Not measured."
    plot: Plot | None = None
    is_folded: bool = False
    is_optional: bool = False

    def column(self, key: str) -> list:
        """Return the values of a column."""
        return [row[self.position(key)] for row in self.rows]

    def position(self, key: str) -> int:
        """Return which column has this key."""
        return [column.key for column in self.columns].index(key)

    def first(self, limit: int) -> "ReportTable":
        """Return the table with at most `limit` rows, which says so."""
        if len(self.rows) <= limit:
            return self
        note = f"{self.note} The first {limit:,} of {len(self.rows):,} rows.".strip()
        return replace(self, rows=self.rows[:limit], foot=None, note=note)

    def texts(self) -> list[list[str]]:
        """Return the rows as a reader wants them, and the foot as the last one."""
        texts = [[column.text(value) for column, value in zip(self.columns, row, strict=True)] for row in self.rows]
        if self.foot:
            cells = zip(self.columns, self.foot, strict=True)
            texts.append(["" if value == "" else column.text(value) for column, value in cells])
        return texts

    def to_csv(self) -> str:
        """Return CSV (RFC 4180, UTF-8, LF): keys as header, numbers in full, nothing for what is not known."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(column.key for column in self.columns)
        writer.writerows([_csv_cell(value) for value in row] for row in self.rows)
        return text.getvalue()

    def to_markdown(self) -> str:
        """Return a table in GitHub's Markdown under its title."""
        lines = [f"### {_markdown(self.title)}", ""]
        if self.rows:
            lines.append(_markdown_row(column.heading for column in self.columns))
            lines.append("| " + " | ".join("---:" if column.is_number else "---" for column in self.columns) + " |")
            lines.extend(_markdown_row(row) for row in self.texts())
        lines.extend(["", _markdown(self.note if self.rows else self.empty)] if self.note or not self.rows else [])
        return "\n".join(lines) + "\n"

    def to_latex(self) -> str:
        r"""Return a LaTeX table environment; it needs \usepackage{booktabs}."""
        alignment = "".join("r" if column.is_number else "l" for column in self.columns)
        lines = [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}[htbp]",
            r"\centering",
            rf"\caption{{{_latex(self.title)}}}",
            rf"\begin{{tabular}}{{{alignment}}}",
            r"\toprule",
            _latex_row(column.heading for column in self.columns),
            r"\midrule",
        ]
        texts = self.texts() if self.rows else []
        lines.extend(_latex_row(row) for row in texts[: len(self.rows)])
        if self.foot and texts:
            lines.extend([r"\midrule", _latex_row(texts[-1])])
        lines.extend([r"\bottomrule", r"\end{tabular}"])
        if self.note or not self.rows:
            lines.append(rf"\par\smallskip\footnotesize {_latex(self.note if self.rows else self.empty)}")
        return "\n".join([*lines, r"\end{table}", ""])

    def to_rich(self, width: int | None = None) -> list:
        """Return the table as rich renderables; in several, each with the key columns, where `width` is too narrow."""
        from rich.text import Text

        title = Text(plain(self.title), style="bold")
        note = [Text(plain(self.note if self.rows else self.empty), style="dim")] if self.note or not self.rows else []
        if not self.rows:
            return [title, *note]
        texts = [[cell.replace(SPACE, " ") for cell in row] for row in self.texts()]
        return [title, *(self._rich_part(part, texts, width) for part in self._parts(texts, width)), *note]

    def _parts(self, texts: list[list[str]], width: int | None) -> list[list[int]]:
        """Return which columns each part of the table has, so that none is wider than `width`."""
        everything = range(len(self.columns))
        if width is None:
            return [list(everything)]
        keys = [at for at in everything if self.columns[at].is_key] or [0]
        parts = [list(keys)]
        for at in everything:
            if at in keys:
                continue
            if len(parts[-1]) > len(keys) and self._rich_width([*parts[-1], at], texts, width) > width:
                parts.append(list(keys))
            parts[-1].append(at)
        return parts

    def _rich_width(self, part: list[int], texts: list[list[str]], width: int) -> int:
        from rich.cells import cell_len

        room = _text_room(width)
        cells = ([self.columns[at].heading, *(row[at] for row in texts)] for at in part)
        # Rich puts three blanks between the columns of a box without verticals.
        return sum(min(max(map(cell_len, column)), room) for column in cells) + 3 * (len(part) - 1)

    def _rich_part(self, part: list[int], texts: list[list[str]], width: int | None):
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
        for at in part:
            column = self.columns[at]
            table.add_column(
                Text(plain(column.heading)),
                justify="right" if column.is_number else "left",
                overflow="fold",
                no_wrap=column.is_number or width is None,
                max_width=None if width is None or column.is_number else _text_room(width),
            )
        for index, row in enumerate(texts):
            last = index == len(self.rows) - 1
            table.add_row(*(Text(row[at]) for at in part), end_section=last and self.foot is not None)
        return table


def over_runs(
    runs: Sequence[Run],
    title: str,
    columns: Iterable[Column],
    rows_of: Callable[[Run], Iterable[tuple]],
    **more: Any,
) -> ReportTable:
    """Return a table of what `rows_of` says of each run; where there are several, case and run come first."""
    if len(runs) == 1:
        return ReportTable(title, tuple(columns), list(rows_of(runs[0])), **more)
    keys = (Column("case", is_key=True), Column("run", is_key=True))
    rows = [(run.case, label, *row) for run, label in zip(runs, labels(runs), strict=True) for row in rows_of(run)]
    return ReportTable(title, (*keys, *columns), rows, **(more | {"foot": None}))


def kind_of(name: str) -> Kind:
    """Return how a measure of this name reads: names end in their unit, and those of qualities are known."""
    if name in ("accuracy", "precision", "recall", "f1") or name.endswith("_accuracy"):
        return "percent"
    if name.endswith("_per_second"):
        return "rate"
    endings: dict[str, Kind] = {"seconds": "seconds", "bytes": "bytes", "joules": "joules", "share": "share"}
    for ending, kind in endings.items():
        if name == ending or name.endswith(f"_{ending}") or name.startswith(f"{ending}_per_"):
            return kind
    return "number"


def plain(value: Any) -> str:
    """Return any value as one line of text that cannot steer a terminal or hide parts of itself."""
    if isinstance(value, dict | list | tuple | bool):
        value = json.dumps(value, ensure_ascii=False)
    text = str(value)
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(character: str) -> str:
    if character.isprintable() or character in JOINERS:
        return character
    return " " if character.isspace() else "\N{REPLACEMENT CHARACTER}"


def _count(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else _number(value)


def _number(value: float) -> str:
    """Four significant digits; whole numbers in full."""
    if value == int(value) and abs(value) < 1e15:
        return f"{value:,.0f}"
    if not 1e-4 <= abs(value) < 1e9:
        return f"{value:.3e}"
    return f"{value:,.{max(0, 3 - _exponent(value, 4))}f}"


def _seconds(value: float) -> str:
    return _si(value, "s") if abs(value) < 999.5 else f"{value:,.0f}{SPACE}s"


def _si(value: float, unit: str) -> str:
    """Three significant digits and the prefix for them: 612 MB, 4.20 ms."""
    if value == 0:
        return f"0{SPACE}{unit}"
    exponent = _exponent(value, 3)
    power = min(max(exponent // 3 * 3, min(PREFIXES)), max(PREFIXES))
    return f"{value / 10.0**power:,.{max(0, 2 - (exponent - power))}f}{SPACE}{PREFIXES[power]}{unit}"


def _exponent(value: float, digits: int) -> int:
    """Return the power of ten of `value` after rounding to so many digits: 999.6 is a thousand in three."""
    return int(f"{value:.{digits - 1}e}".split("e")[1])


def _bytes(value: float) -> str:
    return f"{value:,.0f}{SPACE}B" if abs(value) < 1000 else _si(value, "B")


def _percent(value: float) -> str:
    return f"{100 * value:.2f}{SPACE}%"


def _share(value: float) -> str:
    return f"{100 * value:.1f}{SPACE}%"


def _times(value: float) -> str:
    return f"{value:,.2f}{SPACE}{TIMES}"


def _rate(value: float) -> str:
    return f"{value:,.{max(0, 2 - _exponent(value, 3)) if value else 0}f}{SPACE}/s"


def _setting(value: float) -> str:
    """Four significant digits, but no more than it has."""
    return f"{value:.4g}" if abs(value) < 1e4 else _number(value)


FORMATS: dict[str, Callable[[float], str]] = {
    "count": _count,
    "number": _number,
    "seconds": _seconds,
    "bytes": _bytes,
    "joules": lambda value: _si(value, "J"),
    "percent": _percent,
    "share": _share,
    "times": _times,
    "rate": _rate,
    "setting": _setting,
}


def _csv_cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else plain(value)


def _markdown_row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(map(_markdown, cells)) + " |"


def _markdown(text: str) -> str:
    text = plain(text.replace(SPACE, " "))
    marked = "".join(f"\\{mark}" if mark in "\\`*[]<>|&~$" else mark for mark in text)
    # An underscore inside a word means nothing, so names of methods stay as they are.
    return re.sub(r"(?<![^\W_])_|_(?![^\W_])", r"\\_", marked)


def _latex_row(cells: Iterable[str]) -> str:
    return " & ".join(map(_latex, cells)) + r" \\"


def _latex(text: str) -> str:
    return SPACE.join(map(plain, text.split(SPACE))).translate(str.maketrans(LATEX))


def _text_room(width: int) -> int:
    """Return how wide a column of text may be in a terminal before its cells are folded."""
    return max(12, width // 2 - 4)
