"""The shape of a table in a delimited file, and the rows between its rows: headers again, totals, titles, notes.

What a row is, is told by what it lacks: columns that nearly all rows fill (`always`) are empty in a total, a title
or a note. So a whole batch is tested by the lengths of a few columns, and only rows that lack one are looked at.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hvdedge.alignment import Aligner
from hvdedge.cell_kinds import NUMBERS, VALUES, ColumnModel, kind_of

RULES = ("", "repeated_header", "total_row", "title_row", "note")
KEEP, REPEATED_HEADER, TOTAL_ROW, TITLE_ROW, NOTE = range(5)
ALWAYS = 0.97  # the share of rows that fill a column which all are to fill
MOST_PROBES = 4
TOTAL = re.compile(
    r"\W*(?:(?:grand|sub|sub |overall|running|sheet|page|column|monthly|annual|yearly)?[- ]?totals?|sum|"
    r"(?:zwischen|end|teil)?summe|gesamt(?:summe|betrag|ergebnis|umsatz|kosten|wert|menge|zahl|anzahl|preis|saldo)?|"
    r"endbetrag|endergebnis|insgesamt|(?:\u00fc|ue)bertrag|saldo|durchschnitt|mittelwert|average|avg|"
    r"totaux|somme|totale|suma|totalen|totaal)\b.{0,40}",
    re.IGNORECASE,
)
TOTAL_BEHIND = re.compile(r".{1,60}\b(?:(?:sub-?)?totals?|gesamt|insgesamt|summe)\W*", re.IGNORECASE)  # "North total"
TOTAL_BEGINS = (  # what TOTAL may match
    r"^\W*(?i:grand|sub|overall|running|sheet|page|column|monthly|annual|yearly|tot|sum|end|teil|gesamt|zwi|ins|som|"
    r"\x{fc}ber|ueber|saldo|durch|mittel|aver|avg)"
)
STRANGE = -2.0
WORD = re.compile(r"[^\W\d_]+")
NOTE_WORDS = 2
LONG_TITLE = 6  # words; more are a note
REMARK = re.compile(
    r"\s*(?:[*#†‡§]|//|--|\(?\d\)\s|\[\d\]|notes?\b|sources?\b|quellen?\b|footnotes?\b|\(\d+ rows?)", re.IGNORECASE
)


@dataclass(frozen=True)
class OtherTable:
    """A table beside the one that is read: its first and last record, its rows and columns."""

    first: int
    last: int
    rows: int
    columns: int


@dataclass(frozen=True)
class Layout:
    """Where the table stands among the records of its file, and what its columns are.

    Attributes:
        first: the record with which the data begin; preamble and header stand before it.
        last: the record behind the data, None where it is not known.
        preamble_rows, header_rows: how many records there are of each before `first`, empty ones included.
        names: the columns' names, None without header.
        width: how many columns the table has; in each row `surplus` empty cells follow.
        headers: the cells of the header's rows, outer blanks dropped.
        columns: a model of each column.
        others: the other tables in the file.
        told: record -> rule, for the sample's records that are no data: "preamble", "other_table", and those of RULES.
        always: some of the columns that nearly every row fills.
        usual: some rows of the table, from all over the sample.
        quotes_in_text: whether many of them hold quotes, so that one in a text means nothing.
    """

    first: int
    last: int | None
    preamble_rows: int
    header_rows: int
    names: tuple[str, ...] | None
    width: int
    surplus: int = 0
    headers: tuple[tuple[str, ...], ...] = ()
    columns: tuple[ColumnModel, ...] = ()
    others: tuple[OtherTable, ...] = ()
    told: dict[int, str] = field(default_factory=dict)
    always: tuple[int, ...] = ()
    usual: tuple[tuple[str, ...], ...] = ()
    quotes_in_text: bool = False

    def rule(self, row: Sequence[str], at_end: bool = False) -> int:
        """Return what a row in the data is, as a place in RULES: 0 for data.

        Args:
            row: its cells, any number of them.
            at_end: whether only rows that are no data follow.
        """
        filled = [(place, cell.strip()) for place, cell in enumerate(row) if cell and not cell.isspace()]
        if not filled:
            return KEEP
        place, label = filled[0]
        if self._is_header(row):
            return REPEATED_HEADER
        lacks = [column for column in self.always if column >= len(row) or not row[column]]
        if at_end and self._is_bare_total(filled, lacks):
            return TOTAL_ROW
        if self.width > 1 and self._is_total(label, filled, lacks, at_end):
            return TOTAL_ROW
        if len(filled) > 1 or self.width < 2:
            return NOTE if self.width > 1 and at_end and self._is_remark(row, filled, lacks) else KEEP
        if not lacks and not (len(row) == 1 and self.width > 2):
            return KEEP
        if len(row) > 1 and len(row) < self.width and place > 0:
            return KEEP
        # a single cell where others should be
        model = self.columns[place] if place < len(self.columns) else None
        fits = model is not None and kind_of(label) in model.kinds and (model.kind in VALUES or not self._is_odd(row))
        words = len(WORD.findall(label))
        if REMARK.match(label) or (words >= NOTE_WORDS and len(row) == 1) or words > LONG_TITLE:
            return NOTE
        if fits and not at_end and len(row) != self.width:
            return KEEP
        if kind_of(label) in VALUES and not (model and model.kind not in VALUES and at_end):
            return KEEP
        return TITLE_ROW if len(self.always) > 1 or self.width > 2 else KEEP

    def of_batch(self, batch: pa.RecordBatch) -> np.ndarray:
        """Return for each row of full width a place in RULES, int8, 0 for data; cheap where all rows are."""
        suspects = np.zeros(batch.num_rows, bool)
        for place in self.always:
            empty = pc.equal(pc.binary_length(batch.column(place)), 0)
            suspects |= pc.fill_null(empty, True).to_numpy(zero_copy_only=False)
        if self.columns and self._is_regular(0):
            label = pc.match_substring_regex(batch.column(0), TOTAL_BEGINS)
            suspects |= pc.fill_null(label, False).to_numpy(zero_copy_only=False)
        if self.headers:
            place = self._telling_name()
            names = pa.array({header[place] for header in self.headers}, pa.string())
            again = pc.is_in(pc.utf8_trim_whitespace(batch.column(place)), value_set=names)
            suspects |= again.to_numpy(zero_copy_only=False)
        rules = np.zeros(batch.num_rows, np.int8)
        found = np.flatnonzero(suspects)
        if len(found):
            columns = [batch.column(place).take(found).to_pylist() for place in range(self.width)]
            rules[found] = [self.rule([cell or "" for cell in row]) for row in zip(*columns, strict=True)]
        return rules

    def footer(self, tail_rows: Sequence[Sequence[str]]) -> int:
        """Return how many of the last records are no data: empty ones, totals, titles, notes."""
        count = 0
        for back, row in enumerate(reversed(tail_rows), start=1):
            if any(cell and not cell.isspace() for cell in row):
                rule = self.rule(row, at_end=True)
                if not rule or (rule in (TITLE_ROW, NOTE) and Aligner(self.columns, self.usual).align(row)):
                    break
                count = back
        return count

    def _telling_name(self) -> int:
        """Return the column in which the header is least like the data."""
        row = self.headers[-1]
        return min(range(self.width), key=lambda place: self.columns[place].fit(row[place]) if row[place] else 0.0)

    def _is_header(self, row: Sequence[str]) -> bool:
        if not self.headers or len(row) < self.width:
            return False
        return tuple(cell.strip() for cell in row[: self.width]) in self.headers

    def _is_total(self, label: str, filled: list[tuple[int, str]], lacks: list[int], at_end: bool) -> bool:
        if not (TOTAL.fullmatch(label) or (lacks and TOTAL_BEHIND.fullmatch(label))):
            return False
        # only in the first column, as of_batch looks for it there
        is_strange = filled[0][0] == 0 and self._is_regular(0) and self.columns[0].fit(label) < STRANGE
        numbers = [cell for _, cell in filled[1:] if kind_of(cell) in VALUES]
        is_last = at_end and numbers and label not in self.columns[filled[0][0]].levels
        return bool(lacks or is_strange or is_last) and 2 * len(numbers) >= len(filled) - 1

    def _is_bare_total(self, filled: list[tuple[int, str]], lacks: list[int]) -> bool:
        """Tell whether a row at the end is a total without a label: numbers below numbers, all else empty."""
        return (
            len(lacks) > 1
            and 2 * len(filled) <= self.width
            and all(
                0 < place < len(self.columns) and self.columns[place].is_number and kind_of(cell) in NUMBERS
                for place, cell in filled
            )
        )

    def _is_regular(self, place: int) -> bool:
        """Tell whether a column holds values or few words, so that the label of a total stands out in it."""
        if place >= len(self.columns):
            return False
        model = self.columns[place]
        return model.kind in VALUES or model.mask_share > 0.9 or bool(model.levels)

    def _is_remark(self, row: Sequence[str], filled: list[tuple[int, str]], lacks: list[int]) -> bool:
        """Tell whether a row of several cells at the end is a remark with delimiters in it."""
        if len(row) == self.width or not lacks:
            return False
        is_odd = self._misfits(row) >= 0.5
        return is_odd and (bool(REMARK.match(filled[0][1])) or sum(len(WORD.findall(cell)) for _, cell in filled) > 3)

    def _misfits(self, row: Sequence[str]) -> float:
        pairs = [(cell, model) for cell, model in zip(row, self.columns) if cell.strip()]  # noqa: B905
        return sum(kind_of(cell) not in model.kinds for cell, model in pairs) / max(len(pairs), 1)

    def _is_odd(self, row: Sequence[str]) -> bool:
        return len(row) == self.width and len(self.always) > 1
