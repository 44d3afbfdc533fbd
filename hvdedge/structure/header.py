"""The rows before a table's data: preamble and header."""

from typing import Literal

from hvdedge.headers import Header, find_header

__all__ = ["Header", "repair"]


def repair(rows: list[list[str]], header: Literal["auto"] | bool = "auto") -> Header:
    """Return where the table begins in `rows`, the first ones of a file with its empty ones, and its columns' names.

    Args:
        rows: cells as text; the header's names come back without outer blanks, empty where the file names none.
        header: True where the file is known to have one, False where it is known to have none.
    """
    return find_header(rows, header)
