"""The stages of a run and what each of them cost."""

from collections.abc import Iterator, Sequence

from hvdedge.records import RunRecord
from hvdedge.report_tables import Column, Plot, ReportTable, over_runs
from hvdedge.runs import Run, sum_known, total

SECTION, OF, ORDER = "Stages", "run", 20
COLUMNS = (
    Column("stage", is_key=True),
    Column("status"),
    Column("ranks", "", "count"),
    Column("hosts", "", "count"),
    Column("wall_seconds", "wall", "seconds"),
    Column("cpu_seconds", "CPU", "seconds"),
    Column("idle_seconds", "idle", "seconds"),
    Column("peak_rss_bytes", "peak memory", "bytes"),
    Column("bytes_sent", "sent", "bytes"),
    Column("energy_joules", "energy", "joules"),
    Column("energy_source", "energy from"),
)


def tabulate(records: Sequence[Run]) -> ReportTable:
    """List the stages with their time, memory, traffic and energy."""
    runs = list(records)
    plot = None
    if len(runs) == 1:
        times = {stage: record.wall_seconds for stage, record in runs[0].records.items()}
        said = ", ".join(f"{stage} {seconds:.3g} s" for stage, seconds in times.items() if seconds is not None)
        panels = (("Wall time of each stage", ("wall_seconds",)),)
        plot = Plot("bars", "stage", panels, alternative=f"Wall time of each stage: {said}.")
    return over_runs(
        runs,
        "Stages and their costs",
        COLUMNS,
        lambda run: _rows(run.records),
        note="CPU and idle time, bytes and energy are sums over the ranks; the memory is that of the fullest rank. "
        "Energy is measured by the processors (rapl) or a meter, or follows from the cluster's watts and the load "
        "(model).",
        foot=_sum(runs[0].records) if len(runs) == 1 else None,
        plot=plot,
    )


def _rows(records: dict[str, RunRecord]) -> Iterator[tuple]:
    for stage, record in records.items():
        yield (
            stage,
            record.status,
            record.world_size,
            len({rank.host for rank in record.ranks}) or None,
            record.wall_seconds,
            total(record, "cpu_seconds"),
            total(record, "idle_seconds"),
            max((rank.peak_rss_bytes for rank in record.ranks), default=None),
            total(record, "bytes_sent"),
            total(record, "energy_joules"),
            " + ".join(sorted({rank.energy_source for rank in record.ranks if rank.energy_source})) or None,
        )


def _sum(records: dict[str, RunRecord]) -> tuple:
    costs = list(_rows(records))
    sums = [sum_known(row[at] for row in costs) for at in (4, 5, 6, 8, 9)]
    peak = max((row[7] for row in costs if row[7] is not None), default=None)
    return "all", "", "", "", *sums[:3], peak, *sums[3:], ""
