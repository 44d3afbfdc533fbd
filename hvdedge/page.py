"""The report: its methods' tables put together as one HTML page, as files for papers and spreadsheets, and as text.

Whether a method tells of one run or compares all, and where it stands, its file says in OF, SECTION and ORDER.
Importing this loads neither matplotlib nor jinja2 nor rich: each output loads what it needs.
"""

import importlib
import os
import pathlib
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TextIO

from hvdedge.records import replace as replace_file
from hvdedge.report_tables import DASH, Column, ReportTable, plain
from hvdedge.runs import Run, labels, number

if TYPE_CHECKING:
    from hvdedge.figures import Picture

METHODS = pathlib.Path(__file__).parent / "reports"
SHOWN_ROWS = 200
"""As many rows of a table stand in the page; its file has all."""
SHOWN_CLASSES = 30
"""A wider confusion matrix stands in its file only."""
TOLD_RUNS = 24
"""A page over more runs than this tells of each only what ran where and its main figures; their files have the rest."""
TERMINAL_ROWS = 24
NARROWEST = 60


@dataclass(frozen=True)
class Method:
    """A file below reports/."""

    name: str
    of: str
    section: str
    order: int
    tabulate: Callable[[Sequence[Run]], ReportTable]


@dataclass(frozen=True)
class Part:
    """A table in the page: its own file name, what is shown of it, its pictures, and the rows that are this run's."""

    name: str
    table: ReportTable
    pictures: list["Picture"] = field(default_factory=list)
    own_rows: frozenset[int] = frozenset()

    @property
    def texts(self) -> list[list[str]]:
        return self.table.texts()

    @property
    def is_matrix(self) -> bool:
        return self.table.plot is not None and self.table.plot.kind == "matrix"

    @property
    def is_folded(self) -> bool:
        """Whether the numbers need not be in sight, as where a picture tells it all."""
        is_drawn = bool(self.pictures) and self.table.plot is not None and self.table.plot.kind in ("lines", "steps")
        return is_drawn or self.table.is_folded

    def share(self, row: int, at: int) -> float:
        """Return the share that a cell has of its row, 0 to 1, for the shades of a matrix."""
        cells = [number(cell) or 0.0 for cell in self.table.rows[row][1:]]
        return cells[at - 1] / sum(cells) if at and sum(cells) > 0 else 0.0


@dataclass(frozen=True)
class Section:
    title: str
    anchor: str
    parts: list[Part]


@dataclass(frozen=True)
class Chapter:
    """All that the page says of one run."""

    run: Run
    label: str
    facts: list[tuple[str, str]]
    highlights: list[tuple[str, str]]
    sections: list[Section]
    link: str


def write(
    runs: Sequence[Run], this_run: Run | None, folder: pathlib.Path, left_out: Sequence[str] = ()
) -> list[pathlib.Path]:
    """Write `folder`/index.html and `folder`/tables/<name>.csv, .md and .tex.

    Args:
        runs: all runs to compare, at least one.
        this_run: the run that the page is about; None for a page about all of them alike.
        left_out: a line for each run that could not be read.
    Returns:
        The files written.
    """
    runs = list(runs)
    if this_run is not None:
        # While the report is being written its own record is from an earlier try, or says that it runs.
        this_run = Run(this_run.folder.resolve(), this_run.work or this_run.records, "report" in this_run.records)
        runs = [this_run if run.folder.resolve() == this_run.folder else run for run in runs]
        runs += [] if this_run in runs else [this_run]
    methods = find_methods()
    pages = {"index.html": _page(methods, runs, this_run, folder, left_out)}
    for method in methods:
        table = method.tabulate([this_run] if this_run and method.of == "run" else runs)
        pages[f"tables/{method.name}.csv"] = table.to_csv()
        pages[f"tables/{method.name}.md"] = table.to_markdown()
        pages[f"tables/{method.name}.tex"] = table.to_latex()
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        replace_file(folder / name, text.encode())
    return [folder / name for name in pages]


def show(runs: Sequence[Run], left_out: Sequence[str] = (), file: TextIO | None = None) -> None:
    """Print the tables: all about a run where there is one, the comparison where there are several.

    In a terminal they fit its width; into a pipe they go without colours, one line a row, and nothing cut.
    """
    from rich.console import Console, Group
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    file = file or sys.stdout
    console = Console(file=file, highlight=False)
    width = max(console.width, NARROWEST) if console.is_terminal else None
    of = "run" if len(runs) == 1 else "runs"
    blocks: list = []
    if of == "run":
        grid = Table.grid(padding=(0, 2))
        for name, value in [*_facts(runs[0]), *_highlights(runs[0])]:
            grid.add_row(Text(name, style="dim"), Text(value.replace("\N{NO-BREAK SPACE}", " "), overflow="fold"))
        blocks.append(grid)
    for method in find_methods():
        table = method.tabulate(runs)
        if method.of == of and table.rows:
            blocks.append(Group(*table.first(TERMINAL_ROWS).to_rich(width)))
    if of == "runs":
        blocks.append(Text("All about one run: hvdedge show followed by its folder.", style="dim"))
    blocks.extend(Text(f"left out: {plain(line)}", style="red") for line in left_out)
    if width is None:
        console.width = max(Measurement.get(console, console.options.update(width=10_000), b).maximum for b in blocks)
    for block in blocks:
        with console.capture() as capture:
            console.print(block)
        # Rich fills each line with blanks up to its table's width.
        file.write("\n".join(line.rstrip() for line in capture.get().splitlines()) + "\n\n")


