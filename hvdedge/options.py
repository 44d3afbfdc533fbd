"""The types that a method's options may have beyond bool, int, float, str, Literal and tuples of these.

They are written in the signatures, read from the source without importing it, and checked by msgspec.
"""

import sys
import types
import typing
from typing import Annotated, Any, Literal

from msgspec import Meta

FINITE = sys.float_info.max

Count = Annotated[int, Meta(ge=1)]
"""A whole number of things, at least one."""

Several = Annotated[int, Meta(ge=2)]
"""A whole number of things, at least two."""

SomeRanks = Annotated[int, Meta(ge=1, description="a whole number from 1, fewer than there are ranks")]
"""How many of the ranks do something else than the others; held against their number before anything runs."""

Bits = Annotated[int, Meta(ge=1, le=8)]
"""How many bits a code has, of up to a byte."""

Natural = Annotated[int, Meta(ge=0)]
"""A whole number that may be zero."""

Positive = Annotated[float, Meta(gt=0, le=FINITE)]
"""A number above zero."""

NonNegative = Annotated[float, Meta(ge=0, le=FINITE)]
"""A number that may be zero."""

Share = Annotated[float, Meta(ge=0, le=1)]
"""A part of a whole, 0 to 1."""

Fraction = Annotated[float, Meta(ge=0, lt=1)]
"""A part of a whole that leaves something, 0 to below 1."""

Between = Annotated[float, Meta(gt=0, lt=1)]
"""A part of a whole that is neither nothing nor all."""

Portion = Annotated[float, Meta(gt=0, le=1)]
"""A part of a whole that may be all of it and is not nothing."""

Scaling = Literal["linear", "sqrt", "none"]
"""How a learning rate grows with the number of ranks."""

Path = Annotated[str, Meta(description="a path in quotes")]
"""A file or folder: looked up beside the TOML, then under $HVDEDGE_DATA; `{run}/...` is in the run's folder.
In a `tuple[Path, ...]`, a pattern stands for all files that it matches."""


ColumnName = Annotated[str, Meta(description="a column's name in quotes")]
"""A column of the table, or in most a pattern (p*); held against what prepare read before the stages after it begin."""

ColumnRule = Annotated[str, Meta(description="columns -> columns in quotes")]
"""A rule between columns, such as "State, Measure -> Average"; their names are held like those of a ColumnName."""


def is_fraction(wanted: Any) -> bool:
    """Tell whether an option of this type may be any number, also between whole ones."""
    return wanted is float or (typing.get_origin(wanted) is Annotated and typing.get_args(wanted)[0] is float)


def spelled(wanted: Any) -> str:
    """Return in words what an option of this type may be: `"auto", true, false`, `a whole number from 0`."""
    origin, parts = typing.get_origin(wanted), typing.get_args(wanted)
    if origin is Literal:
        return ", ".join(f'"{part}"' if isinstance(part, str) else str(part) for part in parts)
    if origin in (typing.Union, types.UnionType):
        return ", ".join(spelled(part) for part in parts if part is not type(None))
    if origin in (tuple, list):
        return f"a list in brackets, each {spelled(parts[0])}"
    if origin is Annotated:
        whole, bounds = parts[0], parts[1]
        if bounds.description:
            return bounds.description
        ends = [("from", bounds.ge), ("above", bounds.gt), ("to", bounds.le), ("below", bounds.lt)]
        return " ".join([spelled(whole), *(f"{word} {end}" for word, end in ends if end not in (None, FINITE))])
    return {bool: "true, false", int: "a whole number", float: "a number", str: "a text in quotes"}[wanted]
