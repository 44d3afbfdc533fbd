"""What ran where: every rank's host, time and memory over all stages of a run."""

from collections.abc import Iterator, Sequence

from hvdedge.records import RankRecord
from hvdedge.report_tables import Column, ReportTable, over_runs
from hvdedge.runs import Run, sum_known

SECTION, OF, ORDER = "What ran where", "run", 10
COLUMNS = (
    Column("rank", "", "count", is_key=True),
    Column("host", is_key=True),
    Column("stages", "", "count"),
    Column("wall_seconds", "wall", "seconds"),
    Column("cpu_seconds", "CPU", "seconds"),
    Column("idle_seconds", "idle", "seconds"),
    Column("peak_rss_bytes", "peak memory", "bytes"),
    Column("bytes_sent", "sent", "bytes"),
    Column("bytes_received", "received", "bytes"),
    Column("energy_joules", "energy", "joules"),
)


def tabulate(records: Sequence[Run]) -> ReportTable:
    """List every rank with its host, time, memory, traffic and energy over all stages."""
    return over_runs(
        records,
        "Ranks and their hosts",
        COLUMNS,
        _rows,
        note="Sums over the stages, without the report; the memory is that of the hungriest stage. Idle is waiting "
        "for other ranks.",
        empty="No rank lived to tell what it cost.",
    )


def _rows(run: Run) -> Iterator[tuple]:
    parts: dict[tuple[int, str], list[RankRecord]] = {}
    for record in run.work.values():
        for part in record.ranks:
            parts.setdefault((part.rank, part.host), []).append(part)
    for (rank, host), own in sorted(parts.items()):
        yield (
            rank,
            host,
            len(own),
            sum(part.wall_seconds for part in own),
            sum(part.cpu_seconds for part in own),
            sum(part.idle_seconds for part in own),
            max(part.peak_rss_bytes for part in own),
            sum(part.bytes_sent for part in own),
            sum(part.bytes_received for part in own),
            sum_known(part.energy_joules for part in own),
        )
