"""Speed-up of training over the number of ranks, one line for each case, cluster and strategy."""

from collections.abc import Sequence

from hvdedge.report_tables import Column, Plot, ReportTable
from hvdedge.runs import Run, scaling

SECTION, OF, ORDER = "Comparison of all runs", "runs", 20
COLUMNS = (
    Column("line", is_key=True),
    Column("ranks", "cores", "count"),
    Column("train_seconds", "training", "seconds"),
    Column("speedup", "speed-up", "times"),
)


def tabulate(records: Sequence[Run]) -> ReportTable:
    """Show how training speeds up with the ranks, where work was done on at least two numbers of them."""
    lines: dict[tuple, list[tuple]] = {}
    for run, scaled in zip(records, scaling(records), strict=True):
        if scaled and scaled.baseline_ranks == 1:
            line = (run.case, run.cluster, run.strategy or "no strategy")
            lines.setdefault(line, []).append((run.world_size, run.train_seconds, scaled.speedup))
    drawn = {line: sorted(points) for line, points in lines.items() if len({ranks for ranks, *_ in points}) > 1}
    rows = [(_name(line, list(drawn)), *point) for line, points in drawn.items() for point in points]
    said = "; ".join(f"{line}: {speedup:.2f} on {ranks}" for line, ranks, _, speedup in rows)
    return ReportTable(
        "Speed-up of training",
        COLUMNS,
        rows,
        note="Time on one rank over time on these ranks; the thin diagonal is as many times faster as there are ranks.",
        empty="No work was done on one rank and on more, so no speed-up is known.",
        plot=Plot("lines", "ranks", (("Speed-up over cores", ("speedup",)),), "line", True, f"Speed-up: {said}."),
    )


def _name(line: tuple, lines: list[tuple]) -> str:
    """Name a line by what tells it from the others; by its strategy where it is alone."""
    parts = [part for at, part in enumerate(line) if len({other[at] for other in lines}) > 1]
    return ", ".join(parts) or str(line[-1])
