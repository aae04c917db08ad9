"""How figures show themselves in a notebook: plain HTML tables with bars, without scripts, files or style sheets.

In: names, figures and intervals. Out: HTML for `_repr_html_`. Colours are few and work on a light and on a dark page.
"""

import math
from collections.abc import Iterable, Sequence
from html import escape

from lesionlab._version import NOT_A_DEVICE

BLUE, GREY = "#0072B2", "#8a8a8a"
Row = tuple[str, float | None, Sequence[float | None] | None, str]
_CELL = "text-align:left;padding:2px 12px 2px 0;border:0;background:none"


def figures_table(rows: Iterable[Row]) -> str:
    """Show figures from 0 to 1 with their 95 % intervals.

    Args:
        rows: name, figure (None or NaN where undefined), interval (None, or of two bounds), and what it was taken on.

    """
    cells = [
        (escape(name), number(value), interval_text(interval), interval_bar(value, interval), escape(support))
        for name, value, interval, support in rows
    ]
    return table(("", "", "95 % interval", "0 to 1", "taken on"), cells)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, notice: str = NOT_A_DEVICE) -> str:
    """Lay out cells, which are HTML already, under a head, which is text; the notice stands below."""
    tops = "".join(f'<th style="{_CELL};font-weight:600">{escape(name)}</th>' for name in head)
    lines = "".join("<tr>" + "".join(f'<td style="{_CELL}">{cell}</td>' for cell in row) + "</tr>" for row in rows)
    body = f'<table style="border-collapse:collapse"><thead><tr>{tops}</tr></thead><tbody>{lines}</tbody></table>'
    return f'<div>{body}<small style="color:{GREY}">{escape(notice)}</small></div>'


def number(value: float | None, *, signed: bool = False) -> str:
    """Write a figure with three decimals, or a dash where it is undefined."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:+.3f}" if signed else f"{value:.3f}"


def interval_text(interval: Sequence[float | None] | None, *, signed: bool = False) -> str:
    """Write an interval, or a dash where there is none."""
    bounds = _bounds(interval)
    return "–" if bounds is None else " to ".join(number(bound, signed=signed) for bound in bounds)


def interval_bar(value: float | None, interval: Sequence[float | None] | None) -> str:
    """Draw a figure from 0 to 1 as a mark, its interval as a band around it."""
    bounds = _bounds(interval)
    band = "" if bounds is None else _block(bounds[0], bounds[1] - bounds[0], "opacity:.35")
    mark = "" if value is None or math.isnan(value) else _block(min(value, 0.985), 0.015, "")
    return _track(band + mark, 160)


def bar(share: float, *, width_px: int = 110) -> str:
    """Draw a share from 0 to 1."""
    return _track(_block(0, share, ""), width_px)


def _bounds(interval: Sequence[float | None] | None) -> tuple[float, float] | None:
    low, high = interval or (None, None)
    return None if low is None or high is None or math.isnan(low) or math.isnan(high) else (low, high)


def _track(inside: str, width_px: int) -> str:
    frame = f"display:inline-block;position:relative;width:{width_px}px;height:10px;background:{GREY}40"
    return f'<span style="{frame}">{inside}</span>'


def _block(left: float, width: float, style: str) -> str:
    place = f"position:absolute;top:0;height:10px;left:{100 * left:.1f}%;width:{100 * width:.1f}%"
    return f'<span style="{place};background:{BLUE};{style}"></span>'
