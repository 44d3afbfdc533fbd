"""Truth values written as words."""

import pyarrow as pa
import pyarrow.compute as pc

TRUE = ("true", "yes", "on", "ja", "oui", "wahr", "vrai")
FALSE = ("false", "no", "off", "nein", "non", "falsch", "faux")


def repair(values: pa.Array) -> pa.Array:
    """Return text as booleans, null where it is none; blanks and case do not matter."""
    folded = pc.utf8_lower(pc.utf8_trim_whitespace(values))
    true = pc.is_in(folded, value_set=pa.array(TRUE))
    return pc.if_else(pc.or_(true, pc.is_in(folded, value_set=pa.array(FALSE))), true, None)
