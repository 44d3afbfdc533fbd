"""Missing values in all their spellings."""

import pyarrow as pa
import pyarrow.compute as pc

SPELLINGS = ("", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "missing", "-", "--", "?", ".")
BLANKS = " \t\n\r\v\f\u00a0\u200b\u202f\u2060\u3000\ufeff"


def repair(values: pa.Array, spellings: tuple[str, ...] = SPELLINGS) -> pa.Array:
    """Return `values` with null where they spell a missing value.

    Args:
        values: text; outer blanks, also those without width, and case do not matter.
        spellings: what means missing, in lower case.
    """
    folded = pc.utf8_lower(pc.utf8_trim(values, characters=BLANKS))
    return pc.if_else(pc.is_in(folded, value_set=pa.array(spellings, pa.string())), None, values)
