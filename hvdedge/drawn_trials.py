"""Pictures of a search's trials: their values over an option, through all options, and the best over time.

A trial's state is told by its sign or its dashes, not by colour alone; the first row of a table, its best trial, stands
out where it is complete. Importing this costs matplotlib.
"""

import textwrap
from dataclasses import dataclass

from hvdedge.axis_scales import NAN, Scale, scale_of
from hvdedge.plot_style import FAINT, INK, MARKED, SERIES, Line, linestyle
from hvdedge.report_tables import Plot, ReportTable, plain

SHADES = (0.95, 0.75, 0.6, 0.45, 0.3)
"""Of lines, from those of the best fifth of the rows to those of the last."""
LETTERS = 56
"""As many stand below a picture's axis."""
WIDE_LETTERS = 130
MANY = 100
"""More lines than this are thin."""
EDGE = 0.06
"""Room before the first and after the last place of an axis, in its lengths."""


@dataclass(frozen=True)
class Look:
    """How a trial is drawn: its sign in the legend and as a marker, whether that is filled, its colour, its dashes."""

    mark: str
    marker: str
    is_filled: bool
    color: int
    dashes: str


COMPLETE = "complete"
LOOKS = {
    COMPLETE: Look("\N{BLACK CIRCLE}", "o", True, 0, ""),
    "pruned": Look("\N{WHITE CIRCLE}", "o", False, 0, "6 3"),
    "failed": Look("\N{MULTIPLICATION SIGN}", "x", True, 6, "2 3"),
}
OTHER = Look("+", "+", True, 6, "8 3 2 3")
BEST = Look("\N{BLACK DIAMOND}", "D", True, 1, "")


def scatter(axes, table: ReportTable, plot: Plot, keys: tuple[str, ...]) -> list[Line]:
    """One sign a row: its second column over its first; on the axis where the second is not known."""
    over, value = keys
    across = scale_of(table.column(over), table.columns[table.position(over)], is_log=plot.is_log.get(over))
    places = [across.place(known) for known in table.column(over)]
    axes.set_xlim(-EDGE, 1 + EDGE)
    _place_ticks(axes, across)
    axes.set_xlabel(_short(table.columns[table.position(over)].heading, LETTERS))
    return _signs(axes, table, plot, value, places, _has_best(table, plot, value))


def steps(axes, table: ReportTable, plot: Plot, keys: tuple[str, ...]) -> list[Line]:
    """The first column as steps over x, and a sign a row for the second."""
    found, value = keys
    column = table.columns[table.position(plot.x)]
    up = scale_of(table.column(value) + table.column(found), table.columns[table.position(value)], has_levels=False)
    across = scale_of([0, *table.column(plot.x)], column, has_levels=False)
    places = [across.place(seconds) for seconds in table.column(plot.x)]
    axes.step(places, [up.place(known) for known in table.column(found)], where="post", color=SERIES[1], zorder=3)
    axes.set_xlim(0, max((place for place in places if place == place), default=1.0) + EDGE)  # not NaN
    _place_ticks(axes, across)
    axes.set_xlabel(column.heading)
    return [Line(table.columns[table.position(found)].heading, 1), *_signs(axes, table, plot, value, places, False)]


