"""A graph of tables and the columns that refer from one to another, in layers: what refers stands left of its key.

      orders            clients
      client_id ------> id           a box a table, its columns below its name; where all is one table, a box a column
      item -----+
                |       items
                +-----> number

Importing this costs matplotlib.
"""

from dataclasses import dataclass, field

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.path import Path

BOX, GAP, ROW, PAD = 150, 60, 18, 14  # CSS pixels: width of a box, between layers, height of a line, around all
LEAST_WIDTH = 900  # of a wide picture in the page, else few boxes would be shown magnified
MOST_BOXES = 12
MOST_CHARACTERS = 22
Edge = tuple[str, str, str, str]


@dataclass
class Box:
    """A table, its columns, and where its upper left corner is."""

    rows: list[str] = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0

    @property
    def height(self) -> float:
        return ROW * (1 + len(self.rows)) + 6

    def line(self, row: str) -> float:
        """Return the middle of a row; of the name, where there is no such row."""
        return self.y + 3 + ROW * (self.rows.index(row) + 1.5 if row in self.rows else 0.5)


def arranged(edges: list[Edge]) -> tuple[dict[str, Box], list[Edge]]:
    """Return the boxes by title, in their places, and the edges that are drawn, as (title, row, title, row).

    Args:
        edges: (table, column, table of the key, key), the most important first; those that would make more than
            `MOST_BOXES` boxes are left out.
    """
    if len({title for edge in edges for title in edge[::2]}) == 1:
        edges = [(column, "", key, "") for _, column, _, key in edges]
    boxes: dict[str, Box] = {}
    drawn = []
    for edge in edges:
        if len({*boxes, edge[0], edge[2]}) > MOST_BOXES:
            continue
        drawn.append(edge)
        for title, row in (edge[2:], edge[:2]):
            box = boxes.setdefault(title, Box())
            if row and row not in box.rows:
                box.rows.append(row)
    depths: dict[str, int] = {}
    for title in boxes:
        _depth(title, drawn, depths, ())
    for title in [title for title in boxes if not any(edge[0] == title for edge in drawn)]:
        depths[title] = min(depths[edge[0]] for edge in drawn if edge[2] == title) - 1  # next to what refers to it
    deepest = max(depths.values(), default=0)
    columns = [[title for title in boxes if depths[title] == depth] for depth in range(deepest + 1)]
    heights = [sum(boxes[title].height + ROW for title in column) - ROW for column in columns]
    for depth, column in enumerate(columns):
        into = {title: [boxes[edge[2]].line(edge[3]) for edge in drawn if edge[0] == title] for title in column}
        column.sort(key=lambda title: sum(into[title]) / len(into[title]) if depth and into[title] else 0.0)
        y = PAD + (max(heights) - heights[depth]) / 2
        for title in column:
            boxes[title].x, boxes[title].y = PAD + (deepest - depth) * (BOX + GAP), y
            y += boxes[title].height + ROW
    return boxes, drawn


def _depth(title: str, edges: list[Edge], depths: dict[str, int], path: tuple[str, ...]) -> int:
    """Return the length of the longest way from a box on; a way that comes round ends there."""
    if title not in depths:
        path = (*path, title)
        onward = dict.fromkeys(into for of, _, into, _ in edges if of == title and into not in path)
        depths[title] = max((_depth(into, edges, depths, path) + 1 for into in onward), default=0)
    return depths[title]


def draw_graph(edges: list[Edge], ink: str, faint: str, color: str) -> Figure:
    """Return a figure of the graph, a CSS pixel to 1/96 inch."""
    boxes, drawn = arranged(edges)
    width = max(box.x for box in boxes.values()) + BOX + PAD + GAP / 2  # ways that turn round need room at the right
    width = max(width, LEAST_WIDTH)
    height = max(box.y + box.height for box in boxes.values()) + PAD
    figure = Figure(figsize=(width / 96, height / 96))
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    for title, box in boxes.items():
        axes.add_patch(Rectangle((box.x, box.y), BOX, box.height, facecolor="none", edgecolor=faint))
        if box.rows:
            axes.plot([box.x, box.x + BOX], [box.y + ROW + 3] * 2, color=faint, linewidth=0.6)
        for row, text in ((None, title), *((row, row) for row in box.rows)):
            line = box.line("" if row is None else row)
            axes.text(box.x + 8, line, _short(text), color=ink, va="center_baseline")
    for of, column, into, key in drawn:
        axes.add_patch(
            FancyArrowPatch(
                path=_way(boxes[of], column, boxes[into], key),
                arrowstyle="-|>",
                mutation_scale=9,
                color=color,
                linewidth=1.4,
            )
        )
    return figure


def _way(one: Box, column: str, other: Box, key: str) -> Path:
    """Return a curve from a column's side to that side of its key which is nearer; to the right within a layer."""
    leaves, enters = (1, -1) if other.x > one.x else (1, 1) if other.x == one.x else (-1, 1)
    start = (one.x + BOX * (leaves > 0), one.line(column))
    end = (other.x + BOX * (enters > 0), other.line(key))
    turns = [(start[0] + leaves * GAP / 2, start[1]), (end[0] + enters * GAP / 2, end[1])]
    return Path([start, *turns, end], [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])


def _short(name: str) -> str:
    return name if len(name) <= MOST_CHARACTERS else name[: MOST_CHARACTERS - 1] + "\N{HORIZONTAL ELLIPSIS}"
