"""What a cell looks like: a number, a date, a word ... and a model of each column made of that.

The model tells how well a cell fits a column: log P(kind), and the more special mask (digits 9, letters a) or the
value itself where the column's cells are alike in them. With it shifted cells can be put back under their columns.
"""

import functools
import math
import re
from collections import Counter
from collections.abc import Sequence

KIND = re.compile(
    r"""\s*(?:
      (?P<integer>[-+\u2212]?\d+)
    | (?P<decimal>[-+\u2212]?(?:\d+[.,]\d*|[.,]\d+)(?:[eE][-+]?\d{1,3})?|[-+]?\d+[eE][-+]?\d{1,3})
    | (?P<grouped>[-+\u2212]?\d{1,3}(?:[.,'\u2019 \u00a0\u202f]\d{3})+(?:[.,]\d+)?)
    | (?P<date>\d{1,4}([-./])\d{1,2}\5\d{1,4}|\d{1,2}[- .]?[A-Za-z]{3}[- .,]{0,2}\d{2,4})
    | (?P<time>\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?)
    | (?P<timestamp>\d{1,4}[-./]\d{1,2}[-./]\d{1,4}[T ]\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?[\w:+ ]{0,7})
    | (?P<money>[-+(]?\s?[$\u20ac\u00a3\u00a5]\s?[-+]?\d[\d.,' \u00a0]*\)?
      | [-+]?\d[\d.,' \u00a0]*\s?[$\u20ac\u00a3\u00a5%])
    | (?P<bound>[<>]=?\s?\d[\d.,]*)
    | (?P<missing>(?i:n/?a|nan|null|none|nil|missing|\#n/a)|[-?.]{1,3})
    | (?P<address>[\w.+-]+@[\w-]+\.[\w.-]+|(?:https?|ftp|file)://[^\s"]+|www\.[^\s"]+)
    | (?P<word>[^\W\d_]+)
    | (?P<code>[\w.+-]*\d[\w.+-]*|[\w.-]+)
    | (?P<words>[\w(][\w.&/()+-]*(?:[ ][\w(&+/-][\w.&/()+-]*){1,9})
    )\s*""",
    re.VERBOSE,
)
VALUES = frozenset({"integer", "decimal", "grouped", "date", "time", "timestamp", "money", "bound"})
NUMBERS = frozenset({"integer", "decimal", "grouped", "money"})
TEXTS = frozenset({"word", "words", "text", "code"})
MOST_KIND_CHARS = 200
MOST_LEVELS = 30
LETTERS = re.compile(r"[^\W\d_]+")
DIGITS = re.compile(r"\d")
_FLOOR = math.log(0.002)  # of a kind that a column never showed


@functools.lru_cache(maxsize=1 << 14)
def kind_of(cell: str) -> str:
    """Return the kind of a cell: "empty", a group of KIND, or "text"."""
    if len(cell) > MOST_KIND_CHARS:
        return "text"
    found = KIND.fullmatch(cell)
    if found:
        return found.lastgroup or "text"
    return "text" if cell.strip() else "empty"


@functools.lru_cache(maxsize=1 << 14)
def mask_of(cell: str) -> str:
    """Return the cell with each digit as 9 and each run of letters as a."""
    return DIGITS.sub("9", LETTERS.sub("a", cell.strip()[:40]))


class ColumnModel:
    """How the cells of one column look, from a sample of them."""

    def __init__(self, cells: Sequence[str]):
        self.cells = len(cells)
        self.kinds = Counter(kind_of(cell) for cell in cells)
        filled = [cell.strip() for cell in cells if cell.strip()]
        self.filled = len(filled)
        self._masks = Counter(mask_of(cell) for cell in filled)
        values = Counter(filled)
        self.levels = values if filled and len(values) <= MOST_LEVELS and 3 * len(values) <= len(filled) else Counter()
        lengths = [math.log(1 + len(cell)) for cell in filled]
        self._length = sum(lengths) / len(lengths) if lengths else 0.0
        spread = sum((length - self._length) ** 2 for length in lengths) / len(lengths) if lengths else 1.0
        self._spread = max(math.sqrt(spread), 0.15)

    def to_json(self) -> dict:
        """Return what JSON can hold, for another rank."""
        return {name: value for name, value in vars(self).items() if name not in ("kind", "_most_masked")}

    @classmethod
    def from_json(cls, value: dict) -> "ColumnModel":
        """Return the model that `to_json` gave."""
        model = cls.__new__(cls)
        counters = {name: Counter(found) for name, found in value.items() if isinstance(found, dict)}
        vars(model).update(value | counters)
        return model

    @property
    def empty_share(self) -> float:
        """The share of empty cells."""
        return 1 - self.filled / self.cells if self.cells else 1.0

    @functools.cached_property
    def kind(self) -> str:
        """The kind that most filled cells have, "empty" where none is filled."""
        counts = Counter({kind: count for kind, count in self.kinds.items() if kind not in ("empty", "missing")})
        return counts.most_common(1)[0][0] if counts else "empty"

    @property
    def mask_share(self) -> float:
        """The share of filled cells that have the most frequent mask."""
        return self._most_masked / self.filled if self.filled else 0.0

    @functools.cached_property
    def _most_masked(self) -> int:
        return max(self._masks.values(), default=0)

    def has_mask(self, cell: str) -> bool:
        """Tell whether some cell of the column has the mask of `cell`."""
        return mask_of(cell) in self._masks

    @property
    def is_number(self) -> bool:
        """Whether most filled cells are numbers."""
        return self.kind in NUMBERS

    def knows(self, cell: str) -> bool:
        """Tell whether some cell of the column is of the kind of `cell`, all kinds of text taken as one."""
        kind = kind_of(cell)
        return kind in self.kinds or (kind in TEXTS and not TEXTS.isdisjoint(self.kinds))

    def share(self, cell: str) -> float:
        """Return the share of the filled cells that are of the kind of `cell`, all kinds of text taken as one."""
        kind = kind_of(cell)
        kinds = TEXTS if kind in TEXTS else {kind}
        return sum(self.kinds[name] for name in kinds) / max(self.filled, 1)

    def fit(self, cell: str) -> float:
        """Return how well a cell fits the column: the logarithm of a likelihood, about 0 for the best."""
        kind = kind_of(cell)
        count: float = self.kinds[kind]
        if kind in ("text", "words"):  # a comma more or less
            count = max(count, (self.kinds["words"] + self.kinds["text"]) / 3)
        score = math.log((count + 0.02) / (self.cells + 0.1))
        if kind == "empty":
            return max(score, _FLOOR)
        text = cell.strip()
        if self.levels:
            score += 0.0 if text in self.levels else -2.0
        elif self._masks:
            mask, most = mask_of(text), self._most_masked
            regular = most / max(self.filled, 1)
            if regular > 0.2:  # else the masks of the column differ, as those of text do
                score += max(math.log((self._masks[mask] + 0.1) / most), -4.0) * regular
        away = (math.log(1 + len(text)) - self._length) / self._spread
        return max(score, _FLOOR) - min(0.1 * away * away, 3.0)
