"""Put this run, and its comparison with all others in the results folder, on a page: records -> report/."""

from hvdedge import page, runs
from hvdedge.parallel import agree
from hvdedge.records import STAGES
from hvdedge.stage import Stage, start


def main(stage: Stage) -> None:
    """Put this run, and its comparison with all others in the results folder, on a page."""
    with agree(stage.comm):
        if stage.is_root:
            is_kept = stage.folder.parent.name == stage.pipeline.case  # else it stands alone, wherever the user put it
            found, left_out = runs.load(stage.folder.parent.parent if is_kept else stage.folder)
            this = next((run for run in found if run.folder == stage.folder.resolve()), None)
            page.write(found, this, stage.folder / "report", left_out)
            stage.keep("report")
            for name in STAGES[:-1]:
                if (stage.folder / f"{name}.json").exists():
                    stage.depend(f"{name}.json")


if __name__ == "__main__":
    start("report", main)
