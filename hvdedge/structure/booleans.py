"""Truth values written as words, letters or digits."""

import pyarrow as pa
import pyarrow.compute as pc

from hvdedge.truth_words import FALSE, TRUE


def repair(values: pa.Array) -> pa.Array:
    """Return text as booleans, null where it is none; blanks and case do not matter."""
    folded = pc.utf8_lower(pc.utf8_trim_whitespace(values))
    true = pc.is_in(folded, value_set=pa.array(TRUE))
    return pc.if_else(pc.or_(true, pc.is_in(folded, value_set=pa.array(FALSE))), true, None)
