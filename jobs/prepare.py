"""Repair the structure of raw files and write one typed table: raw files -> prepared/."""

from hvdedge import known_columns
from hvdedge.parallel import agree, counts
from hvdedge.stage import Stage, start
from hvdedge.tables import balance


def main(stage: Stage) -> None:
    """Repair the structure of raw files and write one typed table."""
    table = stage.method("reader")(stage.read_source(), stage.comm)
    if not counts(table.num_rows, stage.comm).any():
        aside = sum(file.get("rows_quarantined", 0) for file in stage.metrics["files"])
        left = f", as {aside} lines could not be read as rows" if aside else ""
        stage.note(what="no_rows", action=f"made a table of {len(table.columns)} columns and no row{left}")
    stage.workspace.kept.setdefault(known_columns.FILE, known_columns.of_schema(table.schema))
    stage.write_table("prepared", balance(table, stage.comm))
    with agree(stage.comm):
        if stage.is_root:
            stage.keep("raw")


if __name__ == "__main__":
    start("prepare", main)
