"""The table's place in its file: preamble, header, data, footer, and other tables beside it.

    records --empty ones part them--> segments --width, kinds of cells--> the largest table, others
            --header--> names --models of the columns--> totals, titles, notes, headers again

The largest table is kept. A segment behind an empty record goes on with it where it has its width and its cells look
like those above; else it is another table, or a footer.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from hvdedge.alignment import Aligner
from hvdedge.cell_kinds import NUMBERS, TEXTS, VALUES, ColumnModel, kind_of
from hvdedge.delimited import Dialect
from hvdedge.headers import Header, find_header, full_width
from hvdedge.table_shape import ALWAYS, MOST_PROBES, RULES, TOTAL, Layout, OtherTable

__all__ = ["Layout", "OtherTable", "RULES", "footer", "of_batch", "repair"]

MODEL_ROWS = 500
LEAST_ROWS = 3  # of another table, its header included
MANY = 0.05  # rows of another width: the others alone show too little of what the columns hold
ALIGNED_ROWS = 100
LEAST_FIT = 0.7  # of the cells of a segment, to go on with the table

Segment = tuple[int, int]


def repair(
    rows: list[list[str]],
    dialect: Dialect | None = None,
    *,
    header: Literal["auto"] | bool = "auto",
    complete: bool = True,
    parted: bool = True,
) -> Layout:
    """Return the layout of the table in `rows`.

    Args:
        rows: the records of a file as cells of text, empty ones included: all, or the first of a large file.
        header: True where the file is known to have one, False where it is known to have none.
        complete: whether `rows` are all records, so that the table's end is in them.
        dialect: of the file, to align rows of another width where there are many.
        parted: False where the file is known to hold one table, so that empty records part nothing.
    """
    segments = _segments(rows)
    if not parted:
        segments = [(segments[0][0], segments[-1][1])] if segments else []
    width = full_width(rows)
    main = _largest(rows, segments, width)
    begin, told, others = _before(rows, segments, main)
    found = find_header(rows[begin : segments[main][1]] if segments else rows, header, width)
    first = begin + found.preamble_rows + found.header_rows
    heads = [_stripped(row, found.width) for row in rows[first - found.header_rows : first]]
    models = _models(_body(rows[first : segments[main][1]] if segments else [], found.width, heads), found.width)
    last = segments[main][1] if segments else len(rows)
    for segment in segments[main + 1 :]:
        if _goes_on(rows, segment, found, models):
            last = segment[1]
    body = _body(rows[first:last], found.width, heads)
    models = _models(body, found.width)
    ragged = [row for row in rows[first:last] if len(row) > 1 and not _has_width(row, found.width)]
    if dialect is not None and len(ragged) > MANY * (last - first):
        aligner = Aligner(models, body, dialect)
        ways = [aligner.align(row) for row in ragged[:: max(len(ragged) // ALIGNED_ROWS, 1)][:ALIGNED_ROWS]]
        body += [way[0] for way in ways if way]
        models = _models(body, found.width)
    filled = [place for place, model in enumerate(models) if model.cells and model.empty_share <= 1 - ALWAYS]
    always = tuple(filled[-MOST_PROBES:])  # a total or a title stands in the first ones
    headers = tuple(head for head in heads if len(head) == found.width)
    told = {**told, **{place: "preamble" for place in range(begin, begin + found.preamble_rows) if any(rows[place])}}
    quote = (dialect.quote if dialect else "") or '"'
    layout = Layout(
        first,
        None,
        begin + found.preamble_rows,
        found.header_rows,
        found.names,
        found.width,
        found.surplus,
        headers,
        models,
        (),
        told,
        always,
        tuple(tuple(row) for row in body[:: max(len(body) // 100, 1)]),
        10 * sum(any(quote in cell for cell in row) for row in body) > len(body),
    )
    if complete:
        last, others = _after(rows, segments, last, layout, others)
    return replace(layout, last=last if complete else None, others=tuple(others))


def footer(tail_rows: Sequence[Sequence[str]], layout: Layout) -> int:
    """Return how many of the last records of a large file are no data."""
    return layout.footer(tail_rows)


def of_batch(batch, layout: Layout):
    """Return for each row of a batch of full width a place in RULES, 0 for data."""
    return layout.of_batch(batch)


def _is_empty(row: Sequence[str]) -> bool:
    return not any(cell and not cell.isspace() for cell in row)


def _segments(rows: list[list[str]]) -> list[Segment]:
    """Return the runs of records that empty ones part, and that parts a change of width for good."""
    found: list[Segment] = []
    start = None
    for place, row in enumerate([*rows, []]):
        if _is_empty(row):
            if start is not None:
                found += _parted(rows, start, place)
            start = None
        elif start is None:
            start = place
    return found


def _parted(rows: list[list[str]], start: int, end: int) -> list[Segment]:
    """Part a run at the place where rows of one width all stand before rows of another."""
    widths = [len(row) for row in rows[start:end]]
    counts = Counter(width for width in widths if width > 1).most_common(2)
    if len(counts) == 2 and min(count for _, count in counts) >= LEAST_ROWS:
        first, second = sorted((width for width, _ in counts), key=widths.index)
        cut = widths.index(second)
        inside = widths[:cut].count(first) + widths[cut:].count(second)
        if first not in widths[cut:] and inside >= 0.9 * len(widths):
            return [(start, start + cut), (start + cut, end)]
    return [(start, end)]


def _largest(rows: list[list[str]], segments: list[Segment], width: int) -> int:
    sizes = [sum(len(row) == width for row in rows[start:end]) for start, end in segments]
    return max(range(len(segments)), key=sizes.__getitem__) if segments else 0


def _table(rows: list[list[str]], segment: Segment) -> OtherTable | None:
    """Return the table that a segment is, if it is one: several rows of one width and more columns than one."""
    start, end = segment
    extents = Counter(max((k + 1 for k, cell in enumerate(row) if cell.strip()), default=0) for row in rows[start:end])
    extent, count = extents.most_common(1)[0]
    if extent < 2 or end - start < LEAST_ROWS or count < 0.6 * (end - start):
        return None
    return OtherTable(start, end - 1, end - start - 1, extent)


def _before(rows: list[list[str]], segments: list[Segment], main: int) -> tuple[int, dict[int, str], list[OtherTable]]:
    """Return where the table may begin, behind the other tables before it, and these."""
    told: dict[int, str] = {}
    others = []
    begin = 0
    for number, segment in enumerate(segments[:main]):
        table = _table(rows, segment)
        kinds = [kind_of(cell) for row in rows[segment[0] + 1 : segment[1]] for cell in row[1:] if cell.strip()]
        values = sum(kind not in ("word", "words", "text", "code") for kind in kinds)
        if table and values >= 0.5 * len(kinds) and len(rows[segment[0]]) != len(rows[segments[main][0]]):
            others.append(table)
            told.update(dict.fromkeys(range(*segment), "other_table"))
            begin = segments[number][1]
            told.update({place: told.get(place, "preamble") for place in range(begin) if any(rows[place])})
    return begin, told, others


def _after(
    rows: list[list[str]], segments: list[Segment], last: int, layout: Layout, others: list[OtherTable]
) -> tuple[int, list[OtherTable]]:
    """Return where the table ends, without its footer, and the other tables; tells all behind it."""
    for segment in segments:
        if segment[0] >= last:
            table = _table(rows, segment)
            if table:
                others = [*others, table]
            for place in range(*segment):
                rule = layout.rule(rows[place], at_end=True)
                layout.told[place] = "other_table" if table else RULES[rule] or "note"
    end = last - layout.footer(rows[layout.first : last])
    for place in range(end, last):
        if not _is_empty(rows[place]):
            layout.told[place] = RULES[layout.rule(rows[place], at_end=True)]
    return max(end, layout.first), others


def _goes_on(rows: list[list[str]], segment: Segment, header: Header, models: Sequence[ColumnModel]) -> bool:
    """Tell whether a segment is more of the table."""
    body = [row for row in rows[segment[0] : segment[1]] if not _is_empty(row)]
    fitting = [row for row in body if len(row) >= header.width and _is_empty(row[header.width :])]
    if 2 * len(fitting) < len(body):
        return False
    if header.names and tuple(" ".join(cell.split()) for cell in fitting[0][: header.width]) == header.names:
        return True
    pairs = [
        (kind_of(cell), model) for row in fitting for cell, model in zip(row, models, strict=False) if cell.strip()
    ]
    like = sum(
        kind in model.kinds or any(kind in group and model.kind in group for group in (NUMBERS, TEXTS))
        for kind, model in pairs
    )
    usual = sum(1 - model.empty_share for model in models) * len(fitting)
    return like >= LEAST_FIT * len(pairs) and len(pairs) >= max(0.5 * usual, 1)


def _stripped(row: Sequence[str], width: int) -> tuple[str, ...]:
    return tuple(cell.strip() for cell in row[:width])


def _body(rows: list[list[str]], width: int, heads: list[tuple[str, ...]]) -> list[list[str]]:
    """Return rows of the right width from over all, for the models."""
    body = [row[:width] for row in rows if _has_width(row, width) and not _is_empty(row)]
    body = [row for row in body if _stripped(row, width) not in heads]
    body = [row for row in body if width < 3 or sum(bool(cell.strip()) for cell in row) > 1 and not _is_total(row)]
    return body[:: max(len(body) // MODEL_ROWS, 1)][:MODEL_ROWS]


def _has_width(row: Sequence[str], width: int) -> bool:
    return len(row) >= width and _is_empty(row[width:])


def _is_total(row: Sequence[str]) -> bool:
    label, *others = [cell.strip() for cell in row if cell.strip()]
    return bool(TOTAL.fullmatch(label)) and all(kind_of(cell) in VALUES for cell in others)


def _models(body: list[list[str]], width: int) -> tuple[ColumnModel, ...]:
    columns = zip(*body, strict=True) if body else [()] * width
    return tuple(ColumnModel(cells) for cells in columns)
