"""Dates, timestamps and times of day, in one form each."""

import datetime
import re
from typing import Literal

import pyarrow as pa

DATE = r"(\d{1,4})([-./])(\d{1,2})\2(\d{1,4})"
TIME = r"(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,6})\d*)?)?"
ZONE = r"\s?(Z|UTC|[+-]\d{2}:?\d{2})?"
PATTERNS = {
    "date": re.compile(DATE),
    "timestamp": re.compile(rf"{DATE}(?:[T ]{TIME}{ZONE})?"),
    "time": re.compile(TIME),
}
TYPES = {"date": pa.date32(), "timestamp": pa.timestamp("us"), "time": pa.string()}
CENTURY = 69  # two digits of a year from here on are 19.., as POSIX strptime reads them


def repair(values: pa.Array, *, to: Literal["date", "timestamp", "time"] = "date", day_first: bool = True) -> pa.Array:
    """Return text as date32, as timestamps in microseconds (UTC where a zone is given), or as times "HH:MM:SS".

    Args:
        values: text, best each one once; nulls stay null.
        day_first: whether 03/04/2024 is the third of April. A year of four digits in front is followed by the month.
    Returns:
        As many values, null where the text is none or no day of the calendar.
    """
    pattern = PATTERNS[to]
    read = {"date": _date, "timestamp": _timestamp, "time": _time}[to]
    result = []
    for text in values.to_pylist():
        found = pattern.fullmatch(text.strip()) if text is not None else None
        try:
            result.append(read(found, day_first) if found else None)
        except (ValueError, OverflowError):  # 30 February, 25:00
            result.append(None)
    return pa.array(result, TYPES[to])


def _date(found: re.Match, day_first: bool) -> datetime.date:
    first, second, third = found[1], int(found[3]), found[4]
    if len(first) > 2:
        if len(first) != 4:
            raise ValueError("no year")
        return datetime.date(int(first), second, int(third))
    if len(third) not in (2, 4):
        raise ValueError("no year")
    year = int(third) + (0 if len(third) == 4 else 1900 if int(third) >= CENTURY else 2000)
    return datetime.date(year, second, int(first)) if day_first else datetime.date(year, int(first), second)


def _timestamp(found: re.Match, day_first: bool) -> datetime.datetime:
    day = _date(found, day_first)
    if found[5] is None:
        return datetime.datetime.combine(day, datetime.time())
    clock = datetime.time(int(found[5]), int(found[6]), int(found[7] or 0), int((found[8] or "0").ljust(6, "0")))
    moment = datetime.datetime.combine(day, clock)
    zone = found[9]
    if zone and zone[0] in "+-":
        away = datetime.timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
        moment += away if zone[0] == "-" else -away
    return moment


def _time(found: re.Match, day_first: bool) -> str:
    clock = datetime.time(int(found[1]), int(found[2]), int(found[3] or 0))
    return clock.isoformat("seconds")
