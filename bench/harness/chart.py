"""Bar charts as SVG, for light and dark pages: a panel per scenario, a bar per server, each axis from zero.

A bar that is several times as long as the rest would make the rest unreadable. It is then cut at the end of the axis,
visibly: with a break through it, and with its figure as for all others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import floor, log10

PANEL_WIDTH, LABEL_WIDTH, VALUE_WIDTH = 440, 104, 56
BAR_HEIGHT, BAR_GAP = 14, 7
PANEL_HEAD, PANEL_FOOT, PANEL_MARGIN = 30, 26, 14
CHART_HEAD = 58
COLUMNS = 2
# An axis ends where the longest bar ends that is at most so many times the median bar.
LONGEST = 4.0

_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #24292f; }
.title { font-size: 15px; font-weight: 600; }
.panel { font-weight: 600; }
.small { font-size: 10.5px; fill: #57606a; }
.grid { stroke: #d0d7de; stroke-width: 1; }
.zero { stroke: #57606a; stroke-width: 1; }
.first { fill: #3b6fb6; }
.second { fill: #a9c1e0; }
.ours .first { fill: #c2571a; }
.ours .second { fill: #f0b48f; }
.break { stroke: #ffffff; stroke-width: 3; fill: none; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .small { fill: #9198a1; }
  .grid { stroke: #3d444d; }
  .zero { stroke: #9198a1; }
  .first { fill: #6ca0e8; }
  .second { fill: #37547d; }
  .ours .first { fill: #f0883e; }
  .ours .second { fill: #8a4a1c; }
  .break { stroke: #0d1117; }
}
"""


@dataclass(frozen=True)
class Bar:
    """One server: two stacked parts in the chart's unit."""

    label: str
    first: float
    second: float = 0.0
    ours: bool = False

    @property
    def length(self) -> float:
        return self.first + self.second


@dataclass(frozen=True)
class Panel:
    title: str
    bars: Sequence[Bar]

    @property
    def axis(self) -> float:
        """The value at the axis' end: the longest bar that does not dwarf the others."""
        lengths = sorted(bar.length for bar in self.bars)
        bound = LONGEST * lengths[(len(lengths) - 1) // 2]
        return max((length for length in lengths if length <= bound), default=lengths[-1]) or 1.0

    @property
    def height(self) -> float:
        return PANEL_HEAD + len(self.bars) * (BAR_HEIGHT + BAR_GAP) + PANEL_FOOT


@dataclass(frozen=True)
class Chart:
    """`parts` names the two stacked parts, or the one; `ours` the server that stands out."""

    title: str
    unit: str
    ours: str
    parts: Sequence[str]
    panels: Sequence[Panel]

    def svg(self) -> str:
        rows = [self.panels[at : at + COLUMNS] for at in range(0, len(self.panels), COLUMNS)]
        heights = [max(panel.height for panel in row) for row in rows]
        width, height = COLUMNS * (PANEL_WIDTH + PANEL_MARGIN) + PANEL_MARGIN, CHART_HEAD + sum(heights)
        drawn = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:g}" width="{width}" role="img">',
            f"<title>{escape(self.title)}</title>",
            f"<style>{_STYLE}</style>",
            *self._head(),
        ]
        top: float = CHART_HEAD
        for row, row_height in zip(rows, heights, strict=True):
            for column, panel in enumerate(row):
                drawn += _panel(panel, PANEL_MARGIN + column * (PANEL_WIDTH + PANEL_MARGIN), top)
            top += row_height
        return "\n".join((*drawn, "</svg>")) + "\n"

    def _head(self) -> list[str]:
        drawn = [_text(PANEL_MARGIN, 22, f"{self.title} ({self.unit}; shorter is better)", "title")]
        left = float(PANEL_MARGIN)
        for name, style in zip(self.parts, ("first", "second"), strict=False):
            drawn.append(f'<rect x="{left:g}" y="34" width="12" height="12" class="{style}"/>')
            drawn.append(f'<g class="ours"><rect x="{left + 14:g}" y="34" width="12" height="12" class="{style}"/></g>')
            drawn.append(_text(left + 32, 44, name, "small"))
            left += 50 + 6 * len(name)
        return [*drawn, _text(left, 44, f"orange: {self.ours}; a bar with a break in it is cut", "small")]


def _panel(panel: Panel, left: float, top: float) -> list[str]:
    start = left + LABEL_WIDTH
    scale = (PANEL_WIDTH - LABEL_WIDTH - VALUE_WIDTH) / panel.axis
    bottom = top + panel.height - PANEL_FOOT
    drawn = [_text(left, top + 16, panel.title, "panel")]
    for tick in _ticks(panel.axis):
        style = "grid" if tick else "zero"
        x = start + tick * scale
        drawn.append(f'<line x1="{x:.1f}" y1="{top + PANEL_HEAD - 4:g}" x2="{x:.1f}" y2="{bottom:g}" class="{style}"/>')
        drawn.append(_text(x, bottom + 13, f"{tick:,g}", "small", anchor="middle"))
    for at, bar in enumerate(panel.bars):
        drawn += _bar(bar, start, top + PANEL_HEAD + at * (BAR_HEIGHT + BAR_GAP), scale, panel.axis)
    return drawn


def _bar(bar: Bar, start: float, top: float, scale: float, axis: float) -> list[str]:
    first, whole = (min(value, axis) * scale for value in (bar.first, bar.length))
    drawn = [
        f'<g class="{"ours" if bar.ours else "peer"}">',
        _text(start - 6, top + 11, bar.label, anchor="end"),
        f'<rect x="{start:g}" y="{top:g}" width="{first:.1f}" height="{BAR_HEIGHT}" class="first"/>',
        f'<rect x="{start + first:.1f}" y="{top:g}" width="{whole - first:.1f}" height="{BAR_HEIGHT}" class="second"/>',
    ]
    if bar.length > axis:
        x = start + whole - 16
        drawn.append(f'<path d="M{x:.1f} {top - 2:g} l5 6 l-5 6 l5 6" class="break"/>')
    return [*drawn, _text(start + whole + 5, top + 11, _figure(bar.length)), "</g>"]


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _ticks(axis: float) -> list[float]:
    """Round values from zero to the axis' end, about five of them."""
    step = 10.0 ** floor(log10(axis / 4))
    step *= max(factor for factor in (1, 2, 5) if factor * step <= axis / 2.5)
    return [at * step for at in range(int(axis / step) + 1)]


def _text(x: float, y: float, content: str, style: str = "", *, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{style}">{escape(content)}</text>'