def parallel(axes, table: ReportTable, plot: Plot, keys: tuple[str, ...]) -> list[Line]:
    """One line a row through an axis a column; rows that come first are the darker ones."""
    columns = [table.columns[table.position(key)] for key in keys]
    scales = [
        scale_of(table.column(key), column, has_levels=key != keys[-1], is_log=plot.is_log.get(key))
        for key, column in zip(keys, columns, strict=True)
    ]
    ends = [*range(len(keys)), len(keys) - 1]  # NaN at the last: where one trial's line ends
    drawn: dict[tuple, list[float]] = {}
    has_best = _has_best(table, plot, keys[-1])
    states = table.column(plot.by)
    for at, row in enumerate(table.rows):
        shade = SHADES[len(SHADES) * at // len(table.rows)]
        look = (BEST, 1.0) if has_best and at == 0 else (_look(states[at]), shade)
        places = [scale.place(row[table.position(key)]) for scale, key in zip(scales, keys, strict=True)]
        drawn.setdefault(look, []).extend([*places, NAN])
    for (look, shade), places in reversed(drawn.items()):
        axes.plot(
            ends * (len(places) // len(ends)),
            places,
            color=SERIES[look.color],
            alpha=shade,
            linewidth=2.6 if look is BEST else 1.3 if len(table.rows) <= MANY else 0.6,
            linestyle=linestyle(look.dashes),
            marker=look.marker if len(table.rows) <= MARKED or look is BEST else "",
            markerfacecolor=SERIES[look.color] if look.is_filled else "none",
            clip_on=False,
        )
    for at, scale in enumerate(scales):
        axes.axvline(at, color=FAINT, linewidth=1, zorder=0)
        is_last = at == len(keys) - 1
        for place, text in scale.ticks:
            axes.annotate(
                _short(text, WIDE_LETTERS // len(keys)),
                (at, place),
                (6 if is_last else -6, 0),
                textcoords="offset points",
                ha="left" if is_last else "right",
                va="center_baseline",
                color=INK,
            )
    axes.set_xlim(-0.5, len(keys) - 0.5)
    axes.set_ylim(-EDGE, 1 + EDGE)
    axes.set_xticks(range(len(keys)), [_wrapped(column.heading, WIDE_LETTERS // len(keys)) for column in columns])
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.set_yticks([])
    axes.spines["bottom"].set_visible(False)
    lines = [Line(state, _look(state).color, _look(state).dashes) for state in dict.fromkeys(states[has_best:])]
    return [*([Line(_name_best(table), BEST.color)] if has_best else []), *lines]


def _signs(axes, table: ReportTable, plot: Plot, value: str, places: list[float], has_best: bool) -> list[Line]:
    """Draw one sign a row over its place, and return those that were drawn."""
    up = scale_of(table.column(value), table.columns[table.position(value)], has_levels=False)
    looks = [BEST if has_best and at == 0 else _look(state) for at, state in enumerate(table.column(plot.by))]
    names = dict(zip(looks, table.column(plot.by), strict=True)) | ({BEST: _name_best(table)} if has_best else {})
    names = {look: names[look] for look in (BEST, *LOOKS.values(), OTHER) if look in names}
    for look in reversed(names):
        rows = [at for at, its in enumerate(looks) if its is look]
        heights = [up.place(table.column(value)[at]) for at in rows]
        axes.plot(
            [places[at] for at in rows],
            [-EDGE if height != height else height for height in heights],  # NaN: on the axis
            color=SERIES[look.color],
            linestyle="",
            marker=look.marker,
            markersize=7 if look is BEST else 5 if len(table.rows) <= MARKED else 3,
            markerfacecolor=SERIES[look.color] if look.is_filled else "none",
            clip_on=False,
        )
    axes.set_ylim(-EDGE, 1 + EDGE)
    axes.set_yticks([place for place, _ in up.ticks], [_short(text, LETTERS) for _, text in up.ticks])
    return [Line(name, look.color, mark=look.mark) for look, name in names.items()]


def _has_best(table: ReportTable, plot: Plot, value: str) -> bool:
    return table.column(plot.by)[0] == COMPLETE and table.column(value)[0] is not None


def _name_best(table: ReportTable) -> str:
    return f"{table.columns[0].heading} {table.columns[0].text(table.rows[0][0])}, the best"


def _look(state: str) -> Look:
    return LOOKS.get(state, OTHER)


def _place_ticks(axes, scale: Scale) -> None:
    """Write what there is room for below the part of a scale that is shown."""
    first, last = axes.get_xlim()
    ticks = [(place, text) for place, text in scale.ticks if first <= place <= last]
    room = LETTERS // max(1, len(ticks))
    axes.set_xticks([place for place, _ in ticks], [_short(text, room) for _, text in ticks])


def _short(text: str, letters: int) -> str:
    text, letters = plain(text), max(letters, 4)
    return text if len(text) <= letters else text[: letters - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _wrapped(text: str, letters: int) -> str:
    """Return at most two lines; a dotted key may break after a point."""
    lines = textwrap.wrap(plain(text).replace(".", ". "), letters) or [""]
    return "\n".join(_short(line.replace(". ", "."), letters) for line in (lines[0], " ".join(lines[1:])) if line)
