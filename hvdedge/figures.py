"""A table's plot as SVG that lives in a page: text stays text, and the page's style gives the colours.

matplotlib draws in colours that stand for a style's variables (SERIES, INK, FAINT); afterwards they are put in their
place, so that one drawing serves a bright and a dark page. Importing this costs matplotlib; the page does it late.
"""

import html
import io
import re
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from hvdedge import drawn_trials
from hvdedge.drawn_graphs import draw_graph
from hvdedge.plot_style import COLORS, DASHES, FAINT, INK, MARKED, SERIES, STEPS, STYLE, Line, linestyle
from hvdedge.report_tables import Plot, ReportTable

WIDTH, HEIGHT = 460, 290
"""Of a picture in CSS pixels: two stand side by side on a desk, and on a phone its text is still 9 pixels high."""
WIDE = 2 * WIDTH


@dataclass(frozen=True)
class Picture:
    """One picture: its title, its SVG, the lines in it (none where it needs no legend), and whether it may be wide."""

    title: str
    svg: str
    lines: list[Line]
    is_wide: bool = False


def draw(table: ReportTable, name: str) -> list[Picture]:
    """Return the pictures of a table that has rows and a plot that is no matrix; `name` is theirs alone in the page."""
    plot = table.plot
    if plot is None or not table.rows or plot.kind == "matrix":
        return []
    pictures = []
    with matplotlib.rc_context(STYLE):
        for at, (title, keys) in enumerate(plot.panels):
            if all(value is None for key in keys for value in table.column(key)):
                continue
            told = f"{title}. {plot.alternative}"
            if plot.kind == "graph":
                columns = [table.column(key) for key in (plot.x, *keys)]
                figure = draw_graph(list(zip(*columns, strict=True)), INK, FAINT, SERIES[0])
                pictures.append(Picture(title, _svg(figure, f"{name}-{at}", told), [], is_wide=True))
                continue
            is_wide = plot.kind == "parallel"
            figure = Figure(figsize=((WIDE if is_wide else WIDTH) / 96, HEIGHT / 96), layout="constrained")
            lines = PAINTERS[plot.kind](figure.add_subplot(), table, plot, keys)
            pictures.append(Picture(title, _svg(figure, f"{name}-{at}", told), lines, is_wide))
    return pictures


def _bars(axes, table: ReportTable, plot: Plot, keys: tuple[str, ...]) -> list[Line]:
    """One bar a row from the top down, its value at its end."""
    column = table.columns[table.position(keys[0])]
    values = [float("nan") if value is None else value for value in table.column(keys[0])]
    bars = axes.barh(range(len(values)), values, color=SERIES[0], height=0.62)
    axes.set_yticks(range(len(values)), [str(label) for label in table.column(plot.x)])
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    axes.margins(x=0.16)
    axes.bar_label(bars, [column.text(value) for value in table.column(keys[0])], padding=4, color=INK)
    return []


def _lines(axes, table: ReportTable, plot: Plot, keys: tuple[str, ...]) -> list[Line]:
    """One line a column, or a column's line for each value of `by`."""
    drawn: list[Line] = []
    at_x = table.position(plot.x)
    groups: dict[Any, list[tuple]] = {}
    for row in table.rows:
        groups.setdefault(row[table.position(plot.by)] if plot.by else "", []).append(row)
    for at_group, (group, rows) in enumerate(groups.items()):
        for key in keys:
            # Groups keep their colours from picture to picture, so the count goes on where one has no values.
            number = at_group if plot.by else keys.index(key)
            look = Line(str(group) or _short(table, key), number % COLORS, DASHES[number // COLORS % len(DASHES)])
            values = [row[table.position(key)] for row in rows]
            if all(value is None for value in values):
                continue
            axes.plot(
                [row[at_x] for row in rows],
                [float("nan") if value is None else value for value in values],
                color=SERIES[look.color],
                linestyle=linestyle(look.dashes),
                marker="o" if len(rows) <= MARKED else "",
            )
            drawn.append(look)
    if plot.ideal:
        last = max(table.column(plot.x))
        axes.plot([1, last], [1, last], color=INK, linewidth=0.8, linestyle=(0, (1, 2)))
    axes.set_xlabel(table.columns[at_x].heading)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1, steps=STEPS))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=STEPS))
    if table.columns[table.position(keys[0])].kind in ("percent", "share"):
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g} %"))
    return drawn


PAINTERS = {
    "bars": _bars,
    "lines": _lines,
    "scatter": drawn_trials.scatter,
    "parallel": drawn_trials.parallel,
    "steps": drawn_trials.steps,
}


def _short(table: ReportTable, key: str) -> str:
    """Return what a column adds to its picture's title: `validation` of `loss, validation`."""
    return table.columns[table.position(key)].heading.rpartition(", ")[2]


def _svg(figure: Figure, name: str, alternative: str) -> str:
    """Return the figure as an element of a page: no size, fonts, colours or names but the page's."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<(metadata|style)\b.*?</\1>", "", svg, flags=re.DOTALL)
    svg = re.sub(
        r"<svg\b.*?viewBox=\"([^\"]*)\".*?>",
        lambda match: f'<svg viewBox="{match[1]}" role="img" aria-label="{html.escape(alternative)}">',
        svg,
        count=1,
        flags=re.DOTALL,
    )
    svg = re.sub(r"font:\s*([\d.]+px)[^;\"]*", r"font-size: \1", svg)
    svg = re.sub(r"\s*font-family:[^;\"]*;?", "", svg)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = svg.replace(INK, "var(--ink)").replace(FAINT, "var(--faint)")
    svg = re.sub(r"#fe01([0-9a-f]{2})", lambda match: f"var(--s{int(match[1], 16)})", svg)
    return re.sub(r"\n\s*", "\n", svg)
