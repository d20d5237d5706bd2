"""A picture of an account over time, for notebooks: its worth beside buy-and-hold, and the drawdown beneath, as SVG."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from anystrat.backtest.words import amount, moment, percent

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from numpy.typing import NDArray

    from anystrat.backtest.accounts import Account
    from anystrat.backtest.curves import Curve

    Scale = Callable[[NDArray[Any]], NDArray[np.float64]]

_WIDTH: Final = 820
_LEFT: Final = 76
_RIGHT: Final = 12
_WORTH: Final = (30, 260)  # from the top to the bottom of the worths
_DEPTH: Final = (284, 356)
_HEIGHT: Final = 380
#: Buckets that are drawn: each as wide as a pixel of a good screen, its lowest and highest value kept.
_MOST: Final = 1_400
_STYLE: Final = (
    "text{font:12px system-ui,sans-serif;fill:currentColor;opacity:.75}.head{font-weight:600;font-size:13px;opacity:1}"
    ".grid{stroke:currentColor;opacity:.15}.own{fill:none;stroke:#0f766e;stroke-width:1.6}"
    ".hold{fill:none;stroke:currentColor;opacity:.4}.deep{fill:#b91c1c;opacity:.45}"
)


class Picture:
    """An SVG picture: a notebook shows it, `str()` is its text, `save()` writes it."""

    def __init__(self, svg: str) -> None:
        self._svg = svg

    def __str__(self) -> str:
        return self._svg

    def _repr_svg_(self) -> str:
        return self._svg

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture; where it is. Raises `OSError`."""
        target = Path(path)
        target.write_text(self._svg, encoding="utf-8")
        return target


def picture_of(account: Account, hold: Account) -> Picture:
    """The account beside buy-and-hold, which is scaled to start with as much."""
    scale = account.start / hold.start if hold.start else 1.0
    curves = (
        account.curve,
        hold.curve._replace(low=hold.curve.low * scale, high=hold.curve.high * scale, last=hold.curve.last * scale),
    )
    drawn = [curve for curve in curves if len(curve.ts)]
    if not drawn:
        return Picture(_svg(f'<text x="{_LEFT}" y="{_WORTH[0]}">no tick</text>', "No tick"))
    first, last = min(int(curve.first[0]) for curve in drawn), max(int(curve.ts[-1]) for curve in drawn)
    low, high = min(float(curve.low.min()) for curve in drawn), max(float(curve.high.max()) for curve in drawn)

    def x(ts: NDArray[Any]) -> NDArray[np.float64]:
        return _LEFT + (ts - first) / max(1, last - first) * (_WIDTH - _LEFT - _RIGHT)

    def y(worth: NDArray[Any]) -> NDArray[np.float64]:
        return _WORTH[1] - (worth - low) / ((high - low) or 1.0) * (_WORTH[1] - _WORTH[0])

    earned = account.end / account.start - 1.0
    title = f"{account.name}: {amount(account.start)} became {amount(account.end)} ({percent(earned, signed=True)})"
    held = f"buy and hold {percent(hold.end / hold.start - 1.0, signed=True)}, grey" if hold.start else ""
    parts = [
        f'<text x="{_LEFT}" y="18" class="head">{escape(title)}</text>',
        f'<text x="{_WIDTH - _RIGHT}" y="18" text-anchor="end">{escape(held)}</text>',
    ]
    for worth in np.linspace(low, high, 4):
        at = float(y(np.array([worth]))[0])
        parts.append(_rule(at, amount(float(worth))))
    parts += [_line(curves[1], x, y, "hold"), _line(curves[0], x, y, "own"), *_depths(account, x)]
    for ts, anchor in ((first, "start"), (last, "end")):
        parts.append(
            f'<text x="{float(x(np.array([ts]))[0]):.1f}" y="{_HEIGHT - 6}" text-anchor="{anchor}">{moment(ts)[:16]}</text>'
        )
    return Picture(_svg("".join(parts), f"{title}; {held}; drawdown at most {percent(account.drawdown)}"))


def _svg(inside: str, label: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="100%" style="max-width:{_WIDTH}px" '
        f'role="img" aria-label="{escape(label)}"><style>{_STYLE}</style>{inside}</svg>'
    )


def _rule(at: float, text: str) -> str:
    return (
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}" class="grid"/>'
        f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{escape(text)}</text>'
    )


def _line(curve: Curve, x: Scale, y: Scale, kind: str) -> str:
    """A line through the lowest, the highest and the last value of every bucket that is drawn."""
    if not len(curve.ts):
        return ""
    starts = _starts(len(curve.ts))
    across = x(curve.ts[np.append(starts[1:], len(curve.ts)) - 1])
    down = [
        y(values)
        for values in (
            np.minimum.reduceat(curve.low, starts),
            np.maximum.reduceat(curve.high, starts),
            curve.last[np.append(starts[1:], len(curve.ts)) - 1],
        )
    ]
    points = np.stack([np.repeat(across, 3), np.stack(down, axis=1).reshape(-1)], axis=1)
    return f'<polyline points="{" ".join(f"{a:.1f},{b:.1f}" for a, b in points.tolist())}" class="{kind}"/>'


def _depths(account: Account, x: Scale) -> list[str]:
    """The drawdown as an area that hangs from zero."""
    curve, (top, bottom) = account.curve, _DEPTH
    rules = [_rule(top, "0%"), _rule(bottom, percent(-account.drawdown))]
    if not len(curve.ts) or not account.drawdown:
        return rules
    starts = _starts(len(curve.ts))
    deep = top + np.maximum.reduceat(curve.worst, starts) / account.drawdown * (bottom - top)
    across = x(curve.ts[np.append(starts[1:], len(curve.ts)) - 1])
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(across.tolist(), deep.tolist(), strict=True))
    return [
        *rules,
        f'<polygon points="{across[0]:.1f},{top} {points} {across[-1]:.1f},{top}" class="deep"/>',
    ]


def _starts(count: int) -> NDArray[np.int64]:
    """Where the buckets begin that are drawn as one."""
    return np.unique(np.linspace(0, count, min(count, _MOST), endpoint=False).astype(np.int64))
