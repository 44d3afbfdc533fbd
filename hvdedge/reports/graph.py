"""The graph of a table's rows: size, degrees, components, and how alike neighbours are."""

from collections.abc import Iterator, Sequence

from hvdedge.report_tables import Column, ReportTable, over_runs
from hvdedge.runs import Run, mapping, number

SECTION, OF, ORDER = "Data and repairs", "run", 56
COLUMNS = (
    Column("nodes", "", "count"),
    Column("edges", "", "count"),
    Column("left_out", "lines left out", "count"),
    Column("isolated", "", "count"),
    Column("components", "", "count"),
    Column("largest", "largest component", "count"),
    Column("degree_mean", "mean degree", "number"),
    Column("degree_max", "largest degree", "count"),
    Column("homophily", "", "percent"),
    Column("homophily_adjusted", "adjusted", "percent"),
)


def tabulate(records: Sequence[Run]) -> ReportTable:
    """List what profile.graph found: edges, degrees, components, homophily."""
    return over_runs(
        records,
        "Graph",
        COLUMNS,
        _rows,
        note="Lines left out: an id in no row, unreadable, from a node to itself. Homophily: the share of the edges "
        "that join equal labels; adjusted to the classes' sizes, random edges have about 0 (Lim et al. 2021).",
        empty="No graph was profiled.",
    )


def _rows(run: Run) -> Iterator[tuple]:
    found = mapping(run.metric("profile", "graph"))
    if not found:
        return
    left_out = [number(found.get(name)) for name in ("unknown", "set_aside", "self_loops")]
    parts, degrees = mapping(found.get("components")), mapping(found.get("degrees"))
    largest = parts.get("largest")
    yield (
        *(number(found.get(name)) for name in ("nodes", "edges")),
        None if None in left_out else sum(filter(None, left_out)),
        *(number(found.get("isolated")), number(parts.get("count"))),
        number(largest[0]) if isinstance(largest, list) and largest else None,
        *(number(degrees.get("mean")), number(degrees.get("max"))),
        *(number(found.get("homophily")), number(found.get("homophily_adjusted"))),
    )
