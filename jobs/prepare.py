"""Repair the structure of raw files and write one typed table: raw files -> prepared/."""

from hvdedge.columns import shown
from hvdedge.errors import InputError
from hvdedge.parallel import agree, counts
from hvdedge.stage import Stage, start
from hvdedge.tables import balance


def main(stage: Stage) -> None:
    """Repair the structure of raw files and write one typed table."""
    table = stage.method("reader")(stage.read_source(), stage.comm)
    if not counts(table.num_rows, stage.comm).any():
        raise InputError(_no_rows(stage, table.columns))
    stage.write_table("prepared", balance(table, stage.comm))
    with agree(stage.comm):
        if stage.is_root:
            stage.keep("raw")


def _no_rows(stage: Stage, names: list[str]) -> str:
    """Return the line that says that no file has a row of the table, which has these columns."""
    files = shown([str(path) for path in stage.pipeline.sources])
    aside = sum(file.get("rows_quarantined", 0) for file in stage.metrics["files"])
    left = f" ({aside} lines could not be read as rows)" if aside else ""
    can_tell = "header" in stage.section.choices["reader"].options
    remedy = ", or set prepare.header = false if the first line is a row" if can_tell else ""
    return (
        f"{files}: received a table without rows{left}, whose columns are {shown(names)}, allowed: at least one row; "
        f"add rows, name another prepare.source{remedy}"
    )


if __name__ == "__main__":
    start("prepare", main)
