"""Profile the cleaned rows: cleaned/ -> data_profile.json."""

import time

from hvdedge.parallel import agree
from hvdedge.stage import Stage, start

DEPENDENCIES = {"best_functional_dependencies": 10, "best_unique_columns": 10, "foreign_keys": 100}
"""How many of each go into the record, for the report."""
DESCRIBED = ("type", "missing", "distinct", "min", "max", "mean", "std")  # of a column, for the report
COLUMNS = 100  # so many at most


def main(stage: Stage) -> None:
    """Profile the cleaned rows."""
    table = stage.read_table("cleaned")
    profile: dict = {"complete": {}}
    seconds = {}
    for name, describe in stage.methods():
        began = time.perf_counter()
        found = describe(table, stage.comm)
        profile["complete"] |= found.pop("complete", {})
        profile |= found
        seconds[name] = time.perf_counter() - began
    with agree(stage.comm):
        if stage.is_root:
            stage.write_json("data_profile.json", profile)
    shown = {key: profile[key][:most] for key, most in DEPENDENCIES.items() if key in profile}
    counted = {key: len(profile[key]) for key in profile["complete"]}
    stage.metrics.update({"rows": profile["rows"], "seconds_by_profiler": seconds, "complete": profile["complete"]})
    stage.metrics.update({"found": counted, "dependencies": shown})
    stage.metrics["columns"] = {name: _short(its) for name, its in [*profile["columns"].items()][:COLUMNS]}
    if "series" in profile:
        stage.metrics["series"] = profile["series"] | {
            "columns": {
                name: its | {"autocorrelation": its["autocorrelation"][:1]}
                for name, its in [*profile["series"]["columns"].items()][:COLUMNS]
            }
        }
    stage.metrics["graph"] = profile.get("graph", {})
    stage.metrics["correlations"] = profile.get("correlations", {}).get("strongest", [])


def _short(column: dict) -> dict:
    """Return what the report shows of a column."""
    most = (column["top"] or [None])[0]
    return {key: column[key] for key in DESCRIBED} | {
        "median": (column["quantiles"] or {}).get("0.5"),
        "most_frequent": most and f"{str(most['value'])[:40]} ({most['count']})",
    }


if __name__ == "__main__":
    start("profile", main)
