"""Texts that stand where a value is missing, though nobody has told that they do: "unknown" among numbers,
"noValueSetHere123156456" in columns that have nothing else in common."""

import re
from collections.abc import Mapping, Sequence

LEAST_CELLS = 2  # of one column that hold such a text
LEAST_COLUMNS = 2
ODD_LETTERS, ODD_DIGITS, ODD_CHARS = 4, 3, 8
_GIVEN = (
    "available|applicable|known|set|given|reported|recorded|provided|specified|measured|defined|stated|disclosed|here|"
    "found|present|entered|assigned"
)
AMONG_NUMBERS = re.compile(
    rf"(is |value )?(un ?known|undefined|unspecified|not ({_GIVEN}))|no (data|value|answer|entry|record|info)|"
    "(data|value) missing|missing (data|value)|to be (determined|announced)|tb[ad]|empty|blank|void|invalid|error|"
    "keine (angabe|daten)|k a|unbekannt|nicht (bekannt|verfügbar|vorhanden)|fehlt|ohne angabe|inconnue?|"
    "non (disponible|renseigné)|sans objet|nd|n d|s d|desconocid[oa]|no disponible|sin datos?|sconosciut[oa]|"
    "non disponibile|onbekend|n a p?|n k"
)
ANYWHERE = re.compile(
    rf"(no|not|null|empty|missing|undefined|invalid)( a)? (value|data|entry|record|number)s?( ({_GIVEN}))*|"
    rf"(value|data|entry|field) (is )?(not ({_GIVEN})|missing|undefined|unset)|# ?(n a|value|ref|div 0|num|name|null)"
)


def repair(columns: Sequence[tuple[Mapping[str, int] | None, bool]]) -> list[dict[str, int]]:
    """Return for each column the texts in it that stand for a missing value, with their numbers of cells.

    - Among numbers, days or truth values: words for the unknown, and any text that stands in several such columns;
      but for one with a digit, which still tells something, such as "<=5".
    - In any column: words that only programs write, such as "no value set", digits behind them aside; and an odd text
      (letters and several digits, in columns whose other values are not like that) that stands in several columns
      without another value in common.

    Args:
        columns: for each column its words (text -> cells; None where they are too many) and whether most of its cells
            are numbers, days or truth values.
    """
    where: dict[str, list[int]] = {}
    for place, (words, _) in enumerate(columns):
        for text, number in (words or {}).items():
            if number >= LEAST_CELLS:
                where.setdefault(text, []).append(place)
    result: list[dict[str, int]] = [{} for _ in columns]
    for place, (words, is_measured) in enumerate(columns):
        for text, number in (words or {}).items():
            spelled = _spelled(text)
            is_one = bool(ANYWHERE.fullmatch(spelled))
            if is_measured:
                alike = sum(columns[other][1] for other in where.get(text, ()))
                is_one |= bool(AMONG_NUMBERS.fullmatch(spelled))
                is_one |= number >= LEAST_CELLS and alike >= LEAST_COLUMNS and not re.search(r"\d", text)
            if is_one:
                result[place][text] = number
    for text, places in where.items():
        if len(places) >= LEAST_COLUMNS and _is_odd(text) and _have_nothing_else([columns[p][0] for p in places], text):
            for place in places:
                result[place][text] = (columns[place][0] or {})[text]
    return result


def _spelled(text: str) -> str:
    """Return the words of a text, in lower case, parted by blanks: noValueSet_12 is "no value set"."""
    parted = re.sub(r"(?<=[a-zà-ÿ])(?=[A-ZÀ-Þ])", " ", re.sub(r"[\d]{2,}$", "", text.strip()))
    return " ".join(re.sub(r"[\s_.\-/!()\[\]<>{}*]+", " ", parted).split()).lower()


def _is_odd(text: str) -> bool:
    letters, digits = sum(map(str.isalpha, text)), sum(map(str.isdigit, text))
    return len(text) >= ODD_CHARS and letters >= ODD_LETTERS and digits >= ODD_DIGITS and " " not in text


def _have_nothing_else(columns: Sequence[Mapping[str, int] | None], text: str) -> bool:
    """Tell whether no two columns share another value, and none has another value as odd."""
    seen: set[str] = set()
    for words in columns:
        others = {word for word in words or {} if word != text}
        if others & seen or any(map(_is_odd, others)):
            return False
        seen |= others
    return True
