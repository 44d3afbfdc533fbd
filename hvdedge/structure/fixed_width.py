"""Columns of fixed width, aligned by blanks without any delimiter."""

from collections.abc import Sequence

from hvdedge.aligned_columns import find_cuts


def repair(lines: Sequence[str]) -> tuple[int, ...] | None:
    """Return the places at which `lines` are to be cut into columns, None where their words are not aligned."""
    return find_cuts(lines)
