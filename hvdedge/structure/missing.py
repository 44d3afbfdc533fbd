"""Missing values in all their spellings."""

import pyarrow as pa
import pyarrow.compute as pc

SPELLINGS = ("", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "missing", "-", "--", "?", ".")


def repair(values: pa.Array, spellings: tuple[str, ...] = SPELLINGS) -> pa.Array:
    """Return `values` with null where they spell a missing value.

    Args:
        values: text; outer blanks and case do not matter.
        spellings: what means missing, in lower case.
    """
    folded = pc.utf8_lower(pc.utf8_trim_whitespace(values))
    return pc.if_else(pc.is_in(folded, value_set=pa.array(spellings, pa.string())), None, values)
