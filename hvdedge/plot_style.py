"""How plots look: colours that stand for the page's variables, dashes, and the lines of a legend."""

from dataclasses import dataclass
from typing import Any

COLORS = 7
DASHES = ("", "6 3", "2 3", "8 3 2 3")
"""One for each further round through the colours, so that 28 lines can be told apart."""
MARKED = 30
"""As many points still get a dot each."""
STEPS = (1, 2, 5, 10)
INK, FAINT = "#fe0200", "#fe0201"
SERIES = [f"#fe01{at:02x}" for at in range(COLORS)]
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "hvdedge",  # the same table gives the same bytes
    "text.parse_math": False,
    "font.size": 9,  # points: 12 pixels
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "ytick.major.size": 0,
    "lines.linewidth": 1.8,
    "lines.markersize": 3.6,
}


@dataclass(frozen=True)
class Line:
    """A line's name and look, for the legend, which is the page's; `mark` is the sign of points without a line."""

    label: str
    color: int
    dashes: str = ""
    mark: str = ""


def linestyle(dashes: str) -> str | tuple[int, tuple[float, ...]]:
    """Return what matplotlib calls the dashes of an SVG."""
    return (0, tuple(float(length) / 1.8 for length in dashes.split())) if dashes else "-"
