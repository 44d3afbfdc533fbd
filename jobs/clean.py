"""Remove what is wrong, double or missing: prepared/ -> cleaned/."""

from hvdedge.stage import Stage, start
from hvdedge.tables import balance


def main(stage: Stage) -> None:
    """Remove what is wrong, double or missing."""
    table = stage.read_table("prepared")
    for _, clean in stage.methods():
        table = clean(table, stage.comm)
    stage.write_table("cleaned", balance(table, stage.comm))


if __name__ == "__main__":
    start("clean", main)
