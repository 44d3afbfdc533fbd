"""The forms in which people write days and times, and their parts as numbers.

    2024-03-07  07.03.2024  3/7/24  7 March 2024  Mar 7, 2024  7. März 2024  2024-W10-4  20240307
    each with a time of day: 08:09  08:09:10.5  8:09 pm  and a zone: Z  UTC  +01:00

`SHAPES` are disjoint from each other and from the shapes of numbers.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hvdedge.number_forms import matches

DAY = r"\d{1,2}([-./])\d{1,2}[-./](\d{4}|\d{2})"
ISO = r"\d{4}[-./]\d{1,2}[-./]\d{1,2}"
WEEK = r"\d{4}-?W\d\d-?[1-7]"
ZONE = r"\s?(?:Z|UTC|GMT|[+-]\d{2}:?\d{2}|[+-]\d{2})?"
_PAST_HOUR = r":[0-5]\d(?::[0-5]\d(?:[.,]\d+)?)?"
CLOCK = rf"(?:(?:0?[1-9]|1[0-2]){_PAST_HOUR}\s?[AaPp]\.?[Mm]\.?|(?:[01]?\d|2[0-3]){_PAST_HOUR})"  # 75:30 is a duration
NAME = r"[A-Za-zÀ-ÿ]{3,10}"
WEEKDAY = rf"(?:{NAME}\.?,?\s+)?"
OF = r"(?:de\s+|of\s+)?"
NAMED_DAY = rf"{WEEKDAY}\d{{1,2}}(?:st|nd|rd|th|º|\.)?[\s\-/]*{OF}{NAME}\.?,?[\s\-/:]*{OF}(?:\d{{4}}|\d{{2}})"
NAMED_MONTH = rf"{WEEKDAY}{NAME}\.?[\s\-]+\d{{1,2}}(?:st|nd|rd|th)?,?[\s\-]+\d{{4}}"
NAMED_YEAR = rf"\d{{4}}[\s\-/]{NAME}[\s\-/]\d{{1,2}}"
SHAPES = {
    "iso": rf"^{ISO}$",
    "day": rf"^{DAY}$",
    "week": rf"^{WEEK}$",
    "timestamp": rf"^(?:{ISO}|{DAY}|\d{{8}})(?:T| +){CLOCK}{ZONE}$",
    "time": rf"^{CLOCK}$",
}
NAMED = rf"^(?:{NAMED_DAY}|{NAMED_MONTH}|{NAMED_YEAR})$"
NAMED_TIMESTAMP = rf"^(?:{NAMED_DAY}|{NAMED_MONTH}|{NAMED_YEAR})(?:T|[ ,:]+){CLOCK}{ZONE}$"
PLAIN_DATE = r"^\d{4}-\d\d-\d\d$"
PLAIN_TIMESTAMP = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?$"
PIVOT = 69  # two digits of a year from here on are 19.., as POSIX strptime reads them
_TIME = rf"(?:(?:T|[ ,:]+|^)(?P<clock>{CLOCK})(?P<zone>{ZONE}))?$"
_READERS = (
    rf"^(?P<first>\d{{1,4}})(?P<mark>[-./])(?P<second>\d{{1,2}})(?P<again>[-./])(?P<third>\d{{1,4}}){_TIME}",
    rf"^{WEEKDAY}(?P<first>\d{{1,2}})(?:st|nd|rd|th|º|\.)?[\s\-/]*{OF}(?P<second>{NAME})\.?,?[\s\-/:]*{OF}"
    rf"(?P<third>\d{{4}}|\d{{2}}){_TIME}",
    rf"^{WEEKDAY}(?P<second>{NAME})\.?[\s\-]+(?P<first>\d{{1,2}})(?:st|nd|rd|th)?,?[\s\-]+(?P<third>\d{{4}}){_TIME}",
    rf"^(?P<first>\d{{4}})[\s\-/](?P<second>{NAME})[\s\-/](?P<third>\d{{1,2}}){_TIME}",
    rf"^(?P<first>\d{{4}})(?P<second>\d\d)(?P<third>\d\d){_TIME}",
    rf"^(?P<first>\d{{4}})-?W(?P<second>\d\d)-?(?P<third>[1-7]){_TIME}",
    rf"^(?P<clock>{CLOCK})(?P<zone>{ZONE})$",
)
_CLOCK_PARTS = (
    r"^(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<part>\d+))?)?\s?(?P<half>[AaPp]?)\.?[Mm]?\.?$"
)
_ZONE_PARTS = r"^\s?(?P<sign>[+-])(?P<hours>\d{2}):?(?P<minutes>(?:\d{2})?)$"
DAYS_IN_MONTH = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
MINUTE, HOUR, DAY_LENGTH = 60_000_000, 3_600_000_000, 86_400_000_000  # microseconds
MONTHS = (  # English, German, French, Spanish, Italian, Portuguese, Dutch; by their first letters
    "jan gen ene",
    "feb fév fev",
    "mar mär maa mrt mrz",
    "apr avr abr",
    "may mai maj mag mei",
    "jun jui giu",
    "jul juil lug",
    "aug aoû aou ago",
    "sep set",
    "oct okt ott out",
    "nov",
    "dec dez déc dic des",
)
LATER = {"juil": 7, "juill": 7, "juillet": 7}  # whose first three letters are those of June


def months(names: pa.Array) -> np.ndarray:
    """Return the numbers of months, 1 to 12, 0 for what names none: int64."""
    known = {start: number for number, starts in enumerate(MONTHS, start=1) for start in starts.split()}
    distinct = names.dictionary_encode()
    numbers = [
        0 if name is None else LATER.get(name.lower(), known.get(name.lower()[:3], 0))
        for name in distinct.dictionary.to_pylist()
    ]
    places = pc.fill_null(distinct.indices, len(numbers)).to_numpy()
    return np.array([*numbers, 0], np.int64)[places]


def is_named(values: pa.Array, pattern: str = NAMED) -> np.ndarray:
    """Return where text is a day of the calendar with the name of its month: boolean."""
    found = np.asarray(matches(values, pattern)).copy()
    places = np.flatnonzero(found)
    if len(places):
        found[places] = read(values.take(pa.array(places)), True)[2]
    return found


def read(values: pa.Array, day_first: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return days since 1970, int64, microseconds of the day, int64, and whether there are such: boolean each.

    A zone is taken off, so that the microseconds may be below none or above a day's.

    Args:
        values: text without outer blanks; nulls are none.
        day_first: whether 03/04/2024 is the third of April. A year of four digits in front is followed by the month.
    """
    days, clocks = np.zeros(len(values), np.int64), np.zeros(len(values), np.int64)
    has_day, has_clock = np.zeros(len(values), bool), np.zeros(len(values), bool)
    left = np.flatnonzero(values.is_valid())
    for number, pattern in enumerate(_READERS):
        if not len(left):
            break
        found = pc.extract_regex(values.take(pa.array(left)), pattern)
        is_hit = found.is_valid().to_numpy(zero_copy_only=False)
        if not is_hit.any():
            continue
        places, left = left[is_hit], left[~is_hit]
        group = dict(zip((field.name for field in found.type), found.drop_null().flatten(), strict=True))
        is_right = np.ones(len(places), bool)
        if "first" in group:
            days[places], is_right = _days(group, number, day_first)
        has_text = np.asarray(pc.not_equal(group["clock"], ""))
        clocks[places], is_time = _clocks(group["clock"], group["zone"])
        is_right &= is_time | ~has_text
        has_clock[places] = has_text & is_right
        has_day[places] = is_right if "first" in group else False
    return days, clocks, has_day, has_clock


