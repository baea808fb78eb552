"""Heat-maps as SVG: experts by layer, by domain, by one another. Legible in light and dark, and told in words."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from weighup.errors import InvalidInput
from weighup.moe.report import Floats, Report

_CELL, _LEFT, _TOP, _GAP, _PER_ROW = 26, 96, 44, 30, 3
_COLOUR = (61, 133, 198)


def heat_maps(
    title: str, panels: dict[str, Floats], *, rows: Sequence[str], columns: Sequence[str], across: str, unit: str = "%"
) -> str:
    """An <svg> of one heat-map a panel, each a matrix [rows, columns] of shares, on one scale from 0 to the greatest.

    Values are written in their cells. Raises InvalidInput for no panel or a matrix of another shape.
    """
    if not panels:
        raise InvalidInput(f"{title}: there is nothing to draw")
    for name, matrix in panels.items():
        if matrix.shape != (len(rows), len(columns)):
            raise InvalidInput(f"{title}: {name} is {matrix.shape}, not {(len(rows), len(columns))}")
    greatest = max(float(np.nanmax(matrix)) for matrix in panels.values()) or 1.0
    wide, high = _CELL * len(columns), _CELL * len(rows)
    per_row = min(_PER_ROW, len(panels))
    lines = -(-len(panels) // per_row)
    width, height = per_row * (_LEFT + wide + _GAP), lines * (_TOP + high + _GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img" '
        f'font-family="sans-serif" font-size="11" fill="currentColor">',
        f"<title>{escape(title)}</title>",
        f"<desc>{escape(_told(panels, rows, columns, across))}</desc>",
    ]
    for n, (name, matrix) in enumerate(panels.items()):
        left, top = (n % per_row) * (_LEFT + wide + _GAP) + _LEFT, (n // per_row) * (_TOP + high + _GAP) + _TOP
        parts.append(f'<text x="{left}" y="{top - 24}" font-weight="bold">{escape(name)}</text>')
        for c, label in enumerate(columns):
            parts.append(
                f'<text x="{left + (c + 0.5) * _CELL}" y="{top - 6}" text-anchor="middle">{escape(label)}</text>'
            )
        for r, label in enumerate(rows):
            y = top + r * _CELL
            parts.append(f'<text x="{left - 6}" y="{y + _CELL / 2 + 4}" text-anchor="end">{escape(label)}</text>')
            for c in range(len(columns)):
                parts.append(_cell(left + c * _CELL, y, float(matrix[r, c]), greatest, unit))
        parts.append(f'<text x="{left}" y="{top + high + 14}">{escape(across)}</text>')
    return "".join([*parts, "</svg>\n"])


def load_map(told: Report) -> str:
    """Load of each expert by layer."""
    layers = [f"layer {n}" for n in range(len(told.load))]
    names = [str(n) for n in range(told.load.shape[1])]
    return heat_maps("Load of the experts", {"load": told.load}, rows=layers, columns=names, across="expert")


def domain_maps(told: Report) -> str:
    """Load of each expert by domain, a panel a layer. Raises InvalidInput for a trace without domains."""
    if not told.names:
        raise InvalidInput("heat-map of domains: the trace has no labels")
    names = [str(n) for n in range(told.load.shape[1])]
    panels = {f"layer {n}": one for n, one in enumerate(told.domains)}
    return heat_maps("Load of the experts by domain", panels, rows=told.names, columns=names, across="expert")


def together_maps(told: Report) -> str:
    """Share of tokens that use two experts at once, a panel a layer."""
    names = [str(n) for n in range(told.load.shape[1])]
    panels = {f"layer {n}": one * (1 - np.eye(len(one))) for n, one in enumerate(told.together)}
    return heat_maps("Experts used together", panels, rows=names, columns=names, across="expert")


def _cell(x: float, y: float, value: float, greatest: float, unit: str) -> str:
    if np.isnan(value):
        return ""
    share = max(0.0, min(1.0, value / greatest))
    colour = ",".join(map(str, _COLOUR))
    told = f"{value * 100:.0f}" if unit == "%" else f"{value:.2g}"
    # Strong cells need their own ink: the page's would not be read on them in one of the two themes.
    ink = 'fill="#fff"' if share > 0.6 else ""
    return (
        f'<rect x="{x:g}" y="{y:g}" width="{_CELL - 1}" height="{_CELL - 1}" rx="2" fill="rgb({colour})" '
        f'fill-opacity="{share:.3f}" stroke="currentColor" stroke-opacity="0.2"/>'
        f'<text x="{x + _CELL / 2 - 0.5:g}" y="{y + _CELL / 2 + 3.5:g}" text-anchor="middle" font-size="9" {ink}>'
        f"{told}</text>"
    )


def _told(panels: dict[str, Floats], rows: Sequence[str], columns: Sequence[str], across: str) -> str:
    parts = []
    for name, matrix in panels.items():
        r, c = divmod(int(np.nanargmax(matrix)), matrix.shape[1])
        parts.append(f"{name}: greatest at {rows[r]}, {across} {columns[c]}: {matrix[r, c]:.3g}")
    return "; ".join(parts)
