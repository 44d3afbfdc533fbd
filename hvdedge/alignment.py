"""Rows whose cells do not stand under their columns, aligned by what the columns' cells look like.

A row with an odd number of cells came about by one of few slips: a delimiter too many or too few, one inside a text
that is not quoted, a decimal comma, a quote astray, another delimiter in that row. Each way to undo one gives cells;
the likeliest row under the columns' models is taken if it is about as likely as the table's rows are, and clearly
likelier than any other:

    best[i, j] = likeliest top two ways to make columns 1..j of tokens 1..i
               = max over  best[i-1, j-1] + fit of token i;  best[i-1, j] where token i is empty and dropped;
                           best[i-m, j-1] + fit of m tokens joined;  best[i, j-1] + fit of an empty cell;
                           best[i-1, j-2] + fit of the two parts of token i
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from hvdedge.cell_kinds import NUMBERS, TEXTS, ColumnModel, kind_of
from hvdedge.delimited import Dialect, cells_of, readings

OTHER_DELIMITERS = ",;\t|: "
DROP, JOIN, LOSE, SPLIT = 0.7, 1.5, 4.0, 1.5  # what a slip costs: in logarithms of likelihoods
READ_OTHERWISE = 2.0
IN_ORDER = 4.0  # what it is worth that all quotes are where quotes belong
MOST_QUOTES = 60
MARGIN = 1.0  # by which the best way must be likelier than the next
SLACK = 6.0  # below the usual row's likelihood
WIDE_MARGIN, WIDE_SLACK = 4.0, 16.0  # the same for a row that holds something rare
MOST_SHIFT = 24
MOST_STEPS = 1_000_000
CUTS = re.compile(  # between letters, digits and other signs, and before a capital inside a word
    r"(?<=[^\W\d_])(?![^\W\d_])|(?<=\d)(?!\d)|(?<=[\W_])(?=\w)|(?<=[a-z])(?=[A-Z])|(?<=\W)(?=[\"'$€£¥])"
)
DIGIT_CUTS = re.compile(r"(?<=\d)(?=\d)")
MOST_CUTS = 120
FIXED = 0.85
EDGE = " \t\"'"
SLACK_A_COLUMN = 2.0
JOIN_QUOTED = 6.0  # a quoted cell is a whole one

SWITCH_LEVELS = 3  # yes, no and perhaps are all that such a column has
OFTEN = 0.05  # the share of a column's cells that makes a kind one of its own

Way = tuple[float, tuple[str, ...]]


class Aligner:
    """Aligns rows with the columns of a table.

    Args:
        models: one a column.
        body: some usual rows, to know how likely one is.
        dialect: of the file.
    """

    def __init__(self, models: Sequence[ColumnModel], body: Sequence[Sequence[str]], dialect: Dialect | None = None):
        self._models = models
        self._dialect = dialect or Dialect(",", '"', "")
        self._joint = self._dialect.delimiter + " " * self._dialect.skips_blanks
        fits = sorted(self._fit(row) for row in body[:200])
        self._usual = fits[len(fits) // 20] if fits else 0.0

    def align(
        self, row: Sequence[str], text: str | None = None, is_astray: bool = False
    ) -> tuple[list[str], str] | None:
        """Return the cells of a row as its columns should have them, and the rule, None where it is not clear.

        Args:
            row: the cells as read.
            text: the row as it stands in the file, simplified.
            is_astray: whether a quote is astray in it.
        """
        if not self._models:
            return None
        dialect = self._dialect
        text = dialect.mark.join(row) if text is None else text
        quoted: set[int] = set()
        if len(row) != len(self._models) and cells_of(text, dialect, quoted=quoted)[0] != row:
            quoted = set()
        ways, rule = self._align(row, quoted, self._joint), "shifted_cells"
        if is_astray:
            rule = "stray_quote"
            for cells in readings(text, dialect):
                if len(cells) == len(self._models):
                    ways = _merged(ways, [(self._fit_bare(cells), tuple(cells))])
        if dialect.quote and dialect.quote in text and not dialect.is_regular(text.encode()):
            # a delimiter lost beside a quote, or a blank behind each one, if with it all quotes are in order
            for cells in self._put_in_order(text):
                ways, rule = _merged(ways, [(self._fit(cells) + IN_ORDER, tuple(cells))]), "shifted_cells"
        if not self._is_clear(ways):
            for cells, marked, joint, why in self._otherwise(text, len(row)):
                found = [
                    (score - READ_OTHERWISE, way)
                    for score, way in self._align(cells, marked, joint)
                    if all(model.knows(cell) for model, cell in zip(self._models, way, strict=True))
                ]
                if found and (not ways or found[0][0] > ways[0][0]):
                    rule = why
                ways = _merged(ways, found)
        if not self._is_clear(ways):
            return None
        cells = list(ways[0][1])
        if rule == "shifted_cells" and not self._is_plausible(row, cells):
            return None
        return cells, rule

    def is_usual(self, row: Sequence[str]) -> bool:
        """Tell whether a row of the right width, quotes at the edges of its cells aside, holds what its columns do."""
        quote = self._dialect.quote
        return all(model.knows(cell.strip(quote)) for model, cell in zip(self._models, row, strict=False))

    def _is_clear(self, ways: list[Way]) -> bool:
        if not ways:
            return False
        ahead = ways[0][0] - ways[1][0] if len(ways) > 1 else math.inf
        slack = SLACK if ahead < WIDE_MARGIN else WIDE_SLACK
        return ahead >= MARGIN and ways[0][0] >= self._usual - min(slack, SLACK_A_COLUMN * len(self._models))

    def _is_plausible(self, row: Sequence[str], cells: Sequence[str]) -> bool:
        """Tell whether each cell that was joined or split is of a kind that its column often has, and no number of a
        short row was taken for two cells."""
        made = [place for place, cell in enumerate(cells) if cell and cell not in row]
        for place in made:
            model = self._models[place]
            is_switch = model.kind == "word" and 2 <= len(model.levels) <= SWITCH_LEVELS
            if model.share(cells[place]) < OFTEN or (is_switch and cells[place].strip() not in model.levels):
                return False
        lost = Counter(row) - Counter(cells)
        return len(row) >= len(cells) or not any(kind_of(token) in NUMBERS for token in lost)

    def _fit(self, row: Sequence[str]) -> float:
        return sum(model.fit(cell) for model, cell in zip(self._models, row, strict=False))

    def _fit_bare(self, row: Sequence[str]) -> float:
        """Return the fit of cells in which a quote may be astray: without it, and with what each costs."""
        quote = self._dialect.quote
        return sum(
            max(model.fit(cell), model.fit(cell.strip(quote)) - 1) if quote in cell else model.fit(cell)
            for model, cell in zip(self._models, row, strict=False)
        )

    def _otherwise(self, text: str, count: int) -> Iterator[tuple[list[str], set[int], str, str]]:
        """Yield other ways to cut the text, at another delimiter or with a delimiter more beside a quote: cells, which
        of them are quoted, what joins them, the rule."""
        dialect, width = self._dialect, len(self._models)
        for delimiter in OTHER_DELIMITERS:
            blanks = delimiter != " " and text.count(delimiter + " ") >= (width - 1) / 2
            if (delimiter != dialect.delimiter or blanks) and text.count(delimiter) >= (width - 1) / 2:
                quoted: set[int] = set()
                cells = cells_of(text, Dialect(delimiter, dialect.quote, dialect.escape, blanks), quoted=quoted)[0]
                if 2 * len(cells) > width:
                    yield cells, quoted, delimiter, "other_delimiter"
        if dialect.quote and dialect.quote in text and count < 4 * width:
            for cut in self._quote_edges(text):
                cells = cells_of(text[:cut] + dialect.mark + text[cut:], dialect)[0]
                if len(cells) == width:
                    yield cells, set(), self._joint, "shifted_cells"

    def _put_in_order(self, text: str) -> Iterator[list[str]]:
        """Yield ways to cut the text into a row whose quotes are all in order, by a slip that put them out of it."""
        dialect, width = self._dialect, len(self._models)
        blanks = replace(dialect, skips_blanks=True)
        if blanks.is_regular(text.encode()):
            cells = cells_of(text, blanks)[0]
            if len(cells) == width:
                yield cells
        if text.count(dialect.quote) % 2:
            return
        for cut in self._quote_edges(text):
            if " " in text[cut - 1 : cut + 1]:
                continue  # a quote inside a text
            mended = text[:cut] + dialect.mark + text[cut:]
            cells = cells_of(mended, dialect)[0]
            if len(cells) == width and dialect.is_regular(mended.encode()):
                yield cells

    def _quote_edges(self, text: str) -> list[int]:
        places = [place for place, sign in enumerate(text) if sign == self._dialect.quote][:MOST_QUOTES]
        return sorted({edge for place in places for edge in (place, place + 1)} - {0})

    def _align(self, tokens: Sequence[str], quoted: set[int], joint: str) -> list[Way]:
        """Return the two likeliest ways to make a row of `tokens`, best first."""
        width, count = len(self._models), len(tokens)
        surplus = count - width
        if surplus == 0:
            return [(self._fit(tokens), tuple(tokens))]
        if abs(surplus) > MOST_SHIFT * (4 if joint == " " else 1) or width * width * (abs(surplus) + 1) > MOST_STEPS:
            return []
        cost = JOIN / 10 if joint == " " else JOIN
        best: list[dict[int, list[Way]]] = [{} for _ in range(width + 1)]  # column -> tokens used -> ways
        best[0][0] = [(0.0, ())]
        for column in range(width + 1):
            ways = best[column]
            if surplus > 0:
                for used in range(count):
                    if used in ways and not tokens[used].strip():
                        _add(ways, used + 1, [(score - DROP, way) for score, way in ways[used]])
            if column == width:
                break
            model, following = self._models[column], best[column + 1]
            for used, found in ways.items():
                if used < count:
                    _extend(following, used + 1, found, model.fit(tokens[used]), tokens[used])
                for end in range(used + 2, min(used + surplus + 1, used + MOST_SHIFT, count) + 1):
                    if joint != " " and not (tokens[used].strip() and tokens[end - 1].strip()):
                        continue
                    joined = joint.join(tokens[used:end])
                    if not model.knows(joined):
                        continue
                    price = sum(JOIN_QUOTED if place in quoted else cost for place in range(used, end)) - cost
                    _extend(following, end, found, model.fit(joined) - price, joined)
                if count - used < width - column:
                    _extend(following, used, found, model.fit("") - (LOSE if used < count else LOSE / 4), "")
                    if used < count and column + 1 < width:
                        for score, *parts in self._parts(tokens[used], column):
                            more = [(past + score - SPLIT, (*way, *parts)) for past, way in found]
                            _add(best[column + 2], used + 1, more)
        return best[width].get(count, [])

    def _parts(self, token: str, column: int) -> list[tuple[float, str, str]]:
        """Return the likeliest ways to cut a token into the cells of `column` and the next."""
        first, second = self._models[column], self._models[column + 1]
        cuts = {found.start() for found in CUTS.finditer(token)}
        if len(token) < 40 and (not (first.is_number and second.is_number) or _are_fixed(first, second)):
            for found in DIGIT_CUTS.finditer(token):  # only into what both columns have seen
                if first.has_mask(token[: found.start()]) and second.has_mask(token[found.start() :]):
                    cuts.add(found.start())
        cuts |= {len(level) for level in first.levels if token.startswith(level)}
        cuts |= {len(token) - len(level) for level in second.levels if token.endswith(level)}
        quote = self._dialect.quote
        are_texts = first.kind in TEXTS and second.kind in TEXTS  # which could be cut at any blank
        ways = []
        near = sorted(cuts - {0, len(token)}, key=lambda cut: min(cut, len(token) - cut))
        for cut in near[:MOST_CUTS]:
            left, right = token[:cut], token[cut:]
            if are_texts and not (left[-1].isalnum() and right[0].isalnum()) and quote not in (left[-1], right[0]):
                continue
            if left[-1] in OTHER_DELIMITERS or right[0] in OTHER_DELIMITERS:
                continue
            if self._dialect.mark in left[-2:] + right[:2]:  # inside what was quoted
                continue
            if quote and right.startswith(quote) and not right.endswith(quote):
                right = right[1:]
            if quote and left.endswith(quote) and left.count(quote) % 2:
                left = left[:-1]
            if not (first.knows(left) and second.knows(right)):
                continue
            score = first.fit(left) + second.fit(right)
            ways.append((score, left, right))
        return sorted(ways, reverse=True)[:2]


def _are_fixed(first: ColumnModel, second: ColumnModel) -> bool:
    """Tell whether the numbers of both columns have so many digits each that a cut between them can be told."""
    return min(first.mask_share, second.mask_share) >= FIXED


def _add(ways: dict[int, list[Way]], used: int, more: list[Way]) -> None:
    ways[used] = _merged(ways[used], more) if used in ways else more


def _extend(ways: dict[int, list[Way]], used: int, found: list[Way], score: float, cell: str) -> None:
    _add(ways, used, [(past + score, (*way, cell)) for past, way in found])


def _merged(ways: list[Way], more: list[Way]) -> list[Way]:
    """Return the two best of both that give different cells, quotes and blanks at their edges aside."""
    result: list[Way] = []
    for way in sorted([*ways, *more], key=lambda way: -way[0]):
        if not result or [cell.strip(EDGE) for cell in way[1]] != [cell.strip(EDGE) for cell in result[0][1]]:
            result.append(way)
            if len(result) == 2:
                break
    return result
