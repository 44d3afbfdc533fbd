"""Dates, timestamps and times of day, in one form each."""

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hvdedge.date_forms import DAY_LENGTH, read
from hvdedge.number_forms import matches

TYPES = {"date": pa.date32(), "timestamp": pa.timestamp("us"), "time": pa.time32("s")}
_MONTHS = r"(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|02-(?:0[1-9]|1\d|2[0-8]))"
_ISO = rf"[1-9]\d{{3}}-{_MONTHS}"
_CLOCK = r"(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d{1,6})?)?"
USUAL = {  # what Arrow reads as we do, and never fails on
    "date": rf"^{_ISO}$",
    "timestamp": rf"^{_ISO}[T ]{_CLOCK}$",
    "time": r"^(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d$",
}


def repair(values: pa.Array, *, to: Literal["date", "timestamp", "time"] = "date", day_first: bool = True) -> pa.Array:
    """Return text as date32, as timestamps in microseconds (UTC where a zone is given), or as times in seconds.

    Args:
        values: text; nulls stay null.
        day_first: whether 03/04/2024 is the third of April. A year of four digits in front is followed by the month.
    Returns:
        As many values, null where the text is none or no day of the calendar. The time of day is dropped from a date
        only where it is midnight.
    """
    type = TYPES[to]
    usual = matches(values, USUAL[to])
    texts = pc.if_else(usual, values, None)
    if to == "time":  # which Arrow reads as part of a day
        result = pc.binary_join_element_wise("1970-01-01", texts, " ").cast(pa.timestamp("s")).cast(type)
    else:
        result = texts.cast(type)
    rest = np.flatnonzero(pc.and_(values.is_valid(), pc.invert(usual)))
    if not len(rest):
        return result
    encoded = values.take(pa.array(rest)).dictionary_encode()
    days, clocks, has_day, has_clock = read(pc.utf8_trim_whitespace(encoded.dictionary), day_first)
    if to == "date":
        found = pa.array(days.astype(np.int32), mask=~has_day | (clocks != 0)).cast(type)
    elif to == "timestamp":
        found = pa.array(days * DAY_LENGTH + clocks, mask=~has_day).cast(type)
    else:
        is_time = has_clock & ~has_day & (clocks >= 0) & (clocks < DAY_LENGTH)
        found = pa.array((clocks // 1_000_000).astype(np.int32), mask=~is_time).cast(type)
    known = np.zeros(len(values), bool)
    known[rest] = True
    places = np.zeros(len(values), np.int64)
    places[rest] = encoded.indices.to_numpy()
    return pc.if_else(pa.array(known), found.take(pa.array(places)), result)
