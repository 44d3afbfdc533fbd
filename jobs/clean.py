"""Remove what is wrong, double or missing: prepared/ -> cleaned/."""

from hvdedge.columns import shown
from hvdedge.errors import InputError
from hvdedge.parallel import counts
from hvdedge.stage import Stage, start
from hvdedge.tables import balance


def main(stage: Stage) -> None:
    """Remove what is wrong, double or missing."""
    table = stage.read_table("prepared")
    if not counts(table.num_rows, stage.comm).any():
        raise InputError(
            f"{stage.pipeline.path}: prepare.source: received a table without rows, whose columns are "
            f"{shown(table.columns)}, allowed: at least one row; add rows, name another, or set prepare.header = false "
            "if the first line is a row"
        )
    for name, clean in stage.methods():
        table = clean(table, stage.comm)
        if not counts(table.num_rows, stage.comm).any():
            raise InputError(
                f"clean.{name}: received rows of which it leaves none, allowed: settings that keep some; clean less "
                f"strictly or take [clean.{name}] out"
            )
    stage.write_table("cleaned", balance(table, stage.comm))


if __name__ == "__main__":
    start("clean", main)
