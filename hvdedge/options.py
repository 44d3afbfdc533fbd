"""The types that a method's options may have beyond bool, int, float, str, Literal and tuples of these.

They are written in the signatures, read from the source without importing it, and checked by msgspec.
"""

from typing import Annotated

from msgspec import Meta

Count = Annotated[int, Meta(ge=1)]
"""A whole number of things, at least one."""

Natural = Annotated[int, Meta(ge=0)]
"""A whole number that may be zero."""

Positive = Annotated[float, Meta(gt=0)]
"""A number above zero."""

NonNegative = Annotated[float, Meta(ge=0)]
"""A number that may be zero."""

Share = Annotated[float, Meta(ge=0, le=1)]
"""A part of a whole, 0 to 1."""

Fraction = Annotated[float, Meta(ge=0, lt=1)]
"""A part of a whole that leaves something, 0 to below 1."""

Between = Annotated[float, Meta(gt=0, lt=1)]
"""A part of a whole that is neither nothing nor all."""

Path = Annotated[str, Meta(description="path")]
"""A file or folder: looked up beside the TOML, then under $HVDEDGE_DATA; `{run}/...` is in the run's folder."""