def find_methods() -> list[Method]:
    """Return the methods below reports/, in the order in which a report has them."""
    found = []
    for path in METHODS.glob("[!_]*.py"):
        module = importlib.import_module(f"hvdedge.reports.{path.stem}")
        found.append(Method(path.stem, module.OF, module.SECTION, module.ORDER, module.tabulate))
    return sorted(found, key=lambda method: (method.order, method.name))


def _page(
    methods: list[Method], runs: list[Run], this_run: Run | None, folder: pathlib.Path, left_out: Sequence[str]
) -> str:
    import jinja2

    names = labels(runs)
    shown = [this_run] if this_run else runs
    is_told = len(shown) <= TOLD_RUNS
    label = names[runs.index(this_run)] if this_run else ""
    comparison = _sections([method for method in methods if method.of == "runs"], runs, "", label)
    about_one = [method for method in methods if method.of == "run"]
    chapters = [
        Chapter(
            run,
            names[runs.index(run)],
            _facts(run),
            _highlights(run),
            _sections(about_one if is_told else [], [run], "" if this_run else f"run-{at}-"),
            "" if this_run else _own_page(run, folder),
        )
        for at, run in enumerate(shown, start=1)
    ]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(METHODS),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("page.html").render(
        chapters=chapters,
        comparison=comparison,
        files_of_runs=[(method.name, method.tabulate(shown[:1]).title) for method in about_one],
        this_run=this_run,
        runs=runs,
        cases=", ".join(sorted({run.case for run in runs})),
        left_out=[plain(line) for line in left_out],
        plain=plain,
        DASH=DASH,
    )


def _sections(methods: list[Method], runs: Sequence[Run], prefix: str, label: str = "") -> list[Section]:
    """Return the sections, of tables with rows; where one has none, its first table says why, unless all may miss."""
    tables: dict[str, dict[str, ReportTable]] = {}
    for method in methods:
        tables.setdefault(method.section, {})[method.name] = method.tabulate(runs)
    sections = []
    for title, its in tables.items():
        told = {name: table for name, table in its.items() if table.rows}
        told = told or {name: table for name, table in [*its.items()][:1] if not table.is_optional}
        if not told:
            continue
        parts = [_part(name, table, prefix, label) for name, table in told.items()]
        sections.append(Section(title, prefix + re.sub(r"\W+", "-", title.lower()), parts))
    return sections


def _part(name: str, table: ReportTable, prefix: str, label: str) -> Part:
    pictures = []
    if table.plot and table.plot.kind != "matrix":
        from hvdedge.figures import draw

        pictures = draw(table, prefix + name)
    if table.plot and table.plot.kind == "matrix" and len(table.columns) > SHOWN_CLASSES + 1:
        many = f"The {len(table.columns) - 1:,} classes are too many for a page; the whole matrix is in the file."
        table = replace(table, rows=[], empty=many)
    table = table.first(SHOWN_ROWS)
    has_runs = label and any(column.key == "run" for column in table.columns)
    own = {at for at, value in enumerate(table.column("run")) if value == label} if has_runs else set()
    return Part(name, table, pictures, frozenset(own))


def _facts(run: Run) -> list[tuple[str, str]]:
    """What ran where, as (name, value)."""
    hosts = run.hosts
    facts: list[tuple[str, object]] = [
        ("Case", run.case),
        ("Run", run.name),
        ("Status", run.status),
        *((f"Failed in {stage}", _failure(error)) for stage, error in run.failures),
        ("Started", re.sub(r"T(\d\d:\d\d).*", r" \1 UTC", run.started)),
        ("Cluster", run.cluster),
        ("Ranks", run.world_size),
        ("Hosts", f"{len(hosts)}: {', '.join(hosts)}" if hosts else None),
        ("Model", run.option("train", "model")),
        ("Strategy", run.strategy),
        ("Versions", ", ".join(f"{name} {version}" for name, version in run.versions.items())),
    ]
    return [(name, DASH if value in (None, "") else plain(value)) for name, value in facts]


def _failure(error: dict) -> str:
    where = f"rank {error['rank']} on {error.get('host', 'an unknown host')}: " if "rank" in error else ""
    return f"{where}{error.get('cause', 'no cause was recorded')}"


def _highlights(run: Run) -> list[tuple[str, str]]:
    """The few figures that a reader looks for first."""
    accuracy, mse = (number(run.metric("evaluate", name)) for name in ("accuracy", "mse"))
    return [
        ("Accuracy", Column("accuracy", kind="percent").text(accuracy))
        if mse is None
        else ("Mean squared error", Column("mse", kind="number").text(mse)),
        ("Training", Column("train_seconds", kind="seconds").text(run.train_seconds)),
        ("All stages", Column("total_seconds", kind="seconds").text(run.total_seconds)),
        ("Peak memory", Column("peak_rss_bytes", kind="bytes").text(run.peak_rss_bytes)),
        ("Bytes sent", Column("bytes_sent", kind="bytes").text(run.total("bytes_sent"))),
        ("Energy", Column("energy_joules", kind="joules").text(run.total("energy_joules"))),
    ]


def _own_page(run: Run, folder: pathlib.Path) -> str:
    """Return the way from `folder` to the run's own report; empty where there is none."""
    page = run.folder / "report" / "index.html"
    return pathlib.Path(os.path.relpath(page, folder.resolve())).as_posix() if page.exists() else ""
