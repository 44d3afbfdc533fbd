"""Profile the cleaned rows: cleaned/ -> data_profile.json."""

import time

from hvdedge.parallel import agree
from hvdedge.stage import Stage, start


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
    stage.metrics.update({"rows": profile["rows"], "seconds_by_profiler": seconds})


if __name__ == "__main__":
    start("profile", main)
