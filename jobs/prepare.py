"""Repair the structure of raw files and write one typed table: raw files -> prepared/."""

from hvdedge.parallel import agree
from hvdedge.stage import Stage, start
from hvdedge.tables import balance


def main(stage: Stage) -> None:
    """Repair the structure of raw files and write one typed table."""
    table = stage.method("reader")(stage.read_source(), stage.comm)
    stage.write_table("prepared", balance(table, stage.comm))
    with agree(stage.comm):
        if stage.is_root:
            stage.keep("raw")


if __name__ == "__main__":
    start("prepare", main)