def _days(group: dict[str, pa.Array], reader: int, day_first: bool) -> tuple[np.ndarray, np.ndarray]:
    texts = [group[name] for name in ("first", "second", "third")]
    first, third = (_ints(text) for text in (texts[0], texts[2]))
    second = _ints(texts[1]) if reader in (0, 4, 5) else months(texts[1])
    widths = [pc.binary_length(text).to_numpy() for text in texts]
    year_leads = widths[0] == 4
    year = np.where(year_leads, first, third)
    year_width = np.where(year_leads, 4, widths[2])
    is_right = (year_width == 4) | ((year_width == 2) & (widths[0] <= 2))
    is_right &= ~year_leads | (widths[2] <= 2)
    if reader == 0:
        is_right &= np.asarray(pc.equal(group["mark"], group["again"]))
    year = np.where(year_width == 4, year, year + np.where(year >= PIVOT, 1900, 2000))
    if reader == 5:
        found = _monday(year) + (second - 1) * 7 + third - 1
        return found, (second >= 1) & (found < _monday(year + 1)) & (year >= 1)
    day = np.where(year_leads, third, first)
    month = second
    if reader == 0 and not day_first:
        day, month = np.where(year_leads, third, second), np.where(year_leads, second, first)
    lengths = np.array([0, *DAYS_IN_MONTH])[np.clip(month, 0, 12)]
    leaps = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    lengths = lengths + ((month == 2) & leaps)
    is_right &= (month >= 1) & (month <= 12) & (day >= 1) & (day <= lengths) & (year >= 1)
    return _civil(year, np.clip(month, 1, 12), day), is_right


def _monday(year: np.ndarray) -> np.ndarray:
    """Return the first day of the first week, which is that of 4 January (ISO 8601)."""
    fourth = _civil(year, np.ones_like(year), np.full_like(year, 4))
    return fourth - (fourth + 3) % 7


def _civil(year: np.ndarray, month: np.ndarray, day: np.ndarray) -> np.ndarray:
    """Return days since 1970 of a day of the proleptic Gregorian calendar."""
    months_since = (year - 1970) * 12 + month - 1
    return months_since.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) + day - 1


def _clocks(clocks: pa.Array, zones: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """Return microseconds of the day, the zone taken off, and whether there is a time: text like CLOCK, or ""."""
    found = pc.extract_regex(clocks, _CLOCK_PARTS)
    hour, minute, second = (_ints(pc.struct_field(found, name)) for name in ("hour", "minute", "second"))
    part = pc.utf8_slice_codeunits(pc.struct_field(found, "part"), 0, 6)
    micros = _ints(pc.utf8_rpad(pc.if_else(pc.equal(part, ""), "0", part), 6, "0"))
    half = pc.utf8_lower(pc.struct_field(found, "half"))
    is_half = np.asarray(pc.fill_null(pc.not_equal(half, ""), False))
    is_later = np.asarray(pc.fill_null(pc.equal(half, "p"), False))
    hour = np.where(is_half, hour % 12 + 12 * is_later, hour)
    away = pc.extract_regex(zones, _ZONE_PARTS)
    shift = _ints(pc.struct_field(away, "hours")) * HOUR + _ints(pc.struct_field(away, "minutes")) * MINUTE
    is_east = np.asarray(pc.fill_null(pc.equal(pc.struct_field(away, "sign"), "+"), False))
    day_part = hour * HOUR + minute * MINUTE + second * 1_000_000 + micros
    return day_part - np.where(is_east, shift, -shift), found.is_valid().to_numpy(zero_copy_only=False)


def _ints(texts: pa.Array) -> np.ndarray:
    filled = pc.fill_null(texts, "0")
    return pc.if_else(pc.equal(filled, ""), "0", filled).cast(pa.int64()).to_numpy()
